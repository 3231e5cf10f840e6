"""Physics that the readings of one meter must obey, whatever its register map: each check says held, broken, or not judged. Pure."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

Values = Mapping[str, float]
"""Reading type → value in base units, as the meter shows it (secondary or primary side)."""

PHASES: Final = ("l1", "l2", "l3")
NOMINAL_V: Final = (220.0, 230.0)
"""Phase voltages of the Chinese and the European low-voltage grid."""
SECONDARY_V: Final = (100 / math.sqrt(3), 100.0)
"""Behind a voltage transformer: phase and line voltage."""
_VOLTAGE_BAND: Final = 0.15
_NOMINAL_HZ, _HZ_BAND = 50.0, 1.0
_TOLERANCE: Final = 0.05
"""Registers of one reading are milliseconds apart, and the load moves between them."""
_RESOLUTION_W: Final = 0.002
"""Of U·I at full scale: what rounding of the displayed values may cost at light load."""
_LEAST_POWER_FACTOR: Final = 0.15
_MOST_A: Final = 10_000.0
_TURNED_SUM: Final = 0.2
_ALIKE_SPREAD: Final = 0.35
_LOADED_VA: Final = 2.0
"""Below this on a phase nothing is judged: a meter shows its own noise there."""
_ENERGY_BAND: Final = 0.15
_REFRESH_S: Final = 3.0
"""Meters write their registers afresh only every second or few, and not all at once."""
_TELLING_SHARE: Final = 0.7
_JUDGED_COUNTS: Final = 4.0
_HOUR_S: Final = 3600.0
TOTALS: Final = ("energy_import_total", "energy_export_total", "energy_generation_total")


class Outcome(StrEnum):
    """What a check says."""

    HELD = "held"
    BROKEN = "broken"
    NOT_JUDGED = "not_judged"


class Check(msgspec.Struct, frozen=True):
    """One law and what became of it; `numbers` are the two sides of it."""

    id: str
    outcome: Outcome
    numbers: dict[str, float] = {}


class Expected(msgspec.Struct, frozen=True):
    """What is known of the site before anything is read."""

    voltages: tuple[float, ...] = NOMINAL_V
    """Phase voltages that the meter may be expected to show."""


class Flow(msgspec.Struct, frozen=True):
    """Two readings of the same meter: what the totals did in `seconds`."""

    before: Values
    after: Values
    seconds: float
    count_wh: Mapping[str, float]
    """Reading type of each total → Wh per count: nothing finer can be seen."""


def judge(values: Values, expected: Expected, flow: Flow | None = None) -> list[Check]:
    """Every check, in the order in which an installer would look."""
    checks = [_voltages(values, expected), _frequency(values), _magnitude(values), *_powers(values)]
    return checks if flow is None else [*checks, *energies(flow)]


def by_phase(values: Values, quantity: str) -> list[float] | None:
    """A quantity of the three phases; None unless all are there."""
    found = [values.get(f"{quantity}_{phase}") for phase in PHASES]
    whole = [value for value in found if value is not None]
    return whole if len(whole) == len(PHASES) else None


def _verdict(id_: str, held: bool, **numbers: float) -> Check:
    return Check(id_, Outcome.HELD if held else Outcome.BROKEN, numbers)


def _unknown(id_: str, **numbers: float) -> Check:
    return Check(id_, Outcome.NOT_JUDGED, numbers)


def _voltages(values: Values, expected: Expected) -> Check:
    """Every phase that has a voltage near nominal; a phase at 0 V is a missing one."""
    found = {phase: values[f"voltage_{phase}"] for phase in PHASES if f"voltage_{phase}" in values}
    if not found:
        return _unknown("voltage")
    near = [any(abs(u / v - 1) <= _VOLTAGE_BAND for v in expected.voltages) for u in found.values()]
    return _verdict("voltage", all(near), **found)


def _frequency(values: Values) -> Check:
    hertz = values.get("frequency")
    if hertz is None:
        return _unknown("frequency")
    return _verdict("frequency", abs(hertz - _NOMINAL_HZ) <= _HZ_BAND, hz=hertz)


def _magnitude(values: Values) -> Check:
    """No low-voltage conductor carries more: swapped words multiply current, power and energy alike."""
    currents = [abs(values[f"current_{phase}"]) for phase in PHASES if f"current_{phase}" in values]
    if not currents:
        return _unknown("magnitude")
    return _verdict("magnitude", max(currents) <= _MOST_A, most_a=max(currents))


def _powers(values: Values) -> list[Check]:
    powers = by_phase(values, "power_active")
    total = values.get("power_active")
    apparent = phase_apparent(values)
    return [
        _sum(powers, total, apparent),
        _within_apparent(powers, total, apparent),
        _power_factor(values, total, apparent),
        _signs(powers, apparent),
        _angles(powers, apparent),
    ]


def phase_apparent(values: Values) -> list[float] | None:
    """U × I of each phase; of the one phase of a meter that has no other."""
    names = [name for name in values if name.startswith(("voltage_l", "current_l"))]
    if sorted(names) == ["current_l1", "voltage_l1"]:
        return [abs(values["voltage_l1"] * values["current_l1"])]
    voltages, currents = by_phase(values, "voltage"), by_phase(values, "current")
    if voltages is None or currents is None:
        return None
    return [abs(u * i) for u, i in zip(voltages, currents, strict=True)]


def _sum(powers: list[float] | None, total: float | None, apparent: list[float] | None) -> Check:
    """Σ of the phases = total."""
    if powers is None or total is None:
        return _unknown("power_sum")
    weight = max(sum(map(abs, powers)), abs(total))
    if weight < _LOADED_VA and not (apparent and sum(apparent) > _LOADED_VA):
        return _unknown("power_sum", sum_w=sum(powers), total_w=total)
    held = abs(sum(powers) - total) <= _TOLERANCE * weight + 1
    return _verdict("power_sum", held, sum_w=sum(powers), total_w=total)


def _within_apparent(powers: list[float] | None, total: float | None, apparent: list[float] | None) -> Check:
    """|P| ≤ U × I of each phase and of all three together; and not a small part of it, which is a wrong scale."""
    if apparent is None or (powers is None and total is None):
        return _unknown("power_within_ui")
    pairs = list(zip(powers or (), apparent, strict=False))
    if total is not None:
        pairs.append((total, sum(apparent)))
    loaded = [(abs(p), s) for p, s in pairs if max(abs(p), s) > _LOADED_VA]
    if not loaded:
        return _unknown("power_within_ui")
    room = 1 + _TOLERANCE + _RESOLUTION_W
    held = all(p <= s * room + 1 for p, s in loaded)
    # One phase may carry nothing but reactive power; the whole of a load does not.
    share = sum(p for p, _s in loaded) / max(sum(s for _p, s in loaded), 1e-9)
    worst = max(p / max(s, 1e-9) for p, s in loaded)
    return _verdict("power_within_ui", held and share >= _LEAST_POWER_FACTOR, most=worst, share=share)


def _power_factor(values: Values, total: float | None, apparent: list[float] | None) -> Check:
    """P / ΣUI = power factor."""
    factor = values.get("power_factor")
    if factor is None or total is None or apparent is None or sum(apparent) <= 10 * _LOADED_VA:
        return _unknown("power_factor")
    found = abs(total) / sum(apparent)
    return _verdict("power_factor", abs(found - abs(factor)) <= 2 * _TOLERANCE, shown=factor, found=found)


def _signs(powers: list[float] | None, apparent: list[float] | None) -> Check:
    """The phases of one load flow in one direction."""
    if powers is None:
        return _unknown("direction")
    scale = max(map(abs, powers))
    loaded = [p for p in powers if abs(p) > max(_LOADED_VA, 0.1 * scale)]
    if len(loaded) < 2 or (apparent and max(apparent) <= _LOADED_VA):  # noqa: PLR2004  one alone has nothing to differ from
        return _unknown("direction")
    return _verdict(
        "direction", len({p > 0 for p in loaded}) == 1, l1_w=powers[0], l2_w=powers[1], l3_w=powers[2]
    )


def _angles(powers: list[float] | None, apparent: list[float] | None) -> Check:
    """The mark of swapped phases: two power factors turned by ±120°, so that the three of them add up to nothing."""
    factors = phase_factors(powers, apparent)
    if factors is None:
        return _unknown("phase_angles")
    turned = (
        min(factors) < 0 < max(factors)
        and abs(sum(factors)) <= _TURNED_SUM
        and spread(factors) > _ALIKE_SPREAD
    )
    return _verdict("phase_angles", not turned, l1=factors[0], l2=factors[1], l3=factors[2])


def phase_factors(powers: list[float] | None, apparent: list[float] | None) -> list[float] | None:
    """P / (U × I) of each phase; None where a phase carries too little to tell."""
    if powers is None or apparent is None or min(apparent) <= 10 * _LOADED_VA:
        return None
    return [p / s for p, s in zip(powers, apparent, strict=True)]


def spread(factors: list[float]) -> float:
    """How far the phases of a load differ in the size of their power factors."""
    return max(map(abs, factors)) - min(map(abs, factors))


def alike(factors: list[float] | None) -> bool:
    """Whether the phases may carry one kind of load."""
    return factors is None or spread(factors) <= _ALIKE_SPREAD


def energies(flow: Flow) -> list[Check]:
    """No total falls, and together they take up what the power gives: dE/dt = P."""
    deltas = {
        name: flow.after[name] - flow.before[name]
        for name in TOTALS
        if name in flow.after and name in flow.before
    }
    if not deltas:
        return [_unknown("totals_rise"), _unknown("energy_rate")]
    rise = _verdict("totals_rise", all(delta >= 0 for delta in deltas.values()), **deltas)
    before, after = flow.before.get("power_active"), flow.after.get("power_active")
    if before is None or after is None:
        return [rise, _unknown("energy_rate")]
    return [rise, _rate(deltas, (before + after) / 2, flow)]


def _rate(deltas: Mapping[str, float], power_w: float, flow: Flow) -> Check:
    expected_wh = abs(power_w) * flow.seconds / _HOUR_S
    name, other = _directions(deltas, power_w)
    found_wh, count_wh = deltas.get(name, 0.0), flow.count_wh.get(name, 1.0)
    against_wh, other_count = deltas.get(other, 0.0), flow.count_wh.get(other, 1.0)
    numbers = {
        "found_wh": found_wh,
        "expected_wh": expected_wh,
        "against_wh": against_wh,
        "seconds": flow.seconds,
    }
    if against_wh >= _JUDGED_COUNTS * other_count and against_wh > found_wh:
        return Check("energy_rate", Outcome.BROKEN, numbers)
    band_wh = _ENERGY_BAND * expected_wh + 1.5 * count_wh + abs(power_w) * _REFRESH_S / _HOUR_S
    if name in deltas and abs(found_wh - expected_wh) > max(band_wh, _JUDGED_COUNTS * count_wh):
        return Check("energy_rate", Outcome.BROKEN, numbers)
    # A band that would also take in no energy at all, or ten times as much, proves nothing.
    if name not in deltas or band_wh > _TELLING_SHARE * expected_wh:
        return _unknown("energy_rate", **numbers)
    return Check("energy_rate", Outcome.HELD, numbers)


def _directions(deltas: Mapping[str, float], power_w: float) -> tuple[str, str]:
    """The total that this power raises, and the one it must leave alone."""
    if "energy_import_total" not in deltas and "energy_generation_total" in deltas:
        return "energy_generation_total", ""
    names = ("energy_import_total", "energy_export_total")
    return names if power_w >= 0 else names[::-1]
