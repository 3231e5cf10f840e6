"""V07: our meter against the utility's bill, over the bill's own dates."""

from collections.abc import Iterator
from datetime import date
from fractions import Fraction

from metering.intervals import Span
from metering.roles import Role
from verification.accounting.bills import printed_sum_differs
from verification.checks.case import Case, Rule
from verification.checks.thresholds import limit
from verification.document import CheckLine, CheckOutcome, half_up
from verification.lines import BillLine, Evidence
from verification.ratios import ratios_in
from verification.times import midnight_ms

RULE = Rule(
    "V07", "表计与结算账单", "Meter against the bill", "major",
    "|metered − (billed − losses − adjustment)| ÷ that, per bill over its own dates; the largest decides", ("V07", "V07_due_days"),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FINDING beyond twice the accuracy class, for a bill that contradicts itself, or when none came in time."""
    wide = [bill for bill in case.bills if _is_wide(case, bill)]
    odd = [bill for bill in case.bills if printed_sum_differs(bill)]
    ratio = [bill for bill in case.bills if _other_multiplier(case, bill)]
    unknown = [bill for bill in case.bills if bill.metered is None]
    billed = {bill.meter for bill in case.bills}
    without = [t.meter.id for t in case.boundary.of_role(Role.GRID_BOUNDARY) if t.meter.id not in billed]
    due = case.due("V07_due_days")
    outcome: CheckOutcome = "FINDING" if wide or odd or ratio or unknown else "PASS"
    if without and outcome == "PASS":
        outcome = "NOT_DUE" if case.today <= due else "FINDING"
    shares = [Fraction(bill.share) for bill in case.bills if bill.share is not None]
    return RULE.line(
        outcome,
        f"{half_up(max(shares) * 100, 2)} %" if shares else "—",
        f"{len(case.bills)} 张账单：超差 {len(wide)}，自身不平 {len(odd)}，倍率与变比不符 {len(ratio)}，无法比较 {len(unknown)}；"
        f"无账单的关口 {len(without)}",
        f"{len(case.bills)} bills: {len(wide)} beyond the limit, {len(odd)} not adding up, {len(ratio)} with another multiplier, "
        f"{len(unknown)} not comparable; {len(without)} boundary meters without one",
        meters=[*(bill.meter for bill in (*wide, *odd, *ratio, *unknown)), *without],
        inputs={"bills": len(case.bills), "without": len(without)},
        due=due,
        evidence=_evidence(case, [*wide, *odd, *ratio, *unknown]),
    )


def _is_wide(case: Case, bill: BillLine) -> bool:
    return bill.share is not None and Fraction(bill.share) > _limit(case, bill.meter)


def _limit(case: Case, meter: str) -> Fraction:
    """Twice the accuracy class where it is a number of percent."""
    record = case.books.meter(meter)
    accuracy = (record.accuracy_class if record else "").removesuffix("S")
    return 2 * Fraction(accuracy) / 100 if accuracy.replace(".", "").isdigit() else limit("V07")


def _other_multiplier(case: Case, bill: BillLine) -> bool:
    """The bill's multiplier is none of our ratios over its dates, although both stand behind the same transformers."""
    total = next((t for t in case.meters if (t.meter.id, t.reading_type) == (bill.meter, bill.energy)), None)
    if total is None or bill.unit != "kWh":
        return False
    own = ratios_in(
        total.meter, bill.energy, Span(_midnight(case, bill.start), _midnight(case, bill.end)), case.zone
    )
    return own != {1} and Fraction(bill.multiplier) not in own


def _evidence(case: Case, bills: list[BillLine]) -> Iterator[Evidence]:
    for bill in bills:
        yield Evidence(
            meter=bill.meter, reading_type=bill.energy, start_ms=_midnight(case, bill.start), end_ms=_midnight(case, bill.end),
            found=f"{bill.metered or '—'} {bill.unit}", expected=f"{bill.expected} {bill.unit} ({bill.id})",
        )  # fmt: skip


def _midnight(case: Case, day: str) -> int:
    return midnight_ms(date.fromisoformat(day), case.zone)
