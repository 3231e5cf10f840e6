"""V15: the month was deposited by its last day + 40 days (national carbon market, 月度信息化存证)."""

from storage.facts.kinds import DepositFact
from verification.checks.case import Case, Rule
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V15", "月度存证期限", "Deposited in time", "minor", "deposit's date ≤ month's last day + 40 days, per enterprise", ("V15_due_days",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """NOT_DUE until the deadline; FINDING for a late or missing deposit. Only key emitters must."""
    due = case.due("V15_due_days")
    made = {
        e: [d for d in case.books.facts.of(DepositFact, e) if d.month == case.books.month]
        for e in case.books.enterprises
    }
    absent = [enterprise for enterprise, deposits in made.items() if not deposits]
    late = [d for deposits in made.values() for d in deposits if d.submitted_on > due]
    outcome: CheckOutcome = "PASS"
    if late:
        outcome = "FINDING"
    elif absent:
        outcome = "NOT_DUE" if case.today <= due else "FINDING"
    return RULE.line(
        outcome,
        f"{len(made) - len(absent)} / {len(made)}",
        f"期限 {due}；未存证 {len(absent)} 家，迟交 {len(late)} 项（仅重点排放单位有此义务）",
        f"due {due}; {len(absent)} without a deposit, {len(late)} late (only key emitters must)",
        inputs={"enterprises": len(made), "missing": len(absent), "late": len(late)},
        due=due,
        evidence=(
            Evidence(found=f"{d.enterprise} {d.parameter} {d.submitted_on}", expected=f"≤ {due}")
            for d in late
        ),
    )
