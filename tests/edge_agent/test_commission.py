"""Commissioning over real Modbus/TCP: right profiles fit, each usual mistake is named, and nothing is claimed that is not known."""

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_agent.bus import ReadFailed
from edge_agent.commission import words
from edge_agent.commission.alternatives import Mistake
from edge_agent.commission.physics import Expected, Flow, Outcome, energies, judge
from edge_agent.commission.probe import (
    Clamp,
    Probe,
    RatioState,
    Timing,
    Verdict,
    expected_voltages,
    probe_meter,
)
from edge_agent.commission.read import RegisterReading, open_bus, read_registers, values_of
from edge_agent.commission.scan import Found, scan_units
from edge_agent.commission.status import outbox_status
from edge_agent.config import Bus
from edge_agent.outbox import Draft, Outbox, OutboxError
from edge_agent.profile import Pattern, Profile, Register, fixed_profiles, load_profile
from edge_agent.registers import encode
from edge_agent.simulator.config import SimulatorConfig, parse_config
from edge_agent.simulator.meters import Area, SimulatedMeter, build_meters
from edge_agent.simulator.server import ModbusServers
from metering.units import UNITS
from tanyun.commands.group import root

NOON_MS = 1_793_592_000_000 + 4 * 3_600_000
SECONDARY, FLOATS, LONGS = "acrel_dtsd1352", "eastron_sdm630", "schneider_iem3000"
JUDGED = [name for name in fixed_profiles() if load_profile(name).kind in {"electricity", "pv_inverter"}]
TOO_LITTLE = {"goodwe_dt", "sungrow_sg_string_grid"}
"""Of two words they have no more than a total and perhaps a power: nothing tells swapped words within seconds."""
UNITS_OF = {SECONDARY: 1, FLOATS: 2, LONGS: 3}


def park(rated_w: int = 200_000) -> SimulatorConfig:
    meters = [
        {
            "id": f"m{unit}",
            "gateway": "g",
            "unit": unit,
            "profile": profile,
            "ct": 80 if profile == SECONDARY else 1,
            # A float32 total tells no more apart than 160 MWh in counts of 10 Wh.
            "load": {"kind": "factory", "rated_w": min(rated_w, 2_000) if profile == FLOATS else rated_w},
            "initial": {"energy_import_total": 1_234_567_000 if profile != FLOATS else 0},
        }
        for profile, unit in UNITS_OF.items()
    ]
    return parse_config({"seed": "s", "servers": [{"gateway": "g", "port": 0}], "meters": meters})


class Now:
    """The meters' time and the probe's clock, moved together by the probe's own pause."""

    def __init__(self) -> None:
        self.t_ms = NOON_MS

    def ms(self) -> int:
        return self.t_ms

    async def pause(self, seconds: float) -> None:
        self.t_ms += round(seconds * 1000)

    def timing(self, seconds: float = 60) -> Timing:
        return Timing(seconds, self.pause, lambda: self.t_ms / 1000)


Values = Mapping[str, float]
Wiring = Callable[[Values], Values]


class WiredMeter(SimulatedMeter):
    """A meter with a mistake behind its terminals: what it shows of its phases follows from that."""

    wiring: Wiring

    def image(self, t_ms: int) -> dict[int, Area]:
        areas = SimulatedMeter.image(self, t_ms)
        words = {
            (fc, area.first + i): word for fc, area in areas.items() for i, word in enumerate(area.words)
        }
        registers = {register.reading_type: register for register in self.profile.registers}
        for name, value in self.wiring(values_of(registers.values(), words)).items():
            if name in registers:
                register, area = registers[name], areas[registers[name].fc]
                at = register.addr - area.first
                area.words[at : at + register.width] = as_words(register, value)
        return areas


def as_words(register: Register, value: float) -> list[int]:
    raw = register.sign * value / float(UNITS[register.unit].factor) / 10.0**register.scale
    return encode(register, raw if register.type.startswith("float") else round(raw))


def wired(meter: SimulatedMeter, wiring: Wiring) -> SimulatedMeter:
    other = WiredMeter(*(getattr(meter, field.name) for field in fields(SimulatedMeter)))
    object.__setattr__(other, "wiring", wiring)
    return other


def bus_at(port: int) -> Bus:
    return Bus(id="line", host="127.0.0.1", port=port, timeout_s=1.0, retries=0)


