"""V01: grid points read per meter; interpolated ones never count."""

from fractions import Fraction

from verification.checks.case import Case, Rule, ids, row
from verification.checks.thresholds import limit
from verification.document import CheckLine, CheckOutcome, half_up

RULE = Rule(
    "V01", "数据完整率（15分钟点）", "Completeness of the 15-minute points", "blocking",
    "points read ÷ points expected, per total; the lowest decides", ("V01_official", "V01_target"),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FAIL below the official share, FINDING below ours."""
    totals = case.meters
    low = [t for t in totals if t.share_read < limit("V01_target")]
    lowest = min((t.share_read for t in totals), default=Fraction(0))
    outcome: CheckOutcome = "FINDING" if low else "PASS"
    if not totals or any(total.behind and not total.filled for total in totals):
        outcome = "INSUFFICIENT_DATA"
    # A total that has not been read to the end may still become complete: it does not fail yet. What two people substituted
    # is never counted as read, and asks for an explanation instead (ours).
    if any(t.share_read < limit("V01_official") for t in totals if not (t.behind or t.filled)):
        outcome = "FAIL"
    return RULE.line(
        outcome,
        f"{_down(lowest * 100)} %",
        f"{len(totals)} 个计量量，最低 {_down(lowest * 100)} %，{len(low)} 个低于 98 %；插补点不计入",
        f"{len(totals)} totals, {len(low)} below 98 %; interpolated points never count",
        meters=ids(low),
        inputs={"totals": len(totals), "below_target": len(low)},
        evidence=(
            row(t, t.summary.longest_gap, t.summary.points_read, t.summary.points_expected)
            for t in sorted(low, key=lambda t: t.share_read)
        ),
    )


def _down(value: Fraction) -> str:
    """Two places, rounded down: 99.999 % is not 100 %."""
    return half_up(Fraction(int(value * 100), 100), 2)
