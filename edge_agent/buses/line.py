"""A connection to a bus as bytes: what was heard on it, and how it is opened. TCP, or a serial port by termios."""

import asyncio
import fcntl
import os
import termios
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

from edge_agent.buses.errors import Unreachable
from edge_agent.config import Bus

_MOST_HEARD: Final = 4096
"""Bytes kept of a line that babbles: more than any answer has."""
_REST_S: Final = 0.5
"""After an attempt to connect that failed: the other meters of the bus need not wait for the same."""


class Line(asyncio.Protocol):
    """What was heard and not yet taken."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.heard_s = 0.0
        """When the newest byte came, in the event loop's time."""
        self.ever_heard = 0
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        self.heard += data
        del self.heard[:-_MOST_HEARD]
        self.heard_s = self._loop.time()
        self.ever_heard += len(data)
        self._wake()

    def connection_lost(self, _error: Exception | None) -> None:
        """Wake who listens."""
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def now(self) -> float:
        """The event loop's time."""
        return self._loop.time()

    async def listen(self, until_s: float) -> bool:
        """Wait for more; False when the time has come first. ConnectionResetError once the line is lost."""
        if self.lost:
            raise ConnectionResetError("the connection was closed")
        before = self.ever_heard
        self._waiter, self._until_s = self._loop.create_future(), until_s
        if self._timer is None or self._timer.when() > until_s:
            self._alarm()
        try:
            await self._waiter
        finally:
            self._waiter = None
        return self.ever_heard > before or self._gone()

    def _alarm(self) -> None:
        """One timer serves many waits: an answer mostly comes long before its time is over, and does not cancel it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until_s, self._time_over)

    def _time_over(self) -> None:
        due, self._timer = self._timer, None
        if self._waiter is None or due is None:
            return
        if due.when() < self._until_s:
            self._alarm()
        else:
            self._wake()

    def _gone(self) -> bool:
        return self.lost

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Wire(Protocol):
    """The sending side."""

    def write(self, data: bytes) -> None:
        """Send."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


Opener = Callable[[], Awaitable[tuple[Wire, Line]]]


class Connection:
    """The one connection to an endpoint: opened when it is needed, opened anew after it was closed."""

    def __init__(self, opener: Opener, name: str) -> None:
        self._opener, self.name = opener, name
        self._open: tuple[Wire, Line] | None = None
        self._failed_s = float("-inf")
        self.opened = 0
        """How often it was opened."""

    async def line(self) -> Line:
        """The open line; raises Unreachable."""
        if self._open is not None and self._open[1].lost:
            self.close()
        if self._open is None:
            self._open = await self._connect()
            self.opened += 1
        return self._open[1]

    async def _connect(self) -> tuple[Wire, Line]:
        loop = asyncio.get_running_loop()
        if loop.time() - self._failed_s < _REST_S:
            raise Unreachable(f"{self.name} could not be opened just now")
        try:
            return await self._opener()
        except (OSError, TimeoutError, termios.error) as error:
            self._failed_s = loop.time()
            reason = str(error) or "no connection in time"
            raise Unreachable(f"{self.name} cannot be opened ({reason})") from error

    def write(self, data: bytes) -> None:
        """Send on the open line."""
        if self._open is None:
            raise ConnectionResetError("the connection was closed")
        self._open[0].write(data)

    def close(self) -> None:
        """Hang up; the next use opens it anew."""
        if self._open is not None:
            self._open[0].close()
        self._open = None


def connection_of(settings: Bus) -> Connection:
    """The connection that a bus's settings describe."""
    if settings.kind == "rtu":
        return Connection(lambda: _open_serial(settings), settings.device)
    return Connection(lambda: _open_tcp(settings), f"{settings.host}:{settings.port}")


async def _open_tcp(settings: Bus) -> tuple[Wire, Line]:
    """`timeout`, not `wait_for`: Python 3.11's takes no notice of being cancelled in the turn in which the connection is there."""
    async with asyncio.timeout(settings.timeout_s):
        wire, line = await asyncio.get_running_loop().create_connection(Line, settings.host, settings.port)
    try:
        await asyncio.sleep(settings.connect_delay_s)
    except asyncio.CancelledError:
        wire.close()
        raise
    return wire, line


async def _open_serial(settings: Bus) -> tuple[Wire, Line]:
    line = Line()
    return SerialPort(settings, line), line


class SerialPort:
    """A serial port: raw, eight data bits, for this process alone."""

    def __init__(self, settings: Bus, line: Line) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._fd = os.open(settings.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            fcntl.ioctl(self._fd, termios.TIOCEXCL)
            _make_raw(self._fd, settings)
        except (OSError, termios.error):
            os.close(self._fd)
            raise
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        """Send. A request fits the driver's buffer, or the port is dead."""
        if os.write(self._fd, data) != len(data):
            raise ConnectionResetError("the serial port takes nothing")

    def close(self) -> None:
        """Close the port."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        with suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        os.close(self._fd)
        self._fd = -1
        self._line.connection_lost(None)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _MOST_HEARD)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._line.data_received(data)
        else:  # The adapter was pulled out.
            self.close()


def _make_raw(fd: int, settings: Bus) -> None:
    iflag, oflag, lflag = termios.IGNBRK, 0, 0
    cflag = termios.CS8 | termios.CREAD | termios.CLOCAL
    if settings.parity != "none":
        cflag |= termios.PARENB | (termios.PARODD if settings.parity == "odd" else 0)
        iflag |= termios.INPCK | termios.IGNPAR
    if settings.stop_bits == 2:  # noqa: PLR2004
        cflag |= termios.CSTOPB
    speed = getattr(termios, f"B{settings.baud}")
    special: list[bytes | int] = [b"\0"] * len(termios.tcgetattr(fd)[6])
    special[termios.VMIN], special[termios.VTIME] = 1, 0
    wanted = [iflag, oflag, cflag, lflag, speed, speed, special]
    termios.tcsetattr(fd, termios.TCSANOW, wanted)
    if termios.tcgetattr(fd)[4:6] != [speed, speed]:
        raise OSError(f"the port does not do {settings.baud} baud")
    termios.tcflush(fd, termios.TCIOFLUSH)
