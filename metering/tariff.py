"""A tariff calendar: whose notice, from when until when, and which quarter of the time line belongs to which period.

Periods are a projection over the ledger's quarters: the ledger itself knows nothing of them (docs/decisions/0024).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metering.intervals import QUARTER_MS, Span, local_day, to_local
from metering.periods import NONE, QUARTERS, Periods

_NOON_MS = 12 * 60 * 60_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """A calendar with where it comes from. One that is not official says so in `verified`."""

    id: str
    name_zh: str
    name_en: str
    region: str
    """Scope code as the factors', e.g. CN-AH."""
    notice: str
    valid_from: date | None
    """None: our source does not say; who chooses the calendar says from when it holds for them."""
    valid_to: date | None
    """Exclusive."""
    holiday_days: int
    """Stretches of days off shorter than this count as weekends."""
    periods: Periods
    source: str
    verified: str
    """Mark of the factors' data files, or `declared` by an enterprise."""
    note: str = ""

    def holds(self, day: date) -> bool:
        """Whether its notice is in force."""
        begun = self.valid_from is None or self.valid_from <= day
        return begun and (self.valid_to is None or day < self.valid_to)


DayCodes = Callable[[date], bytes | None]
"""A local day's 96 codes by wall clock; None when no calendar is in force."""


def period_codes(span: Span, zone: ZoneInfo, day_codes: DayCodes) -> bytes:
    """The code of every quarter of a span. A quarter belongs to the period of its local wall-clock time.

    The hour that a change of the clock repeats belongs twice to its period, the hour that is left out to none.
    """
    parts, at = [], span.start_ms
    while at < span.end_ms:
        day = local_day(at, zone)
        end = min(day.end_ms, span.end_ms)
        codes = day_codes(to_local(at, zone).date())
        if codes is None:
            parts.append(bytes([NONE]) * ((end - at) // QUARTER_MS))
        elif _plain(day, zone):
            parts.append(codes[(at - day.start_ms) // QUARTER_MS : (end - day.start_ms) // QUARTER_MS])
        else:
            parts.append(bytes(codes[quarter_of_day(t, zone)] for t in range(at, end, QUARTER_MS)))
        at = end
    return b"".join(parts)


def quarter_of_day(t_ms: int, zone: ZoneInfo) -> int:
    """0 to 95 by the wall clock."""
    local = to_local(t_ms, zone)
    return local.hour * 4 + local.minute // 15


def _plain(day: Span, zone: ZoneInfo) -> bool:
    """Whether the clock runs through the day without a change."""
    if day.end_ms - day.start_ms != QUARTERS * QUARTER_MS:
        return False
    times = (day.start_ms, day.start_ms + _NOON_MS, day.end_ms - 1)
    return len({to_local(t, zone).utcoffset() for t in times}) == 1


class Stretch(NamedTuple):
    """Quarters of one period, one after another."""

    start_ms: int
    end_ms: int
    code: int


def stretches(span: Span, codes: Sequence[int]) -> Iterator[Stretch]:
    """The codes of a span as runs."""
    at = span.start_ms
    for code, run in groupby(codes):
        end = at + QUARTER_MS * sum(1 for _quarter in run)
        yield Stretch(at, end, code)
        at = end


def local_dates(span: Span, zone: ZoneInfo) -> Iterator[date]:
    """The local days that a span touches."""
    day, last = to_local(span.start_ms, zone).date(), to_local(span.end_ms - 1, zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)
