"""Networks that misbehave: TCP relays which cut, stall, delay, and duplicate, reorder or drop MQTT messages in transit.

The link carries QoS 0 messages twice, late or not at all, as a broker bridge or a lossy radio hop does; acknowledged MQTT
exchanges stay whole, or no client could tell a broken wire from a broken peer. One thread, one event loop, for all relays.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Self

import msgspec

PUBLISH: Final = 3
_BLOCK = 65536
LOOPBACK: Final = "127.0.0.1"


class Weather(msgspec.Struct):
    """How a link is doing now."""

    cut: bool = False
    """Connections are closed and refused."""
    stalled: bool = False
    """Connections stay, nothing comes through, nobody is told: a pulled cable."""
    delay_s: float = 0.0
    duplicate: float = 0.0
    """Share of messages; the same for the next two."""
    reorder: float = 0.0
    drop: float = 0.0


class Link:
    """A relay from a port of its own to a target."""

    def __init__(
        self, target: tuple[str, int], dice: random.Random, *, mqtt: bool, bind: str = LOOPBACK
    ) -> None:
        self.target, self.weather, self.port = target, Weather(), 0
        self._bind = bind
        self.changed = 0
        """Messages duplicated, reordered or dropped so far."""
        self._dice, self._mqtt = dice, mqtt
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self._bind, 0, limit=1 << 22)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """Stop listening."""
        self._server.close()
        await self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather.cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target, limit=1 << 22)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        pump = self._packets if self._mqtt else self._bytes
        ways = [asyncio.ensure_future(pump(a, b)) for a, b in ((reader, far_writer), (far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._writers -= both
            for end in both:
                end.transport.abort()

    async def _pass(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        while self.weather.stalled:  # noqa: ASYNC110  the weather changes many times, from another thread
            await asyncio.sleep(0.02)
        if self.weather.delay_s:
            await asyncio.sleep(self.weather.delay_s * self._dice.random())
        writer.write(data)
        await writer.drain()

    async def _bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_BLOCK):
                await self._pass(writer, data)

    async def _packets(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whole MQTT packets; only QoS 0 messages are played with."""
        held: bytes | None = None
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                packet = await read_packet(reader)
                weather, loose = self.weather, packet[0] >> 4 == PUBLISH and not packet[0] & 0x06
                if loose and self._dice.random() < weather.drop:
                    self.changed += 1
                    continue
                if loose and held is None and self._dice.random() < weather.reorder:
                    held, self.changed = packet, self.changed + 1
                    continue
                await self._pass(writer, packet)
                if loose and self._dice.random() < weather.duplicate:
                    self.changed += 1
                    await self._pass(writer, packet)
                if held is not None:
                    await self._pass(writer, held)
                    held = None


async def read_packet(reader: asyncio.StreamReader) -> bytes:
    """One MQTT control packet (MQTT 3.1.1, 2.2): type, remaining length, the rest."""
    head = await reader.readexactly(1)
    size = shift = 0
    while True:
        byte = await reader.readexactly(1)
        head += byte
        size |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return head + await reader.readexactly(size)


class Wires:
    """All links of a run on this side of the cables, or all at the far end of one. A context manager."""

    def __init__(self, seed: int, enter: Callable[[], None] = lambda: None) -> None:
        """`enter` moves the thread of the links to where they are."""
        self.links: dict[str, Link] = {}
        self._dice = random.Random(f"wires {seed}")
        self._loop = asyncio.new_event_loop()
        self._enter = enter
        self._thread = threading.Thread(target=self._run, name="wires", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for link in self.links.values():
            self._do(link.close())
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        self._enter()
        self._loop.run_forever()

    def add(
        self, name: str, target: int, *, mqtt: bool = False, host: str = LOOPBACK, bind: str = LOOPBACK
    ) -> int:
        """A new link to a port of `host`; its own port at `bind`."""
        dice = random.Random(self._dice.random())
        link = self.links[name] = Link((host, target), dice, mqtt=mqtt, bind=bind)
        self._do(link.open())
        return link.port

    def set(self, name: str, weather: Weather) -> None:
        """Change the weather of a link."""

        def change() -> None:
            self.links[name].weather = weather

        self._call(change)
        if weather.cut:
            self._do(self.links[name].cut())

    def clear(self) -> None:
        """Fine weather everywhere."""
        for name in self.links:
            self.set(name, Weather())

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        self._do(call())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
