"""V04: totals only rise; what fell or jumped has an explanation."""

from collections.abc import Iterator

from metering.intervals import Span
from verification.checks.case import Case, Rule, ids, row
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V04", "表底数单调、无待判事件", "Totals rise, no pending event", "blocking",
    "pending totals / totals with a falling interval / meters with events to explain", ("V04",),
)  # fmt: skip
EVENTS_TO_EXPLAIN = frozenset(
    {"pending_fall", "pending_rise", "transient_dropped", "conflicting_reading", "reset", "step_back", "unexplained", "serial_changed"}
)  # fmt: skip
"""Kinds of events, ingest's among them, that a person has to explain. A late reading is none, nor a roll-over, nor what was declared
with its reason (exchange, ratio change)."""


def check(case: Case) -> CheckLine:
    """FAIL when an interval falls, INSUFFICIENT_DATA while something is pending."""
    pending = [total for total in case.meters if total.pending]
    falling = [total for total in case.meters if total.summary.falling.count]
    told = [event for event in case.events if event.kind in EVENTS_TO_EXPLAIN]
    odd = sorted({event.meter for event in told})
    outcome: CheckOutcome = "FINDING" if odd else "PASS"
    if falling:
        outcome = "FAIL"
    if pending:
        outcome = "INSUFFICIENT_DATA"
    kinds = ", ".join(sorted({event.kind for event in told})) or "—"
    return RULE.line(
        outcome,
        f"{len(pending)} / {len(falling)} / {len(odd)}",
        f"待判 {len(pending)}，下降 {len(falling)}，需说明的事件涉及 {len(odd)} 块表；事件：{kinds}",
        f"pending {len(pending)}, falling {len(falling)}, meters with events to explain {len(odd)}: {kinds}",
        meters=[*ids([*pending, *falling]), *odd],
        inputs={"pending": len(pending), "falling": len(falling), "events": len(told)},
        evidence=_evidence(case),
    )


def _evidence(case: Case) -> Iterator[Evidence]:
    for total in case.meters:
        for odd in total.summary.falling.first:
            yield row(total, Span(odd.start_ms, odd.end_ms), odd.energy, "≥ 0")
    for event in case.events:
        if event.kind in EVENTS_TO_EXPLAIN:
            yield Evidence(
                meter=event.meter, reading_type=event.reading_type, start_ms=event.t_ms, found=event.kind
            )
