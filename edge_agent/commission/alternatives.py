"""The mistakes that installers and profiles make, each tried on the words that were read: which of them makes physics hold. Pure."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Final, Literal

import msgspec

from edge_agent.commission.physics import (
    PHASES,
    TOTALS,
    Check,
    Expected,
    Flow,
    Outcome,
    Values,
    alike,
    by_phase,
    judge,
    phase_apparent,
    phase_factors,
)
from edge_agent.commission.read import Words, values_of
from edge_agent.profile import Register
from metering.units import UNITS

Group = Literal["all", "energy", "gauges", "voltage", "current", "power", "frequency"]
MistakeId = Literal[
    "words_swapped",
    "bytes_swapped",
    "words_and_bytes_swapped",
    "off_by_one",
    "scale",
    "reversed_ct",
    "phase_registers_permuted",
    "phases_swapped",
]
_GROUPS: Final[tuple[Group, ...]] = ("all", "energy", "gauges", "voltage", "current", "power", "frequency")
_ORDERS: Final[tuple[tuple[MistakeId, bool, bool], ...]] = (
    ("words_swapped", True, False),
    ("bytes_swapped", False, True),
    ("words_and_bytes_swapped", True, True),
)
_POWERS_OF_TEN: Final = (-1, 1, -3, 3, -2, 2, -4, 4)
"""The likeliest first: one digit, then a prefix."""
READABLE: Final = "readable"
_INDEPENDENT_OF_LOAD: Final = frozenset({READABLE, "voltage", "frequency", "magnitude"})
_MOST_TOLD: Final = 3
_FLOAT32_STEP: Final = 2.0**-23
_TURN: Final = 2 * math.pi / 3
_TURN_MATCH: Final = 0.15


class Mistake(msgspec.Struct, frozen=True):
    """What is likely wrong: one word of it, where, and by how much."""

    id: MistakeId
    group: Group = "all"
    power_of_ten: int = 0
    """What the value has to be multiplied by, for a scale."""
    shift: int = 0
    """Addresses that the map has to move by."""
    phases: tuple[str, ...] = ()
    """Reversed: these. Swapped or permuted: whose place l1, l2 and l3 take."""


class Evidence(msgspec.Struct, frozen=True):
    """Two readings of the words of a meter and the seconds between them."""

    before: Words
    after: Words
    seconds: float


def judge_words(registers: Iterable[Register], evidence: Evidence, expected: Expected) -> list[Check]:
    """Every check of what these registers make of the words."""
    registers = tuple(registers)
    before, after = values_of(registers, evidence.before), values_of(registers, evidence.after)
    counts = {
        register.reading_type: count_wh(register, after.get(register.reading_type, 0.0))
        for register in registers
        if register.reading_type in TOTALS
    }
    flow = Flow(before, after, evidence.seconds, counts)
    return [_readable(registers, evidence.after), *judge(after, expected, flow)]


def _readable(registers: Sequence[Register], words: Words) -> Check:
    """The meter has every register of the map, whatever is in it."""
    missing = sum(
        (item.fc, address) not in words for item in registers for address in range(item.addr, item.end)
    )
    return Check(READABLE, Outcome.BROKEN if missing else Outcome.HELD, {"missing": missing})


def count_wh(register: Register, value_wh: float) -> float:
    """Wh per count of a total: the finest step that it can show. A float's grows with its value."""
    count = float(UNITS[register.unit].factor) * 10.0 ** (register.scale + (register.resolution or 0))
    return max(count, abs(value_wh) * _FLOAT32_STEP) if register.type == "float32" else count


def explain(registers: Sequence[Register], evidence: Evidence, expected: Expected) -> list[list[Mistake]]:
    """The fewest mistakes that explain what is broken, likeliest first; several where the readings cannot tell them apart."""
    base = judge_words(registers, evidence, expected)
    for tries in (_single, _double):
        found = _holding(tries(), registers, evidence, expected, base)
        if tries is _single:
            found = [*_wiring(registers, evidence, expected, base), *found]
        if found:
            return found[:_MOST_TOLD]
    return []


