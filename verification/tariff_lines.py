"""Lines of the month document about time-of-use periods: the calendars, and the energy by period."""

import msgspec

from verification.lines import Count, Ratio


class TariffDay(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a day is to a calendar that tells days apart, what counts first standing first."""

    day: str
    kinds: tuple[str, ...]
    """Of workday, weekend, holiday, hot."""


class TariffLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A time-of-use calendar on the days of the month that it holds for an enterprise, or for one meter of it."""

    id: str
    enterprise: str
    meter: str
    """Empty: all meters of the enterprise that have no calendar of their own."""
    first_day: str
    last_day: str
    """Inclusive; both within the month."""
    calendar: str
    """Id of the official one; empty where the enterprise declared its own."""
    name_zh: str
    name_en: str
    notice: str
    """Or the contract that an own calendar rests on."""
    source: str
    verified: str
    """Mark of the data; `declared` where the enterprise says so."""
    note: str
    periods: str
    """In the notation of metering/periods.py."""
    days: tuple[TariffDay, ...] = ()
    """Every day, where the calendar tells days apart; from the State Council's notice and what was declared hot."""
    holiday_notice: str = ""
    """Of the State Council, where days are told apart."""
    holiday_verified: str = ""
    """The weakest mark of its lines."""
    holidays_known: bool = True
    """False: no notice of the State Council for the year is in the data, so holidays count as days like others."""


class PeriodLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Energy of one total, or of the scope by its formula, in one period of the month."""

    id: str
    meter: str
    """Empty: the scope."""
    reading_type: str
    role: str
    period: str
    """sharp, peak, flat, valley or deep; empty on days without a calendar."""
    energy_wh: Count | None
    """None when the month's energy is not determined; then nothing below is."""
    estimated_wh: Count | None
    """Of it, energy of intervals whose shape, and so whose period, is estimated or in question."""
    share: Ratio | None
    """Of the month."""
    max_demand_w: Count | None = None
    """Largest measured 15-minute energy × 4 within the period; None for the scope: demand is measured by metering point."""
    max_demand_at: str = ""
