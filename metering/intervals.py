"""The grid: half-open intervals in the site's local time, as UTC milliseconds.

The 15-minute grid is the UTC grid, because every zone in use has an offset that is a multiple of 15 minutes
(IANA tz database). Hours, days and months follow the local calendar, 23- and 25-hour days included.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
DEFAULT_ZONE = "Asia/Shanghai"


class Span(NamedTuple):
    """A half-open stretch of time `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int


def to_ms(moment: datetime) -> int:
    """UTC milliseconds of an aware datetime."""
    if moment.tzinfo is None:
        msg = "a naive datetime has no place on the time line"
        raise ValueError(msg)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def to_local(t_ms: int, zone: ZoneInfo) -> datetime:
    """The local wall-clock time of a UTC millisecond."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms)).astimezone(zone)


def quarter_start(t_ms: int) -> int:
    """Start of the 15-minute interval that holds `t_ms`."""
    return t_ms - t_ms % QUARTER_MS


def local_day(t_ms: int, zone: ZoneInfo) -> Span:
    """The local calendar day that holds `t_ms`."""
    midnight = to_local(t_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    next_day = (midnight + timedelta(days=1)).replace(hour=0)
    return Span(to_ms(midnight), to_ms(next_day))


def local_month(month: str, zone: ZoneInfo) -> Span:
    """The calendar month `YYYY-MM` in local time; ValueError when the text is not a month."""
    first = _first_day(month).replace(tzinfo=zone)
    following = (first + timedelta(days=32)).replace(day=1)
    return Span(to_ms(first), to_ms(following))


def _first_day(month: str) -> datetime:
    """Its first midnight, naive. One text per month: `2026-1` is none, because months are kept under their text."""
    if len(month) != len("YYYY-MM"):
        msg = f"{month!r} is not a month YYYY-MM"
        raise ValueError(msg)
    return datetime.strptime(month, "%Y-%m")  # noqa: DTZ007  a calendar month has no zone of its own


def month_of(t_ms: int, zone: ZoneInfo) -> str:
    """The local month `YYYY-MM` that holds `t_ms`."""
    return to_local(t_ms, zone).strftime("%Y-%m")


def previous_month(month: str) -> str:
    """The calendar month before `YYYY-MM`."""
    return (_first_day(month) - timedelta(days=1)).strftime("%Y-%m")


def next_month(month: str) -> str:
    """The calendar month after `YYYY-MM`."""
    return (_first_day(month) + timedelta(days=32)).strftime("%Y-%m")


def quarters(span: Span) -> Iterator[int]:
    """Starts of the 15-minute intervals within a span whose edges lie on the grid."""
    return iter(range(span.start_ms, span.end_ms, QUARTER_MS))


def bucket_start(t_ms: int, size: str, zone: ZoneInfo) -> int:
    """Start of the local `15min`, `hour`, `day` or `month` that holds `t_ms`."""
    if size == "15min":
        return quarter_start(t_ms)
    if size == "hour":
        return _hour_start(t_ms, zone)
    if size == "day":
        return local_day(t_ms, zone).start_ms
    if size == "month":
        return local_month(month_of(t_ms, zone), zone).start_ms
    msg = f"unknown interval size {size!r}: use 15min, hour, day or month"
    raise ValueError(msg)


def _hour_start(t_ms: int, zone: ZoneInfo) -> int:
    """Start of the local hour. A change of offset within an hour cuts it (Lord Howe moves by 30 minutes)."""
    offset = _offset_ms(t_ms, zone)
    start = t_ms - (t_ms + offset) % HOUR_MS
    while _offset_ms(start, zone) != offset:
        start = quarter_start(start) + QUARTER_MS
    return start


def _offset_ms(t_ms: int, zone: ZoneInfo) -> int:
    offset = to_local(t_ms, zone).utcoffset()
    assert offset is not None  # noqa: S101  an aware datetime always has one
    return offset // timedelta(milliseconds=1)


def iso(t_ms: int, zone: ZoneInfo) -> str:
    """ISO 8601 with the zone's offset, to the second (or the millisecond when there is one)."""
    spec = "milliseconds" if t_ms % 1000 else "seconds"
    return to_local(t_ms, zone).isoformat(timespec=spec)
