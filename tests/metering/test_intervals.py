"""The grid against a slow twin that walks the wall clock minute by minute, in zones that make it hard."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.intervals import (
    HOUR_MS,
    MINUTE_MS,
    QUARTER_MS,
    bucket_start,
    iso,
    local_day,
    local_month,
    month_of,
    next_month,
    previous_month,
    quarter_start,
    quarters,
    to_local,
    to_ms,
)

SHANGHAI, BERLIN, KOLKATA, LORD_HOWE, HAVANA = map(
    ZoneInfo, ("Asia/Shanghai", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana")
)
ZONES = (SHANGHAI, BERLIN, KOLKATA, LORD_HOWE, HAVANA)
zones = st.sampled_from(ZONES)
moments = st.integers(to_ms(datetime(2020, 1, 1, tzinfo=UTC)), to_ms(datetime(2037, 1, 1, tzinfo=UTC)))
CHANGES = [
    (BERLIN, datetime(2026, 3, 29, 1, tzinfo=UTC)), (BERLIN, datetime(2026, 10, 25, 1, tzinfo=UTC)),
    (LORD_HOWE, datetime(2026, 4, 4, 15, tzinfo=UTC)), (LORD_HOWE, datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    (HAVANA, datetime(2026, 3, 8, 5, tzinfo=UTC)), (HAVANA, datetime(2026, 11, 1, 5, tzinfo=UTC)),
]  # fmt: skip
"""(zone, UTC moment at which its offset changes), from the IANA tz database."""


def label(t_ms: int, size: str, zone: ZoneInfo) -> tuple[object, ...]:
    """What every millisecond of one local hour, day or month has in common."""
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms)).astimezone(zone)
    parts = {
        "hour": (local.date(), local.hour, local.utcoffset()),
        "day": (local.date(),),
        "month": (local.year, local.month),
    }
    return parts[size]


def slow_start(t_ms: int, size: str, zone: ZoneInfo) -> int:
    """Walk back on the quarter-hour grid for as long as the label stays the same."""
    t_ms, wanted = t_ms - t_ms % QUARTER_MS, label(t_ms, size, zone)
    while label(t_ms - QUARTER_MS, size, zone) == wanted:
        t_ms -= QUARTER_MS
    return t_ms


@given(moments, zones, st.sampled_from(["hour", "day"]))
def test_hours_and_days_start_where_the_wall_clock_says(t_ms: int, zone: ZoneInfo, size: str) -> None:
    assert bucket_start(t_ms, size, zone) == slow_start(t_ms, size, zone)


@given(moments, zones)
@settings(max_examples=15)
def test_months_start_where_the_wall_clock_says(t_ms: int, zone: ZoneInfo) -> None:
    assert bucket_start(t_ms, "month", zone) == slow_start(t_ms, "month", zone)


@given(st.sampled_from(CHANGES), st.integers(-26 * HOUR_MS, 26 * HOUR_MS), st.sampled_from(["hour", "day"]))
def test_around_a_change_of_the_clock_too(change: tuple[ZoneInfo, datetime], by_ms: int, size: str) -> None:
    zone, moment = change
    t_ms = to_ms(moment) + by_ms
    assert bucket_start(t_ms, size, zone) == slow_start(t_ms, size, zone)


@given(moments, zones, st.sampled_from(["15min", "hour", "day", "month"]))
def test_the_start_of_a_start_is_itself(t_ms: int, zone: ZoneInfo, size: str) -> None:
    start = bucket_start(t_ms, size, zone)
    assert start <= t_ms
    assert bucket_start(start, size, zone) == start
    assert quarter_start(start) == start, "every edge lies on the 15-minute grid"


@pytest.mark.parametrize(("zone", "day", "hours"), [
    (SHANGHAI, "2026-03-29", 24), (BERLIN, "2026-03-29", 23), (BERLIN, "2026-10-25", 25), (BERLIN, "2026-10-26", 24),
    (KOLKATA, "2026-10-25", 24), (LORD_HOWE, "2026-04-05", 24.5), (LORD_HOWE, "2026-10-04", 23.5),
    (HAVANA, "2026-11-01", 25), (HAVANA, "2026-03-08", 23),
])  # fmt: skip
def test_a_local_day_has_the_hours_it_has(zone: ZoneInfo, day: str, hours: float) -> None:
    noon = to_ms(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone))
    span = local_day(noon, zone)
    assert span.end_ms - span.start_ms == hours * HOUR_MS
    assert local_day(span.start_ms, zone) == local_day(span.end_ms - 1, zone) == span
    assert len(list(quarters(span))) == hours * 4


@pytest.mark.parametrize(("zone", "month", "start", "hours"), [
    (SHANGHAI, "2026-10", "2026-09-30T16:00:00+00:00", 31 * 24), (SHANGHAI, "2024-02", "2024-01-31T16:00:00+00:00", 29 * 24),
    (BERLIN, "2026-03", "2026-02-28T23:00:00+00:00", 31 * 24 - 1), (BERLIN, "2026-10", "2026-09-30T22:00:00+00:00", 31 * 24 + 1),
    (KOLKATA, "2026-12", "2026-11-30T18:30:00+00:00", 31 * 24), (LORD_HOWE, "2026-04", "2026-03-31T13:00:00+00:00", 30 * 24 + 0.5),
])  # fmt: skip
def test_a_month_begins_and_ends_at_local_midnight(
    zone: ZoneInfo, month: str, start: str, hours: float
) -> None:
    span = local_month(month, zone)
    assert iso(span.start_ms, ZoneInfo("UTC")) == start
    assert span.end_ms - span.start_ms == hours * HOUR_MS


@given(moments, zones)
def test_a_month_holds_its_edges_half_open(t_ms: int, zone: ZoneInfo) -> None:
    month = month_of(t_ms, zone)
    span = local_month(month, zone)
    assert span.start_ms <= t_ms < span.end_ms
    assert month_of(span.end_ms - 1, zone) == month
    assert month_of(span.end_ms, zone) == next_month(month)
    assert month_of(span.start_ms - 1, zone) == previous_month(month)


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-1", "26-10", "2026-10-01", "october", "", "2026/10", " 2026-1"]
)
def test_one_month_has_one_spelling(text: str) -> None:
    for use in (previous_month, next_month, lambda month: local_month(month, SHANGHAI)):
        with pytest.raises(ValueError, match=r"month|match|unconverted"):
            use(text)


def test_an_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="15min, hour, day or month"):
        bucket_start(0, "week", SHANGHAI)


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        to_ms(datetime(2026, 10, 1))  # noqa: DTZ001  that is what is refused


@given(moments, zones)
def test_local_time_and_text_read_back_to_the_millisecond(t_ms: int, zone: ZoneInfo) -> None:
    assert to_ms(to_local(t_ms, zone)) == t_ms
    assert to_ms(datetime.fromisoformat(iso(t_ms, zone))) == t_ms


def test_text_shows_milliseconds_only_where_there_are_some() -> None:
    assert iso(MINUTE_MS, SHANGHAI) == "1970-01-01T08:01:00+08:00"
    assert iso(1, SHANGHAI) == "1970-01-01T08:00:00.001+08:00"
