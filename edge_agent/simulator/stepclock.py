"""The accelerated clock's server: time goes on by 15 minutes when every gateway's poll is in its outbox.

JSON lines over loopback TCP. A gateway sends `{"gateway": id, "polled": ms or null}` as its hello and after each poll;
it is told `{"tick": ms}` to poll exactly then, or `{"live": true}` to use the system's clock from now on. A watcher
sends `{"watch": true}` and is told `{"tick", "start", "now", "live"}`.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeGuard

from edge_agent.system_time import wall_ms as system_now_ms
from metering.intervals import QUARTER_MS, quarter_start

_log = logging.getLogger(__name__)

_WATCH_EVERY_S: Final = 0.1


class Barrier:
    """What time it is, and who still has to poll. Knows no socket; `now_ms` is the real time."""

    def __init__(self, gateways: Iterable[str], first_ms: int, tick_ms: int | None = None) -> None:
        if first_ms % QUARTER_MS:
            message = f"the first tick {first_ms} is not on the 15-minute grid"
            raise ValueError(message)
        self.start_ms: Final = first_ms
        self.tick_ms = first_ms if tick_ms is None else quarter_start(tick_ms)
        self.live = False
        self._polled: dict[str, int | None] = dict.fromkeys(gateways)

    def knows(self, gateway: object) -> TypeGuard[str]:
        """True for the id of a gateway that the barrier waits for."""
        return isinstance(gateway, str) and gateway in self._polled

    def report(self, gateway: str, polled_ms: int | None) -> None:
        """Take in what a gateway says it has polled last."""
        self._polled[gateway] = polled_ms

    def awaits(self, gateway: str) -> bool:
        """True while the gateway has not polled the tick."""
        polled = self._polled[gateway]
        return polled is None or polled < self.tick_ms

    def advance(self, now_ms: int) -> bool:
        """Go on to the next tick, or live after the newest edge before now; False while a gateway is awaited.

        Where all gateways are further than the tick (its file was lost), it goes on from where they all are.
        """
        if self.live:
            return False
        if self.tick_ms > now_ms:
            self.live = True
            return True
        if any(self.awaits(gateway) for gateway in self._polled):
            return False
        reached = min(polled for polled in self._polled.values() if polled is not None)
        following = quarter_start(reached) + QUARTER_MS
        if following > now_ms:
            self.live = True
        else:
            self.tick_ms = following
        return True


class StepClock:
    """Serves a barrier to gateways and watchers, and its time to the meters."""

    def __init__(
        self,
        gateways: Iterable[str],
        first_ms: int,
        *,
        state_file: Path | None = None,
        pace_s: float = 0.0,
        system_now_ms: Callable[[], int] = system_now_ms,
    ) -> None:
        start, tick, live = _load_state(state_file, first_ms)
        self._barrier: Final = Barrier(gateways, start, tick)
        # Restarted while live, the meters go on at real time: for the gateways nothing has happened.
        self._barrier.live = live
        self._state_file = state_file
        self._pace_s = pace_s
        self._system_now_ms = system_now_ms
        self._told: dict[asyncio.StreamWriter, tuple[str, int | None]] = {}
        """Connection → its gateway, and the last tick it was told."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self.port = 0

    def now_ms(self) -> int:
        """The meters' time: the tick, or the system's once live."""
        return self._system_now_ms() if self._barrier.live else self._barrier.tick_ms

    @property
    def live(self) -> bool:
        """True once the ticks have caught up with real time."""
        return self._barrier.live

    @asynccontextmanager
    async def serve(self, port: int, host: str = "127.0.0.1") -> AsyncIterator["StepClock"]:
        """Listen while the context is open."""
        server = await asyncio.start_server(self._connected, host, port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            if self._pending is not None:
                self._pending.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # never: asyncio runs this callback as a task
            return
        self._tasks.add(task)
        try:
            # Killed peers reset, endless lines are a ValueError, and `serve` cancels: the conversation is just over.
            with suppress(ConnectionError, ValueError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._tasks.discard(task)
            self._told.pop(writer, None)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            message = _parse(line)
            if message.get("watch") is True:
                await self._watch(writer)
                return
            gateway, polled = message.get("gateway"), message.get("polled")
            if not self._barrier.knows(gateway) or not (polled is None or isinstance(polled, int)):
                _send(writer, {"error": f"neither a watcher nor an awaited gateway: {line!r}"})
                return
            self._report(writer, gateway, polled)

    def _report(self, writer: asyncio.StreamWriter, gateway: str, polled: int | None) -> None:
        if writer not in self._told:
            _log.info("clock gateway connected gateway=%s polled=%s", gateway, polled)
            self._told[writer] = (gateway, None)
        self._barrier.report(gateway, polled)
        self._advance()
        if not self._barrier.live:
            self._tell(writer)
        elif self._told[writer][1] is None:
            self._told[writer] = (gateway, 0)
            _send(writer, {"live": True})

    def _advance(self) -> None:
        """Go on if nobody is awaited; with a pace, once its time has come."""
        loop = asyncio.get_running_loop()
        if self._pace_s and loop.time() < self._not_before:
            if self._pending is None:
                self._pending = loop.call_at(self._not_before, self._advance_due)
            return
        if not self._barrier.advance(self._system_now_ms()):
            return
        self._not_before = loop.time() + self._pace_s
        self._save()
        if self._barrier.live:
            _log.info("clock live tick=%d", self._barrier.tick_ms)
            for writer, (gateway, _tick) in self._told.items():
                self._told[writer] = (gateway, 0)
                _send(writer, {"live": True})
            return
        for writer in self._told:
            self._tell(writer)

    def _advance_due(self) -> None:
        self._pending = None
        self._advance()

    def _tell(self, writer: asyncio.StreamWriter) -> None:
        """Tell the tick to a gateway that has yet to poll it, once per connection."""
        gateway, told = self._told[writer]
        tick = self._barrier.tick_ms
        if told != tick and self._barrier.awaits(gateway):
            self._told[writer] = (gateway, tick)
            _send(writer, {"tick": tick})

    async def _watch(self, writer: asyncio.StreamWriter) -> None:
        barrier, told = self._barrier, None
        while True:
            state = (barrier.tick_ms, barrier.live)
            if state != told:
                told = state
                line: dict[str, object] = {
                    "tick": state[0],
                    "start": barrier.start_ms,
                    "now": self._system_now_ms(),
                }
                _send(writer, {**line, "live": state[1]})
                await writer.drain()
            await asyncio.sleep(_WATCH_EVERY_S)

    def _save(self) -> None:
        """Keep the tick. Not synced: a lost file costs nothing, because the gateways know what they have polled."""
        if self._state_file is not None:
            barrier = self._barrier
            text = json.dumps({"start": barrier.start_ms, "tick": barrier.tick_ms, "live": barrier.live})
            draft = self._state_file.with_name(self._state_file.name + ".new")
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._state_file)


def _load_state(file: Path | None, first_ms: int) -> tuple[int, int, bool]:
    """Start, tick and liveness of the run that the state file belongs to; of a new run where there is none."""
    if file is None:
        return first_ms, first_ms, False
    try:
        state = _parse(file.read_bytes())
        start, tick = state["start"], state["tick"]
        if isinstance(start, int) and isinstance(tick, int) and start <= tick and start % QUARTER_MS == 0:
            return start, tick, state.get("live") is True
        _log.warning("clock state ignored file=%s", file)
    except FileNotFoundError:
        pass
    except KeyError:
        _log.warning("clock state ignored file=%s", file)
    return first_ms, first_ms, False


def catch_up_again(state_file: Path) -> None:
    """Forget that the run was live: the next start first lives through what has passed since."""
    try:
        state = _parse(state_file.read_bytes())
    except FileNotFoundError:
        return
    state_file.write_text(json.dumps({**state, "live": False}), encoding="utf-8")


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _send(writer: asyncio.StreamWriter, message: dict[str, object]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
