"""How long to wait for a unit: as long as its answers have taken, never longer than configured. Pure."""

from typing import Final

_LEAST_S: Final = 0.2
_SMOOTH: Final = 1 / 8
_SMOOTH_SPREAD: Final = 1 / 4
_SLOWEST_BYTE_S: Final = 11 / 4800
"""A longer reply takes longer behind a converter whose line we do not know; few are slower than 4800 baud."""


class Pace:
    """Smoothed time to an answer and its spread, as RFC 6298 keeps them for TCP."""

    def __init__(self) -> None:
        self._mean_s: float | None = None
        self._spread_s = 0.0

    def took(self, seconds: float) -> None:
        """Take in an answer's time."""
        if self._mean_s is None:
            self._mean_s, self._spread_s = seconds, seconds / 2
            return
        self._spread_s += _SMOOTH_SPREAD * (abs(seconds - self._mean_s) - self._spread_s)
        self._mean_s += _SMOOTH * (seconds - self._mean_s)

    def timeout_s(self, count: int, most_s: float) -> float:
        """For a read of `count` registers; the most before any answer is known."""
        if self._mean_s is None:
            return most_s
        expected_s = self._mean_s + 4 * self._spread_s + 2 * count * _SLOWEST_BYTE_S
        return min(most_s, max(_LEAST_S, expected_s))
