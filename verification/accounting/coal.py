"""Energy by type in its own unit and in standard coal (GB/T 2589-2020), by printed coefficients only."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from factors.coal import BASE_UNITS, CoalCoefficient
from storage.facts.kinds import EnergyFact
from verification.accounting.books import Books
from verification.completeness import WH_PER_KWH
from verification.document import exact_decimal
from verification.lines import EnergyLine, EnergyTotal, HeatLine

ELECTRICITY = "electricity"
_WEAKEST = ("estimated", "bill", "metered")
_UNIT_IN_PRINTED: dict[tuple[str, str], Fraction] = {
    ("t", "kg"): Fraction(1000), ("kg", "kg"): Fraction(1), ("1e4Nm3", "m3"): Fraction(10_000), ("Nm3", "m3"): Fraction(1),
    ("GJ", "MJ"): Fraction(1000), ("t", "t"): Fraction(1), ("kWh", "kWh"): Fraction(1), ("m3", "m3"): Fraction(1), ("m3", "t"): Fraction(1),
}  # fmt: skip
"""(unit of a row, unit of the printed coefficient) → how many; 1 m³ of water is taken as 1 t."""

Coefficients = dict[str, CoalCoefficient]


def energy_lines(
    books: Books,
    coefficients: Coefficients,
    purchased_wh: int | None,
    heat: Sequence[HeatLine],
    metered_water_l: int | None,
) -> tuple[EnergyLine, ...]:
    """Electricity, then what was reported, by energy code."""
    equal = books.benchmark(books.scope, "equal_value_kgce_per_kwh")
    lines = [_electricity(coefficients[ELECTRICITY], purchased_wh, equal.value if equal else None)]
    by_energy: dict[tuple[str, str], list[EnergyFact]] = {}
    metered = [line for line in heat if line.basis == "metered"]
    for fact in books.energies():
        if metered and fact.energy == "heat":
            continue  # The metered line stands for it, without a figure: see fuels.heat_lines.
        by_energy.setdefault((fact.energy, fact.unit), []).append(fact)
    if metered:
        lines.append(_heat(coefficients["heat"], heat))
    lines += [
        _reported(coefficients.get(energy), facts) for (energy, _unit), facts in sorted(by_energy.items())
    ]
    if metered_water_l is not None:
        lines.append(_water(coefficients["fresh_water"], metered_water_l))
    return tuple(lines)


def energy_total(
    lines: Iterable[EnergyLine], coefficients: Coefficients, nonfossil_wh: int | None
) -> EnergyTotal:
    """What counts, in standard coal; by equal value where the registry gives the year's coefficient."""
    counted = [line for line in lines if line.in_total]
    equal = [
        line.equal_value_kgce or (line.standard_coal_kgce if line.id != ELECTRICITY else None)
        for line in counted
    ]
    per_wh = coefficients[ELECTRICITY].kgce_per_base_unit
    return EnergyTotal(
        standard_coal_kgce=_sum(line.standard_coal_kgce for line in counted),
        equal_value_kgce=_sum(equal),
        nonfossil_kgce=None if nonfossil_wh is None else exact_decimal(per_wh * nonfossil_wh),
    )


def _sum(values: Iterable[str | None]) -> str | None:
    known = list(values)
    return (
        None
        if None in known
        else exact_decimal(sum((Fraction(v) for v in known if v is not None), Fraction(0)))
    )


def _electricity(coefficient: CoalCoefficient, wh: int | None, equal: Decimal | None) -> EnergyLine:
    kwh = None if wh is None else exact_decimal(Fraction(wh, WH_PER_KWH))
    known = None if wh is None or equal is None else exact_decimal(Fraction(wh, WH_PER_KWH) * Fraction(equal))
    return _line(
        coefficient, ELECTRICITY, "kWh", kwh, kwh, "metered",
        equal_value_coefficient_kgce=None if equal is None else str(equal), equal_value_kgce=known,
    )  # fmt: skip


def _heat(coefficient: CoalCoefficient, lines: Sequence[HeatLine]) -> EnergyLine:
    kj = [line.heat_kj for line in lines]
    gj = (
        None
        if None in kj
        else exact_decimal(sum((Fraction(int(v), 1_000_000) for v in kj if v), Fraction(0)))
    )
    return _line(coefficient, "heat", "GJ", gj, gj, "metered")


def _water(coefficient: CoalCoefficient, litres: int) -> EnergyLine:
    m3 = exact_decimal(Fraction(litres, 1000))
    return _line(coefficient, "fresh_water", "m3", m3, m3, "metered")


def _reported(coefficient: CoalCoefficient | None, facts: Sequence[EnergyFact]) -> EnergyLine:
    first = facts[0]
    basis = next(word for word in _WEAKEST if any(fact.basis == word for fact in facts))
    return _line(
        coefficient, first.energy, first.unit, _added(facts, lambda f: f.purchased), _added(facts, lambda f: f.consumed), basis,
        production_use=_added(facts, lambda f: f.production_use), other_use=_added(facts, lambda f: f.other_use),
        feedstock_use=_added(facts, lambda f: f.feedstock_use), transport_use=_added(facts, lambda f: f.transport_use),
        opening_stock=_added(facts, lambda f: f.opening_stock), closing_stock=_added(facts, lambda f: f.closing_stock),
    )  # fmt: skip


def _added(facts: Sequence[EnergyFact], of: Callable[[EnergyFact], Decimal | None]) -> str | None:
    return _sum(None if (value := of(fact)) is None else str(value) for fact in facts)


def _line(
    coefficient: CoalCoefficient | None,
    energy: str,
    unit: str,
    purchased: str | None,
    consumed: str | None,
    basis: str,
    **more: str | None,
) -> EnergyLine:
    per_unit = _per_unit(coefficient, unit)
    known = None if consumed is None or per_unit is None else exact_decimal(Fraction(consumed) * per_unit)
    return EnergyLine(
        id=energy,
        label_zh=coefficient.label_zh if coefficient else energy,
        label_en=coefficient.label_en if coefficient else energy,
        unit=unit,
        purchased=purchased,
        consumed=consumed,
        basis=basis,  # type: ignore[arg-type]  # one of the three words, checked by the registry
        in_total=not (coefficient is not None and coefficient.medium),
        coefficient_kgce=None if per_unit is None else exact_decimal(per_unit),
        coefficient_source=coefficient.source if coefficient else "",
        coefficient_verified=coefficient.verified if coefficient else "",
        standard_coal_kgce=known,
        **more,
    )


def _per_unit(coefficient: CoalCoefficient | None, unit: str) -> Fraction | None:
    """Kgce per unit of the row; None where the printed coefficient is per something else."""
    if coefficient is None or coefficient.unit not in BASE_UNITS:
        return None
    many = _UNIT_IN_PRINTED.get((unit, coefficient.unit))
    return None if many is None else many * Fraction(coefficient.kgce_per_unit)
