"""Times and ranges as callers write them, on the grid of the park's zone."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query

from api.errors import invalid
from metering.i18n import _
from metering.intervals import (
    HOUR_MS,
    QUARTER_MS,
    Span,
    bucket_start,
    local_day,
    local_month,
    month_of,
    to_ms,
)

MAX_ROWS = 10_000
MAX_DAYS = 400
MAX_READ = 1_000_000
"""Stored intervals that one answer may be summed from; some seconds of one core. Ours."""
YEARS = range(1970, 2200)
DAY_MS = 24 * HOUR_MS


class Size(StrEnum):
    """Interval size; hours, days and months follow the park's calendar."""

    QUARTER = "15min"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


_APPROXIMATE_MS = {Size.QUARTER: QUARTER_MS, Size.HOUR: HOUR_MS, Size.DAY: DAY_MS, Size.MONTH: 28 * DAY_MS}

_FORMS = "ISO 8601, e.g. 2026-10-01T00:00:00+08:00, or a local date, e.g. 2026-10-01"
FromQuery = Annotated[
    str | None,
    Query(alias="from", max_length=40, description=f"Start, inclusive: {_FORMS}. Default: start of today."),
]
ToQuery = Annotated[
    str | None, Query(alias="to", max_length=40, description=f"End, exclusive: {_FORMS}. Default: now.")
]
SizeQuery = Annotated[Size, Query(description="Interval size, in the park's zone.")]


def parse_moment(text: str, parameter: str, zone: ZoneInfo) -> int:
    """UTC milliseconds of a moment; without an offset it is the park's local time."""
    # A plus sign that was not percent-encoded arrives as a space.
    repaired = re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", text) if "T" in text else text
    try:
        moment = datetime.fromisoformat(repaired)
    except ValueError:
        detail = _("{text!r} is not a time: give {forms}").format(text=text, forms=_FORMS)
        raise invalid(parameter, detail) from None
    if moment.year not in YEARS:
        raise invalid(parameter, _("year {year} lies outside what is kept").format(year=moment.year))
    return to_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))


def parse_range(start: str | None, end: str | None, size: Size, zone: ZoneInfo, now_ms: int) -> Span:
    """The asked range, widened to whole intervals of `size`, refused when it holds too many."""
    start_ms = local_day(now_ms, zone).start_ms if start is None else parse_moment(start, "from", zone)
    end_ms = now_ms if end is None else parse_moment(end, "to", zone)
    if end_ms <= start_ms:
        raise invalid("to", _("the end of the range is not after its start"))
    rows, days = (end_ms - start_ms) // _APPROXIMATE_MS[size], (end_ms - start_ms) / DAY_MS
    if rows > MAX_ROWS:
        text = _("the range holds {rows} intervals of {size}; at most {limit} are returned at once")
        raise invalid("to", text.format(rows=rows, size=size.value, limit=MAX_ROWS))
    if days > MAX_DAYS:
        text = _("the range is {days:.0f} days long; at most {limit} are read at once")
        raise invalid("to", text.format(days=days, limit=MAX_DAYS))
    first = bucket_start(start_ms, size, zone)
    return Span(first, bucket_end(bucket_start(end_ms - 1, size, zone), size, zone))


def check_cost(span: Span, totals: int) -> None:
    """422 when the range holds more stored intervals of that many totals than one answer may read."""
    rows = totals * (span.end_ms - span.start_ms) // QUARTER_MS
    if rows > MAX_READ:
        text = _(
            "the range holds {rows} stored intervals of {totals} totals; at most {limit} are read at once"
        )
        raise invalid("to", text.format(rows=rows, totals=totals, limit=MAX_READ))


def bucket_end(start_ms: int, size: Size, zone: ZoneInfo) -> int:
    """End of the interval that starts at `start_ms`."""
    match size:
        case Size.QUARTER:
            return start_ms + QUARTER_MS
        case Size.HOUR:
            return start_ms + HOUR_MS
        case Size.DAY:
            return local_day(start_ms, zone).end_ms
        case Size.MONTH:
            return local_month(month_of(start_ms, zone), zone).end_ms


def buckets(span: Span, size: Size, zone: ZoneInfo) -> list[Span]:
    """The whole intervals of `span`, in order."""
    found: list[Span] = []
    start_ms = span.start_ms
    while start_ms < span.end_ms:
        end_ms = bucket_end(start_ms, size, zone)
        found.append(Span(start_ms, end_ms))
        start_ms = end_ms
    return found