def probed(
    profile: Profile,
    unit: int,
    *,
    config: SimulatorConfig | None = None,
    wiring: Wiring | None = None,
    clamp: Clamp | None = None,
    seconds: float = 600,
    expected: Expected | None = None,
) -> Probe:
    async def visit() -> Probe:
        now, chosen = Now(), config or park()
        meters = list(build_meters(chosen).values())
        if wiring is not None:
            meters = [wired(meter, wiring) for meter in meters]
        async with ModbusServers(chosen.servers, meters, now.ms) as servers:
            with closing(open_bus(bus_at(servers.ports["g"]))) as bus:
                return await probe_meter(
                    bus, unit, profile, expected or expected_voltages(profile), now.timing(seconds), clamp
                )

    return asyncio.run(visit())


def changed(name: str, change: Callable[[Register], Mapping[str, Any]]) -> Profile:
    profile = load_profile(name)
    registers = tuple(item.model_copy(update=dict(change(item))) for item in profile.registers)
    return profile.model_copy(update={"registers": registers})


def likeliest(found: Probe) -> list[Mistake]:
    assert found.verdict is Verdict.DOES_NOT_FIT
    assert found.mistakes, [check for check in found.checks if check.outcome is Outcome.BROKEN]
    return found.mistakes[0]


@pytest.mark.parametrize("name", UNITS_OF)
def test_the_right_profile_fits_and_its_energy_is_judged(name: str) -> None:
    found = probed(load_profile(name), UNITS_OF[name])
    assert found.verdict is Verdict.FITS
    assert found.mistakes == []
    held = {check.id for check in found.checks if check.outcome is Outcome.HELD}
    assert {"readable", "voltage", "frequency", "power_within_ui", "totals_rise", "energy_rate"} <= held
    assert found.ratio.state is RatioState.UNPROVEN


def alone(name: str) -> SimulatorConfig:
    """A park with one meter of this model at unit 1, loaded so that its finest total moves."""
    profile = load_profile(name)
    kind = "pv" if profile.kind == "pv_inverter" else "factory"
    coarse = any(item.resolution is not None and item.type == "float32" for item in profile.registers)
    load = {"kind": kind, "rated_w": 2_000 if coarse else 20_000}
    meter = {"id": "m", "gateway": "g", "unit": 1, "profile": name, "load": load}
    return parse_config({"seed": "s", "servers": [{"gateway": "g", "port": 0}], "meters": [meter]})


@pytest.mark.parametrize("name", JUDGED)
def test_every_bundled_profile_fits_the_meter_that_it_describes(name: str) -> None:
    found = probed(load_profile(name), 1, config=alone(name))
    assert found.verdict is Verdict.FITS, [check for check in found.checks if check.outcome is Outcome.BROKEN]


@pytest.mark.parametrize("name", UNITS_OF)
@pytest.mark.parametrize(
    ("mistake", "change"),
    [
        ("words_swapped", {"word_order": "low_first"}),
        ("bytes_swapped", {"byte_order": "little"}),
        ("words_and_bytes_swapped", {"word_order": "low_first", "byte_order": "little"}),
    ],
)
def test_a_wrong_order_of_words_or_bytes_is_named(name: str, mistake: str, change: dict[str, str]) -> None:
    (told,) = likeliest(probed(changed(name, lambda _item: change), UNITS_OF[name]))
    # Where every register has one word the two byte mistakes are one; where it has two, words alone may be enough.
    assert told.id == mistake
    assert told.group == "all"


@pytest.mark.parametrize("name", [name for name in JUDGED if name not in TOO_LITTLE])
def test_ten_seconds_are_enough_to_see_swapped_words_in_every_bundled_profile(name: str) -> None:
    def swapped(item: Register) -> dict[str, str]:
        return {"word_order": "low_first" if item.word_order == "high_first" else "high_first"}

    found = probed(changed(name, swapped), 1, config=alone(name), seconds=10)
    assert likeliest(found) == [Mistake("words_swapped")]


