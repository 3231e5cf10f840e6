"""What the API answers about time-of-use periods."""

from datetime import date

from pydantic import Field

from api.models import Exact, Out


class CalendarOut(Out):
    """A time-of-use calendar on the days that it holds for a meter."""

    meter: str
    first_day: date
    last_day: date = Field(description="Inclusive.")
    calendar: str = Field(description="Id of the official one; empty: the enterprise's own.")
    name_zh: str
    name_en: str
    notice: str
    verified: str = Field(description="How its data was checked; `declared`: the enterprise says so.")
    periods: str


class PeriodEnergyOut(Out):
    """Energy in one period of the day."""

    period: str = Field(description="sharp, peak, flat, valley, deep; empty on days without a calendar.")
    label_zh: str
    label_en: str
    energy_wh: Exact
    estimated_wh: Exact = Field(description="Of it, energy whose place in time is estimated or in question.")
    share: float | None
    max_demand_w: Exact | None = Field(description="Largest measured 15-minute energy × 4.")
    max_demand_at: str | None


class PeriodsOut(Out):
    """Energy by time-of-use period of a meter or an enterprise."""

    by: str
    id: str
    name: str
    zone: str
    start: str
    end: str
    calendars: list[CalendarOut]
    periods: list[PeriodEnergyOut]
    missing_meters: list[str] = Field(
        description="Meters without a reading in the range: their share is not in the sums."
    )
