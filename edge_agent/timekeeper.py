"""What time it is, and why we believe it. Pure: it is told what others say, and keeps UTC as an offset to the time since boot.

Readings are stamped in ms since boot, which no step moves; the offset makes them UTC. Sources, the better first:
the server's acks (over a broker that has proved who it is), a system clock that NTP keeps, a meter's clock.
A better or equal source replaces the last word of another; a worse one only where nothing better was heard for a day.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from metering.frames import TimeSource

FIRST_SANE_MS: Final = 1_735_689_600_000
"""2025-01-01: no gateway of ours ran before. A clock that shows less was never set."""
LONGEST_ROUND_TRIP_MS: Final = 4_000
"""Of a time request and its ack; a slower answer says too little (ours)."""
_STALE_MS: Final = 86_400_000
_DRIFT_PPM: Final = 100
"""Of the time since boot, at most (ours; quartz of small machines is within 50)."""
_LARGEST_SLEW_MS: Final = 60_000
_SLEW: Final = 20
"""A correction back is spread over this many times its length, so that stamps never go back."""
_METER_ERROR_MS: Final = 2_000
_NTP_ERROR_MS: Final = 100
_RANK: Final = {TimeSource.SERVER: 2, TimeSource.NTP: 2, TimeSource.METER: 1}


class Offset(msgspec.Struct, frozen=True):
    """UTC ms minus ms since boot, and who says so. `guess` when nobody can be trusted."""

    ms: int
    source: TimeSource
    guess: bool = False


class _Word(msgspec.Struct, frozen=True):
    offset_ms: int
    source: TimeSource
    error_ms: int
    boot_ms: int
    """When it was heard."""


class Timekeeper:
    """UTC of one boot."""

    def __init__(
        self,
        boot_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        seen_ms: int = 0,
        guess_after_ms: int = 0,
    ) -> None:
        """`seen_ms`: the newest UTC that was ever known here. `guess_after_ms`: since boot; 0 never guesses."""
        self._boot_ms, self._wall_ms = boot_ms, wall_ms
        self._seen_ms, self._guess_after_ms = seen_ms, guess_after_ms
        self._begun_ms = boot_ms()
        self._word: _Word | None = None
        self._slew_ms = 0
        """What the offset still has to come down, as of `_slewed_ms`."""
        self._slewed_ms = self._begun_ms

    @property
    def source(self) -> str:
        """Who says what time it is; empty while nobody does."""
        return "" if self._word is None else self._word.source.value

    @property
    def error_ms(self) -> int | None:
        """How far off UTC may be; None while it is not known."""
        if self._word is None:
            return None
        age_ms = self._boot_ms() - self._word.boot_ms
        return self._word.error_ms + self._left_ms() + age_ms * _DRIFT_PPM // 1_000_000

    def heard_server(self, t_ms: int, asked_boot_ms: int) -> bool:
        """The server's answer to a request made at `asked_boot_ms`: its time lies between then and now."""
        now = self._boot_ms()
        trip = now - asked_boot_ms
        if not 0 <= trip <= LONGEST_ROUND_TRIP_MS or t_ms < FIRST_SANE_MS:
            return False
        return self._take(_Word(t_ms - (asked_boot_ms + trip // 2), TimeSource.SERVER, trip // 2 + 1, now))

    def heard_system(self, *, synchronised: bool) -> bool:
        """The system's clock, when an NTP client says that it keeps it."""
        wall, now = self._wall_ms(), self._boot_ms()
        if not synchronised or wall < FIRST_SANE_MS:
            return False
        return self._take(_Word(wall - now, TimeSource.NTP, _NTP_ERROR_MS, now))

    def heard_meter(self, t_ms: int) -> bool:
        """A meter's clock, just read."""
        now = self._boot_ms()
        if t_ms < max(FIRST_SANE_MS, self._seen_ms):
            return False
        return self._take(_Word(t_ms - now, TimeSource.METER, _METER_ERROR_MS, now))

    def offset(self) -> Offset | None:
        """What makes ms since boot UTC now; None while the time is not known and it is too early to guess."""
        if self._word is not None:
            return Offset(self._word.offset_ms + self._left_ms(), self._word.source)
        if self._guess_after_ms and self._boot_ms() - self._begun_ms >= self._guess_after_ms:
            wall = self._wall_ms()
            floor = self._floor_ms()
            return Offset((max(floor, wall)) - self._boot_ms(), TimeSource.UNTRUSTED, guess=True)
        return None

    def utc_ms(self) -> int:
        """UTC; before it is known the latest time that cannot be in the future, for stamps that Sparkplug demands."""
        if self._word is None:
            return self._floor_ms()
        return self._boot_ms() + self._word.offset_ms + self._left_ms()

    def _floor_ms(self) -> int:
        """Time goes on from where it was last known; what passed while the machine was off is missing."""
        return max(self._seen_ms, FIRST_SANE_MS) + self._boot_ms() - self._begun_ms

    def _left_ms(self) -> int:
        """Of a correction back, what is still to be spread."""
        return max(0, self._slew_ms - (self._boot_ms() - self._slewed_ms) // _SLEW)

    def _take(self, word: _Word) -> bool:
        known = self._word
        if known is not None and not _replaces(word, known):
            return False
        back_ms = 0 if known is None else known.offset_ms + self._left_ms() - word.offset_ms
        self._slew_ms = back_ms if 0 < back_ms <= _LARGEST_SLEW_MS else 0
        self._slewed_ms = word.boot_ms
        self._word = word
        return True


def _replaces(word: _Word, known: _Word) -> bool:
    """Equal words change nothing: who is as good and agrees within what both may be off is only noise."""
    age_ms = word.boot_ms - known.boot_ms
    if age_ms > _STALE_MS or _RANK[word.source] > _RANK[known.source]:
        return True
    if _RANK[word.source] < _RANK[known.source]:
        return False
    if known.source is TimeSource.SERVER and word.source is TimeSource.NTP:
        return False  # The server has proved who it is; an NTP server seldom does.
    apart_ms = abs(word.offset_ms - known.offset_ms)
    drifted_ms = known.error_ms + age_ms * _DRIFT_PPM // 1_000_000
    return word.error_ms < drifted_ms or apart_ms > drifted_ms + word.error_ms
