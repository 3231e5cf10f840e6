"""V13: a jump against the month before, last year's month or the months so far asks for an explanation."""

from collections.abc import Sequence
from fractions import Fraction

from metering.intervals import previous_month
from verification.accounting.history import last_year, purchased_of
from verification.checks.case import Case, Rule
from verification.checks.thresholds import limit
from verification.completeness import as_reported
from verification.document import CheckLine, CheckOutcome, MonthDocument, half_up
from verification.lines import Evidence

RULE = Rule(
    "V13", "环比、同比突变", "Jump against other months", "major",
    "x ÷ x of the other month − 1, x = electricity per 万元 of output where both months have it, else electricity per day; and "
    "|x − mean| ÷ σ over closed months",
    ("V13_share", "V13_sigma"),
)  # fmt: skip
ENOUGH = 6
"""Closed months that a deviation is worth computing from; ours."""


def check(case: Case) -> CheckLine:
    """FINDING beyond either limit; NOT_DUE while there is nothing to compare with."""
    own = case.boundary.formula_energy(as_reported)
    others = {document.month: document for document in case.before}
    near = [others[m] for m in (previous_month(case.books.month), last_year(case.books.month)) if m in others]
    output = next((line.amount for line in case.production if line.id == "output"), None)
    days = Fraction(case.span.end_ms - case.span.start_ms, _DAY_MS)
    changes = {
        d.month: change
        for d in near
        if own is not None and (change := _change(own, output, days, d)) is not None
    }
    wide = {month: change for month, change in changes.items() if abs(change) > limit("V13_share")}
    far = own is not None and _is_far(Fraction(own) / days, [_per_day(d) for d in case.before])
    outcome: CheckOutcome = "FINDING" if wide or far else "PASS"
    if not changes and not far:
        outcome = "NOT_DUE"
    largest = max(changes.values(), key=abs, default=None)
    shown = "、".join(f"{month} {half_up(change * 100, 1)} %" for month, change in changes.items())
    return RULE.line(
        outcome,
        "—" if largest is None else f"{half_up(largest * 100, 1)} %",
        f"与 {shown} 相比" if shown else "没有可比的已关账月份",
        f"against {shown}" if shown else "no closed month to compare with",
        inputs={"compared": len(changes), "closed_months": len(case.before)},
        evidence=(
            Evidence(found=f"{half_up(change * 100, 1)} %", expected=month) for month, change in wide.items()
        ),
    )


_DAY_MS = 86_400_000


def _change(own: int, output: str | None, days: Fraction, other: MonthDocument) -> Fraction | None:
    """How much more than in the other month; per output where both have it."""
    theirs = next((line.amount for line in other.production if line.id == "output"), None)
    energy = purchased_of(other)
    if energy is None or int(energy) <= 0:
        return None
    if output is not None and theirs is not None and Fraction(output) > 0 and Fraction(theirs) > 0:
        return (own / Fraction(output)) / (int(energy) / Fraction(theirs)) - 1
    return (own / days) / (_per_day(other) or Fraction(1)) - 1


def _per_day(document: MonthDocument) -> Fraction | None:
    energy = purchased_of(document)
    days = Fraction(document.end_ms - document.start_ms, _DAY_MS)
    return None if energy is None else int(energy) / days


def _is_far(own: Fraction, others: Sequence[Fraction | None]) -> bool:
    """|x − mean| > 3 σ, in squares: no root is taken."""
    known = [value for value in others if value is not None]
    if len(known) < ENOUGH:
        return False
    mean = sum(known, Fraction(0)) / len(known)
    variance = sum(((value - mean) ** 2 for value in known), Fraction(0)) / len(known)
    return (own - mean) ** 2 > limit("V13_sigma") ** 2 * variance
