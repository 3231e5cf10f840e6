"""What waits between the network's thread and the writer: bounded, handed over by the portion."""

import threading
from collections import deque
from collections.abc import Callable

from storage.segment import Record


class Inbox:
    """Full, it lets no more in until something is taken: so the sockets fill, and the outboxes at the gateways are the buffer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: deque[Record] = deque()
        self._changed = threading.Condition()

    def full(self) -> bool:
        """Whether the next portion would have to wait."""
        return len(self._records) >= self._limit

    def put(self, portion: list[Record], stopping: Callable[[], bool]) -> None:
        """Add a portion, whole, once there is room; given up when `stopping()`, which is asked now and then."""
        with self._changed:
            while self.full():
                if stopping():
                    return
                self._changed.wait(0.05)
            self._records.extend(portion)
            self._changed.notify_all()

    def take(self, most: int, timeout_s: float) -> list[Record]:
        """The oldest, at most so many; waits a little for the first."""
        with self._changed:
            if not self._records:
                self._changed.wait(timeout_s)
            taken = [self._records.popleft() for _ in range(min(most, len(self._records)))]
            self._changed.notify_all()
        return taken
