"""A breaker: what keeps failing is asked seldom, so that it costs the others a bounded share. Pure; time is given."""

from typing import Final

_PATIENCE: Final = 3
"""Failures in a row that open it."""
_SHARE: Final = 0.05
"""Of the time, that probing may take at most."""
_LONGEST_S: Final = 60.0
"""Between two probes, unless a probe itself takes so long that the share asks for more."""


class Breaker:
    """Closed: ask. Open: wait. Then half open: one probe, which closes it or makes the wait twice as long."""

    def __init__(self) -> None:
        self._failures = 0
        self._wait_s = 0.0
        self._next_s = float("-inf")

    @property
    def is_open(self) -> bool:
        """True while only probes are allowed."""
        return self._failures >= _PATIENCE

    @property
    def doubts(self) -> bool:
        """True since the last failure: one try tells whether more is worth its time."""
        return self._failures > 0

    def allows(self, now_s: float) -> bool:
        """Whether to ask now. The first probe comes at once."""
        return not self.is_open or now_s >= self._next_s

    def answered(self) -> None:
        """Close it."""
        self._failures, self._wait_s, self._next_s = 0, 0.0, float("-inf")

    def failed(self, cost_s: float, now_s: float) -> None:
        """Take in a failure, that took `cost_s` and ended now."""
        probed = self.is_open
        self._failures += 1
        if probed:
            self._wait_s = max(cost_s / _SHARE, min(2 * self._wait_s, _LONGEST_S))
            self._next_s = now_s + self._wait_s
