"""The figures that need more than frames, again: certificates, fuels, heat, standard coal, totals, production, bills.

Made from the tables of the pack and from the energies that the frames gave, by the same formulas as the month's close: what
is checked is that the document says what follows from the facts, factors and frames in the pack.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from factors.policy import MissingFactor, Why
from factors.series import series_of
from factors.table import Factor
from metering.intervals import Span, local_day
from metering.reading_types import READING_TYPES
from metering.roles import Role
from storage.facts.kinds import BillFact
from storage.facts.series import SeriesFact
from verification.accounting.bills import BillKey, bill_lines
from verification.accounting.books import enterprise_facts
from verification.accounting.certificates import accepted_wh, certificate_lines
from verification.accounting.coal import energy_lines, energy_total
from verification.accounting.fuels import fuel_lines, heat_lines
from verification.accounting.intensity import intensity_lines, production_lines
from verification.accounting.power import power_lines, renewable_line
from verification.accounting.reported import TotalFill, reported_lines
from verification.accounting.substitutions import Holes, substitution_lines
from verification.accounting.totals import total_lines
from verification.completeness import total_of
from verification.document import Energy, MonthDocument
from verification.evidence import manifest as names
from verification.evidence.births import Key
from verification.evidence.books import Packed, span_of
from verification.evidence.facts import Difference, Facts, unlike
from verification.evidence.figures import Recount
from verification.lines import EmissionTotals, EnergyLine, EnergyTotal, HeatLine, IntensityLine
from verification.substitution_line import SubstitutionLine

_NOT_HERE = frozenset({"missing_zh", "missing_en", "previous_month", "last_year"})
"""Words, and figures of other months: their own packs have them."""
_NAMED = ("use", "id")


class Accounts:
    """A document's accounts, from the energies that the frames gave."""

    def __init__(self, document: MonthDocument, facts: Facts, packed: Packed, recount: Recount) -> None:
        self._document, self._facts, self._packed, self._recount = document, facts, packed, recount
        self._zone = ZoneInfo(document.zone)

    def substitutions(self, holes: Holes) -> tuple[SubstitutionLine, ...]:
        """What was written down for the month."""
        span = Span(self._document.start_ms, self._document.end_ms)
        return substitution_lines(self._packed.books.facts, span, self._zone, holes)

    def differences(self) -> Iterator[Difference]:
        """Every difference, in the order in which one figure needs the other; all of them rest on what is reported."""
        document, books = self._document, self._packed.books
        energy = self._recount.boundaries.reported()
        purchased = None if energy.purchased_wh is None else int(energy.purchased_wh)
        certificates = certificate_lines(books, purchased)
        fuels = fuel_lines(books, self._packed.fuels)
        heat = heat_lines(books, self._packed.fuels, self._metered("kJ", "heat"))
        accepted = accepted_wh(certificates)
        methods = {use: self._factor(use) for use in ("national", "provincial", "market")}
        totals = total_lines(document.scope.kind, purchased, accepted, fuels, heat, methods)
        ordinary = methods["national" if document.scope.kind == "enterprise" else "provincial"]
        yield from _lines("facts", document.facts, enterprise_facts(books))
        yield from _lines("certificates", document.certificates, certificates)
        yield from _lines("fuels", document.fuels, fuels)
        yield from _lines("heat", document.heat, heat)
        yield from _lines("power", document.power, power_lines(energy, ordinary, certificates))
        yield from _lines("renewable", document.renewable, renewable_line(energy, certificates))
        yield from _lines("totals", document.totals, totals)
        coal = self._coal(purchased, heat)
        total = energy_total(coal, dict(self._packed.coal), _nonfossil(energy, accepted))
        yield from _lines("energy_types", document.energy_types, coal)
        yield from _lines("energy_total", document.energy_total, total)
        yield from self._of_reported(energy, total, totals, accepted)
        yield from self._of_production()
        yield from self._of_bills()
        yield from _lines("substitutions", document.substitutions, self.substitutions(self._recount.holes))
        span = Span(document.start_ms, document.end_ms)
        mine = books.facts.of(SeriesFact, document.scope.id)
        yield from _lines("series", document.series, series_of(mine, span))

    def _coal(self, purchased: int | None, heat: Sequence[HeatLine]) -> tuple[EnergyLine, ...]:
        litres = self._metered("L", "fresh_water")
        water = total_of(litres.values()) if litres else None
        return energy_lines(self._packed.books, dict(self._packed.coal), purchased, heat, water)

    def _of_reported(
        self, energy: Energy, coal: EnergyTotal, totals: Sequence[EmissionTotals], accepted: int
    ) -> Iterator[Difference]:
        """Measured + substituted = reported."""
        fills = [
            TotalFill(
                meter=line.meter,
                reading_type=line.reading_type,
                unit=line.unit,
                substituted=self._recount.substituted((line.meter, line.reading_type)),
                reported=self._recount.reported((line.meter, line.reading_type)),
            )
            for line in self._document.meters
            if self._recount.substituted((line.meter, line.reading_type))
        ]
        substituted = self._recount.boundaries.substituted()
        found = reported_lines(energy, substituted, coal, totals, accepted, fills)
        yield from _lines("reported", self._document.reported, found)

    def _of_production(self) -> Iterator[Difference]:
        document, books = self._document, self._packed.books
        production = production_lines(books)
        yield from _lines("production", document.production, production)
        kgce = document.energy_total.standard_coal_kgce if document.energy_total else None
        leading = next((line.including_ug for line in document.totals if line.primary), None)
        found: tuple[IntensityLine, ...] = intensity_lines(books, kgce, leading, production, {})
        yield from _lines("intensities", document.intensities, found)

    def _of_bills(self) -> Iterator[Difference]:
        metered: dict[BillKey, int | None] = {}
        for bill in self._packed.books.bills():
            key = bill.meter, bill.reading_type
            yield from self._joined(key)
            metered[bill.enterprise, bill.number] = self._billed(bill, key)
        yield from _lines("bills", self._document.bills, bill_lines(self._packed.books, metered))

    def _joined(self, key: Key) -> Iterator[Difference]:
        """The intervals before the month end where the month's first one, which the frames gave, begins."""
        rows, opening = self._packed.before.get(key, ()), self._recount.opening(key)
        if rows and opening is not None and rows[-1][0].end_ms == self._document.start_ms:
            yield from unlike(f"{names.BILL_LEDGER} {'/'.join(key)} closing", rows[-1][2], opening)

    def _billed(self, bill: BillFact, key: Key) -> int | None:
        """Base units over the bill's own dates: intervals before the month, then its days."""
        own, energy = span_of(bill, self._zone), 0
        at = own.start_ms
        for span, opening, closing, closed in self._packed.before.get(key, ()):
            if own.start_ms <= span.start_ms < own.end_ms:
                if span.start_ms != at or not closed:
                    return None
                at, energy = span.end_ms, energy + closing - opening
        while at < own.end_ms:
            day = local_day(at, self._zone)
            found = self._recount.day(key, day) if day.start_ms == at else None
            if found is None:
                return None
            at, energy = day.end_ms, energy + found
        return energy if at == own.end_ms else None

    def _metered(self, unit: str, energy: str) -> dict[str, int | None]:
        """Boundary meters whose record names this energy."""
        found = {}
        for line in self._document.meters:
            record = self._packed.books.meter(line.meter)
            mine = READING_TYPES[line.reading_type].unit == unit and line.role == Role.GRID_BOUNDARY
            if mine and record is not None and record.energy == energy:
                found[line.meter] = self._recount.reported((line.meter, line.reading_type))
        return found

    def _factor(self, use: str) -> Factor | MissingFactor:
        """A factor of the pack's table: the grid's by its use, the residual one by the id that the document names."""
        if use == "market":
            said = (line.factor_id for line in self._document.totals if line.use == "market")
            name = next(said, None)
        else:
            line = self._facts.factors.get("enterprise" if use == "national" else "park")
            name = line.id if line is not None else None
        if name is None or name not in self._facts.ratios:
            return MissingFactor(Why.NOTHING_KNOWN, "", "")
        num, den = self._facts.ratios[name].as_integer_ratio()
        return Factor(
            id=name, scope_code="", data_year=None, kind="", num=num, den=den, value_text="", notice="", published=None,
            verified="unverified", label_zh="", label_en="",
        )  # fmt: skip


def _nonfossil(energy: Energy, accepted: int) -> int | None:
    return total_of((None if energy.pv_self_use_wh is None else int(energy.pv_self_use_wh), accepted))


def _lines(place: str, said: object, found: object) -> Iterator[Difference]:
    """Two lines, or two lists of them, compared value by value; each by its name."""
    one, other = msgspec.to_builtins(said), msgspec.to_builtins(found)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        yield from unlike(f"document.json {place}", [_name(x) for x in one], [_name(x) for x in other])
        for mine, its in zip(one, other, strict=False):
            yield from _values(f"document.json {place}[{_name(mine)}]", mine, its)
    else:
        yield from _values(f"document.json {place}", one or {}, other or {})


def _values(place: str, said: dict[str, Any], found: dict[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*said, *found]):
        if name not in _NOT_HERE:
            yield from unlike(f"{place}.{name}", _exact(said.get(name)), _exact(found.get(name)))


def _name(line: dict[str, Any]) -> str:
    return next(str(line[key]) for key in _NAMED if key in line)


def _exact(value: object) -> object:
    return str(value) if isinstance(value, Fraction) else value
