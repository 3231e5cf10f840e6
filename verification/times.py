"""Local days and times of the registry as points on the time line."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from metering.intervals import to_ms


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """The start of a local day."""
    return to_ms(datetime.combine(day, time(), zone))


def local_ms(moment: datetime, zone: ZoneInfo) -> int:
    """A time as an inspector wrote it: local unless it names its own offset."""
    return to_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))
