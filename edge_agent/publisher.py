"""The publisher: drains the outbox over MQTT as a Sparkplug edge node, oldest frame first, until the journal has acked it.

A session is: connect with the will, wait until the primary host is online, births, data. At most `window` frames are in
flight; when no ack comes in time, sending goes back to the first frame that is not acked, flagged historical.
"""

import asyncio
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
from edge_agent.budget import ACK_BYTES, ANSWER_BYTES, MESSAGE_BYTES, PING_BYTES, SESSION_BYTES, Budget
from edge_agent.cancellation import heed_cancellation
from edge_agent.clock import Clock, SystemClock, known_ms
from edge_agent.config import EdgeConfig
from edge_agent.dated_tls import dated
from edge_agent.device import Device
from edge_agent.drain import Gap, Pace, Window, number_before, portions, with_gaps
from edge_agent.host_state import HostOffline, HostState
from edge_agent.mqtt_client import EdgeClient
from edge_agent.outbox import Frame, Outbox, OutboxError
from edge_agent.server_time import ServerTime
from edge_agent.side import SideChannel, tell
from edge_agent.traffic import Traffic
from metering import frames
from metering.protobuf_wire import DecodeError, uint_field
from metering.sparkplug import Payload, decode, encode
from metering.topics import MessageType, Topic, state_topic

