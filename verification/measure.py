"""What a span of time measured: every total's intervals, gone through once, beside the journal's own account."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from zoneinfo import ZoneInfo

from metering.dated import moment_ms
from metering.intervals import Span, to_local
from metering.reading_types import INTEGRATED
from metering.registry import Meter, Park
from metering.units import UNITS
from storage.facts.kinds import BillFact, InspectionFact, MeterFact
from storage.facts.state import Facts
from storage.journal import JournalReader
from storage.ledger import EventRow, LedgerReader
from storage.shifts import NO_SHIFTS, Shifts, all_shifts
from verification.accounting.bills import BillKey
from verification.balance import Edge, JournalMonth, read_edge, read_month
from verification.checks.thresholds import limit
from verification.checks.v17_inspection import inspections, tolerance_ms
from verification.completeness import MonthTotal
from verification.integral import read_integral
from verification.intervals import Summary, days_of, summarize
from verification.times import midnight_ms

_PAGE = 1000
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


def measure(park: Park, span: Span, ledger: LedgerReader, journal: JournalReader, facts: Facts) -> Measured:
    """Every total that has a role, the events, and what bills and inspections are compared with."""
    progress = {(row.meter, row.reading_type): row for row in ledger.progress()}
    shifts = all_shifts(ledger)
    rated = _rated(facts)
    days = days_of(span, park.tz)
    totals = tuple(
        MonthTotal(
            meter=meter,
            reading_type=reading_type,
            role=role,
            span=span,
            summary=(
                summary := _summary(ledger, meter.id, reading_type, span, days, limit_w=_limit(meter, rated))
            ),
            progress=progress.get((meter.id, reading_type)),
            journal=_account(
                journal,
                meter,
                reading_type,
                span,
                park,
                shifts.get((meter.id, reading_type), NO_SHIFTS),
                summary,
            ),
            limit_w=_limit(meter, rated),
        )
        for meter in park.meters
        for reading_type, role in meter.roles.items()
    )
    return Measured(
        span,
        totals,
        tuple(_events(ledger, span)),
        _bills(park, span, ledger, facts),
        _inspected(park, span, journal, facts),
    )


def _account(
    journal: JournalReader,
    meter: Meter,
    reading_type: str,
    span: Span,
    park: Park,
    shifts: Shifts,
    stored: Summary,
) -> JournalMonth:
    """What the journal alone says of a total's month."""
    if reading_type in INTEGRATED.values():
        return read_integral(journal, meter, reading_type, span, park.tz, stored)
    return read_month(journal, meter, reading_type, span, park.tz, shifts)


def _summary(
    ledger: LedgerReader,
    meter: str,
    reading_type: str,
    span: Span,
    days: list[Span],
    limit_w: Fraction | None,
) -> Summary:
    return summarize(ledger.intervals(meter, reading_type, *span), span, days, limit_w)


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
