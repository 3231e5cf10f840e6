"""The month's bytes of a running gateway: counted as they go, kept with the outbox, asked before live readings are published."""

from edge_agent.budget import Budget
from edge_agent.clock import Clock
from edge_agent.outbox import Outbox


class Traffic:
    """A budget and where its count is kept. The count reaches the disk with the next poll."""

    def __init__(self, budget: Budget, outbox: Outbox, clock: Clock) -> None:
        self._budget, self._outbox, self._clock = budget, outbox, clock

    def spent(self, size: int) -> None:
        """Count bytes on the wire."""
        self._budget.spent(size, self._clock.now_ms())
        self._outbox.notes.update(traffic_month=self._budget.month, traffic_bytes=self._budget.used_bytes)

    def may_live(self, t_ms: int, frame_bytes: float) -> bool:
        """Whether the month's bytes allow live readings now, once what waits has gone at `frame_bytes` each."""
        return self._budget.may_live(t_ms, int(self._outbox.backlog() * frame_bytes))
