"""Local days of the registry as points on the time line."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from metering.intervals import to_ms


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """The start of a local day."""
    return to_ms(datetime.combine(day, time(), zone))
