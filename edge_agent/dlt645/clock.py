"""The clock of a DL/T 645 meter: a time source where there is no network time. It is read, never set."""

from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Final, NamedTuple, Protocol

from edge_agent.buses.errors import ReadFailed
from edge_agent.buses.stations import Station
from edge_agent.plan import Block
from edge_agent.profile_model import DLT645

_DATE: Final = Block(DLT645, 0x04000101, 4, ())
"""Weekday, day, month, year, low byte first (DL/T 645-2007 table A.5: YYMMDDWW)."""
_TIME: Final = Block(DLT645, 0x04000102, 3, ())
"""Second, minute, hour."""
_BEIJING: Final = timezone(timedelta(hours=8))
"""Meters in China keep Beijing time, without summer time."""
_CENTURY: Final = 2000


class MeterTime(NamedTuple):
    """What a meter's clock said."""

    t_ms: int
    """UTC, as the meter has it; whole seconds."""
    asked_s: float
    """Monotonic time just before the time was asked for."""
    answered_s: float
    """Monotonic time when it had come: `t_ms` belongs to a moment between the two, and is up to a second behind it."""


class _Bus(Protocol):
    async def read(self, unit: Station, block: Block, *, tries: int | None = None) -> list[int]: ...


class _Monotonic(Protocol):
    def __call__(self) -> float: ...


async def read_meter_time(
    bus: _Bus, address: Station, monotonic_s: _Monotonic, zone: timezone = _BEIJING
) -> MeterTime:
    """The time of a meter; ReadFailed when it does not answer, or says what is no time. Around midnight it is asked again."""
    before = await bus.read(address, _DATE)
    while True:
        asked_s = monotonic_s()
        time = await bus.read(address, _TIME)
        answered_s = monotonic_s()
        date = await bus.read(address, _DATE)
        if date == before:
            return MeterTime(_utc_ms(date, time, zone), asked_s, answered_s)
        before = date


def _utc_ms(date: list[int], time: list[int], zone: timezone) -> int:
    digits = bytes([*date[:0:-1], *time[::-1]]).hex()
    try:
        year, month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(0, 12, 2))
        moment = datetime(_CENTURY + year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError as error:
        raise ReadFailed(f"the meter's clock says {digits}, which is no time") from error
    return int(moment.timestamp()) * 1000


class MeterClockOf:
    """The clock of one meter, for whoever asks what time it is."""

    def __init__(self, bus: _Bus, address: Station) -> None:
        self._bus, self._address = bus, address

    async def utc_ms(self) -> int | None:
        """The time now by the meter, at most a second and the time of a reply behind; None when it does not say."""
        try:
            said = await read_meter_time(self._bus, self._address, monotonic)
        except ReadFailed:
            return None
        return said.t_ms + round((monotonic() - said.answered_s) * 1000)
