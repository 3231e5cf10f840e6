"""Server-sent events: one poller reads the ledger for all clients and wakes them when it has changed."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from api.errors import Problem
from api.rights import EVERYTHING, Scope
from storage.errors import StoreError

log = logging.getLogger(__name__)

POLL_S = 0.5
HEARTBEAT_S = 15.0
HEARTBEAT = b": heartbeat\n\n"

Render = Callable[[Scope], bytes]
"""The document of a picture for who may see that much, as one line of JSON."""


@dataclass(slots=True)
class Update:
    """One picture of the ledger, and its event for each scope that was asked for."""

    change_seq: int
    render: Render
    events: dict[Scope, bytes] = field(default_factory=dict)

    def event(self, scope: Scope) -> bytes:
        """The event, rendered once per scope."""
        if scope not in self.events:
            self.events[scope] = live_event(self.change_seq, self.render(scope))
        return self.events[scope]


def live_event(change_seq: int, document: bytes) -> bytes:
    """An event `live` with a one-line document."""
    return b"event: live\nid: %d\ndata: %s\n\n" % (change_seq, document)


class LiveFeed:
    """Polls while somebody listens. `change_seq` and `picture` are blocking reads, done in a thread."""

    def __init__(
        self,
        change_seq: Callable[[], int],
        picture: Callable[[], tuple[int, Render]],
        poll_s: float = POLL_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._change_seq, self._picture = change_seq, picture
        self._poll_s, self._heartbeat_s = poll_s, heartbeat_s
        self._changed = asyncio.Condition()
        self._update: Update | None = None
        self._poller: asyncio.Task[None] | None = None
        self._listeners: Counter[str] = Counter()

    @property
    def clients(self) -> int:
        """How many listen."""
        return self._listeners.total()

    def has_room(self, who: str, limit: int, limit_each: int) -> bool:
        """Whether one more may listen."""
        return self.clients < limit and self._listeners[who] < limit_each

    async def events(self, scope: Scope = EVERYTHING, who: str = "") -> AsyncGenerator[bytes, None]:
        """What one client gets: the newest event at once, then each newer one; a slow client skips."""
        self._enter(who)
        sent: Update | None = None
        try:
            yield b"retry: 2000\n\n"
            while True:
                update = await self._newer_than(sent)
                if update is None:
                    yield HEARTBEAT
                else:
                    sent = update
                    yield update.event(scope)
        finally:
            self._leave(who)

    def _enter(self, who: str) -> None:
        self._listeners[who] += 1
        if self._poller is None:
            self._update = None  # whatever was read before the poller last stopped is old
            self._poller = asyncio.create_task(self._poll_forever(), name="live-feed")

    def _leave(self, who: str) -> None:
        self._listeners[who] -= 1
        self._listeners += Counter()  # forget who has none
        if self.clients == 0 and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    async def _newer_than(self, sent: Update | None) -> Update | None:
        """The newest update, or None when none came within the heartbeat's time."""
        try:
            async with asyncio.timeout(self._heartbeat_s), self._changed:
                await self._changed.wait_for(lambda: self._update is not None and self._update is not sent)
                return self._update
        except TimeoutError:
            return None

    async def _poll_forever(self) -> None:
        fault: str | None = None
        while True:
            try:
                await self._poll()
                if fault is not None:
                    log.info("live_feed_recovered")
                fault = None
            except (Problem, OSError, sqlite3.Error, StoreError) as error:
                if str(error) != fault:
                    log.warning("live_feed_waits error=%s", error)
                fault = str(error)
            await asyncio.sleep(self._poll_s)

    async def _poll(self) -> None:
        change_seq = await asyncio.to_thread(self._change_seq)
        if self._update is not None and self._update.change_seq == change_seq:
            return
        read_seq, render = await asyncio.to_thread(self._picture)
        async with self._changed:
            self._update = Update(read_seq, render)
            self._changed.notify_all()
