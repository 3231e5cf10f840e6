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

from edge_agent.births import (
    dbirth,
    frame_aliases,
    frame_metrics,
    lost_metrics,
    nbirth,
    ndeath,
    time_request,
)
from edge_agent.budget import ACK_BYTES, MESSAGE_BYTES, PING_BYTES, SESSION_BYTES, Budget
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.dated_tls import dated
from edge_agent.device import Device
from edge_agent.drain import Gap, Pace, with_gaps
from edge_agent.outbox import Frame, Outbox, OutboxError
from edge_agent.server_time import ServerTime
from edge_agent.side import SideChannel
from metering import frames
from metering.protobuf_wire import DecodeError, uint_field
from metering.sparkplug import Payload, decode, encode
from metering.topics import MessageType, Topic, state_topic

log = logging.getLogger("tanyun.edge")
_FIRST_PAUSE_S = 0.3
_LONGEST_PAUSE_S = 30.0
_LONGEST_ACK_TIMEOUT_S = 60.0
_READ_AHEAD = 256
_AT_ONCE = 32
"""Frames that are handed to the socket together."""
_ACK_BYTES = 360
"""An ack on the wire, about."""
_GOODBYE_S = 2.0


class _Client(aiomqtt.Client):
    """aiomqtt waits until each message has been handed to the socket: five turns of the event loop. A backlog cannot afford that."""

    def put(self, topic: str, payload: bytes) -> None:
        """Queue a message (QoS 0) behind those before it; the next awaited `publish` waits for all of them."""
        done = self._client.publish(topic, payload, 0)
        if done.rc != 0:
            raise aiomqtt.MqttCodeError(done.rc, "could not publish")


class HostOffline(Exception):
    """The primary host has gone: end the session, keep polling, come back when it is there."""


