"""Deadlines: month end + 40 calendar days, working days, reminders."""

from datetime import date

import pytest

from factors.holidays import Calendar
from verification.deadlines import DEADLINES, Deadline, due

CALENDAR = Calendar.load()
DEPOSIT = next(rule for rule in DEADLINES if rule.id == "deposit")


@pytest.mark.parametrize(("month", "day"), [("2026-01", date(2026, 3, 12)), ("2026-02", date(2026, 4, 9))])
def test_the_deposit_is_due_forty_calendar_days_after_the_month(month: str, day: date) -> None:
    assert due(DEPOSIT, month, CALENDAR).day == day


def test_a_deadline_in_working_days_jumps_over_the_spring_festival() -> None:
    rule = Deadline(
        id="form", label_zh="填报", label_en="form", reached="under_review", days=10, count="working"
    )
    assert due(rule, "2026-01", CALENDAR).day == date(2026, 2, 13)
    late = rule.model_copy(update={"days": 12})
    assert due(late, "2026-01", CALENDAR).day == date(2026, 2, 24)


def test_a_reminder_falls_on_a_working_day() -> None:
    found = due(
        DEPOSIT, "2026-08", CALENDAR
    )  # due 2026-10-10; ten days before is a working day, three before a holiday
    assert found.day == date(2026, 10, 10)
    assert found.reminders == (date(2026, 9, 30),)  # both: the last working day before the holiday
    assert all(CALENDAR.is_workday(day) for day in found.reminders)


def test_a_year_without_a_notice_is_marked() -> None:
    assert due(DEPOSIT, "2026-10", CALENDAR).calendar_known
    assert not due(DEPOSIT, "2030-10", CALENDAR).calendar_known
