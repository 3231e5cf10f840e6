"""V14: output and value added were reported, so that intensities exist."""

from verification.accounting.intensity import has_production
from verification.checks.case import Case, Rule
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V14", "产值、增加值已填报", "Output and value added reported", "major", "enterprises with both ÷ enterprises", ("V14_due_days",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """NOT_DUE until the reporting day, FINDING after it."""
    by_enterprise = {
        e: [f for f in case.books.production() if f.enterprise == e] for e in case.books.enterprises
    }
    absent = [enterprise for enterprise, facts in by_enterprise.items() if not has_production(facts)]
    due = case.due("V14_due_days")
    outcome: CheckOutcome = "PASS"
    if absent:
        outcome = "NOT_DUE" if case.today <= due else "FINDING"
    done = len(by_enterprise) - len(absent)
    return RULE.line(
        outcome,
        f"{done} / {len(by_enterprise)}",
        f"{done} 家已填报产值与增加值；未填报：{'、'.join(absent) or '—'}",
        f"{done} have reported output and value added; not yet: {', '.join(absent) or '—'}",
        inputs={"enterprises": len(by_enterprise), "reported": done},
        due=due,
        evidence=(Evidence(found=enterprise, expected="production") for enterprise in absent),
    )
