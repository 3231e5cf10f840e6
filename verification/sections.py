"""The parts of a scope's document that are accounted and judged: energy, emissions, intensities, other months, checks."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from factors.coal import CoalCoefficient, load_coefficients
from factors.series import Series
from factors.table import Factor
from metering.intervals import previous_month
from metering.roles import Role
from storage.ledger import EventRow
from verification.accounting.bills import bill_lines
from verification.accounting.books import Books
from verification.accounting.certificates import accepted_wh, certificate_lines
from verification.accounting.coal import energy_lines as energy_types
from verification.accounting.coal import energy_total
from verification.accounting.declared import declared_lines
from verification.accounting.fuels import fuel_lines, heat_lines
from verification.accounting.history import Closed, Own, budget_lines, comparisons, year_lines
from verification.accounting.intensity import grade_lines, intensity_lines, production_lines
from verification.accounting.meters import event_lines, meter_facts
from verification.accounting.periods import period_lines
from verification.accounting.power import power_lines, renewable_line
from verification.accounting.substitutions import Holes, substitution_lines
from verification.accounting.totals import total_lines
from verification.checks.case import Case
from verification.checks.parents import parent_lines
from verification.checks.run import run_checks
from verification.closing import Closing
from verification.completeness import Boundary, energy_lines, total_of
from verification.declared_lines import DeclaredLine
from verification.document import CheckLine, EmissionLine, Energy, FactorLine, MonthDocument, ParentLine
from verification.lines import (
    BillLine,
    BudgetLine,
    CertificateLine,
    Comparison,
    EmissionTotals,
    EnergyLine,
    EnergyTotal,
    EventLine,
    FuelLine,
    GradeLine,
    HeatLine,
    IntensityLine,
    MeterFacts,
    PowerLine,
    ProductLine,
    RenewableLine,
    YearMonth,
)
from verification.substitution_line import SubstitutionLine
from verification.tariff_lines import PeriodLine, TariffLine

MONTHS_BACK = 24
"""How far back closed months are compared with."""
_SILENT_EVENTS = frozenset({"late_reading"})
"""Kinds that are no event for a report: they change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    """Fields of a MonthDocument, by its own names."""

    energy: Energy
    parents: tuple[ParentLine, ...]
    energy_types: tuple[EnergyLine, ...]
    energy_total: EnergyTotal
    power: tuple[PowerLine, ...]
    fuels: tuple[FuelLine, ...]
    heat: tuple[HeatLine, ...]
    totals: tuple[EmissionTotals, ...]
    production: tuple[ProductLine, ...]
    intensities: tuple[IntensityLine, ...]
    grades: tuple[GradeLine, ...]
    certificates: tuple[CertificateLine, ...]
    renewable: RenewableLine
    bills: tuple[BillLine, ...]
    budgets: tuple[BudgetLine, ...]
    comparisons: tuple[Comparison, ...]
    year: tuple[YearMonth, ...]
    meter_facts: tuple[MeterFacts, ...]
    events: tuple[EventLine, ...]
    substitutions: tuple[SubstitutionLine, ...]
    tariffs: tuple[TariffLine, ...]
    periods: tuple[PeriodLine, ...]
    series: tuple[Series, ...]
    declared: tuple[DeclaredLine, ...]
    checks: tuple[CheckLine, ...]

    def lines(self) -> dict[str, Any]:
        """By name, for the document."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@cache
def _coefficients() -> dict[str, CoalCoefficient]:
    return dict(load_coefficients())


def sections(
    closing: Closing,
    boundary: Boundary,
    books: Books,
    emissions: tuple[EmissionLine, ...],
    factors: tuple[FactorLine, ...],
) -> Sections:
    """Account for a scope and judge it."""
    zone, kind = closing.park.tz, boundary.scope.kind
    parents = parent_lines(boundary.totals, closing.measured.totals)
    energy = energy_lines(boundary, parents)
    purchased = boundary.formula_energy()
    certificates = certificate_lines(books, purchased)
    fuels = fuel_lines(books, closing.fuels)
    heat = heat_lines(books, closing.fuels, _metered_heat(boundary, books))
    types = energy_types(books, _coefficients(), purchased, heat, _metered_water(boundary, books))
    total = energy_total(types, _coefficients(), _nonfossil(energy, certificates))
    methods = {
        "national": closing.factor(Role.GRID_BOUNDARY, "enterprise"),
        "provincial": closing.factor(Role.GRID_BOUNDARY, "park"),
        "market": closing.residual(),
    }
    totals = total_lines(kind, purchased, accepted_wh(certificates), fuels, heat, methods)
    leading = next(line for line in totals if line.primary)
    factor = methods["national" if kind == "enterprise" else "provincial"]
    own = Own(purchased, total.standard_coal_kgce, totals, factor if isinstance(factor, Factor) else None)
    closed = _closed(closing, boundary)
    near = {line.id: closed(line.month) for line in comparisons(closing.month, closed)}
    production = production_lines(books)
    intensities = intensity_lines(
        books, total.standard_coal_kgce, leading.including_ug, production,
        {name: found[0] if found else None for name, found in near.items()},
    )  # fmt: skip
    year = year_lines(closing.month, own, closed)
    bills = bill_lines(books, closing.measured.bills)
    events = _events(closing, boundary)
    case = Case(
        span=closing.measured.span, zone=zone, today=closing.today, boundary=boundary, books=books, parents=parents,
        emissions=emissions, factors=factors, events=events, fuels=fuels, heat=heat, certificates=certificates, totals=totals,
        bills=bills, production=production, readings=closing.measured.inspections, before=_before(closing.month, closed),
    )  # fmt: skip
    return Sections(
        energy=energy,
        parents=parents,
        energy_types=types,
        energy_total=total,
        power=power_lines(energy, factor, certificates),
        fuels=fuels,
        heat=heat,
        totals=totals,
        production=production,
        intensities=intensities,
        grades=grade_lines(books, intensities),
        certificates=certificates,
        renewable=renewable_line(energy, certificates),
        bills=bills,
        budgets=budget_lines(books, year, closed),
        comparisons=comparisons(closing.month, closed),
        year=year,
        meter_facts=meter_facts(books, boundary.totals, zone),
        events=event_lines(events, zone),
        substitutions=substitution_lines(closing.facts, closing.measured.span, zone, _holes(boundary)),
        tariffs=tuple(line for line in closing.measured.tariffs if line.enterprise in books.enterprises),
        periods=period_lines(boundary, zone),
        series=closing.measured.series.get(boundary.scope.id, ()) if kind == "enterprise" else (),
        declared=declared_lines(boundary),
        checks=run_checks(case),
    )


def _holes(boundary: Boundary) -> Holes:
    known = {(total.meter.id, total.reading_type): total.summary.holes for total in boundary.totals}
    return lambda meter, reading_type: known.get((meter, reading_type))


def _closed(closing: Closing, boundary: Boundary) -> Closed:
    scope = boundary.scope
    return lambda month: closing.before(month, scope.kind, scope.id)


def _before(month: str, closed: Closed) -> list[MonthDocument]:
    """Closed months, newest first."""
    found, at = [], month
    for _ in range(MONTHS_BACK):
        at = previous_month(at)
        if (document := closed(at)) is not None:
            found.append(document[0])
    return found


def _events(closing: Closing, boundary: Boundary) -> Sequence[EventRow]:
    mine = {total.meter.id for total in boundary.totals}
    return [
        event for event in closing.measured.events if event.meter in mine and event.kind not in _SILENT_EVENTS
    ]


def _metered(boundary: Boundary, books: Books, unit: str, energy: str) -> dict[str, int | None]:
    """Boundary meters whose record names this energy."""
    found = {}
    for total in boundary.totals:
        record = books.meter(total.meter.id)
        if (
            total.unit == unit
            and total.role is Role.GRID_BOUNDARY
            and record is not None
            and record.energy == energy
        ):
            found[total.meter.id] = total.energy
    return found


def _metered_heat(boundary: Boundary, books: Books) -> dict[str, int | None]:
    return _metered(boundary, books, "kJ", "heat")


def _metered_water(boundary: Boundary, books: Books) -> int | None:
    litres = _metered(boundary, books, "L", "fresh_water")
    return total_of(litres.values()) if litres else None


def _nonfossil(energy: Energy, certificates: tuple[CertificateLine, ...]) -> int | None:
    own = None if energy.pv_self_use_wh is None else int(energy.pv_self_use_wh)
    return total_of((own, accepted_wh(certificates)))
