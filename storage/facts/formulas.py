"""The boundary formula of a scope in a month: what the registry of facts says at the month's end, else the park's file.

Everybody who adds meters up asks here: the close, the API, and whatever is drawn beside them.
"""

from datetime import date, timedelta

from metering.intervals import next_month
from metering.registry import Park, Term
from storage.facts.fields import parse_formula
from storage.facts.kinds import FormulaFact
from storage.facts.state import Facts


def formula_of(facts: Facts, scope: str, given: tuple[Term, ...], month: str) -> tuple[Term, ...]:
    """The formula of an enterprise or the park for a whole month; `given` is that of the park's file."""
    last = date.fromisoformat(f"{next_month(month)}-01") - timedelta(days=1)
    fact = facts.in_force(FormulaFact, scope, last)
    if fact is None:
        return given
    return tuple(Term(role=role, sign=sign) for role, sign in parse_formula(fact.formula))


def park_of(park: Park, facts: Facts, month: str) -> Park:
    """The park with every formula as it is in a month; itself where the registry has none."""
    if not facts.of(FormulaFact):
        return park
    enterprises = tuple(
        enterprise.model_copy(update={"formula": formula_of(facts, enterprise.id, enterprise.formula, month)})
        for enterprise in park.enterprises
    )
    own = formula_of(facts, park.id, park.formula, month)
    return park.model_copy(update={"enterprises": enterprises, "formula": own})
