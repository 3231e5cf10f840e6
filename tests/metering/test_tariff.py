"""Periods on the time line: every quarter belongs to the period of its wall clock, also when the clock changes."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.intervals import QUARTER_MS, Span, local_month, to_ms
from metering.periods import CODES, NONE, DayKind, Period, parse_periods
from metering.tariff import local_dates, period_codes, stretches

TEXT = """
4-9: sharp 02:00-03:00; flat 03:00-12:00; peak 12:00-22:00; valley 22:00-02:00
10-3: valley 00:00-02:15; deep 02:15-03:00; flat 03:00-24:00
"""
PERIODS = parse_periods(TEXT)
ZONES = [
    "Asia/Shanghai",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Africa/Cairo",
]


def _codes(day: date) -> bytes:
    return PERIODS.day(day.month, [DayKind.WORKDAY])


def _slow(t_ms: int, zone: ZoneInfo) -> Period:
    """The period by the clock on the wall, written out by hand."""
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms)).astimezone(zone)
    minute = local.hour * 60 + local.minute
    if 4 <= local.month <= 9:
        if minute < 120 or minute >= 1320:
            return Period.VALLEY
        return Period.SHARP if minute < 180 else Period.FLAT if minute < 720 else Period.PEAK
    return Period.VALLEY if minute < 135 else Period.DEEP if minute < 180 else Period.FLAT


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.integers(2001, 2030), st.integers(1, 12))
def test_every_quarter_of_a_month_belongs_to_the_period_of_its_wall_clock(
    name: str, year: int, month: int
) -> None:
    zone = ZoneInfo(name)
    span = local_month(f"{year}-{month:02}", zone)
    codes = period_codes(span, zone, _codes)
    assert len(codes) * QUARTER_MS == span.end_ms - span.start_ms
    assert [CODES[code] for code in codes] == [_slow(t, zone) for t in range(*span, QUARTER_MS)]


@pytest.mark.parametrize(
    ("month", "hours"), [("2026-03", 31 * 24 - 1), ("2026-10", 31 * 24 + 1), ("2026-07", 31 * 24)]
)
def test_the_hour_that_is_left_out_or_repeated_counts_as_often_as_it_passes(month: str, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    codes = period_codes(local_month(month, zone), zone, _codes)
    assert len(codes) == hours * 4
    at_two = {"2026-03": 30 * 3, "2026-10": 32 * 3, "2026-07": 31 * 4}[month]
    wanted = Period.SHARP if month == "2026-07" else Period.DEEP
    assert sum(CODES[code] is wanted for code in codes) == at_two


def test_days_before_a_calendar_holds_belong_to_no_period() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    span = local_month("2026-07", zone)
    codes = period_codes(span, zone, lambda day: _codes(day) if day.day >= 11 else None)
    assert set(codes[: 10 * 96]) == {NONE}
    assert NONE not in codes[10 * 96 :]


@given(st.integers(0, 96 * 40), st.integers(1, 96 * 3))
def test_a_span_that_begins_within_a_day_gives_the_same_codes(start: int, count: int) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    begin = to_ms(datetime(2026, 3, 20, tzinfo=zone)) + start * QUARTER_MS
    span = Span(begin, begin + count * QUARTER_MS)
    assert [CODES[c] for c in period_codes(span, zone, _codes)] == [
        _slow(t, zone) for t in range(*span, QUARTER_MS)
    ]


def test_stretches_are_runs_that_cover_the_span() -> None:
    zone = ZoneInfo("Europe/Berlin")
    span = local_month("2026-03", zone)
    codes = period_codes(span, zone, _codes)
    found = list(stretches(span, codes))
    assert found[0].start_ms == span.start_ms
    assert found[-1].end_ms == span.end_ms
    assert all(a.end_ms == b.start_ms and a.code != b.code for a, b in pairwise(found))
    again = bytes(s.code for s in found for _ in range((s.end_ms - s.start_ms) // QUARTER_MS))
    assert again == codes


def test_the_local_days_of_a_month_are_its_calendar_days() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    assert [day.day for day in local_dates(local_month("2018-11", zone), zone)] == list(range(1, 31))
