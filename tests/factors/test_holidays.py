"""Working days: the State Council's days off and make-up days."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from factors.holidays import COLUMNS, Calendar
from factors.table import FactorDataError


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendar.load()


@pytest.mark.parametrize(
    ("day", "worked"),
    [
        ("2026-02-14", True),  # a Saturday, worked for the Spring Festival
        ("2026-02-17", False),
        ("2026-02-23", False),  # a Monday
        ("2026-02-24", True),
        ("2026-03-01", False),  # a plain Sunday
        ("2025-10-08", False),
        ("2025-10-11", True),
    ],
)
def test_days_off_and_make_up_days_are_those_of_the_notice(
    calendar: Calendar, day: str, *, worked: bool
) -> None:
    assert calendar.is_workday(date.fromisoformat(day)) is worked


def test_a_statutory_year_has_the_number_of_days_off_that_its_notice_lists(calendar: Calendar) -> None:
    assert len([d for d in calendar.off if d.year == 2026]) == 3 + 9 + 3 + 5 + 3 + 3 + 7
    assert all(day.weekday() >= 5 for day in calendar.make_up)


def test_working_days_after_a_day_jump_over_the_spring_festival(calendar: Calendar) -> None:
    assert calendar.after(date(2026, 2, 13), 1) == date(2026, 2, 14)
    assert calendar.after(date(2026, 2, 13), 2) == date(2026, 2, 24)


def test_a_year_without_a_notice_is_said_to_be_unknown(calendar: Calendar) -> None:
    assert calendar.known(2026)
    assert not calendar.known(2031)
    assert calendar.is_workday(date(2031, 10, 1))


def test_every_mistake_of_the_file_is_named(tmp_path: Path) -> None:
    lines = [
        ",".join(COLUMNS),
        "2026,rest,x,x,2026-01-01,2026-01-01,s,two_sources",
        "2026,off,x,x,2026-01-03,2026-01-01,s,maybe",
    ]
    (tmp_path / "holidays.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(FactorDataError) as error:
        Calendar.load(tmp_path)
    assert "kind 'rest'" in str(error.value)
    assert "no stretch of days" in str(error.value)


def test_the_last_working_day_before_a_holiday_is_found(calendar: Calendar) -> None:
    assert calendar.on_or_before(date(2026, 10, 7)) == date(2026, 9, 30)
    assert calendar.on_or_before(date(2026, 9, 30) + timedelta(0)) == date(2026, 9, 30)
