"""Many gateways in one process: outboxes in memory, births and frames by the agent's own code, the real ack protocol over MQTT.

What a gateway's disk costs is left out; what broker, ingest, stream and ledger have to carry is not.
"""

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from functools import lru_cache

import msgspec

from edge_agent.births import dbirth, frame_aliases, frame_metrics, nbirth, ndeath
from edge_agent.device import Device
from edge_agent.drain import Window
from edge_agent.outbox import Frame, Outbox
from edge_agent.readings_body import readings_body
from metering import frames
from metering.protobuf_wire import uint_field
from metering.sparkplug import Payload, decode, encode
from metering.topics import MessageType, Topic, state_topic

_WINDOW = 1024
"""As the agent has it: `window`."""
_EPOCH = time.time_ns() // 1_000_000 << 16
"""An outbox's, unique with its gateway's name."""
_CONNECT, _PUBLISH, _SUBSCRIBE, _PING = 0x10, 0x30, 0x82, 0xC0


def _string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT 3.1.1 control packet."""
    size, length = len(body), b""
    while True:
        size, low = size >> 7, size & 0x7F
        length += bytes([low | 0x80 if size else low])
        if not size:
            return bytes([kind]) + length + body


@lru_cache(maxsize=8192)
def _nbirth(outbox: Outbox, epoch: int, acked: int) -> bytes:
    """A gateway's own birth. Made once for all: a thousand of them at once would keep this process busy, not the server."""
    t_ms = time.time_ns() // 1_000_000
    own = {frames.FRAME_EPOCH: epoch, frames.FRAME_NUMBER: acked}
    metrics = tuple(
        msgspec.structs.replace(m, value=own[m.name], is_null=False) if m.name in own else m
        for m in nbirth(outbox, 0, t_ms).metrics
    )
    return encode(Payload(metrics, timestamp=t_ms))


@lru_cache(maxsize=1024)
def _dbirth(outbox: Outbox, declaration: int, epoch: int) -> bytes:
    """A meter's birth, likewise."""
    return encode(dbirth(outbox.declaration(declaration)[1], epoch, {}, time.time_ns() // 1_000_000))


class Gateway:
    """One simulated gateway: `poll` counts and queues, `run` drains."""

    def __init__(self, park: str, name: str, devices: list[Device], outbox: Outbox) -> None:
        self.name, self._park, self._outbox = name, park, outbox
        self.meters = [f"{name}-m{i}" for i in range(len(devices))]
        self._device = devices[0]
        self._aliases = [frame_aliases(outbox.declaration(device.declaration)[1]) for device in devices]
        self._devices = devices
        self.epoch = _EPOCH
        self.queue: deque[Frame] = deque()
        """What is not acked, oldest first."""
        self.last = self.acked = self.total = 0
        self._sent, self._seq = 0, 0
        self._ready, self._more = asyncio.Event(), asyncio.Event()
        self._heard_s = 0.0
        self._window = Window(_WINDOW, time.monotonic)
        self.sent_again = 0
        """Frames that were sent once more because no ack came in time."""

    def poll(self, t_ms: int) -> None:
        """One frame per meter; every total has gone up by one."""
        self.total += 1
        for device in self._devices:
            values = {"energy_import_total": self.total, "power_active": 100, "voltage_l1": 230.5}
            body = readings_body(
                device.aliases, [(r, t_ms, values[r.reading_type]) for r in device.registers]
            )
            self.last += 1
            self.queue.append(Frame(self.last, device.declaration, t_ms, body))
        self._more.set()

    async def run(self, port: int, password: str) -> None:
        """Session after session until cancelled."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._session(port, password)
            await asyncio.sleep(random.uniform(0.2, 1.0))

    async def _session(self, port: int, password: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._ready.clear()
        will = _string(self._topic(MessageType.NDEATH)) + _string(encode(ndeath(0)))
        head = _string("MQTT") + bytes([4, 0xC0 | 0x04 | 0x02]) + (60).to_bytes(2, "big")
        body = head + _string(self.name) + will + _string(self.name) + _string(password)
        writer.write(packet(_CONNECT, body))
        wanted = (self._topic(MessageType.NCMD), state_topic("tanyun"))
        writer.write(packet(_SUBSCRIBE, b"\0\1" + b"".join(_string(topic) + b"\0" for topic in wanted)))
        tasks = [asyncio.ensure_future(self._receive(reader)), asyncio.ensure_future(self._send(writer))]
        try:
            done, _rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()

    def _topic(self, kind: MessageType, meter: str = "") -> str:
        return str(Topic(self._park, kind, self.name, meter))

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while True:
            head, size, shift = (await reader.readexactly(1))[0], 0, 0
            while (byte := (await reader.readexactly(1))[0]) & 0x80:
                size, shift = size | (byte & 0x7F) << shift, shift + 7
            body = await reader.readexactly(size | byte << shift)
            if head >> 4 == _PUBLISH >> 4:
                at = 2 + int.from_bytes(body[:2], "big")
                self._hear(body[2:at].decode(), body[at:])

    def _hear(self, topic: str, body: bytes) -> None:
        if topic == state_topic("tanyun"):
            if b"true" in body:
                self._ready.set()
            elif self._ready.is_set():
                raise ConnectionResetError("the host has gone: end the session, as an agent does")
            return
        ack = frames.read_ack(decode(body))
        if ack is not None and ack.epoch == self.epoch and ack.number > self.acked:
            self.acked, self._heard_s = ack.number, time.monotonic()
            self._sent = max(self._sent, ack.number)  # It may have gone back for want of this ack.
            self._window.acked(ack.number)
            while self.queue and self.queue[0].number <= ack.number:
                self.queue.popleft()
            self._more.set()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        await self._ready.wait()
        self._publish(writer, MessageType.NBIRTH, "", _nbirth(self._outbox, self.epoch, self.acked))
        for meter, device in zip(self.meters, self._devices, strict=True):
            birth = _dbirth(self._outbox, device.declaration, self.epoch)
            self._publish(writer, MessageType.DBIRTH, meter, birth)
        self._sent, self._heard_s, pinged = self.acked, time.monotonic(), time.monotonic()
        self._window.new_session()
        while not writer.is_closing():
            self._send_window(writer)
            await writer.drain()
            self._more.clear()
            # Not wait_for: Python 3.11's swallows the cancellation when the event is set in the same moment.
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._more.wait()
            now = time.monotonic()
            if self._sent <= self.acked:
                self._heard_s = now
            elif now - self._heard_s > self._window.patience_s:
                self.sent_again += self._sent - self.acked
                self._sent, self._heard_s = self.acked, now
                self._window.overdue()
            if now - pinged > 20:
                writer.write(packet(_PING, b""))
                pinged = now

    def _send_window(self, writer: asyncio.StreamWriter) -> None:
        end = self.acked + self._window.size
        for at in range(self._sent - self.acked, len(self.queue)):
            frame = self.queue[at]
            if frame.number > end:
                return
            which = (frame.number - 1) % len(self._devices)
            metrics = frame_metrics(self._aliases[which], self.epoch, frame, historical=False)
            body = uint_field(1, frame.t_ms) + metrics
            self._publish(writer, MessageType.DDATA, self.meters[which], body)
            self._sent = frame.number
            self._window.sent(frame.number)

    def _publish(self, writer: asyncio.StreamWriter, kind: MessageType, meter: str, body: bytes) -> None:
        writer.write(packet(_PUBLISH, _string(self._topic(kind, meter)) + body + uint_field(3, self._seq)))
        self._seq = (self._seq + 1) % 256
