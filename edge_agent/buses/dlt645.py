"""DL/T 645-2007 on a line, beside Modbus or alone: one data identifier asked for, and the bytes that answer it.

A reply names its meter, its data identifier and its place in a sequence, under a check sum: a late one can answer
nothing but the same question. Only reads are sent. No broadcast is, but for one: who is alone on a line may be asked
for its address (13H to the wildcard), where the configuration says that it is alone.
"""

from typing import Final

from edge_agent.buses.errors import NoAnswer, ReadFailed, Refused
from edge_agent.buses.frames import Ask
from edge_agent.buses.line import Connection, Line
from edge_agent.buses.silence import Silence
from edge_agent.buses.stations import WILDCARD
from edge_agent.dlt645.exchange import Next, Read, address_answer, address_request
from edge_agent.dlt645.frame import Dlt645Error, FrameReader
from edge_agent.dlt645.frame import Refused as MeterRefuses

_AROUND: Final = 20
"""Bytes of a reply around its data: four wake-up bytes, 12 of the frame, 4 of the identifier."""
_REFUSED_BITS: Final = 0x100
"""Set apart from the Modbus exception codes."""


class Dlt645Exchange:
    """DL/T 645 on a connection. `Ask.unit` is an address, `addr` a data identifier, `count` the bytes of its data."""

    def __init__(self, connection: Connection, silence: Silence) -> None:
        self._connection, self._silence = connection, silence
        self._alone: str | None = None
        """The address behind the wildcard."""

    async def ask(self, ask: Ask, timeout_s: float) -> list[int]:
        """The bytes of the data, low byte first; raises ReadFailed, or OSError when the connection breaks."""
        try:
            address = await self._address(str(ask.unit), timeout_s)
            reading = Read(address, ask.addr)
            while reading.next is not Next.DONE:
                await self._exchange(reading, ask, timeout_s)
        except MeterRefuses as error:
            code = _REFUSED_BITS | int(error.bits)
            raise Refused(f"meter {ask.unit} refuses {ask.addr:08X}: {error}", code) from error
        except Dlt645Error as error:
            raise ReadFailed(f"meter {ask.unit}: {error}") from error
        except NoAnswer:
            self._alone = None  # Another meter may hang there now.
            raise
        if len(reading.data) != ask.count:
            text = f"meter {ask.unit}: {ask.addr:08X} carries {len(reading.data)} bytes, the profile says {ask.count}"
            raise ReadFailed(text)
        return list(reading.data)

    async def _exchange(self, reading: Read, ask: Ask, timeout_s: float) -> None:
        """One frame asked for and taken."""
        line, until_s = await self._send(reading.request(), ask.count, timeout_s)
        while reading.receive(_taken(line)) is Next.RECEIVE:
            if not await line.listen(until_s):
                if reading.silence() is Next.RECEIVE:
                    raise NoAnswer(f"no answer from meter {ask.unit} in time")
                return

    async def _address(self, address: str, timeout_s: float) -> str:
        """The address itself; of the only meter of the line where the wildcard stands for it."""
        if address != WILDCARD:
            return address
        if self._alone is None:
            line, until_s = await self._send(address_request(), 6, timeout_s)
            frames = FrameReader()
            while self._alone is None:
                told = (address_answer(frame) for frame in frames.feed(_taken(line)))
                self._alone = next((one for one in told if one is not None), None)
                if self._alone is None and not await line.listen(until_s):
                    raise NoAnswer("no meter tells its address: is there exactly one on the line?")
        return self._alone

    async def _send(self, request: bytes, count: int, timeout_s: float) -> tuple[Line, float]:
        """Send on a silent line; until when to wait."""
        line = await self._connection.line()
        await self._silence.wait(line, timeout_s)
        line.heard.clear()
        self._connection.write(request)
        sent_s = self._silence.sent(line.now(), len(request))
        return line, sent_s + timeout_s + self._silence.taking(count + _AROUND)


def _taken(line: Line) -> bytes:
    data = bytes(line.heard)
    line.heard.clear()
    return data
