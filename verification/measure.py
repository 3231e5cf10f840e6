"""What a span of time measured: every total's intervals, gone through once, beside the journal's own account."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from zoneinfo import ZoneInfo

from factors.series import Series
from metering.dated import moment_ms
from metering.intervals import HOUR_MS, Span, to_local
from metering.reading_types import INTEGRATED, READING_TYPES
from metering.registry import Meter, Park
from metering.roles import Role
from metering.units import UNITS
from storage.facts.fields import parse_formula
from storage.facts.kinds import BillFact, FormulaFact, InspectionFact, MeterFact
from storage.facts.state import Facts
from storage.facts.tariff import TariffFact
from storage.journal import JournalReader
from storage.ledger import EventRow, LedgerReader, ProgressRow
from storage.shifts import NO_SHIFTS, Shifts, all_shifts
from verification.accounting.bills import BillKey
from verification.accounting.substitutions import accepted_amount, fills, substitution_lines
from verification.balance import Edge, JournalMonth, read_edge, read_month
from verification.checks.thresholds import limit
from verification.checks.v17_inspection import inspections, tolerance_ms
from verification.completeness import ELECTRIC, MonthTotal
from verification.declared import DeclaredMonth, DeclaredParts, parts_of
from verification.integral import IntegralMonth, read_integral
from verification.intervals import Summary, days_of, holes_between, summarize
from verification.recount import recount
from verification.substitution_line import SubstitutionLine
from verification.tariff_lines import TariffLine
from verification.tariffs import Calendars, tariff_lines
from verification.times import midnight_ms

_PAGE = 1000
SERIAL_CHANGED = "serial_changed"
"""Kind of ingest's event."""
UNNAMED_EXCHANGE_MS = 7 * 24 * HOUR_MS
"""How far from a changed serial number an exchange without one may be declared. Ours."""
Key = tuple[str, str]
"""Meter, reading type."""
InspectionKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that ledger and journal say of a span."""

    span: Span
    totals: tuple[MonthTotal, ...]
    events: tuple[EventRow, ...]
    bills: dict[BillKey, int | None]
    """Base units that our meter counted over a bill's own dates."""
    inspections: dict[InspectionKey, tuple[Edge, Edge] | None]
    """The journal around an inspection, one tolerance earlier and one later."""
    tariffs: tuple[TariffLine, ...] = ()
    """Time-of-use calendars in force."""
    series: Mapping[str, tuple[Series, ...]] = field(default_factory=dict)
    """Enterprise → the factor series that it declared."""


