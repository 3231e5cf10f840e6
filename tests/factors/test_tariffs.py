"""The official calendars: what the notices say, by hand, and what a day is to them."""

from datetime import date

import pytest

from factors.table import VERIFIED_MARKS, FactorDataError
from factors.tariffs import holidays, in_force, official, read_tariffs, unknown_calendars
from metering.periods import CODES, DayKind
from storage.facts.tariff import TariffFact

HOURS = {
    ("cn-ah-2025-302", 8): {"peak": 8, "flat": 7, "valley": 9},
    ("cn-ah-2025-302", 1): {"peak": 8, "flat": 7, "valley": 9},
    ("cn-ah-2025-302", 4): {"peak": 8, "flat": 6, "valley": 10},
    ("cn-js-2025-426", 7): {"peak": 8, "flat": 8, "valley": 8},
    ("cn-js-2025-426", 2): {"peak": 8, "flat": 8, "valley": 8},
    ("cn-js-2025-426", 4): {"peak": 7, "flat": 9, "valley": 8},
    ("cn-sx-2021-479", 5): {"peak": 9, "flat": 6, "valley": 9},
    ("cn-sx-2021-479-industry", 7): {"sharp": 2, "peak": 7, "flat": 6, "valley": 9},
    ("cn-gd-2021-331", 8): {"sharp": 3, "peak": 4, "flat": 9, "valley": 8},
    ("cn-gd-2021-331", 5): {"peak": 7, "flat": 9, "valley": 8},
}
"""Hours a day, added up by hand from the notices' tables."""


def _hours(codes: bytes) -> dict[str, float]:
    return {str(CODES[code]): codes.count(code) / 4 for code in sorted(set(codes))}


@pytest.mark.parametrize(("calendar", "month"), HOURS)
def test_the_hours_of_each_period_are_those_of_the_notice(calendar: str, month: int) -> None:
    assert _hours(official()[calendar].periods.day(month, [DayKind.WORKDAY])) == HOURS[calendar, month]


def test_guangdong_is_sharp_on_a_hot_day_outside_the_summer_months() -> None:
    periods = official()["cn-gd-2021-331"].periods
    assert periods.day(5, [DayKind.HOT, DayKind.WORKDAY]) == periods.day(8, [DayKind.WORKDAY])


def test_every_calendar_says_where_it_comes_from_and_how_it_was_checked() -> None:
    for item in official().values():
        assert item.notice
        assert item.source
        assert item.verified in VERIFIED_MARKS
        for month in range(1, 13):
            for kind in (DayKind.WORKDAY, DayKind.WEEKEND, DayKind.HOLIDAY):
                assert sum(_hours(item.periods.day(month, [kind])).values()) == 24


@pytest.mark.parametrize(
    ("day", "shortest", "kind"),
    [
        ("2026-02-17", 3, DayKind.HOLIDAY),
        ("2026-02-14", 3, DayKind.WORKDAY),  # a Saturday, worked
        ("2026-02-15", 3, DayKind.HOLIDAY),  # a Sunday within the holiday
        ("2025-01-01", 1, DayKind.HOLIDAY),
        ("2025-01-01", 3, DayKind.WEEKEND),  # a single day off
        ("2026-03-01", 1, DayKind.WEEKEND),
        ("2026-03-02", 1, DayKind.WORKDAY),
    ],
)
def test_what_a_day_is_follows_the_state_councils_notice(day: str, shortest: int, kind: DayKind) -> None:
    assert holidays().day_kind(date.fromisoformat(day), shortest) is kind


def test_the_notice_of_a_year_carries_the_weakest_mark_of_its_lines() -> None:
    notices = holidays().notices
    assert notices[2026] == ("国务院办公厅关于2026年部分节假日安排的通知（2025-11-04）", "two_sources")
    assert notices[2025][1] == "one_source"
    assert set(notices) == set(holidays().years)


def test_a_notice_holds_from_its_day_on() -> None:
    choice = TariffFact(enterprise="e", calendar="cn-ah-2025-302", valid_from=date(2020, 1, 1))
    assert in_force(choice, date(2025, 6, 30)) is None
    assert in_force(choice, date(2025, 7, 1)) is official()["cn-ah-2025-302"]
    assert unknown_calendars(["cn-ah-2025-302", "", "nobody"]) == ["nobody"]


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    text = """
[[tariff]]
id = "a"
name_zh = "甲"
name_en = "A"
region = "CN-AH"
notice = "1"
source = "x"
verified = "unverified"
valid_from = 2025-01-01
valid_to = 2025-01-01
holiday_days = 0
colour = "red"
periods = "1-12: flat 00:00-23:50"
[[tariff]]
id = "b"
"""
    with pytest.raises(FactorDataError) as caught:
        read_tariffs(text, "t.toml")
    told = "\n".join(caught.value.mistakes)
    for part in ("valid_to is not after", "holiday_days", "'colour'", "23:50", "b: name_zh is missing"):
        assert part in told
