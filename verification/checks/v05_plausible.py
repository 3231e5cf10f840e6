"""V05: no interval has more energy than the rated power allows.

Voltage, current and power factor are not kept per interval, so their ranges are not judged here; alarms watch them live.
"""

from metering.intervals import Span
from verification.checks.case import Case, Rule, ids, row
from verification.document import CheckLine, CheckOutcome

RULE = Rule(
    "V05", "区间电量合理性", "Plausible energy per interval", "major",
    "energy ≤ 1.1 × rated power × time, per interval", ("V05_margin",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FINDING when an interval exceeds the limit, or when no rated power is known of a boundary's meter."""
    above = [total for total in case.meters if total.summary.leaping.count]
    unrated = [total for total in case.meters if total.electric and total.limit_w is None]
    count = sum(total.summary.leaping.count for total in above)
    outcome: CheckOutcome = "FINDING" if above else "PASS"
    return RULE.line(
        outcome,
        str(count),
        f"{count} 个区间超过 1.1 × 额定功率；{len(unrated)} 个计量量没有额定功率，未判",
        f"{count} intervals above 1.1 × rated power; {len(unrated)} totals without a rated power are not judged",
        meters=ids(above),
        inputs={"intervals": count, "not_judged": len(unrated)},
        evidence=(
            row(total, Span(odd.start_ms, odd.end_ms), odd.energy, f"{total.limit_w} W")
            for total in above for odd in total.summary.leaping.first
        ),
    )  # fmt: skip
