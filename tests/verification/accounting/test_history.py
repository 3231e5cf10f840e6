"""Other months beside this one: what is closed is shown as closed, what is not shows nothing."""

from datetime import date
from fractions import Fraction

import msgspec
import pytest

from factors.policy import LatestPublished, resolve
from factors.table import Factor, FactorTable
from storage.facts.kinds import KINDS
from storage.facts.state import Facts
from storage.months import MonthRow, MonthStore
from tests.verification.conftest import CLOSED_AT_MS, Plant
from verification.accounting.books import Books
from verification.accounting.history import Closed, Own, budget_lines, comparisons, year_lines
from verification.accounting.totals import total_lines
from verification.document import MonthDocument, canonical, parse

MONTH = "2026-10"
UG = 530_600


@pytest.fixture
def template(month_rows: list[MonthRow]) -> MonthDocument:
    return parse(month_rows[0].document)


def closed_months(template: MonthDocument, energies: dict[str, int]) -> Closed:
    """The scope's closed months with these Wh and kgce alike, at the national factor."""

    def closed(month: str) -> tuple[MonthDocument, str] | None:
        if month not in energies:
            return None
        wh = energies[month]
        energy = msgspec.structs.replace(template.energy, purchased_wh=str(wh))
        totals = tuple(
            msgspec.structs.replace(line, electricity_ug=str(wh * UG), including_ug=str(wh * UG))
            for line in template.totals
        )
        assert template.energy_total is not None
        total = msgspec.structs.replace(template.energy_total, standard_coal_kgce=str(wh))
        return msgspec.structs.replace(
            template, month=month, energy=energy, totals=totals, energy_total=total, reported=()
        ), f"digest {month}"

    return closed


def own(wh: int) -> Own:
    table = FactorTable.load()
    day = date(2026, 11, 2)
    factor = resolve(table, LatestPublished("CN", "average"), MONTH, day)
    factors = {"national": factor, "provincial": factor, "market": factor}
    assert isinstance(factor, Factor)
    return Own(wh, str(wh), total_lines("enterprise", wh, 0, (), (), factors), factor)


def test_the_month_before_and_last_years_are_as_closed(template: MonthDocument) -> None:
    before, last_year = comparisons(MONTH, closed_months(template, {"2026-09": 5}))
    assert (before.month, before.purchased_wh, before.digest) == ("2026-09", "5", "digest 2026-09")
    assert before.emission_ug == str(5 * UG)
    assert (last_year.month, last_year.revision, last_year.purchased_wh) == ("2025-10", None, None)


def test_months_that_are_not_closed_have_no_figures_and_later_ones_never_do(template: MonthDocument) -> None:
    year = year_lines(MONTH, own(7), closed_months(template, {"2026-02": 5, "2026-12": 9}))
    assert [line.month for line in year] == [f"2026-{n:02d}" for n in range(1, 13)]
    known = {line.month: line.purchased_wh for line in year if line.purchased_wh is not None}
    assert known == {"2026-02": "5", "2026-10": "7"}


def test_the_annual_view_puts_every_month_under_this_documents_factor(template: MonthDocument) -> None:
    def with_old_factor(month: str) -> tuple[MonthDocument, str] | None:
        if month != "2026-02":
            return None
        energy = msgspec.structs.replace(template.energy, purchased_wh="1000")
        leading = next(line for line in template.totals if line.primary)
        old = msgspec.structs.replace(
            leading, direct_ug="30", electricity_ug="536600000", heat_ug="4", including_ug="536600034"
        )
        return msgspec.structs.replace(
            template, month=month, energy=energy, totals=(old,), certificates=(), reported=()
        ), ""

    line = year_lines(MONTH, own(7), with_old_factor)[1]
    assert line.emission_ug == "536600034"
    assert line.restated_emission_ug == str(1000 * UG + 34)


def books(**given: object) -> Books:
    budget = KINDS["budget"].model_validate({"scope": "a", "year": 2026, **given})
    return Books(Facts((budget,)), "a", ("a",), MONTH)


def test_without_last_year_the_forecast_is_the_mean_of_the_months(template: MonthDocument) -> None:
    closed = closed_months(template, {f"2026-{n:02d}": 100 for n in range(5, 10)})
    (line,) = budget_lines(books(energy_tce="1.2"), year_lines(MONTH, own(160), closed), closed)
    assert (line.id, line.unit, line.budget, line.used, line.months_used) == (
        "energy",
        "kgce",
        "1200",
        "660",
        6,
    )
    assert line.method == "mean_of_months"
    assert Fraction(line.forecast or 0) == Fraction(660, 6) * 12
    assert line.budget_to_date == "1000"
    assert line.state == "forecast_over"


def test_with_last_year_the_forecast_follows_its_seasons(template: MonthDocument) -> None:
    winter = {f"2025-{n:02d}": 100 if n <= 10 else 500 for n in range(1, 13)}
    closed = closed_months(template, {**winter, **{f"2026-{n:02d}": 100 for n in range(1, 10)}})
    (line,) = budget_lines(books(energy_tce="2"), year_lines(MONTH, own(100), closed), closed)
    assert line.method == "last_year_profile"
    assert line.forecast == "2000"
    assert line.budget_to_date == "1000"
    assert line.state == "yellow"


def test_nothing_is_forecast_from_nothing() -> None:
    empty = year_lines(MONTH, Own(None, None, own(1).totals, None), lambda _month: None)
    assert budget_lines(books(energy_tce="2"), empty, lambda _month: None)[0].state == "unknown"


def test_a_jump_against_a_closed_month_is_asked_about(plant: Plant) -> None:
    plant.build()
    first = plant.close()
    (document,) = [parse(row.document) for row in first if row.scope_id == "guangdian"]
    half = msgspec.structs.replace(
        document.energy, purchased_wh=str(int(document.energy.purchased_wh or 0) * 30 // 31 * 2 // 3)
    )
    span = {"start_ms": document.start_ms, "end_ms": document.end_ms - 86_400_000}
    before = canonical(msgspec.structs.replace(document, month="2026-09", energy=half, reported=(), **span))
    with MonthStore(plant.folder / "months.sqlite") as months:
        months.add([MonthRow("2026-09", "enterprise", "guangdian", 1, "PASS", 1, None, before, "d")])
    (checked,) = [doc for doc in plant.check(CLOSED_AT_MS) if doc.scope.id == "guangdian"]
    line = next(item for item in checked.checks if item.id == "V13")
    assert (line.outcome, line.value) == ("FINDING", "50.0 %")
    assert checked.comparisons[0].revision == 1
    assert checked.year[8].purchased_wh == half.purchased_wh