@pytest.mark.parametrize(
    ("name", "shift"),
    [(SECONDARY, -1), (SECONDARY, 1), (FLOATS, -1), (LONGS, -1), (LONGS, 1)],  # FLOATS begin at address 0
)
def test_a_map_that_is_off_by_one_is_named_with_its_direction(name: str, shift: int) -> None:
    (told,) = likeliest(probed(changed(name, lambda item: {"addr": item.addr - shift}), UNITS_OF[name]))
    assert (told.id, told.shift) == ("off_by_one", shift)


@pytest.mark.parametrize(
    ("group", "quantity"),
    [
        ("voltage", "voltage"),
        ("current", "current"),
        ("power", "power_a"),
        ("energy", "energy"),
        ("frequency", "freq"),
    ],
)
@pytest.mark.parametrize("exponent", [-1, 1, 3])
def test_a_scale_that_is_off_by_powers_of_ten_is_named(group: str, quantity: str, exponent: int) -> None:
    def change(item: Register) -> dict[str, int]:
        return {"scale": item.scale - exponent} if item.reading_type.startswith(quantity) else {}

    (told,) = likeliest(probed(changed(SECONDARY, change), UNITS_OF[SECONDARY]))
    assert (told.id, told.group, told.power_of_ten) == ("scale", group, exponent)


def test_two_mistakes_at_once_are_told_apart() -> None:
    def change(item: Register) -> dict[str, Any]:
        scale = item.scale - 1 if item.reading_type.startswith("voltage") else item.scale
        return {"word_order": "low_first", "scale": scale}

    told = likeliest(probed(changed(FLOATS, change), UNITS_OF[FLOATS]))
    assert [item.id for item in told] == ["words_swapped", "scale"]
    assert (told[1].group, told[1].power_of_ten) == ("voltage", 1)


def phases_of(values: Values, factors: tuple[float, float, float]) -> Values:
    """Phase powers of these power factors, and their total."""
    powers = {
        f"power_active_{phase}": values[f"voltage_{phase}"] * values[f"current_{phase}"] * factor
        for phase, factor in zip(("l1", "l2", "l3"), factors, strict=True)
    }
    total = sum(powers.values())
    apparent = sum(values[f"voltage_{phase}"] * values[f"current_{phase}"] for phase in ("l1", "l2", "l3"))
    return {**powers, "power_active": total, "power_factor": abs(total) / apparent}


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_a_reversed_ct_is_named_with_its_phase(phase: int) -> None:
    factors = [0.92, 0.92, 0.92]
    factors[phase] *= -1

    def wiring(values: Values) -> Values:
        return phases_of(values, (factors[0], factors[1], factors[2]))

    found = probed(load_profile(SECONDARY), UNITS_OF[SECONDARY], wiring=wiring)
    assert likeliest(found) == [Mistake("reversed_ct", "power", phases=(f"l{phase + 1}",))]


@pytest.mark.parametrize(("one", "two"), [(0, 1), (0, 2), (1, 2)])
def test_swapped_phases_are_named_as_a_pair(one: int, two: int) -> None:
    angle = math.radians(20)
    factors = [math.cos(angle)] * 3
    factors[one], factors[two] = math.cos(angle + 2 * math.pi / 3), math.cos(angle - 2 * math.pi / 3)

    def wiring(values: Values) -> Values:
        return phases_of(values, (factors[0], factors[1], factors[2]))

    found = probed(load_profile(SECONDARY), UNITS_OF[SECONDARY], wiring=wiring)
    assert likeliest(found)[0].id == "phases_swapped"
    assert [mistakes[0].phases for mistakes in found.mistakes] == [(f"l{one + 1}", f"l{two + 1}")]


def test_powers_in_another_order_than_the_currents_are_named() -> None:
    def wiring(values: Values) -> Values:
        """An uneven load, whose powers of the first two phases stand in each other's place."""
        currents = {"current_l1": 4.0, "current_l2": 1.0, "current_l3": 2.0}
        right = phases_of({**values, **currents}, (0.9, 0.9, 0.9))
        swapped = {"power_active_l1": right["power_active_l2"], "power_active_l2": right["power_active_l1"]}
        return {**right, **currents, **swapped}

    found = probed(load_profile(SECONDARY), UNITS_OF[SECONDARY], wiring=wiring)
    assert [Mistake("phase_registers_permuted", "power", phases=("l2", "l1", "l3"))] in found.mistakes


