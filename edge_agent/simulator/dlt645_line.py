"""The park's DL/T 645 meters: one line for each gateway, behind a converter that passes bytes on (bus kind `rtu_over_tcp`)."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Self

from edge_agent.dlt645.frame import (
    FROM_METER,
    READ,
    READ_ADDRESS,
    REFUSED,
    WILDCARD,
    Dlt645Error,
    ErrorBits,
    Frame,
    FrameReader,
    encode,
)
from edge_agent.dlt645.items import encode as encode_item
from edge_agent.simulator.config import ServerSpec
from edge_agent.simulator.meters import SimulatedMeter

_log = logging.getLogger(__name__)
_DATE, _TIME, _ADDRESS = 0x04000101, 0x04000102, 0x04000401
_BEIJING = timedelta(hours=8)
_MOST_READ = 256


class Dlt645Line:
    """What the meters of one line answer."""

    def __init__(self, meters: Iterable[SimulatedMeter], now_ms: Callable[[], int]) -> None:
        self._meters = {meter.spec.address: meter for meter in meters}
        self._now_ms = now_ms

    def answer(self, asked: Frame) -> Frame | None:
        """The answer to a frame; None where every meter keeps silent."""
        address = asked.address
        if address == WILDCARD and len(self._meters) == 1:  # Two would answer at once.
            [address] = [known for known in self._meters if known is not None]
        meter = self._meters.get(address)
        if meter is None:
            return None
        if asked.control == READ_ADDRESS:
            return Frame(address, READ_ADDRESS | FROM_METER, bytes.fromhex(address)[::-1])
        if asked.control != READ or len(asked.data) < 4:  # noqa: PLR2004  a data identifier
            return Frame(address, asked.control | FROM_METER | REFUSED, bytes([ErrorBits.OTHER]))
        data = self._data(meter, address, int.from_bytes(asked.data[:4], "little"))
        if data is None:
            return Frame(address, READ | FROM_METER | REFUSED, bytes([ErrorBits.NO_DATA]))
        return Frame(address, READ | FROM_METER, asked.data[:4] + data)

    def _data(self, meter: SimulatedMeter, address: str, di: int) -> bytes | None:
        now_ms = self._now_ms()
        here = datetime.fromtimestamp(now_ms / 1000, UTC) + _BEIJING
        own = {
            _ADDRESS: address,
            _DATE: f"{here:%y%m%d}{here.isoweekday() % 7:02d}",
            _TIME: f"{here:%H%M%S}",
        }
        if di in own:
            return encode_item(di, [own[di]])
        return meter.items(now_ms).get(di)


class Dlt645Lines:
    """All such lines of a park; an async context manager. `ports` tells where each gateway's line is."""

    def __init__(
        self, specs: Iterable[ServerSpec], meters: Iterable[SimulatedMeter], now_ms: Callable[[], int]
    ) -> None:
        of_gateway = [(meter.spec.gateway, meter) for meter in meters if meter.spec.address is not None]
        self._lines = [
            (spec, Dlt645Line([meter for gateway, meter in of_gateway if gateway == spec.gateway], now_ms))
            for spec in specs
            if spec.dlt645_port is not None
        ]
        self._servers: list[asyncio.Server] = []
        self._talks: set[asyncio.Task[None]] = set()
        self.ports: Mapping[str, int] = {}

    async def __aenter__(self) -> Self:
        ports = {}
        try:
            for spec, line in self._lines:
                server = await asyncio.start_server(self._talking(line), spec.host, spec.dlt645_port)
                self._servers.append(server)
                ports[spec.gateway] = server.sockets[0].getsockname()[1]
        except BaseException:
            await self.__aexit__()
            raise
        self.ports = ports
        return self

    async def __aexit__(self, *_error: object) -> None:
        for server in self._servers:
            server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        self._servers.clear()

    def _talking(self, line: Dlt645Line) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talk = asyncio.ensure_future(_talk(line, reader, writer))
            self._talks.add(talk)
            talk.add_done_callback(self._talks.discard)

        return begin


async def _talk(line: Dlt645Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer until the other side hangs up."""
    frames = FrameReader()
    with suppress(OSError):
        try:
            while data := await reader.read(_MOST_READ):
                for asked in frames.feed(data):
                    _answer(line, asked, writer)
                await writer.drain()
        finally:
            writer.close()


def _answer(line: Dlt645Line, asked: Frame, writer: asyncio.StreamWriter) -> None:
    try:
        said = line.answer(asked)
    except (Dlt645Error, OverflowError) as error:
        _log.warning("dlt645_not_answered address=%s error=%s", asked.address, error)
        return
    if said is not None:
        writer.write(encode(said, wake_up=4))
