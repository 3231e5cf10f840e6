"""V02: the days' sums against the register's own difference over the month."""

from fractions import Fraction

from verification.checks.case import Case, Rule, ids, row
from verification.checks.thresholds import limit
from verification.completeness import MonthTotal
from verification.document import CheckLine, CheckOutcome, half_up

RULE = Rule(
    "V02", "日数据之和与月表底差", "Sum of the days against the register's difference", "major",
    "|Σ days − (closing − opening)| ÷ (closing − opening), per total; the largest decides", ("V02_official", "V02_target"),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FAIL above the official deviation, FINDING above ours."""
    shares = {total: _deviation(total) for total in case.meters if not total.filled}
    unknown = [total for total, share in shares.items() if share is None]
    known = {total: share for total, share in shares.items() if share is not None}
    wide = [total for total, share in known.items() if share > limit("V02_target")]
    largest = max(known.values(), default=Fraction(0))
    outcome: CheckOutcome = "FINDING" if wide else "PASS"
    if unknown or not case.meters:
        outcome = "INSUFFICIENT_DATA"
    if largest > limit("V02_official"):
        outcome = "FAIL"
    return RULE.line(
        outcome,
        f"{half_up(largest * 100, 2)} %",
        f"{len(known)} 个计量量可比，{len(wide)} 个超过 0.5 %，{len(unknown)} 个无法比较",
        f"{len(known)} totals compared, {len(wide)} above 0.5 %, {len(unknown)} not comparable",
        meters=ids([*wide, *unknown]),
        inputs={"compared": len(known), "unknown": len(unknown)},
        evidence=(row(t, t.span, _daily(t), t.journal.energy) for t in wide),
    )


def _daily(total: MonthTotal) -> int:
    return sum(day.energy for day in total.summary.days if day.whole)


def _deviation(total: MonthTotal) -> Fraction | None:
    """None while a pending event holds energy back: what the register shows then may be another meter's."""
    register = total.journal.energy
    if register is None or total.pending:
        return None
    difference = abs(_daily(total) - register)
    if register == 0:
        return Fraction(0) if difference == 0 else Fraction(1)
    return Fraction(difference, abs(register))
