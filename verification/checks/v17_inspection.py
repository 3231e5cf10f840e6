"""V17: a timed reading of the display, or the meter's own frozen total, against the frames around it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from metering.dated import declared_total, moment_ms
from metering.units import UNITS
from storage.facts.kinds import InspectionFact
from verification.balance import Edge
from verification.checks.case import Case, Rule
from verification.checks.thresholds import limit
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V17", "现场抽查与冻结示数", "Inspection and frozen totals", "major",
    "register at (t − 60 s) − resolution ≤ display ≤ register at (t + 60 s) + resolution, on the primary side", ("V17_time",),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Compared:
    """An inspection beside what the frames say; None where none lie around it."""

    fact: InspectionFact
    edges: tuple[Edge, Edge] | None
    low: Fraction
    shown: Fraction
    high: Fraction

    @property
    def fits(self) -> bool:
        return self.low <= self.shown <= self.high


def check(case: Case) -> CheckLine:
    """FAIL when a display does not fit; NOT_DUE while nobody has inspected."""
    compared = list(_compared(case, case.readings))
    blind = [item for item in compared if item.edges is None]
    wrong = [item for item in compared if item.edges is not None and not item.fits]
    unproven = [item for item in compared if item.fact.source == "display" and not item.fact.photo_sha256]
    outcome: CheckOutcome = "FINDING" if blind or unproven else "PASS"
    if not compared:
        outcome = "NOT_DUE"
    if wrong:
        outcome = "FAIL"
    fitting = len(compared) - len(blind) - len(wrong)
    return RULE.line(
        outcome,
        f"{fitting} / {len(compared)}" if compared else "—",
        f"抽查 {len(compared)} 次：相符 {fitting}，不符 {len(wrong)}，无读数可比 {len(blind)}，无照片 {len(unproven)}",
        f"{len(compared)} inspections: {fitting} fit, {len(wrong)} do not, {len(blind)} without frames, {len(unproven)} without photo",
        meters=[item.fact.meter for item in (*wrong, *blind, *unproven)],
        inputs={"inspections": len(compared), "fitting": fitting},
        evidence=[_evidence(case, item) for item in (*wrong, *blind, *unproven)],
    )


def inspections(
    case_meters: set[str], facts: list[InspectionFact], first: str, end: str
) -> Iterator[InspectionFact]:
    """Those of a scope's meters within its month; a frozen total at its very end included."""
    for fact in facts:
        at = fact.at.isoformat()
        if fact.meter in case_meters and (first <= at < end or (fact.source == "frozen" and at[:10] == end)):
            yield fact


def _compared(
    case: Case, readings: Mapping[tuple[str, str, str], tuple[Edge, Edge] | None]
) -> Iterator[_Compared]:
    meters = {t.meter.id: t.meter for t in case.meters}
    facts = case.books.facts.of(InspectionFact)
    first, end = case.books.first.isoformat(), case.books.end.isoformat()
    for fact in inspections(set(meters), facts, first, end):
        declared = declared_total(meters[fact.meter], fact.reading_type, case.zone)
        per_unit = UNITS[fact.unit].factor * declared.ratio_at(moment_ms(fact.at, case.zone))
        shown, margin = Fraction(fact.reading) * per_unit, Fraction(fact.resolution) * per_unit
        edges = readings.get((fact.meter, fact.reading_type, fact.at.isoformat()))
        low, high = (edges[0].position, edges[1].position) if edges else (0, 0)
        yield _Compared(fact, edges, low - margin, shown, high + margin)


def tolerance_ms() -> int:
    """How far the inspector's clock may be off."""
    return int(limit("V17_time") * 1000)


def _evidence(case: Case, item: _Compared) -> Evidence:
    frame = item.edges[0].before if item.edges else None
    return Evidence(
        meter=item.fact.meter,
        reading_type=item.fact.reading_type,
        start_ms=moment_ms(item.fact.at, case.zone),
        segment=frame.segment if frame else None,
        index=frame.index if frame else None,
        found=f"{item.fact.reading} {item.fact.unit}",
        expected=f"{float(item.low):.0f}–{float(item.high):.0f} {UNITS[item.fact.unit].base}"
        if frame
        else "—",
    )
