"""The parts of a scope's document that are accounted and judged: energy, emissions, intensities, other months, checks."""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

from factors.coal import CoalCoefficient, load_coefficients
from factors.policy import MissingFactor
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
from verification.accounting.reported import fills_of, reported_lines
from verification.accounting.substitutions import Holes, substitution_lines
from verification.accounting.totals import total_lines
from verification.checks.case import Case
from verification.checks.parents import parent_lines
from verification.checks.run import run_checks
from verification.closing import Closing
from verification.completeness import Boundary, as_reported, as_substituted, energy_lines, total_of
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
from verification.substitution_line import ReportedLine, SubstitutionLine
from verification.tariff_lines import PeriodLine, TariffLine

MONTHS_BACK = 24
"""How far back closed months are compared with."""
_SILENT_EVENTS = frozenset({"late_reading"})
"""Kinds that are no event for a report: they change nothing."""


class Sections:
    """Fields of a MonthDocument, by its own names; each is worked out when it is first asked for."""

    def __init__(
        self,
        closing: Closing,
        boundary: Boundary,
        books: Books,
        emissions: tuple[EmissionLine, ...],
        factors: tuple[FactorLine, ...],
    ) -> None:
        self._closing, self._boundary, self._books = closing, boundary, books
        self._emissions, self._factors = emissions, factors
        self._zone = closing.park.tz
        self._kind = boundary.scope.kind

    def lines(self) -> dict[str, Any]:
        """By name, for the document."""
        return {name: getattr(self, name) for name in _FIELDS}

    @cached_property
    def parents(self) -> tuple[ParentLine, ...]:
        return parent_lines(self._boundary.totals, self._closing.measured.totals, as_reported)

    @cached_property
    def energy(self) -> Energy:
        """As measured: its own parents', too."""
        measured = parent_lines(self._boundary.totals, self._closing.measured.totals)
        return energy_lines(self._boundary, measured)

    @cached_property
    def _reported_energy(self) -> Energy:
        return energy_lines(self._boundary, self.parents, as_reported)

    @cached_property
    def _purchased(self) -> int | None:
        """As reported: what every account rests on."""
        return self._boundary.formula_energy(as_reported)

    @cached_property
    def certificates(self) -> tuple[CertificateLine, ...]:
        return certificate_lines(self._books, self._purchased)

    @cached_property
    def fuels(self) -> tuple[FuelLine, ...]:
        return fuel_lines(self._books, self._closing.fuels)

    @cached_property
    def heat(self) -> tuple[HeatLine, ...]:
        metered = _metered(self._boundary, self._books, "kJ", "heat")
        return heat_lines(self._books, self._closing.fuels, metered)

    @cached_property
    def energy_types(self) -> tuple[EnergyLine, ...]:
        litres = _metered(self._boundary, self._books, "L", "fresh_water")
        water = total_of(litres.values()) if litres else None
        return energy_types(self._books, _coefficients(), self._purchased, self.heat, water)

    @cached_property
    def energy_total(self) -> EnergyTotal:
        own = self._reported_energy.pv_self_use_wh
        nonfossil = total_of((None if own is None else int(own), accepted_wh(self.certificates)))
        return energy_total(self.energy_types, _coefficients(), nonfossil)

    @cached_property
    def _methods(self) -> dict[str, Factor | MissingFactor]:
        return {
            "national": self._closing.factor(Role.GRID_BOUNDARY, "enterprise"),
            "provincial": self._closing.factor(Role.GRID_BOUNDARY, "park"),
            "market": self._closing.residual(),
        }

    @cached_property
    def _leading_factor(self) -> Factor | MissingFactor:
        return self._methods["national" if self._kind == "enterprise" else "provincial"]

    @cached_property
    def totals(self) -> tuple[EmissionTotals, ...]:
        accepted = accepted_wh(self.certificates)
        return total_lines(self._kind, self._purchased, accepted, self.fuels, self.heat, self._methods)

    @cached_property
    def power(self) -> tuple[PowerLine, ...]:
        return power_lines(self._reported_energy, self._leading_factor, self.certificates)

    @cached_property
    def renewable(self) -> RenewableLine:
        return renewable_line(self._reported_energy, self.certificates)

    @cached_property
    def reported(self) -> tuple[ReportedLine, ...]:
        return reported_lines(
            self._reported_energy,
            energy_lines(self._boundary, (), as_substituted),
            self.energy_total,
            self.totals,
            accepted_wh(self.certificates),
            fills_of(self._boundary.totals),
        )

    @cached_property
    def substitutions(self) -> tuple[SubstitutionLine, ...]:
        span = self._closing.measured.span
        return substitution_lines(self._closing.facts, span, self._zone, _holes(self._boundary))

    @cached_property
    def production(self) -> tuple[ProductLine, ...]:
        return production_lines(self._books)

    @cached_property
    def intensities(self) -> tuple[IntensityLine, ...]:
        leading = next(line for line in self.totals if line.primary)
        before: dict[str, MonthDocument | None] = {}
        for line in self.comparisons:
            found = self._closed(line.month)
            before[line.id] = found[0] if found else None
        coal = self.energy_total.standard_coal_kgce
        return intensity_lines(self._books, coal, leading.including_ug, self.production, before)

    @cached_property
    def grades(self) -> tuple[GradeLine, ...]:
        return grade_lines(self._books, self.intensities)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        return comparisons(self._closing.month, self._closed)

    @cached_property
    def year(self) -> tuple[YearMonth, ...]:
        factor = self._leading_factor if isinstance(self._leading_factor, Factor) else None
        own = Own(self._purchased, self.energy_total.standard_coal_kgce, self.totals, factor)
        return year_lines(self._closing.month, own, self._closed)

    @cached_property
    def budgets(self) -> tuple[BudgetLine, ...]:
        return budget_lines(self._books, self.year, self._closed)

    @cached_property
    def bills(self) -> tuple[BillLine, ...]:
        return bill_lines(self._books, self._closing.measured.bills)

    @cached_property
    def meter_facts(self) -> tuple[MeterFacts, ...]:
        return meter_facts(self._books, self._boundary.totals, self._zone)

    @cached_property
    def _happened(self) -> Sequence[EventRow]:
        return _events(self._closing, self._boundary)

    @cached_property
    def events(self) -> tuple[EventLine, ...]:
        return event_lines(self._happened, self._zone)

    @cached_property
    def tariffs(self) -> tuple[TariffLine, ...]:
        mine = self._books.enterprises
        return tuple(line for line in self._closing.measured.tariffs if line.enterprise in mine)

    @cached_property
    def periods(self) -> tuple[PeriodLine, ...]:
        return period_lines(self._boundary, self._zone)

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """Declared by enterprises, for their own document."""
        declared = self._closing.measured.series.get(self._boundary.scope.id, ())
        return declared if self._kind == "enterprise" else ()

    @cached_property
    def declared(self) -> tuple[DeclaredLine, ...]:
        return declared_lines(self._boundary)

    @cached_property
    def checks(self) -> tuple[CheckLine, ...]:
        return run_checks(self._case())

    def _case(self) -> Case:
        closing = self._closing
        return Case(
            span=closing.measured.span, zone=self._zone, today=closing.today, boundary=self._boundary, books=self._books,
            parents=self.parents, emissions=self._emissions, factors=self._factors, events=self._happened, fuels=self.fuels,
            heat=self.heat, certificates=self.certificates, totals=self.totals, bills=self.bills, production=self.production,
            readings=closing.measured.inspections, before=_before(closing.month, self._closed),
        )  # fmt: skip

    def _closed(self, month: str) -> tuple[MonthDocument, str] | None:
        scope = self._boundary.scope
        return self._closing.before(month, scope.kind, scope.id)


_FIELDS = tuple(
    name
    for name, value in vars(Sections).items()
    if isinstance(value, cached_property) and not name.startswith("_")
)
"""Every section is a field of the document."""


@cache
def _coefficients() -> dict[str, CoalCoefficient]:
    return dict(load_coefficients())


def _holes(boundary: Boundary) -> Holes:
    known = {(total.meter.id, total.reading_type): total.holes for total in boundary.totals}
    return lambda meter, reading_type: known.get((meter, reading_type))


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
            found[total.meter.id] = total.reported
    return found
