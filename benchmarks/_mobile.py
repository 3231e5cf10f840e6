"""What a month of 32 meters costs on a mobile connection, by default settings: every byte on the wire, both ways.

A relay between the gateway and a Mosquitto with TLS counts the bytes of the stream and asks the kernel for the TCP segments
(TCP_INFO), each of which is 52 bytes of IPv4 and TCP headers. The real publisher and the real ingest stand at the ends, so
TLS records, acks, time requests and keep-alives are in it. A quarter hour's totals, a live reading, a session and a keep-alive
are each measured; the month is their sum, with counts that are exact: 2976 quarter hours, a keep-alive for every minute, a
session for every day, and as many live readings as the monthly budget leaves to restless meters, whose power moves by more than
the dead band every minute.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks._chain import METERS, broker, devices_of, edge_config, ingest, whole_frames
from edge_agent.budget import ACK_BYTES, MESSAGE_BYTES, PING_BYTES, Budget
from edge_agent.clock import KeptClock
from edge_agent.outbox import Outbox
from edge_agent.policy import PublishSettings
from edge_agent.publisher import Publisher
from edge_agent.system_time import boot_ms, wall_ms
from edge_agent.timekeeper import Timekeeper

HEADERS: Final = 52
_SEGMENTS: Final = struct.Struct("=II")
_SEGMENTS_AT: Final = 136
"""tcpi_segs_out and tcpi_segs_in in struct tcp_info (linux/tcp.h)."""
DAYS: Final = 31
_QUARTERS, _LIVE = 30, 120
_PING_S: Final = 5
_MB: Final = 1e6


class Relay:
    """One connection after the other, passed on and counted."""

    def __init__(self, port: int) -> None:
        self._port, self._bytes, self._closed = port, 0, 0
        self._near: socket.socket | None = None

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()

    @property
    def wire_bytes(self) -> int:
        """So far: the stream both ways, and the headers of its segments."""
        return self._bytes + HEADERS * (self._closed + self._segments())

    def _segments(self) -> int:
        if self._near is None:
            return 0
        info = self._near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return sum(_SEGMENTS.unpack_from(info, _SEGMENTS_AT))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._near = writer.get_extra_info("socket")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [self._pump(reader, far_writer), self._pump(far_reader, writer)]
        await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        self._closed, self._near = self._closed + self._segments(), None
        for each in (writer, far_writer):
            each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                self._bytes += len(data)
                writer.write(data)
                await writer.drain()


class Prices(NamedTuple):
    """Bytes on the wire."""

    session: float
    quarter: float
    live: float
    ping: float


async def prices(folder: Path, port: int) -> Prices:
    """What each thing costs."""
    relay = Relay(port)
    async with relay as near:
        config = edge_config(folder, near, keepalive_s=_PING_S)
        outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
        devices, stored = devices_of(config, outbox), asyncio.Event()
        clock = KeptClock(Timekeeper(boot_ms, wall_ms), synchronised=lambda: False)
        publisher = Publisher(config, outbox, devices, stored, clock=clock)
        running = asyncio.ensure_future(publisher.run())
        while clock.source != "server":  # noqa: ASYNC110  the publisher tells nobody
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        session = relay.wire_bytes
        quarter = await _cost(relay, outbox, stored, [whole_frames(devices, q) for q in range(_QUARTERS)])
        one = [whole_frames(devices, q, live=True)[q % METERS : q % METERS + 1] for q in range(_LIVE)]
        live = await _cost(relay, outbox, stored, one)
        await asyncio.sleep(_PING_S * 1.5)
        begin = relay.wire_bytes
        await asyncio.sleep(_PING_S * 3)
        ping = (relay.wire_bytes - begin) / 3
        running.cancel()
        await asyncio.wait([running])
        outbox.close()
    return Prices(session, quarter, live, ping)


async def _cost(relay: Relay, outbox: Outbox, stored: asyncio.Event, polls: list[list]) -> float:  # type: ignore[type-arg]
    begin = relay.wire_bytes
    for t_ms, drafts in enumerate(polls, 1):
        outbox.append(drafts, t_ms)
        stored.set()
        while outbox.acked < outbox.last:  # noqa: ASYNC110  the same
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    return (relay.wire_bytes - begin) / len(polls)


def live_readings(settings: PublishSettings, session_bytes: float) -> int:
    """Live readings in a month of restless meters, as the budget has them with its own estimates."""
    month_ms = round(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
    budget = Budget(settings.monthly_mb)
    topic, whole, alone = 38, 277, 60
    each = topic + MESSAGE_BYTES + ACK_BYTES // 2
    count = 0
    for minute in range(DAYS * 1440):
        t_ms = month_ms + minute * 60_000
        if minute % 15 == 0:
            budget.spent(METERS * (each + whole) + 360, t_ms)
        elif budget.may_live(t_ms):
            count += METERS
            budget.spent(METERS * (each + alone + 360), t_ms)
        budget.spent(PING_BYTES, t_ms)
        if minute % 60 == 0:
            budget.spent(360 + each, t_ms)
        if minute % 1440 == 0:
            budget.spent(round(session_bytes), t_ms)
    return count


def measure(folder: Path) -> dict[str, float]:
    """`mb_per_month`, and what it is made of."""
    folder.mkdir()
    with broker(folder) as port, ingest(folder, port):
        found = asyncio.run(prices(folder, port))
    live = live_readings(PublishSettings(), found.session)
    hours = DAYS * 24
    basis = DAYS * (96 * found.quarter + found.session) + hours * 60 * found.ping
    return {
        "mb_per_month": (basis + live * found.live) / _MB,
        "mb_per_month_totals_only": basis / _MB,
        "live_readings_per_month": live,
        "bytes_per_quarter_hour": found.quarter,
        "bytes_per_live_reading": found.live,
        "bytes_per_session": found.session,
        "bytes_per_keepalive": found.ping,
    }
