"""Other months beside this one: the month before, last year's, the year's twelve under one factor, and the budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from factors.table import Factor
from metering.intervals import previous_month
from verification.accounting.books import Books
from verification.accounting.electricity import emission
from verification.accounting.reported import PURCHASED
from verification.completeness import total_of
from verification.document import MonthDocument, count_text, exact_decimal, ratio_text
from verification.lines import BudgetLine, Comparison, EmissionTotals, YearMonth

MONTHS = 12
WARN_SHARE = Fraction(9, 10)
"""Ours: yellow from 90 % of the budget to date, red above it."""
UG_PER_T, KG_PER_T = 10**12, 1000

Closed = Callable[[str], tuple[MonthDocument, str] | None]
"""month → the newest closed document of the scope and its digest; None when it is not closed."""


@dataclass(frozen=True, slots=True)
class Own:
    """This month's own figures, before its document is whole."""

    purchased_wh: int | None
    kgce: str | None
    totals: tuple[EmissionTotals, ...]
    factor: Factor | None
    """The leading electricity factor: the year is restated under it."""

    @property
    def leading(self) -> EmissionTotals:
        """The totals that lead."""
        return next(line for line in self.totals if line.primary)


def last_year(month: str) -> str:
    """The same month of the year before."""
    return f"{int(month[:4]) - 1}{month[4:]}"


def comparisons(month: str, closed: Closed) -> tuple[Comparison, ...]:
    """The month before and last year's, as closed."""
    return (
        _comparison("previous_month", previous_month(month), closed),
        _comparison("last_year", last_year(month), closed),
    )


def _comparison(name: Literal["previous_month", "last_year"], month: str, closed: Closed) -> Comparison:
    found = closed(month)
    if found is None:
        return Comparison(id=name, month=month, revision=None)
    document, digest = found
    return Comparison(
        id=name,
        month=month,
        revision=document.revision,
        digest=digest,
        purchased_wh=purchased_of(document),
        standard_coal_kgce=coal_of(document),
        emission_ug=emission_of(document),
    )


def purchased_of(document: MonthDocument) -> str | None:
    """Purchased electricity of a closed month as reported; of older documents as measured."""
    line = next((line for line in document.reported if line.id == PURCHASED), None)
    return document.energy.purchased_wh if line is None else line.reported


def coal_of(document: MonthDocument) -> str | None:
    """Standard coal of a closed month; of older documents that of the electricity."""
    return (
        document.energy_total.standard_coal_kgce
        if document.energy_total
        else document.energy.standard_coal_kgce
    )


def emission_of(document: MonthDocument) -> str | None:
    """The leading total of a closed month; of older documents that of the electricity."""
    if document.totals:
        return next(line.including_ug for line in document.totals if line.primary)
    return next((line.emission_ug for line in document.emissions if line.primary), None)


def year_lines(month: str, own: Own, closed: Closed) -> tuple[YearMonth, ...]:
    """January to December: closed months, this one, and — for what is not closed yet."""
    return tuple(_year_month(f"{month[:4]}-{n:02d}", month, own, closed) for n in range(1, MONTHS + 1))


def _year_month(at: str, month: str, own: Own, closed: Closed) -> YearMonth:
    if at == month:
        shown = own.leading.including_ug
        return YearMonth(
            month=at, revision=None, purchased_wh=count_text(own.purchased_wh), standard_coal_kgce=own.kgce,
            emission_ug=shown, restated_emission_ug=shown,
        )  # fmt: skip
    found = closed(at) if at < month else None
    if found is None:
        return YearMonth(
            month=at, revision=None, purchased_wh=None, standard_coal_kgce=None, emission_ug=None, restated_emission_ug=None
        )  # fmt: skip
    document, _digest = found
    return YearMonth(
        month=at,
        revision=document.revision,
        purchased_wh=purchased_of(document),
        standard_coal_kgce=coal_of(document),
        emission_ug=emission_of(document),
        restated_emission_ug=count_text(_restated(document, own)),
    )


def _restated(document: MonthDocument, own: Own) -> int | None:
    """A closed month's total with this document's electricity factor."""
    if own.factor is None:
        return None
    reported = purchased_of(document)
    purchased = None if reported is None else int(reported)
    if own.leading.use == "standard" and purchased is not None:
        purchased -= sum(int(line.accepted_wh) for line in document.certificates)
    leading = next((line for line in document.totals if line.primary), None)
    others = (leading.direct_ug, leading.heat_ug) if leading else ("0", "0")
    parts = (None if ug is None else int(ug) for ug in others)
    return total_of((emission(purchased, own.factor), *parts))


def budget_lines(books: Books, year: Sequence[YearMonth], before: Closed) -> tuple[BudgetLine, ...]:
    """The scope's budgets of the year; none where the registry has none."""
    budget = books.budget()
    if budget is None:
        return ()
    past = [before(f"{books.year - 1}-{n:02d}") for n in range(1, MONTHS + 1)]
    coal = [None if p is None else _number(coal_of(p[0])) for p in past]
    carbon = [None if p is None else _number(emission_of(p[0])) for p in past]
    lines = []
    if budget.energy_tce is not None:
        used = [_number(line.standard_coal_kgce) for line in year]
        lines.append(_budget(books, "energy", "kgce", Fraction(budget.energy_tce) * KG_PER_T, used, coal))
    if budget.carbon_t is not None:
        used = [_number(line.emission_ug) for line in year]
        lines.append(_budget(books, "carbon", "ug", Fraction(budget.carbon_t) * UG_PER_T, used, carbon))
    return tuple(lines)


def _number(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)


def _budget(
    books: Books,
    name: Literal["energy", "carbon"],
    unit: str,
    budget: Fraction,
    used: Sequence[Fraction | None],
    past: Sequence[Fraction | None],
) -> BudgetLine:
    """Months of this year without a figure, earlier ones too, are forecast; nothing is forecast from nothing."""
    at = books.first.month
    known = [value for value in used[:at] if value is not None]
    profile = [value for value in past if value is not None]
    seasonal = len(profile) == MONTHS and sum(profile) > 0
    share = sum(profile[:at], Fraction(0)) / sum(profile) if seasonal else Fraction(at, MONTHS)
    forecast = _forecast(used[:at], profile if seasonal else None)
    spent = sum(known, Fraction(0))
    return BudgetLine(
        id=name,
        year=books.year,
        unit=unit,
        budget=exact_decimal(budget),
        used=exact_decimal(spent) if known else None,
        months_used=len(known),
        budget_to_date=ratio_text(budget * share),
        forecast=None if forecast is None else ratio_text(forecast),
        method="none" if forecast is None else "last_year_profile" if seasonal else "mean_of_months",
        state=budget_state(spent if known else None, budget * share, budget, forecast),
    )


def _forecast(used: Sequence[Fraction | None], profile: Sequence[Fraction] | None) -> Fraction | None:
    known = {i: value for i, value in enumerate(used) if value is not None}
    if not known:
        return None
    spent = sum(known.values(), Fraction(0))
    if profile is None:
        return spent * MONTHS / len(known)
    same = sum((profile[i] for i in known), Fraction(0))
    return None if same == 0 else spent * sum(profile) / same


def budget_state(
    used: Fraction | None, to_date: Fraction, budget: Fraction, forecast: Fraction | None
) -> Literal["green", "yellow", "red", "forecast_over", "unknown"]:
    """Worst first: over the budget to date, heading over the year's, near the budget to date."""
    if used is None:
        return "unknown"
    if used > to_date:
        return "red"
    if forecast is not None and forecast > budget:
        return "forecast_over"
    return "yellow" if used >= to_date * WARN_SHARE else "green"
