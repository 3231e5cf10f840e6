"""What a running agent knows of itself: how each device answers, and that the poll loop still turns. Counts only, nothing is stored."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

_RECENT: Final = 64
"""Polls that the recent success rate looks back on."""
_LATENCY_WEIGHT: Final = 0.2


class DeviceHealth(msgspec.Struct):
    """How a device has answered since the agent started. A poll that its breaker left out is not one."""

    polls_total: int = 0
    failures_total: int = 0
    recent: int = 0
    """One bit for each of the newest polls, the newest lowest: 1 answered, 0 failed."""
    latency_s: float | None = None
    """Running mean of the time that an answered poll took, all blocks together."""
    answered_s: float | None = None
    """Monotonic time of the newest poll that was answered whole."""
    error: str | None = None
    """What went wrong last; kept after the device has recovered."""
    error_s: float | None = None

    def polled(self, error: str | None, cost_s: float, now_s: float) -> None:
        """Take in one poll: its error (None: everything was answered), the seconds it took, and the monotonic time."""
        self.polls_total += 1
        self.recent = (self.recent << 1 | (error is None)) & ((1 << _RECENT) - 1)
        if error is not None:
            self.failures_total += 1
            self.error, self.error_s = error, now_s
            return
        self.answered_s = now_s
        known = self.latency_s
        self.latency_s = cost_s if known is None else known + _LATENCY_WEIGHT * (cost_s - known)

    @property
    def success_ratio(self) -> float | None:
        """Share of the newest polls that were answered whole; None before the first."""
        seen = min(self.polls_total, _RECENT)
        return self.recent.bit_count() / seen if seen else None

    @property
    def answers(self) -> bool:
        """The newest poll was answered."""
        return bool(self.recent & 1)


class Pulse:
    """The poll loop's sign of life, for the watchdog and the status."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._beaten_s = monotonic()

    def beat(self) -> None:
        """The loop has come round."""
        self._beaten_s = self._monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since the loop came round."""
        return self._monotonic() - self._beaten_s
