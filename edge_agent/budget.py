"""What the connection costs, and what it may cost in a month: totals always go, live readings and backlog share the rest. Pure.

Bytes are estimated from the sizes of messages. `scripts/bench edge` measures the same on the wire and checks the estimate.
"""

from datetime import UTC, datetime
from typing import Final

MESSAGE_BYTES: Final = 4 + 22 + 52
"""On top of topic and payload: MQTT's header, a TLS 1.3 record, an IPv4 and a TCP header with time stamps."""
ACK_BYTES: Final = 52
"""A TCP acknowledgement the other way; one for two segments is usual."""
SESSION_BYTES: Final = 9_000
"""TCP and TLS handshake with certificates of both sides, CONNECT, SUBSCRIBE."""
PING_BYTES: Final = 2 * (2 + 22 + 52) + ACK_BYTES
"""A keep-alive and its answer."""
_HEAD_START_SHARE: Final = 1 / 31
"""Live readings may be this part of a month ahead, so that the first of a month is not without them."""
_MB: Final = 1_000_000


class Budget:
    """One month's bytes, over and over."""

    def __init__(self, monthly_mb: float, month: int = 0, used_bytes: int = 0) -> None:
        """`month`: as `month_of`, of `used_bytes`."""
        self._cap_bytes = round(monthly_mb * _MB)
        self.month, self.used_bytes = month, used_bytes

    def spent(self, size: int, t_ms: int) -> None:
        """Count bytes on the wire."""
        self._turn(t_ms)
        self.used_bytes += size

    def may_live(self, t_ms: int, waiting_bytes: int = 0) -> bool:
        """Whether what was spent, and what waits to be sent, is within the part of the month that has passed."""
        if not self._cap_bytes:
            return True
        self._turn(t_ms)
        part = min(1.0, _passed(t_ms) + _HEAD_START_SHARE)
        return self.used_bytes + waiting_bytes < self._cap_bytes * part

    def may_catch_up(self, t_ms: int, totals_bytes_per_s: float) -> bool:
        """Whether a backlog may go at full speed: what the month's other totals will cost is set aside."""
        if not self._cap_bytes:
            return True
        self._turn(t_ms)
        aside = totals_bytes_per_s * (1 - _passed(t_ms)) * _month_s(t_ms)
        return self.used_bytes + aside < self._cap_bytes

    def _turn(self, t_ms: int) -> None:
        month = month_of(t_ms)
        if month > self.month:
            self.month, self.used_bytes = month, 0


def month_of(t_ms: int) -> int:
    """Months since year 0, in UTC: what operators bill by differs by some hours, and nobody's counter is set by it."""
    now = datetime.fromtimestamp(t_ms / 1000, UTC)
    return now.year * 12 + now.month - 1


def _bounds_s(t_ms: int) -> tuple[float, float]:
    now = datetime.fromtimestamp(t_ms / 1000, UTC)
    begin = datetime(now.year, now.month, 1, tzinfo=UTC)
    end = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return begin.timestamp(), end.timestamp()


def _month_s(t_ms: int) -> float:
    begin, end = _bounds_s(t_ms)
    return end - begin


def _passed(t_ms: int) -> float:
    """The part of the month that has passed, 0 to 1."""
    begin, _end = _bounds_s(t_ms)
    return (t_ms / 1000 - begin) / _month_s(t_ms)
