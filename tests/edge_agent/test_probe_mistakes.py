"""Every usual mistake, in the map of every bundled profile and behind the terminals of every meter that can show it, is named."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from edge_agent.buses.errors import Refused
from edge_agent.commission.alternatives import Mistake
from edge_agent.commission.probe import Probe, Verdict, expected_voltages, probe_meter
from edge_agent.plan import Block
from edge_agent.profile import Profile, Register, fixed_profiles, load_profile
from edge_agent.simulator.meters import SimulatedMeter, build_meters
from tests.edge_agent.test_commission import Now, Values, Wiring, alone, phases_of, wired

pytestmark = pytest.mark.slow
ELECTRIC = [name for name in fixed_profiles() if load_profile(name).kind in {"electricity", "pv_inverter"}]
GROUPS = ("voltage", "current", "power", "energy", "frequency")
Change = Callable[[Register], Mapping[str, Any]]

UNTELLABLE: dict[tuple[str, str], str] = {
    (
        "sungrow_sg_string",
        "scale energy -1",
    ): "its total counts 0.1 kWh: ten minutes of 20 kW do not judge it",
    ("sungrow_sg_string", "scale energy +1"): "the same",
    (
        "sungrow_sg_string_grid",
        "words_swapped",
    ): "power and energy alone: both are 65536 times as much, so dE/dt = P holds",
}
"""(profile, mistake) → why physics cannot tell it there. A display beside it can."""


class Memory:
    """A bus whose only meter is a register image."""

    def __init__(self, meter: SimulatedMeter, now: Now) -> None:
        self._meter, self._now = meter, now

    async def read(self, _station: object, block: Block, *, tries: int | None = None) -> list[int]:
        del tries
        area = self._meter.image(self._now.t_ms).get(block.fc)
        at = block.addr - area.first if area is not None else -1
        if area is None or at < 0 or at + block.count > len(area.words):
            raise Refused("exception 02", 2)
        return area.words[at : at + block.count]

    def close(self) -> None:
        """Nothing is open."""


def probed(name: str, profile: Profile, wiring: Wiring | None = None) -> Probe:
    now = Now()
    [meter] = build_meters(alone(name)).values()
    bus = Memory(meter if wiring is None else wired(meter, wiring), now)
    return asyncio.run(probe_meter(bus, 1, profile, expected_voltages(profile), now.timing(600)))


def in_group(register: Register, group: str) -> bool:
    """As the probe groups them."""
    if group == "energy":
        return register.reading_type.endswith("_total")
    return register.reading_type.startswith(group) and register.reading_type != "power_factor"


def other_words(register: Register) -> Mapping[str, Any]:
    return {"word_order": "low_first" if register.word_order == "high_first" else "high_first"}


def other_bytes(register: Register) -> Mapping[str, Any]:
    return {"byte_order": "little" if register.byte_order == "big" else "big"}


def mistakes_in_the_map(profile: Profile) -> dict[str, tuple[Change, Mistake]]:
    """Name → (what the installer's map has wrong, what the probe has to say)."""
    found: dict[str, tuple[Change, Mistake]] = {
        "words_swapped": (other_words, Mistake("words_swapped")),
        "bytes_swapped": (other_bytes, Mistake("bytes_swapped")),
        "words_and_bytes_swapped": (
            lambda item: {**other_words(item), **other_bytes(item)},
            Mistake("words_and_bytes_swapped"),
        ),
    }
    for shift in (-1, 1):
        if min(item.addr for item in profile.registers) - shift >= 0:
            change: Change = lambda item, shift=shift: {"addr": item.addr - shift}  # type: ignore[misc]  # noqa: E731
            found[f"off_by_one {shift:+d}"] = change, Mistake("off_by_one", shift=shift)
    for group in GROUPS:
        if any(in_group(item, group) for item in profile.registers):
            for power in (-1, 1):
                found[f"scale {group} {power:+d}"] = scaled(group, power), Mistake("scale", group, power)  # type: ignore[arg-type]
    return found


def scaled(group: str, power: int) -> Change:
    return lambda item: {"scale": item.scale - power} if in_group(item, group) else {}


def changed(profile: Profile, change: Change) -> Profile:
    registers = tuple(item.model_copy(update=dict(change(item))) for item in profile.registers)
    return profile.model_copy(update={"registers": registers})


@pytest.mark.parametrize("name", ELECTRIC)
def test_each_mistake_in_the_map_is_named(name: str) -> None:
    profile = load_profile(name)
    assert probed(name, profile).verdict is Verdict.FITS
    untold = []
    for label, (change, expected) in mistakes_in_the_map(profile).items():
        found = probed(name, changed(profile, change))
        told = [expected] in found.mistakes and found.verdict is Verdict.DOES_NOT_FIT
        if told == ((name, label) in UNTELLABLE):
            untold.append((label, found.verdict, found.mistakes))
    assert not untold


def has_phases(profile: Profile) -> bool:
    names = {item.reading_type for item in profile.registers}
    return {f"{q}_l{i}" for q in ("voltage", "current", "power_active") for i in (1, 2, 3)} <= names


WITH_PHASES = [name for name in ELECTRIC if has_phases(load_profile(name))]


def test_wiring_can_be_judged_where_the_map_has_the_powers_of_the_phases() -> None:
    """Without them a reversed CT or a swapped pair is only a smaller total: that is not told, and not claimed to be."""
    assert len(WITH_PHASES) >= 8
    without = sorted(set(ELECTRIC) - set(WITH_PHASES))
    assert "schneider_iem3000" not in without
    assert without == sorted(name for name in ELECTRIC if not has_phases(load_profile(name)))


@pytest.mark.parametrize("phase", [0, 1, 2])
@pytest.mark.parametrize("name", WITH_PHASES)
def test_a_reversed_ct_is_named_with_its_phase_on_every_meter(name: str, phase: int) -> None:
    factors = [0.92, 0.92, 0.92]
    factors[phase] *= -1

    def wiring(values: Values) -> Values:
        return phases_of(values, (factors[0], factors[1], factors[2]))

    found = probed(name, load_profile(name), wiring)
    assert [Mistake("reversed_ct", "power", phases=(f"l{phase + 1}",))] in found.mistakes


@pytest.mark.parametrize(("one", "two"), [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("name", WITH_PHASES)
def test_a_swapped_pair_of_phases_is_named_on_every_meter(name: str, one: int, two: int) -> None:
    angle = math.radians(20)
    factors = [math.cos(angle)] * 3
    factors[one], factors[two] = math.cos(angle + 2 * math.pi / 3), math.cos(angle - 2 * math.pi / 3)

    def wiring(values: Values) -> Values:
        return phases_of(values, (factors[0], factors[1], factors[2]))

    found = probed(name, load_profile(name), wiring)
    assert [Mistake("phases_swapped", phases=(f"l{one + 1}", f"l{two + 1}"))] in found.mistakes