def test_feed_in_on_all_phases_is_no_mistake() -> None:
    values = {f"voltage_l{i}": 230.0 for i in (1, 2, 3)} | {f"current_l{i}": 10.0 for i in (1, 2, 3)}
    checks = judge({**values, **phases_of(values, (-0.99, -0.99, -0.99)), "frequency": 50.0}, Expected())
    assert Outcome.BROKEN not in {check.outcome for check in checks}


def test_a_missing_phase_does_not_fit() -> None:
    checks = judge({"voltage_l1": 231.0, "voltage_l2": 0.0, "voltage_l3": 229.0}, Expected())
    assert checks[0].outcome is Outcome.BROKEN


def test_without_load_the_energy_is_not_judged_instead_of_held() -> None:
    found = probed(load_profile(SECONDARY), UNITS_OF[SECONDARY], seconds=1)
    outcomes = {check.id: check.outcome for check in found.checks}
    assert outcomes["energy_rate"] is Outcome.NOT_JUDGED


@pytest.mark.parametrize(
    ("rise_wh", "seconds", "outcome"),
    [
        (500.0, 10.0, Outcome.HELD),
        (350.0, 10.0, Outcome.HELD),  # the meter wrote its total two seconds late
        (0.0, 10.0, Outcome.BROKEN),
        (5000.0, 10.0, Outcome.BROKEN),
        (50.0, 10.0, Outcome.BROKEN),
        (0.0, 2.0, Outcome.NOT_JUDGED),
        (-500.0, 10.0, Outcome.BROKEN),
    ],
)
def test_energy_against_power_allows_for_a_slow_meter_and_for_no_factor_of_ten(
    rise_wh: float, seconds: float, outcome: Outcome
) -> None:
    before = {"power_active": 180_000.0, "energy_import_total": 1e6}
    after = {**before, "energy_import_total": 1e6 + rise_wh}
    _totals, rate = energies(Flow(before, after, seconds, {"energy_import_total": 10.0}))
    assert rate.outcome is outcome


def test_power_that_raises_the_other_total_has_the_wrong_sign() -> None:
    before = {"power_active": -180_000.0, "energy_import_total": 1e6, "energy_export_total": 0.0}
    after = {**before, "energy_import_total": 1e6 + 500}
    counts = {"energy_import_total": 10.0, "energy_export_total": 10.0}
    assert energies(Flow(before, after, 10, counts))[1].outcome is Outcome.BROKEN


def test_registers_that_the_meter_lacks_do_not_fit_and_cost_their_neighbours_nothing() -> None:
    profile = load_profile(SECONDARY)
    extra = profile.registers[0].model_copy(update={"addr": 390, "reading_type": "reactive_import_total"})
    wider = profile.model_copy(update={"registers": (*profile.registers, extra)})
    found = probed(wider, UNITS_OF[SECONDARY])
    outcomes = {check.id: check.outcome for check in found.checks}
    assert outcomes["readable"] is Outcome.BROKEN
    assert outcomes["power_factor"] is Outcome.HELD
    assert found.unread == ["reactive_import_total"]


def test_a_silent_unit_is_an_error_and_no_verdict() -> None:
    with pytest.raises(ReadFailed):
        probed(load_profile(SECONDARY), 99)


@pytest.mark.parametrize(
    ("ct", "error", "state"),
    [(80, 1.0, "proven"), (80, 1.03, "proven"), (60, 1.0, "contradicted"), (None, 1.0, "unproven")],
)
def test_only_a_clamp_that_agrees_proves_the_ratio(ct: float | None, error: float, state: str) -> None:
    profile = load_profile(SECONDARY)
    shown = probed(profile, UNITS_OF[SECONDARY]).values["current_l2"]
    found = probed(profile, UNITS_OF[SECONDARY], clamp=Clamp(shown * 80 * error, "l2", ct))
    assert found.ratio.state == state
    assert found.ratio.suggested == pytest.approx(80 * error, rel=0.01)
    assert (found.verdict is Verdict.FITS) == (state != "contradicted")
    assert ("变比未证实 / ratio unproven" in words.ratio_sentence(found.ratio)) == (state == "unproven")


def test_a_clamp_proves_nothing_at_a_current_near_zero() -> None:
    clamp = Clamp(0.5, "l1", 80)
    found = probed(load_profile(SECONDARY), UNITS_OF[SECONDARY], config=park(rated_w=1), clamp=clamp)
    assert found.ratio.state is RatioState.UNPROVEN