def measure(park: Park, span: Span, ledger: LedgerReader, journal: JournalReader, facts: Facts) -> Measured:
    """Every total that has a role, the events, and what bills and inspections are compared with."""
    tariffs = tariff_lines(facts, [e.id for e in park.enterprises], span, park.tz)
    declared = DeclaredMonth(park, facts, span)
    works = _Works(
        park=park,
        span=span,
        ledger=ledger,
        journal=journal,
        facts=facts,
        days=days_of(span, park.tz),
        progress={(row.meter, row.reading_type): row for row in ledger.progress()},
        shifts=all_shifts(ledger),
        rated=_rated(facts),
        codes=_codes(park, facts, Calendars(tariffs, span, park.tz)),
        declared=declared,
    )
    return Measured(
        span,
        tuple(
            works.total(meter, reading_type, role)
            for meter in park.meters
            for reading_type, role in meter.roles.items()
        ),
        (*_events(ledger, span), *changed_serials(park, journal, span), *declared.events()),
        _bills(park, span, ledger, facts),
        _inspected(park, span, journal, facts),
        tariffs,
        declared.series,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Works:
    """What measuring a total needs, looked up once for all of them."""

    park: Park
    span: Span
    ledger: LedgerReader
    journal: JournalReader
    facts: Facts
    days: list[Span]
    progress: Mapping[Key, ProgressRow]
    shifts: Mapping[Key, Shifts]
    rated: dict[str, Fraction]
    codes: Mapping[Key, bytes | None]
    declared: DeclaredMonth

    def total(self, meter: Meter, reading_type: str, role: Role) -> MonthTotal:
        """One total over the span."""
        key, limit_w = (meter.id, reading_type), _limit(meter, self.rated)
        seen = _summary(self.ledger, *key, self.span, self.days, limit_w, self.codes.get(key))
        account = self._account(meter, reading_type, seen)
        holes = account.unmeasured(seen.holes)
        found = self._substitutions(key, holes)
        filled = fills(found, holes)
        return MonthTotal(
            meter=meter,
            reading_type=reading_type,
            role=role,
            span=self.span,
            summary=seen,
            progress=self.progress.get(key),
            journal=account,
            declared=self._declared(meter, reading_type),
            limit_w=limit_w,
            substituted=accepted_amount(found),
            recounted=self._recount(meter, reading_type, seen, account) if filled else None,
        )

    def _substitutions(self, key: Key, holes: Sequence[Span]) -> tuple[SubstitutionLine, ...]:
        if not holes:
            return ()
        return substitution_lines(
            self.facts, self.span, self.park.tz, lambda *asked: holes if asked == key else None
        )

    def _declared(self, meter: Meter, reading_type: str) -> DeclaredParts | None:
        declared = self.declared.of(meter, reading_type)
        if declared is None:
            return None
        return parts_of(self.ledger.cells(meter.id, reading_type, *self.span), declared, meter.id)

    def _account(self, meter: Meter, reading_type: str, seen: Summary) -> JournalMonth:
        """What the journal alone says of a total's month."""
        zone = self.park.tz
        if reading_type in INTEGRATED.values():
            return read_integral(self.journal, meter, reading_type, self.span, zone, seen)
        shifts = self.shifts.get((meter.id, reading_type), NO_SHIFTS)
        return read_month(self.journal, meter, reading_type, self.span, zone, shifts)

    def _recount(self, meter: Meter, reading_type: str, seen: Summary, account: JournalMonth) -> int | None:
        """What the journal alone says of the measured stretches."""
        if isinstance(account, IntegralMonth):
            return account.measured
        runs = holes_between(seen.holes, self.span)
        shifts = self.shifts.get((meter.id, reading_type), NO_SHIFTS)
        return recount(self.journal, meter, reading_type, self.span, runs, self.park.tz, shifts)


def _summary(
    ledger: LedgerReader,
    meter: str,
    reading_type: str,
    span: Span,
    days: list[Span],
    limit_w: Fraction | None,
    codes: bytes | None = None,
) -> Summary:
    return summarize(ledger.cells(meter, reading_type, *span), span, days, limit_w, codes)


def _codes(park: Park, facts: Facts, calendars: Calendars) -> dict[tuple[str, str], bytes | None]:
    """(meter, reading type) → the period of every quarter, of the totals that formulas count."""
    if not facts.of(TariffFact):
        return {}
    formulas = [park.formula, *(enterprise.formula for enterprise in park.enterprises)]
    roles = {term.role for formula in formulas for term in formula}
    roles |= {role for fact in facts.of(FormulaFact) for role, _sign in parse_formula(fact.formula)}
    owner_of_site = {site.id: site.enterprise for site in park.sites}
    owner = {gateway.id: owner_of_site[gateway.site] for gateway in park.gateways}
    return {
        (meter.id, reading_type): calendars.codes(owner[meter.gateway], meter.id)
        for meter in park.meters
        for reading_type, role in meter.roles.items()
        if role in roles and READING_TYPES[reading_type].unit == ELECTRIC
    }


def _rated(facts: Facts) -> dict[str, Fraction]:
    """Meter → W by its newest record."""
    records = sorted(facts.of(MeterFact), key=lambda fact: fact.valid_from)
    return {
        fact.meter: Fraction(fact.rated_power_kw) * 1000
        for fact in records
        if fact.rated_power_kw is not None
    }


def _limit(meter: Meter, rated: dict[str, Fraction]) -> Fraction | None:
    power = rated.get(meter.id) or (None if meter.max_power_w is None else Fraction(meter.max_power_w))
    return None if power is None else limit("V05_margin") * power


def _events(ledger: LedgerReader, span: Span) -> Iterator[EventRow]:
    after = 0
    while page := ledger.events(after, _PAGE):
        yield from (event for event in page if span.start_ms <= event.t_ms < span.end_ms)
        after = page[-1].id


def changed_serials(park: Park, journal: JournalReader, span: Span) -> Iterator[EventRow]:
    """What ingest heard (换表待确认): another meter answers, and the registry declares neither its exchange nor its serial."""
    meters = {meter.id: meter for meter in park.meters}
    after = 0
    while page := journal.events(after, _PAGE):
        for event in page:
            meter = meters.get(str(event.detail.get("meter", ""))) if event.kind == SERIAL_CHANGED else None
            said = str(event.detail.get("serial", ""))
            if (
                meter is not None
                and span.start_ms <= event.t_ms < span.end_ms
                and not _is_declared(meter, said, event.t_ms, park.tz)
            ):
                yield EventRow(event.id, event.t_ms, meter.id, "", SERIAL_CHANGED, event.detail)
        after = page[-1].id


def _is_declared(meter: Meter, serial: str, t_ms: int, zone: ZoneInfo) -> bool:
    """By its serial, or, where an exchange names none, by its time."""
    if serial in {meter.serial, *(exchange.serial for exchange in meter.exchanges)}:
        return True
    unnamed = (moment_ms(exchange.at, zone) for exchange in meter.exchanges if not exchange.serial)
    return any(abs(at_ms - t_ms) <= UNNAMED_EXCHANGE_MS for at_ms in unnamed)


def _bills(park: Park, span: Span, ledger: LedgerReader, facts: Facts) -> dict[BillKey, int | None]:
    """Bills read within the span, over their own dates: these reach into the month before."""
    found = {}
    for bill in facts.of(BillFact):
        own = Span(midnight_ms(bill.start, park.tz), midnight_ms(bill.end, park.tz))
        if span.start_ms < own.end_ms <= span.end_ms:
            found[bill.enterprise, bill.number] = _billed(ledger, bill, own, park.tz)
    return found


def _billed(ledger: LedgerReader, bill: BillFact, own: Span, zone: ZoneInfo) -> int | None:
    counted = _summary(ledger, bill.meter, bill.reading_type, own, days_of(own, zone), None)
    return counted.energy if counted.whole else None


def _inspected(
    park: Park, span: Span, journal: JournalReader, facts: Facts
) -> dict[InspectionKey, tuple[Edge, Edge] | None]:
    meters = {meter.id: meter for meter in park.meters}
    first, end = (_day(ms, park.tz) for ms in span)
    found = {}
    for fact in inspections(set(meters), facts.of(InspectionFact), first, end):
        at, tolerance = moment_ms(fact.at, park.tz), tolerance_ms()
        edges = [
            read_edge(journal, meters[fact.meter], fact.reading_type, t, park.tz)
            for t in (at - tolerance, at + tolerance)
        ]
        before, after = edges
        key = fact.meter, fact.reading_type, fact.at.isoformat()
        found[key] = None if before is None or after is None or fact.unit not in UNITS else (before, after)
    return found


def _day(ms: int, zone: ZoneInfo) -> str:
    return to_local(ms, zone).date().isoformat()