class Publisher:
    """One edge node. `run` keeps one session after the other; the outbox carries everything between them."""

    def __init__(
        self,
        config: EdgeConfig,
        outbox: Outbox,
        devices: Sequence[Device],
        stored: asyncio.Event,
        side: SideChannel | None = None,
        clock: Clock | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._budget = budget or Budget(0)
        self._time = ServerTime(self._clock)
        publish = config.publish
        self._pace = Pace(self._budget, len(devices), publish.totals_every_s, config.window, time.monotonic)
        self._again: frames.Range | None = None
        """What the server has asked for once more."""
        self._epoch = outbox.epoch
        """Of the births in force."""
        self._config, self._outbox, self._stored, self._side = config, outbox, stored, side
        self._devices = {device.meter.id: device for device in devices}
        self._declared: dict[str, int] = {}
        """Meter → declaration of the birth it last sent in this session."""
        self._aliases: dict[int, tuple[str, tuple[int, int]]] = {}
        """Declaration → (meter, aliases of epoch and number)."""
        self._online = asyncio.Event()
        self._offline = asyncio.Event()
        self._rebirth = False
        self._reset(0)

    @property
    def in_session(self) -> bool:
        """Connected, the host online, and births sent."""
        return self._born and self._online.is_set() and not self._offline.is_set()

    def _reset(self, bdseq: int) -> None:
        self._bdseq, self._seq = bdseq, 0
        self._sent = self._outbox.acked
        """Highest number sent in this session."""
        self._history = self._outbox.last
        """Frames up to here are not news when they are sent."""
        self._born = False
        self._host_since_ms = -1
        self._time.new_session()
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
        async with _Client(
            broker.host, broker.port, username=broker.user, password=broker.password(),
            tls_context=dated(broker.tls(), self._known_ms),
            identifier=f"{self._config.park}-{self._config.gateway}", will=will,
            keepalive=self._config.keepalive_s, clean_session=True, timeout=10,
        ) as client:  # fmt: skip
            beside = self._side.topics if self._side is not None else ()
            await client.subscribe(
                [(t, 1) for t in (self._topic(MessageType.NCMD), state_topic(self._config.host_id), *beside)]
            )
            _heed_cancellation()
            self._spent(SESSION_BYTES)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._receive(client), name="receive")
                    tasks.create_task(self._send(client), name="send")
                    tasks.create_task(self._leave_with_host(), name="host")
                    if self._side is not None:
                        tasks.create_task(self._tell(client, self._side), name="side")
            finally:
                await self._say_goodbye(client)
                self._born = False

    def may_live(self, t_ms: int) -> bool:
        """Whether the month's bytes allow live readings now, once what waits has gone."""
        return self._budget.may_live(t_ms, int(self._outbox.backlog() * self._pace.mean_bytes))

    def _spent(self, size: int) -> None:
        """Count bytes on the wire; they reach the disk with the next poll."""
        self._budget.spent(size, self._clock.now_ms())
        self._outbox.notes.update(traffic_month=self._budget.month, traffic_bytes=self._budget.used_bytes)

    def _topic(self, kind: MessageType, meter: str = "") -> str:
        return str(Topic(self._config.park, kind, self._config.gateway, meter))

    async def _leave_with_host(self) -> None:
        """When the primary host goes, end the session (tck-id-operational-behavior-edge-node-termination-host-offline)."""
        await self._offline.wait()
        msg = f"host {self._config.host_id} is offline"
        raise HostOffline(msg)

    async def _say_goodbye(self, client: _Client) -> None:
        """NDEATH before a DISCONNECT of ours, after which the broker drops the will.

        tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath
        """
        if self._born:
            with suppress(aiomqtt.MqttError):
                will = encode(ndeath(self._bdseq))
                await client.publish(self._topic(MessageType.NDEATH), will, qos=1, timeout=_GOODBYE_S)

    async def _tell(self, client: _Client, side: SideChannel) -> None:
        """Publish what the side channel has to say; what a broken connection kept back is said by the next one."""
        for message in side.hello():
            await client.publish(message.topic, message.body, qos=1, retain=True)
        while True:
            message = await side.outgoing.get()
            try:
                await client.publish(message.topic, message.body, qos=1, retain=True)
            except (aiomqtt.MqttError, asyncio.CancelledError):
                side.outgoing.put_nowait(message)
                raise
            finally:
                side.outgoing.task_done()
            _heed_cancellation()

    async def _receive(self, client: _Client) -> None:
        async for message in client.messages:
            body = message.payload
            if str(message.topic) == state_topic(self._config.host_id):
                self._hear_host(body)
                continue
            if self._side is not None and str(message.topic) in self._side.topics:
                self._side.hear(str(message.topic), body)
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
            self._spent(_ACK_BYTES)
            if self._time.heard(ack):
                self._log_time()
            # A restored card's numbers were others' once: only what this session has sent is taken as stored.
            number = min(ack.number, max(self._sent, self._outbox.acked))
            went_back = self._outbox.acknowledge(ack.journal_id, ack.epoch, number)
            if went_back:
                log.warning("journal_has_less gateway=%s acked=%d", self._config.gateway, self._outbox.acked)
                self._history = self._outbox.last
            self._sent = self._outbox.acked if went_back else max(self._sent, self._outbox.acked)
        wanted = frames.read_resend(payload)
        if wanted is not None and wanted.epoch == self._outbox.epoch:
            log.warning("resend_asked gateway=%s first=%d last=%d", self._config.gateway, *wanted[1:])
            self._again = wanted
        names = {metric.name for metric in payload.metrics if metric.value}
        if frames.NEW_EPOCH in names:
            log.warning("epoch_renewed gateway=%s", self._config.gateway)
            await asyncio.to_thread(self._outbox.renew_epoch)
            self._sent, self._history = 0, self._outbox.last
        self._rebirth = self._rebirth or bool(names & {frames.REBIRTH, frames.NEW_EPOCH})
        self._stored.set()

    async def _send(self, client: _Client) -> None:
        await self._online.wait()
        self._rebirth, self._history = True, self._outbox.last
        progress, timeout_s, acked = time.monotonic(), self._config.ack_timeout_s, self._outbox.acked
        pinged = progress
        while True:
            if self._rebirth or self._epoch != self._outbox.epoch:
                await self._births(client)
            await self._ask_time(client)
            await self._send_more(client)
            if self._again is not None and self._sent >= self._outbox.last:
                await self._send_again(client, self._again)
            await self._deaths(client)
            await self._wait(0.2)
            now = time.monotonic()
            if now - pinged >= self._config.keepalive_s:
                pinged = now
                self._spent(PING_BYTES)
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

    async def _births(self, client: _Client) -> None:
        self._rebirth, self._seq, self._born, self._epoch = False, 0, True, self._outbox.epoch
        t_ms = self._clock.now_ms()
        await self._publish(client, MessageType.NBIRTH, "", encode(nbirth(self._outbox, self._bdseq, t_ms)))
        self._declared.clear()
        for device in self._devices.values():
            await self._declare(client, device.declaration)
        log.info("births_sent gateway=%s meters=%d", self._config.gateway, len(self._devices))

    async def _declare(self, client: _Client, id_: int) -> None:
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
        birth = dbirth(declared, self._outbox.epoch, latest, self._clock.now_ms())
        await self._publish(client, MessageType.DBIRTH, meter, encode(birth))
        self._declared[meter] = id_

    async def _deaths(self, client: _Client) -> None:
        """DDEATH of a meter that does not answer any more, behind its last frame; its next one brings its birth again.

        tck-id-operational-behavior-device-ddeath
        """
        if self._rebirth or self._sent < self._outbox.last:
            return
        for meter in [meter for meter in self._declared if meter in self._devices]:
            if self._devices[meter].breaker.is_open:
                del self._declared[meter]
                t_ms = self._clock.now_ms()
                await self._publish(client, MessageType.DDEATH, meter, uint_field(1, t_ms))

    def _room(self) -> int:
        """Frames that may be read ahead: as far as the window reaches, and of a backlog as much as the budget lets go."""
        room = min(_READ_AHEAD, self._outbox.acked + self._config.window - self._sent)
        return room if self._sent >= self._history else min(room, self._pace.room(self._clock.now_ms()))

    async def _send_more(self, client: _Client) -> None:
        """Frames behind the last one sent, and the gaps between them."""
        while not self._rebirth and (room := self._room()) > 0:
            epoch, sent = self._outbox.epoch, self._sent
            found, end = await asyncio.to_thread(self._outbox.after, sent, room)
            if not self._stands_at(epoch, sent):
                continue
            if end <= sent:
                return
            for step in with_gaps(sent, found, end, self._known_ms()):
                wait = isinstance(step, Gap) or step.number == found[-1].number or step.number % _AT_ONCE == 0
                if isinstance(step, Frame):
                    await self._declare(client, step.declaration)
                if not self._stands_at(epoch, self._before(step)):
                    break
                await self._send_step(client, step, wait=wait)

    @staticmethod
    def _before(step: Frame | Gap) -> int:
        return (step.number if isinstance(step, Frame) else step.first) - 1

    async def _send_step(self, client: _Client, step: Frame | Gap, *, wait: bool) -> None:
        if isinstance(step, Gap):
            self._sent = step.last
            await self._declare_gap(client, step)
        else:
            self._sent = step.number
            await self._send_frame(client, step, historical=step.number <= self._history, wait=wait)

    async def _send_again(self, client: _Client, wanted: frames.Range) -> None:
        """A part of what was asked for, as far as it is here; its numbers tell the server that it has them."""
        room = min(_READ_AHEAD, self._pace.room(self._clock.now_ms()))
        found, _end = await asyncio.to_thread(self._outbox.after, wanted.first - 1, room)
        for frame in found:
            if frame.number > min(wanted.last, self._outbox.acked) or self._rebirth:
                found = []
                break
            await self._declare(client, frame.declaration)
            await self._send_frame(client, frame, historical=True)
        self._again = wanted._replace(first=found[-1].number + 1) if found else None

    async def _ask_time(self, client: _Client) -> None:
        nonce = self._time.due()
        if nonce is not None:
            t_ms = self._clock.now_ms()
            body = uint_field(1, t_ms) + time_request(self._outbox, nonce, t_ms)
            await self._publish(client, MessageType.NDATA, "", body)

    def _log_time(self) -> None:
        source, error_ms = getattr(self._clock, "source", ""), getattr(self._clock, "error_ms", None)
        log.info("time_known gateway=%s source=%s error_ms=%s", self._config.gateway, source, error_ms)

    def _known_ms(self) -> int | None:
        """UTC, where somebody trustworthy has said what it is."""
        offset = self._clock.offset()
        return None if offset is None or offset.guess else self._clock.now_ms()

    def _stands_at(self, epoch: int, sent: int) -> bool:
        """False when an ack or a command came while this task waited: then what it has read is not what comes next."""
        return not self._rebirth and (self._outbox.epoch, self._sent) == (epoch, sent)

    async def _declare_gap(self, client: _Client, gap: Gap) -> None:
        thinned = not gap.withheld and self._outbox.evicted.is_thinned(gap.first, gap.last)
        event = "frames_withheld" if gap.withheld else "frames_thinned" if thinned else "frames_lost"
        level = logging.WARNING if thinned else logging.ERROR
        log.log(level, "%s gateway=%s first=%d last=%d", event, self._config.gateway, gap.first, gap.last)
        body = lost_metrics(self._outbox, gap.first, gap.last, gap.t_ms, thinned=thinned)
        await self._publish(client, MessageType.NDATA, "", uint_field(1, self._clock.now_ms()) + body)

    async def _send_frame(
        self, client: _Client, frame: Frame, *, historical: bool, wait: bool = True
    ) -> None:
        """A frame under the birth it was made for, which was sent before it where another was in force."""
        meter, aliases = self._aliases[frame.declaration]
        metrics = frame_metrics(aliases, self._outbox.epoch, frame, historical=historical)
        # The payload's time is when it was sent (tck-id-payloads-timestamp-in-UTC); readings bear their own.
        sent_ms = self._clock.now_ms()
        body = uint_field(1, sent_ms) + metrics
        size = await self._publish(client, MessageType.DDATA, meter, body, wait=wait)
        self._pace.sent(frame, size, historical=historical)

    async def _publish(
        self, client: _Client, kind: MessageType, meter: str, body: bytes, *, wait: bool = True
    ) -> int:
        """Encoded payload fields plus the next seq (0 to 255, NBIRTH starts over); its bytes on the wire."""
        topic, payload = self._topic(kind, meter), body + uint_field(3, self._seq)
        if wait:
            await client.publish(topic, payload, qos=0)
            _heed_cancellation()
        else:
            client.put(topic, payload)
        self._seq = (self._seq + 1) % 256
        size = len(topic) + len(payload) + MESSAGE_BYTES + ACK_BYTES // 2
        self._spent(size)
        return size


def _heed_cancellation() -> None:
    """End a task that was cancelled and did not hear it: asyncio.wait_for of Python 3.11, which aiomqtt uses, may swallow it.

    bpo-42130. Without this a session would outlive its host, and a stopped agent would not stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