def _holding(
    tries: Iterable[tuple[Mistake, ...]],
    registers: Sequence[Register],
    evidence: Evidence,
    expected: Expected,
    base: Sequence[Check],
) -> list[list[Mistake]]:
    found: list[tuple[int, list[Mistake]]] = []
    for mistakes in tries:
        if any(_covered(mistakes, told) for _held, told in found):
            continue
        checks = judge_words(_changed(registers, mistakes), evidence, expected)
        if repairs(base, checks):
            found.append((sum(check.outcome is Outcome.HELD for check in checks), list(mistakes)))
    most = max((held for held, _mistakes in found), default=0)
    return [mistakes for held, mistakes in found if held == most]


def repairs(base: Sequence[Check], checks: Sequence[Check]) -> bool:
    """Nothing is broken any more, and something that was broken holds now.

    Of the rest, what depends on the load may be no longer judged: garbage looks like load where there is little. A register
    that the meter does not have may stay missing where more than that was broken.
    """
    now = {check.id: check.outcome for check in checks}
    was = {check.id for check in base if check.outcome is Outcome.BROKEN}
    if READABLE in was and was - {READABLE}:
        now.pop(READABLE, None)
    repaired = any(now.get(id_) is Outcome.HELD for id_ in was)
    lost = any(now.get(id_) is Outcome.NOT_JUDGED for id_ in was & _INDEPENDENT_OF_LOAD)
    return repaired and not lost and Outcome.BROKEN not in now.values()


def _covered(mistakes: Sequence[Mistake], told: Sequence[Mistake]) -> bool:
    """The same mistake in a part of the map, when the whole of it is told already."""
    return len(mistakes) == len(told) == 1 and (
        mistakes[0].id == told[0].id and mistakes[0].shift == told[0].shift and told[0].group == "all"
    )


def _single() -> Iterator[tuple[Mistake, ...]]:
    for group in _GROUPS:
        yield from ((change,) for change in [*_orders(group), *_shifts(group)])
    yield from ((scale,) for scale in _scales())


def _double() -> Iterator[tuple[Mistake, ...]]:
    structures = [*_orders("all"), *_shifts("all")]
    yield from ((order, shift) for order in _orders("all") for shift in _shifts("all"))
    yield from ((structure, scale) for structure in structures for scale in _scales())


def _orders(group: Group) -> list[Mistake]:
    return [Mistake(id_, group) for id_, _words, _bytes in _ORDERS]


def _shifts(group: Group) -> list[Mistake]:
    return [Mistake("off_by_one", group, shift=shift) for shift in (-1, 1)]


def _scales() -> Iterator[Mistake]:
    for exponent in _POWERS_OF_TEN:
        for group in _GROUPS:
            if group not in {"all", "gauges"}:
                yield Mistake("scale", group, power_of_ten=exponent)


def _changed(registers: Iterable[Register], mistakes: Sequence[Mistake]) -> list[Register]:
    """The registers as they would be without the mistakes."""
    changed = list(registers)
    for mistake in mistakes:
        changed = [
            register.model_copy(update=_update(register, mistake)) if _in(register, mistake.group) else register
            for register in changed
        ]  # fmt: skip
    return [register for register in changed if register.addr >= 0]


def _in(register: Register, group: Group) -> bool:
    is_total = register.reading_type.endswith("_total")
    if group in {"all", "energy", "gauges"}:
        return group == "all" or is_total == (group == "energy")
    return (
        not is_total and register.reading_type.startswith(group) and register.reading_type != "power_factor"
    )


def _update(register: Register, mistake: Mistake) -> dict[str, object]:
    if mistake.id == "scale":
        return {"scale": register.scale + mistake.power_of_ten}
    if mistake.id == "off_by_one":
        return {"addr": register.addr + mistake.shift}
    words, octets = next((words, octets) for id_, words, octets in _ORDERS if id_ == mistake.id)
    return {
        "word_order": _other(register.word_order, "high_first", "low_first") if words else register.word_order,
        "byte_order": _other(register.byte_order, "big", "little") if octets else register.byte_order,
    }  # fmt: skip


