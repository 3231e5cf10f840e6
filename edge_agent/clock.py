"""Clocks: when to poll, and what time it is. Real time, or the accelerated time that meters and gateways share."""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from edge_agent.system_time import boot_ms, is_synchronised, wall_ms
from edge_agent.timekeeper import Offset, Timekeeper
from metering.frames import TimeSource

_log = logging.getLogger(__name__)

_NONE_NEEDED: Final = Offset(0, TimeSource.NTP)
_LONGEST_SLEEP_S: Final = 1.0
"""A clock step is noticed within this time."""
_ASK_SYSTEM_MS: Final = 10_000
_UNKNOWN_S: Final = 0.1
_FIRST_BACKOFF_S: Final = 0.05
_LONGEST_BACKOFF_S: Final = 2.0


class MeterClock(Protocol):
    """A meter that knows the time, where nobody else does."""

    async def utc_ms(self) -> int | None:
        """UTC ms just read from it; None when it did not say."""
        ...


class Clock(Protocol):
    """The time of readings. Keep-alives, retries and TLS do not use it: they live in real time."""

    @property
    def stepped(self) -> bool:
        """True while time stands still between polls and jumps from one to the next."""
        ...

    def now_ms(self) -> int:
        """UTC ms; the latest time that cannot be in the future while it is not known."""
        ...

    def read_ms(self) -> int:
        """The time of a read, that no step of any clock moves."""
        ...

    def offset(self) -> Offset | None:
        """What makes `read_ms` UTC; None while that is not known."""
        ...

    async def next_poll(self, period_ms: int) -> int:
        """Wait for the next time to poll, and return it. Stepped, it is the same again until it was `polled`."""
        ...

    async def polled(self, t_ms: int) -> None:
        """Say that the poll of `t_ms` is in the outbox."""
        ...


def known_ms(clock: Clock) -> int | None:
    """UTC, where somebody trustworthy has said what it is."""
    offset = clock.offset()
    return None if offset is None or offset.guess else clock.now_ms()