log = logging.getLogger("tanyun.edge")
_FIRST_PAUSE_S = 0.3
_LONGEST_PAUSE_S = 30.0
_READ_AHEAD = 256
_AT_ONCE = 32
"""Frames that are handed to the socket together."""
_GOODBYE_S = 2.0
_OVERHEAD_BYTES = MESSAGE_BYTES + ACK_BYTES // 2


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
        budget = budget or Budget(0)
        self._traffic = Traffic(budget, outbox, self._clock)
        self._time = ServerTime(self._clock)
        every_s = config.publish.totals_every_s
        self._pace = Pace(budget, len(devices), every_s, config.window, time.monotonic)
        self._window = Window(config.window, time.monotonic, config.ack_timeout_s)
        self._again: frames.Range | None = None
        """What the server has asked for once more."""
        self._epoch = outbox.epoch  # of the births in force
        self._config, self._outbox, self._stored, self._side = config, outbox, stored, side
        self._devices = {device.meter.id: device for device in devices}
        self._declared: dict[str, int] = {}
        """Meter → declaration of the birth it last sent in this session."""
        self._aliases: dict[int, tuple[str, tuple[int, int]]] = {}
        """Declaration → (meter, aliases of epoch and number)."""
        self._data_topic = self._topic(MessageType.DDATA, "").encode() + b"/"
        self._host = HostState()
        self._numbering = asyncio.Event()
        """Clear while the outbox numbers its frames anew: old numbers under the new epoch would be other frames."""
        self._numbering.set()
        self._rebirth = False
        self._reset(0)

    @property
    def in_session(self) -> bool:
        """Connected, the host online, and births sent."""
        return self._born and self._host.online.is_set() and not self._host.gone.is_set()

    def _reset(self, bdseq: int) -> None:
        self._bdseq, self._seq = bdseq, 0
        self._sent = self._outbox.acked
        """Highest number sent in this session."""
        self._history = self._outbox.last
        """Frames up to here are not news when they are sent."""
        self._born = False
        self._window.new_session()
        self._time.new_session()
        self._host.new_session()

    async def run(self) -> None:
        """Session after session, with jittered pauses between failures."""
        pause, said = _FIRST_PAUSE_S, ""
        while True:
            started = time.monotonic()
            try:
                await self._session_apart()
            except* (aiomqtt.MqttError, HostOffline, OSError, OutboxError) as group:
                reason = str(group.exceptions[0])
                if reason != said:  # While the broker is away, every try ends like this one.
                    log.warning("session_ended gateway=%s reason=%s", self._config.gateway, reason)
                said = reason
            if time.monotonic() - started > _LONGEST_PAUSE_S:
                pause, said = _FIRST_PAUSE_S, ""
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret
            pause = min(pause * 2, _LONGEST_PAUSE_S) if not self._host.online.is_set() else _FIRST_PAUSE_S

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
        async with EdgeClient(
            broker.host, broker.port, username=broker.user, password=broker.password(),
            tls_context=dated(broker.tls(), lambda: known_ms(self._clock)),
            identifier=f"{self._config.park}-{self._config.gateway}", will=will,
            keepalive=self._config.keepalive_s, clean_session=True, timeout=10,
        ) as client:  # fmt: skip
            beside = self._side.topics if self._side is not None else ()
            await client.subscribe(
                [(t, 1) for t in (self._topic(MessageType.NCMD), state_topic(self._config.host_id), *beside)]
            )
            heed_cancellation()
            self._traffic.spent(SESSION_BYTES)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._receive(client), name="receive")
                    tasks.create_task(self._send(client), name="send")
                    tasks.create_task(self._host.leave_with(self._config.host_id), name="host")
                    if self._side is not None:
                        tasks.create_task(tell(client, self._side), name="side")
            finally:
                await self._say_goodbye(client)
                self._born = False

    def may_live(self, t_ms: int) -> bool:
        """Whether the month's bytes allow live readings now, once what waits has gone."""
        return self._traffic.may_live(t_ms, self._pace.mean_bytes)

    def _topic(self, kind: MessageType, meter: str = "") -> str:
        return str(Topic(self._config.park, kind, self._config.gateway, meter))

    async def _say_goodbye(self, client: EdgeClient) -> None:
        """NDEATH before a DISCONNECT of ours, after which the broker drops the will.

        tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath
        """
        if self._born:
            with suppress(aiomqtt.MqttError):
                will = encode(ndeath(self._bdseq))
                await client.publish(self._topic(MessageType.NDEATH), will, qos=1, timeout=_GOODBYE_S)

    async def _receive(self, client: EdgeClient) -> None:
        async for message in client.messages:
            body = message.payload
            if str(message.topic) == state_topic(self._config.host_id):
                self._host.hear(body)
                continue
            if self._side is not None and str(message.topic) in self._side.topics:
                self._side.hear(str(message.topic), body)
                continue
            try:
                await self._command(decode(body))
            except DecodeError as error:
                log.warning("command_refused error=%s", error)

    async def _command(self, payload: Payload) -> None:
        ack = frames.read_ack(payload)
        if ack is not None:
            self._traffic.spent(ANSWER_BYTES)
            self._time.heard(ack)
            # No further than what was sent: of an old copy of this outbox the journal knows other frames under these numbers.
            number = min(ack.number, max(self._sent, self._outbox.acked))
            went_back = self._outbox.acknowledge(ack.journal_id, ack.epoch, number)
            self._window.acked(self._outbox.acked)
            if went_back:
                log.warning("journal_has_less gateway=%s acked=%d", self._config.gateway, self._outbox.acked)
                self._window.new_session()
                self._history = self._outbox.last
            self._sent = self._outbox.acked if went_back else max(self._sent, self._outbox.acked)
        wanted = frames.read_resend(payload)
        if wanted is not None and wanted.epoch == self._outbox.epoch:
            log.warning("resend_asked gateway=%s first=%d last=%d", self._config.gateway, *wanted[1:])
            self._again = wanted
        names = {metric.name for metric in payload.metrics if metric.value}
        if frames.NEW_EPOCH in names:
            log.warning("epoch_renewed gateway=%s", self._config.gateway)
            self._numbering.clear()
            try:
                await asyncio.to_thread(self._outbox.renew_epoch)
                self._sent, self._history = 0, self._outbox.last
                self._window.new_session()
            finally:
                self._numbering.set()
        self._rebirth = self._rebirth or bool(names & {frames.REBIRTH, frames.NEW_EPOCH})
        self._stored.set()

    async def _send(self, client: EdgeClient) -> None:
        await self._host.online.wait()
        self._rebirth, self._history = True, self._outbox.last
        progress, acked = time.monotonic(), self._outbox.acked
        pinged = progress
        while True:
            await self._numbering.wait()
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
                self._traffic.spent(PING_BYTES)
            if self._outbox.acked != acked or self._sent <= self._outbox.acked:
                progress, acked = now, self._outbox.acked
            elif now - progress > self._window.patience_s:
                log.warning(
                    "ack_overdue gateway=%s sent=%d acked=%d", self._config.gateway, self._sent, acked
                )
                self._history, self._sent = max(self._history, self._sent), acked
                self._window.overdue()
                progress = now

    async def _wait(self, seconds: float) -> None:
        """Until the outbox or the host has something new, or a little while."""
        try:
            async with asyncio.timeout(seconds):
                await self._stored.wait()
        except TimeoutError:
            return
        self._stored.clear()

    async def _births(self, client: EdgeClient) -> None:
        self._rebirth, self._seq, self._born, self._epoch = False, 0, True, self._outbox.epoch
        t_ms = self._clock.now_ms()
        await self._publish(client, MessageType.NBIRTH, "", encode(nbirth(self._outbox, self._bdseq, t_ms)))
        self._declared.clear()
        for device in self._devices.values():
            await self._declare(client, device.declaration)
        log.info("births_sent gateway=%s meters=%d", self._config.gateway, len(self._devices))

    async def _declare(self, client: EdgeClient, id_: int) -> None:
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

    async def _deaths(self, client: EdgeClient) -> None:
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
        room = min(_READ_AHEAD, self._outbox.acked + self._window.size - self._sent)
        return room if self._sent >= self._history else min(room, self._pace.room(self._clock.now_ms()))

    async def _send_more(self, client: EdgeClient) -> None:
        """Frames behind the last one sent, and the gaps between them."""
        while (room := self._room()) > 0 and self._stands_at(self._epoch, self._sent):
            epoch, sent = self._epoch, self._sent
            found, end = await asyncio.to_thread(self._outbox.after, sent, room)
            if not self._stands_at(epoch, sent):
                continue
            if end <= sent:
                return
            steps = with_gaps(sent, found, end, known_ms(self._clock))
            for portion in portions(steps, self._in_force, _AT_ONCE):
                if not isinstance(portion, Gap):
                    await self._declare(client, portion[0].declaration)
                if not self._stands_at(epoch, number_before(portion)):
                    break
                if isinstance(portion, Gap):
                    self._sent = portion.last
                    await self._declare_gap(client, portion)
                else:
                    self._sent = portion[-1].number
                    self._window.sent(self._sent)
                    await self._send_frames(client, portion, epoch, self._history)

    def _in_force(self, id_: int) -> bool:
        """Whether the birth of a declaration is the newest one sent of its meter."""
        return id_ in self._aliases and self._declared.get(self._aliases[id_][0]) == id_

    async def _send_again(self, client: EdgeClient, wanted: frames.Range) -> None:
        """A part of what was asked for, as far as it is here; its numbers tell the server that it has them."""
        room = min(_READ_AHEAD, self._pace.room(self._clock.now_ms()))
        if room <= 0:
            return
        found, _end = await asyncio.to_thread(self._outbox.after, wanted.first - 1, room)
        found = [frame for frame in found if frame.number <= min(wanted.last, self._outbox.acked)]
        rest = wanted._replace(first=found[-1].number + 1) if found else None
        for portion in portions(found, self._in_force, _AT_ONCE):
            await self._declare(client, portion[0].declaration)
            if not self._stands_at(wanted.epoch, self._sent):
                rest = wanted._replace(first=portion[0].number)
                break
            await self._send_frames(client, portion, wanted.epoch, portion[-1].number)
        if self._again is wanted:
            self._again = rest if wanted.epoch == self._outbox.epoch else None

    async def _ask_time(self, client: EdgeClient) -> None:
        nonce = self._time.due()
        if nonce is not None:
            t_ms = self._clock.now_ms()
            body = uint_field(1, t_ms) + time_request(self._outbox, nonce, t_ms)
            await self._publish(client, MessageType.NDATA, "", body)

    def _stands_at(self, epoch: int, sent: int) -> bool:
        """False when an ack or a command came while this task waited: then what it has read is not what comes next."""
        here = self._numbering.is_set() and not self._rebirth
        return here and (self._outbox.epoch, self._sent) == (epoch, sent)

    async def _declare_gap(self, client: EdgeClient, gap: Gap) -> None:
        thinned = not gap.withheld and self._outbox.evicted.is_thinned(gap.first, gap.last)
        event = "frames_withheld" if gap.withheld else "frames_thinned" if thinned else "frames_lost"
        level = logging.WARNING if thinned else logging.ERROR
        log.log(level, "%s gateway=%s first=%d last=%d", event, self._config.gateway, gap.first, gap.last)
        body = lost_metrics(self._outbox, gap.first, gap.last, gap.t_ms, thinned=thinned)
        await self._publish(client, MessageType.NDATA, "", uint_field(1, self._clock.now_ms()) + body)

    async def _send_frames(
        self, client: EdgeClient, portion: Sequence[Frame], epoch: int, history: int
    ) -> None:
        """Frames under the births in force, in one piece; those up to number `history` are not news."""
        # The payload's time is when it was sent (tck-id-payloads-timestamp-in-UTC); readings bear their own.
        head, messages, sizes = uint_field(1, self._clock.now_ms()), [], 0
        for frame in portion:
            meter, aliases = self._aliases[frame.declaration]
            old = frame.number <= history
            payload = head + frame_metrics(aliases, epoch, frame, historical=old) + self._next_seq()
            topic = self._data_topic + meter.encode()
            messages.append((topic, payload))
            size = len(topic) + len(payload) + _OVERHEAD_BYTES
            self._pace.sent(frame, size, historical=old)
            sizes += size
        client.put(messages[:-1])
        await client.publish(messages[-1][0].decode(), messages[-1][1], qos=0)
        heed_cancellation()
        self._traffic.spent(sizes)

    def _next_seq(self) -> bytes:
        """The field seq: 0 to 255, NBIRTH starts over."""
        field = uint_field(3, self._seq)
        self._seq = (self._seq + 1) % 256
        return field

    async def _publish(self, client: EdgeClient, kind: MessageType, meter: str, body: bytes) -> None:
        """Encoded payload fields plus the next seq."""
        topic, payload = self._topic(kind, meter), body + self._next_seq()
        await client.publish(topic, payload, qos=0)
        heed_cancellation()
        self._traffic.spent(len(topic) + len(payload) + _OVERHEAD_BYTES)