def test_behind_a_voltage_transformer_other_voltages_are_nominal() -> None:
    secondary, primary = load_profile(SECONDARY), load_profile(FLOATS)
    assert expected_voltages(secondary, pt=100).voltages == pytest.approx((57.735, 100))
    assert expected_voltages(primary, pt=100).voltages == pytest.approx((5773.5, 10_000))
    assert expected_voltages(primary, nominal_v=120, pt=100).voltages == (120,)


def test_every_reading_shows_its_words_beside_its_value() -> None:
    async def visit() -> list[RegisterReading]:
        now, config = Now(), park()
        profile = load_profile(SECONDARY)
        broken = profile.registers[0].model_copy(
            update={"addr": 390, "reading_type": "reactive_import_total"}
        )
        silent = profile.registers[2].model_copy(
            update={"reading_type": "temperature_1", "invalid": (Pattern(value=0),), "addr": 370}
        )
        wider = profile.model_copy(update={"registers": (*profile.registers, broken, silent)})
        async with ModbusServers(config.servers, build_meters(config).values(), now.ms) as servers:
            with closing(open_bus(bus_at(servers.ports["g"]))) as bus:
                return await read_registers(bus, 1, wider)

    rows = {row.reading_type: row for row in asyncio.run(visit())}
    total = rows["energy_import_total"]
    assert (total.address, total.type, total.unit) == (10, "uint32", "kWh")
    assert total.raw == int("".join(total.words), 16)
    assert isinstance(total.raw, int)
    assert total.value == total.raw / 100
    assert rows["reactive_import_total"].error
    assert rows["reactive_import_total"].words == ()
    assert rows["temperature_1"].invalid
    assert rows["temperature_1"].words == ("0000",)
    assert sum(row.error is None for row in rows.values()) == len(rows) - 1


def scanned(config: SimulatorConfig, names: list[str]) -> dict[int, Found | None]:
    async def visit() -> dict[int, Found | None]:
        now = Now()
        async with ModbusServers(config.servers, build_meters(config).values(), now.ms) as servers:
            with closing(open_bus(bus_at(servers.ports["g"]))) as bus:
                profiles = [load_profile(name) for name in names]
                return {unit: item async for unit, item in scan_units(bus, range(1, 7), profiles, Expected())}

    return asyncio.run(visit())


def test_a_scan_finds_the_units_and_the_profiles_that_fit() -> None:
    found = scanned(park(), fixed_profiles())
    assert [unit for unit, item in found.items() if item is not None] == [1, 2, 3]
    for name, unit in UNITS_OF.items():
        item = found[unit]
        assert item is not None
        assert item.fits[0].profile == name
    first = found[1]
    assert first is not None
    assert first.answers[4] == "refused"


def test_a_unit_that_no_profile_describes_is_found_all_the_same() -> None:
    item = scanned(park(), ["abb_b23"])[2]
    assert item is not None
    assert item.fits == []


# The commands, from the configuration to the exit code.


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A gateway's configuration; its endpoint is filled in by the test."""
    text = """
park = "p"
gateway = "g"
broker = {port = 1, user = "g", password_file = "secrets/none"}
outbox = {path = "outbox.db"}
buses = [{id = "line", host = "127.0.0.1", port = PORT}]
meters = [{id = "main", bus = "line", unit = 1, profile = "acrel_dtsd1352"},
          {id = "wrong", bus = "line", unit = 2, profile = "acrel_dtsd1352"}]
"""
    path = tmp_path / "edge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def tanyun(*args: str) -> Result:
    return CliRunner().invoke(root, ["--lang", "en", "edge", *args], catch_exceptions=False)


def with_port(site: Path, port: int) -> Path:
    site.write_text(site.read_text(encoding="utf-8").replace("PORT", str(port)), encoding="utf-8")
    return site


def at_the_site(site: Path, *args: str) -> Result:
    """A command against real meters that run beside it."""

    async def visit() -> Result:
        now, config = Now(), park()
        async with ModbusServers(config.servers, build_meters(config).values(), now.ms) as servers:
            config_file = with_port(site, servers.ports["g"])
            return await asyncio.to_thread(tanyun, *args, "--config", str(config_file))

    return asyncio.run(visit())


