"""What the checks of one scope look at, and what each of them is: its rule and its answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from metering.intervals import Span
from storage.ledger import EventRow
from verification.accounting.books import Books
from verification.balance import Edge
from verification.checks.thresholds import days, shown
from verification.completeness import Boundary, MonthTotal
from verification.document import (
    CheckLine,
    CheckOutcome,
    EmissionLine,
    FactorLine,
    MonthDocument,
    Outcome,
    ParentLine,
)
from verification.lines import (
    BillLine,
    CertificateLine,
    EmissionTotals,
    Evidence,
    FuelLine,
    HeatLine,
    Named,
    ProductLine,
    Severity,
)

EVIDENCE_ROWS = 20
WORST_FIRST: tuple[CheckOutcome, ...] = ("FAIL", "INSUFFICIENT_DATA", "FINDING", "PASS")
_MONTH: dict[CheckOutcome, Outcome] = {
    "FAIL": "FAIL", "INSUFFICIENT_DATA": "INSUFFICIENT_DATA", "FINDING": "PASS_WITH_FINDINGS", "PASS": "PASS", "NOT_DUE": "PASS",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that is known of a scope's month, or of an open month so far. The checks read it and nothing else."""

    span: Span
    zone: ZoneInfo
    today: date
    """Local day of the close, or of the daily run."""
    boundary: Boundary
    books: Books
    parents: Sequence[ParentLine] = ()
    emissions: Sequence[EmissionLine] = ()
    factors: Sequence[FactorLine] = ()
    events: Sequence[EventRow] = ()
    fuels: Sequence[FuelLine] = ()
    heat: Sequence[HeatLine] = ()
    certificates: Sequence[CertificateLine] = ()
    totals: Sequence[EmissionTotals] = ()
    bills: Sequence[BillLine] = ()
    production: Sequence[ProductLine] = ()
    readings: Mapping[tuple[str, str, str], tuple[Edge, Edge] | None] = field(default_factory=dict)
    """(meter, reading type, time as in the registry) of an inspection → the journal's readings before and after it."""
    before: Sequence[MonthDocument] = ()
    """Closed months of the scope, newest first."""

    @property
    def meters(self) -> Sequence[MonthTotal]:
        """The totals of the scope."""
        return self.boundary.totals

    @property
    def open(self) -> bool:
        """The month is not over."""
        return self.today < self.books.end

    def due(self, name: str) -> date:
        """The day after the month's last by so many days as the limit says."""
        return self.books.last + timedelta(days=days(name))


@dataclass(frozen=True, slots=True)
class Rule:
    """What a check is."""

    id: str
    title_zh: str
    title_en: str
    severity: Severity
    formula: str
    limits: tuple[str, ...]

    def line(
        self,
        outcome: CheckOutcome,
        value: str,
        zh: str,
        en: str,
        *,
        meters: Iterable[str] = (),
        inputs: Mapping[str, object] | None = None,
        evidence: Iterable[Evidence] = (),
        due: date | None = None,
    ) -> CheckLine:
        """What the check found."""
        known = shown(self.limits)
        return CheckLine(
            id=self.id,
            title_zh=self.title_zh,
            title_en=self.title_en,
            outcome=outcome,
            value=value,
            threshold="；".join(f"{item.value} {item.unit}".strip() for item in known),
            threshold_source="；".join(dict.fromkeys(item.source for item in known)),
            detail_zh=zh,
            detail_en=en,
            meters=tuple(dict.fromkeys(meters)),
            severity=self.severity,
            formula=self.formula,
            inputs=tuple(Named(name=name, value=str(value)) for name, value in (inputs or {}).items()),
            thresholds=known,
            due=due.isoformat() if due else "",
            evidence=tuple(evidence)[:EVIDENCE_ROWS],
        )


def worst(outcomes: Iterable[CheckOutcome]) -> CheckOutcome:
    """The outcome that decides; PASS when there is none. What is not due yet decides nothing."""
    found = set(outcomes)
    return next((outcome for outcome in WORST_FIRST if outcome in found), "PASS")


def outcome_of(checks: Iterable[CheckLine]) -> Outcome:
    """What the checks together say about the month."""
    return _MONTH[worst(check.outcome for check in checks)]


def ids(totals: Iterable[MonthTotal]) -> tuple[str, ...]:
    """The meters of totals, each once."""
    return tuple(dict.fromkeys(total.meter.id for total in totals))


def row(total: MonthTotal, span: Span | None, found: object, expected: object = "") -> Evidence:
    """A row of evidence about a total."""
    return Evidence(
        meter=total.meter.id,
        reading_type=total.reading_type,
        start_ms=span.start_ms if span else None,
        end_ms=span.end_ms if span else None,
        found=str(found),
        expected=str(expected),
    )
