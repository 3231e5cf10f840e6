"""V16: the stored intervals equal the raw frames, to the base unit."""

from collections.abc import Iterator

from verification.checks.case import Case, Rule, ids
from verification.completeness import MonthTotal
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V16", "由原始报文重算与台账一致", "Recomputed from raw frames = ledger", "blocking",
    "closing − opening by the frames around the edges = sum of the stored intervals, per total", ("V16",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FAIL when one differs by a single base unit."""
    totals = case.meters
    unknown = [t for t in totals if not t.filled and (t.journal.energy is None or t.behind)]
    unequal = [t for t in totals if t not in unknown and _recount(t) != t.counted]
    outcome: CheckOutcome = "INSUFFICIENT_DATA" if unknown or not totals else "PASS"
    if unequal:
        outcome = "FAIL"
    equal = len(totals) - len(unequal) - len(unknown)
    return RULE.line(
        outcome,
        f"{equal} / {len(totals)}",
        f"各区间之和 = 表计：一致 {equal}，不一致 {len(unequal)}，无法重算 {len(unknown)}",
        f"sum of intervals = meter: equal {equal}, unequal {len(unequal)}, not recomputable {len(unknown)}",
        meters=ids([*unequal, *unknown]),
        inputs={"totals": len(totals), "equal": equal},
        evidence=_evidence(unequal),
    )


def _recount(total: MonthTotal) -> int | None:
    """By the frames; of what was measured, where substitutions stand for the rest."""
    return total.recounted if total.filled else total.journal.energy


def _evidence(totals: list[MonthTotal]) -> Iterator[Evidence]:
    """The frames that the recount rests on."""
    for total in totals:
        for edge in (total.journal.opening, total.journal.closing):
            if edge is not None:
                yield Evidence(
                    meter=total.meter.id, reading_type=total.reading_type, start_ms=edge.before.t_ms, end_ms=edge.after.t_ms,
                    segment=edge.before.segment, index=edge.before.index, found=str(total.counted), expected=str(_recount(total)),
                )  # fmt: skip