def test_the_read_command_prints_words_and_values(site: Path) -> None:
    said = at_the_site(site, "read", "main")
    assert said.exit_code == 0, said.output
    assert re.search(
        r"^10 +3 +energy_import_total +uint32 +[0-9A-F]{4} [0-9A-F]{4} +\d+ +[\d.]+ kWh$",
        said.output,
        re.MULTILINE,
    )


def test_the_read_command_fails_when_registers_are_missing(site: Path) -> None:
    said = at_the_site(site, "read", "wrong", "--json")
    assert said.exit_code == 1
    assert any(row["error"] for row in json.loads(said.output)["registers"])


def test_the_scan_command_names_units_profiles_and_configured_meters(site: Path) -> None:
    said = at_the_site(site, "scan", "--bus", "line", "--units", "1-4", "--json")
    found = json.loads(said.output)["found"]
    assert [(item["unit"], item["meter"]) for item in found] == [(1, "main"), (2, "wrong"), (3, None)]
    assert found[0]["fits"][0]["profile"] == SECONDARY


def test_the_probe_command_fits_with_exit_code_0_and_calls_the_ratio_unproven(site: Path) -> None:
    said = at_the_site(site, "probe", "main", "--seconds", "1")
    assert said.exit_code == 0, said.output
    assert "The register map fits this meter." in said.output
    assert "变比未证实 / ratio unproven" in said.output


def test_commands_name_what_there_is_instead(site: Path) -> None:
    said = at_the_site(site, "read", "nobody")
    assert said.exit_code == 78
    assert "main, wrong" in said.output
    assert tanyun("scan", "--bus", "x", "--config", str(site)).exit_code == 78
    assert tanyun("scan", "--bus", "line", "--units", "0-300", "--config", str(site)).exit_code == 2


def test_a_dead_line_is_a_sentence(site: Path) -> None:
    with_port(site, 1)
    said = tanyun("probe", "main", "--config", str(site))
    assert said.exit_code == 1
    assert "Check power, wiring" in said.output


def filled(path: Path) -> Outbox:
    """Six frames of two meters, of which the server has two."""
    outbox = Outbox(path, 10_000_000)
    ids = [outbox.declare(meter, meter.encode()) for meter in ("main", "wrong")]
    for t_ms in (1000, 2000, 3000):
        outbox.append([Draft(id_, t_ms, b"x") for id_ in ids], t_ms)
    outbox.acknowledge("j", outbox.epoch, 2)
    outbox.append([], 4000)
    return outbox


@pytest.mark.parametrize("running", [True, False])
def test_the_status_is_that_of_the_outbox_while_the_agent_runs_and_after(
    tmp_path: Path, running: bool
) -> None:
    path = tmp_path / "outbox.db"
    outbox = filled(path)
    if not running:
        outbox.close()
    before = sorted(tmp_path.iterdir())
    found = outbox_status(path, 10_000_000, ["main", "wrong", "new"])
    assert sorted(tmp_path.iterdir()) == before
    assert (found.epoch, found.last, found.acked, found.backlog) == (outbox.epoch, 6, 2, 4)
    assert (found.oldest_unacked_ms, found.polled_ms, found.journal_id) == (2000, 4000, "j")
    assert [(item.meter, item.number, item.t_ms) for item in found.meters] == [
        ("main", 5, 3000),
        ("wrong", 6, 3000),
        ("new", None, None),
    ]
    if running:
        outbox.append([], 5000)
        outbox.close()


def test_a_file_that_is_no_outbox_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"no database" * 100)
    with pytest.raises(OutboxError):
        outbox_status(tmp_path / "outbox.db", 1, [])


def test_the_status_command_says_what_waits(site: Path) -> None:
    with_port(site, 1)
    missing = tanyun("status", "--config", str(site))
    assert (missing.exit_code, "no outbox yet" in missing.output) == (1, True)
    filled(site.parent / "outbox.db").close()
    said = json.loads(tanyun("status", "--json", "--config", str(site)).output)
    assert (said["backlog"], said["acked"], said["last"]) == (4, 2, 6)
    assert said["backlog_age_s"] > 0
    text = tanyun("status", "--config", str(site)).output
    assert "4 frames" in text
    assert "2 of 6 frames" in text