def _other(value: str, one: str, two: str) -> str:
    return two if value == one else one


def _wiring(
    registers: Sequence[Register], evidence: Evidence, expected: Expected, base: Sequence[Check]
) -> list[list[Mistake]]:
    """Mistakes behind the meter's terminals: they change what phases mean, not what registers hold."""
    broken = {check.id for check in base if check.outcome is Outcome.BROKEN}
    values = values_of(registers, evidence.after)
    powers, apparent = by_phase(values, "power_active"), phase_apparent(values)
    if powers is None or not broken <= {
        "direction",
        "phase_angles",
        "power_within_ui",
        "energy_rate",
        "power_sum",
    }:
        return []  # fmt: skip
    found: list[list[Mistake]] = []
    if "phase_angles" in broken and apparent is not None:
        found += [[Mistake("phases_swapped", phases=order)] for order in _turned(powers, apparent)]
    tries: list[tuple[Mistake, Callable[[Sequence[float]], list[float]]]] = []
    if "direction" in broken:
        tries += list(_reversals(powers))
    if "power_within_ui" in broken:
        tries += list(_permutations())
    for mistake, repair in tries:
        repaired = _with_powers(values, repair(powers))
        # Energy was counted as wired: only what is shown now can be judged of a wiring.
        now = judge(repaired, expected)
        was = [check for check in base if check.id in {item.id for item in now}]
        if repairs(was, now) and alike(phase_factors(by_phase(repaired, "power_active"), apparent)):
            found.append([mistake])
    return found


def _reversals(powers: Sequence[float]) -> Iterator[tuple[Mistake, Callable[[Sequence[float]], list[float]]]]:
    """The phases in the minority run backwards; two of three are taken for it only with the rest."""
    for sign in sorted((1, -1), key=lambda sign: sum(p * sign > 0 for p in powers)):
        backwards = [p * sign > 0 for p in powers]
        if any(backwards) and not all(backwards):
            phases = tuple(phase for phase, back in zip(PHASES, backwards, strict=True) if back)
            yield Mistake("reversed_ct", "power", phases=phases), _reversing(backwards)
            return


def _reversing(backwards: Sequence[bool]) -> Callable[[Sequence[float]], list[float]]:
    return lambda powers: [-p if back else p for p, back in zip(powers, backwards, strict=True)]


def _permutations() -> Iterator[tuple[Mistake, Callable[[Sequence[float]], list[float]]]]:
    for order in permutations(range(3)):
        if order != (0, 1, 2):
            phases = tuple(PHASES[index] for index in order)
            yield Mistake("phase_registers_permuted", "power", phases=phases), _permuting(order)


def _permuting(order: Sequence[int]) -> Callable[[Sequence[float]], list[float]]:
    return lambda powers: [powers[index] for index in order]


def _with_powers(values: Values, powers: Sequence[float]) -> Mapping[str, float]:
    """The values with other phase powers, and the total that a meter wired so would show."""
    phases = {f"power_active_{phase}": power for phase, power in zip(PHASES, powers, strict=True)}
    total = {"power_active": sum(powers)} if "power_active" in values else {}
    # The meter's own power factor follows its total; it says nothing about another wiring.
    return {**{name: value for name, value in values.items() if name != "power_factor"}, **phases, **total}


def _turned(powers: Sequence[float], apparent: Sequence[float]) -> Iterator[tuple[str, ...]]:
    """Swapped pairs: the third phase keeps its angle, the pair's are turned by 120° either way."""
    factors = [max(-1.0, min(1.0, p / s)) for p, s in zip(powers, apparent, strict=True)]
    for kept, one, two in ((2, 0, 1), (1, 0, 2), (0, 1, 2)):
        angle = math.acos(factors[kept])
        wanted = sorted((math.cos(angle + _TURN), math.cos(angle - _TURN)))
        seen = sorted((factors[one], factors[two]))
        if factors[kept] > 0 and all(abs(a - b) <= _TURN_MATCH for a, b in zip(wanted, seen, strict=True)):
            yield PHASES[one], PHASES[two]