class SystemClock:
    """Real time: polls fall on multiples of the period, however long each poll takes.

    No multiple comes twice when the clock steps back by less than a period. A larger step back starts over from the
    new time, because waiting until the old time has come again could take years.
    """

    def __init__(
        self,
        wall: Callable[[], int] = wall_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._wall_ms = wall
        self._sleep = sleep
        self._last_ms: int | None = None

    @property
    def stepped(self) -> bool:
        """Never."""
        return False

    def now_ms(self) -> int:
        """UTC ms."""
        return self._wall_ms()

    def read_ms(self) -> int:
        """The same."""
        return self._wall_ms()

    def offset(self) -> Offset:
        """None is needed."""
        return _NONE_NEEDED

    async def next_poll(self, period_ms: int) -> int:
        """Wait for the next multiple of the period; one that is missed by a whole period is skipped."""
        target = self._following(self._wall_ms(), period_ms)
        while (now := self._wall_ms()) < target:
            # Counted in monotonic time; what the wall clock did meanwhile is read again.
            await self._sleep(min((target - now) / 1000, _LONGEST_SLEEP_S))
            now = self._wall_ms()
            if not target - period_ms * 2 <= now < target + period_ms:
                _log.warning("clock stepped from_about=%d to=%d", target, now)
                target = self._following(now, period_ms)
        self._last_ms = target
        return target

    async def polled(self, t_ms: int) -> None:
        """Nothing waits for it."""

    def _following(self, now_ms: int, period_ms: int) -> int:
        target = (now_ms // period_ms + 1) * period_ms
        if self._last_ms is not None and target <= self._last_ms < target + period_ms:
            return self._last_ms + period_ms
        return target


class KeptClock:
    """A gateway's own clock: reads are stamped since boot, polls are aligned to UTC as soon as it is known."""

    stepped = False

    def __init__(
        self,
        keeper: Timekeeper,
        boot: Callable[[], int] = boot_ms,
        synchronised: Callable[[], bool] = is_synchronised,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.keeper = keeper
        self._boot_ms, self._synchronised = boot, synchronised
        self._asked_ms: int | None = None
        self._aligned = SystemClock(self._poll_ms, sleep)

    @property
    def source(self) -> str:
        """Who says what time it is; empty while nobody does."""
        return self.keeper.source

    @property
    def error_ms(self) -> int | None:
        """How far off it may be."""
        return self.keeper.error_ms

    def now_ms(self) -> int:
        """UTC ms; the latest time that cannot be in the future while it is not known."""
        self._ask_system()
        return self.keeper.utc_ms()

    def read_ms(self) -> int:
        """Ms since boot."""
        return self._boot_ms()

    def offset(self) -> Offset | None:
        """What makes them UTC."""
        self._ask_system()
        return self.keeper.offset()

    async def next_poll(self, period_ms: int) -> int:
        """Wait for the next multiple of the period: of UTC, or of the time since boot while UTC is not known."""
        return await self._aligned.next_poll(period_ms)

    async def polled(self, t_ms: int) -> None:
        """Nothing waits for it."""

    def _poll_ms(self) -> int:
        offset = self.offset()
        return self._boot_ms() + (0 if offset is None else offset.ms)

    def _ask_system(self) -> None:
        now = self._boot_ms()
        if self._asked_ms is None or now - self._asked_ms >= _ASK_SYSTEM_MS:
            self._asked_ms = now
            self.keeper.heard_system(synchronised=self._synchronised())


def kept_clock(clock: Clock) -> KeptClock | None:
    """The clock of the gateway's own that the server's time is for; None where there is none."""
    if isinstance(clock, SteppedClock):
        clock = clock.real
    return clock if isinstance(clock, KeptClock) else None


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class SteppedClock:
    """The accelerated clock's client at a gateway: polls at the server's ticks, then, once live, at real time.

    It keeps the connection while live, too: a clock server that starts anew asks for the ticks that were missed.
    Live, it polls only while the time is known: one wrong stamp could not be told from a true one later.
    """

    def __init__(
        self,
        host: str,
        port: int,
        gateway: str,
        last_polled_ms: int | None = None,
        real: "SystemClock | KeptClock | None" = None,
    ) -> None:
        self._address = (host, port)
        self._gateway = gateway
        self._polled_ms = last_polled_ms
        self.real = real or SystemClock()
        """What tells the time once live."""
        self._connection: _Connection | None = None
        self._tick_ms: int | None = None
        self._at_ms: int | None = None
        """The tick that is being polled: it stays the time of readings when the server goes meanwhile."""
        self._live = False
        self._backoff_s = _FIRST_BACKOFF_S

    @property
    def stepped(self) -> bool:
        """True until the server has said that everybody is live."""
        return not self._live

    def now_ms(self) -> int:
        """The tick being polled; before there is one, the last polled time, else the real one."""
        tick_ms = self._last_tick_ms()
        return self.real.now_ms() if tick_ms is None else tick_ms

    def read_ms(self) -> int:
        """The same: meters and gateway have one time."""
        return self.now_ms()

    def offset(self) -> Offset | None:
        """None is needed, once the time is known."""
        known = self._last_tick_ms() is not None or self.real.offset() is not None
        return _NONE_NEEDED if known else None

    def _last_tick_ms(self) -> int | None:
        if self._live:
            return None
        return self._polled_ms if self._at_ms is None else self._at_ms

    async def next_poll(self, period_ms: int) -> int:
        """Wait for the server's next tick; the same one again until it was polled. Live: the next multiple."""
        while True:
            if self._live:
                due = await self._due_or_heard(period_ms)
                if due is not None:
                    return due
            elif self._tick_ms is not None and (self._polled_ms is None or self._tick_ms > self._polled_ms):
                self._at_ms = self._tick_ms
                return self._tick_ms
            else:
                await self._hear()

    async def polled(self, t_ms: int) -> None:
        """Tell the server, so that time may go on. While the connection is lost, the next hello tells it."""
        self._polled_ms = t_ms
        if self._connection is not None and not self._live:
            try:
                await self._send(self._connection)
            except OSError as error:
                self._lose(error)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.writer.close()
            with suppress(OSError):
                await connection.writer.wait_closed()

    async def _due_or_heard(self, period_ms: int) -> int | None:
        """The next time to poll; None when the server has spoken, or has gone, before it came."""
        due = asyncio.ensure_future(self._real_poll(period_ms))
        heard = asyncio.ensure_future(self._hear())
        try:
            await asyncio.wait((due, heard), return_when=asyncio.FIRST_COMPLETED)
            return due.result() if due.done() and self._live else None
        finally:
            due.cancel()
            heard.cancel()
            await asyncio.gather(due, heard, return_exceptions=True)

    async def _real_poll(self, period_ms: int) -> int:
        while self.real.offset() is None:  # noqa: ASYNC110  nobody tells it when time passes
            await asyncio.sleep(_UNKNOWN_S)
        return await self.real.next_poll(period_ms)

    async def _hear(self) -> None:
        """Take in the server's next line; connect first, and wait a little after a failure."""
        try:
            connection = self._connection or await self._connect()
            line = await connection.reader.readline()
            if not line:
                message = "the clock server has closed the connection"
                raise ConnectionResetError(message)
            self._take(json.loads(line))
        except (OSError, ValueError) as error:
            self._lose(error)
            await asyncio.sleep(self._backoff_s * random.uniform(0.5, 1))  # noqa: S311  jitter, not a secret
            self._backoff_s = min(self._backoff_s * 2, _LONGEST_BACKOFF_S)

    async def _connect(self) -> _Connection:
        connection = _Connection(*await asyncio.open_connection(*self._address))
        self._connection = connection
        await self._send(connection)
        _log.info("clock connected gateway=%s polled=%s", self._gateway, self._polled_ms)
        return connection

    async def _send(self, connection: _Connection) -> None:
        message = json.dumps({"gateway": self._gateway, "polled": self._polled_ms})
        connection.writer.write(message.encode() + b"\n")
        await connection.writer.drain()

    def _take(self, answer: object) -> None:
        if not isinstance(answer, dict) or "error" in answer:
            message = f"the clock server says {answer!r}"
            raise ValueError(message)
        if answer.get("live") is True and not self._live:
            _log.info("clock live gateway=%s", self._gateway)
            self._live = True
        elif isinstance(answer.get("tick"), int):
            self._tick_ms = answer["tick"]
        self._backoff_s = _FIRST_BACKOFF_S

    def _lose(self, error: Exception) -> None:
        if self._connection is not None:
            _log.warning("clock lost gateway=%s error=%s", self._gateway, error)
            self._connection.writer.close()
        self._connection = None
        self._tick_ms = None
        self._live = False
