"""The publisher: drains the outbox over MQTT as a Sparkplug edge node, oldest frame first, until the journal has acked it.

A session is: connect with the will, wait until the primary host is online, births, data. At most `window` frames are in
flight; when no ack comes in time, sending goes back to the first frame that is not acked, flagged historical.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress

import aiomqtt

from edge_agent.births import dbirth, frame_aliases, frame_metrics, lost_metrics, nbirth, ndeath
from edge_agent.config import EdgeConfig
from edge_agent.outbox import Frame, Outbox, OutboxError
from edge_agent.poller import Device
from metering import frames
from metering.protobuf_wire import DecodeError, uint_field
from metering.sparkplug import Payload, decode, encode
from metering.topics import MessageType, Topic, state_topic

log = logging.getLogger("tanyun.edge")
_FIRST_PAUSE_S = 0.3
_LONGEST_PAUSE_S = 30.0
_LONGEST_ACK_TIMEOUT_S = 60.0
_READ_AHEAD = 64
_GOODBYE_S = 2.0


class HostOffline(Exception):
    """The primary host has gone: end the session, keep polling, come back when it is there."""


class Publisher:
    """One edge node. `run` keeps one session after the other; the outbox carries everything between them."""

    def __init__(
        self, config: EdgeConfig, outbox: Outbox, devices: Sequence[Device], stored: asyncio.Event
    ) -> None:
        self._config, self._outbox, self._stored = config, outbox, stored
        self._devices = {device.meter.id: device for device in devices}
        self._declared: dict[str, int] = {}
        """Meter → declaration of the birth it last sent in this session."""
        self._aliases: dict[int, tuple[str, tuple[int, int]]] = {}
        """Declaration → (meter, aliases of epoch and number)."""
        self._online = asyncio.Event()
        self._offline = asyncio.Event()
        self._rebirth = False
        self._reset(0)

    def _reset(self, bdseq: int) -> None:
        self._bdseq, self._seq = bdseq, 0
        self._sent = self._outbox.acked
        """Highest number sent in this session."""
        self._history = self._outbox.last
        """Frames up to here are not news when they are sent."""
        self._born = False
        self._host_since_ms = -1
        self._online.clear()
        self._offline.clear()

    async def run(self) -> None:
        """Session after session, with jittered pauses between failures."""
        pause = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            try:
                await self._session_apart()
            except* (aiomqtt.MqttError, HostOffline, OSError, OutboxError) as group:
                log.warning("session_ended gateway=%s reason=%s", self._config.gateway, group.exceptions[0])
            if time.monotonic() - started > _LONGEST_PAUSE_S:
                pause = _FIRST_PAUSE_S
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret
            pause = min(pause * 2, _LONGEST_PAUSE_S) if not self._online.is_set() else _FIRST_PAUSE_S

    async def _session_apart(self) -> None:
        """A session as a task of its own: whatever it does with a cancellation, this one is not swallowed."""
        session = asyncio.create_task(self._session(), name="session")
        try:
            await asyncio.wait([session])
        except asyncio.CancelledError:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            raise
        await session

    async def _session(self) -> None:
        self._reset(await asyncio.to_thread(self._outbox.next_bdseq))
        broker = self._config.broker
        will = aiomqtt.Will(self._topic(MessageType.NDEATH), encode(ndeath(self._bdseq)), qos=1)
        async with aiomqtt.Client(
            broker.host, broker.port, username=broker.user, password=broker.password(), tls_context=broker.tls(),
            identifier=f"{self._config.park}-{self._config.gateway}", will=will, keepalive=20, clean_session=True, timeout=10,
        ) as client:  # fmt: skip
            await client.subscribe(
                [(self._topic(MessageType.NCMD), 1), (state_topic(self._config.host_id), 1)]
            )
            _heed_cancellation()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._receive(client), name="receive")
                    tasks.create_task(self._send(client), name="send")
                    tasks.create_task(self._leave_with_host(), name="host")
            finally:
                await self._say_goodbye(client)

    def _topic(self, kind: MessageType, meter: str = "") -> str:
        return str(Topic(self._config.park, kind, self._config.gateway, meter))

    async def _leave_with_host(self) -> None:
        """When the primary host goes, end the session (tck-id-operational-behavior-edge-node-termination-host-offline)."""
        await self._offline.wait()
        msg = f"host {self._config.host_id} is offline"
        raise HostOffline(msg)

    async def _say_goodbye(self, client: aiomqtt.Client) -> None:
        """NDEATH before a DISCONNECT of ours, after which the broker drops the will.

        tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath
        """
        if self._born:
            with suppress(aiomqtt.MqttError):
                will = encode(ndeath(self._bdseq))
                await client.publish(self._topic(MessageType.NDEATH), will, qos=1, timeout=_GOODBYE_S)

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            body = message.payload
            if str(message.topic) == state_topic(self._config.host_id):
                self._hear_host(body)
                continue
            try:
                await self._command(decode(body))
            except DecodeError as error:
                log.warning("command_refused error=%s", error)

    def _hear_host(self, body: bytes) -> None:
        """A STATE older than the newest is ignored (tck-id-operational-behavior-edge-node-termination-host-offline-timestamp)."""
        try:
            state = json.loads(body)
            online, since_ms = bool(state["online"]), int(state["timestamp"])
        except (ValueError, KeyError, TypeError):
            log.warning("state_refused body=%r", body[:100])
            return
        if since_ms < self._host_since_ms:
            return
        self._host_since_ms = since_ms
        if online:
            self._online.set()
        elif self._online.is_set():
            self._offline.set()

    async def _command(self, payload: Payload) -> None:
        ack = frames.read_ack(payload)
        if ack is not None:
            # No further than what was sent: of an old copy of this outbox the journal knows other frames under these numbers.
            number = min(ack.number, max(self._sent, self._outbox.acked))
            went_back = self._outbox.acknowledge(ack.journal_id, ack.epoch, number)
            if went_back:
                log.warning("journal_has_less gateway=%s acked=%d", self._config.gateway, self._outbox.acked)
                self._history = self._outbox.last
            self._sent = self._outbox.acked if went_back else max(self._sent, self._outbox.acked)
        names = {metric.name for metric in payload.metrics if metric.value}
        if frames.NEW_EPOCH in names:
            log.warning("epoch_renewed gateway=%s", self._config.gateway)
            await asyncio.to_thread(self._outbox.renew_epoch)
            self._sent, self._history = 0, self._outbox.last
        self._rebirth = self._rebirth or bool(names & {frames.REBIRTH, frames.NEW_EPOCH})
        self._stored.set()

    async def _send(self, client: aiomqtt.Client) -> None:
        await self._online.wait()
        self._rebirth, self._history = True, self._outbox.last
        progress, timeout_s, acked = time.monotonic(), self._config.ack_timeout_s, self._outbox.acked
        while True:
            if self._rebirth:
                await self._births(client)
            await self._send_more(client)
            await self._wait(0.2)
            now = time.monotonic()
            if self._outbox.acked != acked or self._sent <= self._outbox.acked:
                progress, timeout_s, acked = now, self._config.ack_timeout_s, self._outbox.acked
            elif now - progress > timeout_s:
                log.warning(
                    "ack_overdue gateway=%s sent=%d acked=%d", self._config.gateway, self._sent, acked
                )
                self._history, self._sent = max(self._history, self._sent), acked
                progress, timeout_s = now, min(timeout_s * 2, _LONGEST_ACK_TIMEOUT_S)

    async def _wait(self, seconds: float) -> None:
        """Until the outbox or the host has something new, or a little while."""
        try:
            async with asyncio.timeout(seconds):
                await self._stored.wait()
        except TimeoutError:
            return
        self._stored.clear()

    async def _births(self, client: aiomqtt.Client) -> None:
        self._rebirth, self._seq, self._born = False, 0, True
        t_ms = time.time_ns() // 1_000_000
        await self._publish(client, MessageType.NBIRTH, "", encode(nbirth(self._outbox, self._bdseq, t_ms)))
        self._declared.clear()
        for device in self._devices.values():
            await self._declare(client, device.declaration)
        log.info("births_sent gateway=%s meters=%d", self._config.gateway, len(self._devices))

    async def _declare(self, client: aiomqtt.Client, id_: int) -> None:
        """The DBIRTH of a declaration, unless it is the one in force."""
        if id_ not in self._aliases:
            meter, declared = await asyncio.to_thread(self._outbox.declaration, id_)
            self._aliases[id_] = (meter, frame_aliases(declared))
        meter = self._aliases[id_][0]
        if self._declared.get(meter) == id_:
            return
        _, declared = await asyncio.to_thread(self._outbox.declaration, id_)
        device = self._devices.get(meter)
        latest = device.latest if device is not None and device.declaration == id_ else {}
        birth = dbirth(declared, self._outbox.epoch, latest, time.time_ns() // 1_000_000)
        await self._publish(client, MessageType.DBIRTH, meter, encode(birth))
        self._declared[meter] = id_

    async def _send_more(self, client: aiomqtt.Client) -> None:
        """Frames behind the last one sent, as far as the window reaches."""
        while not self._rebirth and self._sent < self._outbox.acked + self._config.window:
            room = min(_READ_AHEAD, self._outbox.acked + self._config.window - self._sent)
            epoch, sent = self._outbox.epoch, self._sent
            found = await asyncio.to_thread(self._outbox.after, sent, room)
            if not self._stands_at(epoch, sent):
                continue
            if not found:
                return
            if found[0].number > sent + 1:
                await self._declare_lost(client, sent + 1, found[0].number - 1)
                continue
            for frame in found:
                await self._declare(client, frame.declaration)
                if not self._stands_at(epoch, frame.number - 1):
                    break
                self._sent = frame.number
                await self._send_frame(client, frame)

    def _stands_at(self, epoch: int, sent: int) -> bool:
        """False when an ack or a command came while this task waited: then what it has read is not what comes next."""
        return not self._rebirth and (self._outbox.epoch, self._sent) == (epoch, sent)

    async def _declare_lost(self, client: aiomqtt.Client, first: int, last: int) -> None:
        log.error("frames_lost gateway=%s first=%d last=%d", self._config.gateway, first, last)
        t_ms = time.time_ns() // 1_000_000
        self._sent = last
        body = uint_field(1, t_ms) + lost_metrics(self._outbox, first, last, t_ms)
        await self._publish(client, MessageType.NDATA, "", body)

    async def _send_frame(self, client: aiomqtt.Client, frame: Frame) -> None:
        """A frame under the birth it was made for, which was sent before it where another was in force."""
        meter, aliases = self._aliases[frame.declaration]
        historical = frame.number <= self._history
        metrics = frame_metrics(aliases, self._outbox.epoch, frame, historical=historical)
        # The payload's time is when it was sent (tck-id-payloads-timestamp-in-UTC); readings bear their own.
        sent_ms = time.time_ns() // 1_000_000
        await self._publish(client, MessageType.DDATA, meter, uint_field(1, sent_ms) + metrics)

    async def _publish(self, client: aiomqtt.Client, kind: MessageType, meter: str, body: bytes) -> None:
        """Encoded payload fields plus the next seq (0 to 255, NBIRTH starts over)."""
        await client.publish(self._topic(kind, meter), body + uint_field(3, self._seq), qos=0)
        _heed_cancellation()
        self._seq = (self._seq + 1) % 256


def _heed_cancellation() -> None:
    """End a task that was cancelled and did not hear it: asyncio.wait_for of Python 3.11, which aiomqtt uses, may swallow it.

    bpo-42130. Without this a session would outlive its host, and a stopped agent would not stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
