"""The host's judgement, without sockets or files: messages in, what to store and what to answer out.

Frames of one outbox are taken in number order only (go-back-N): whatever comes ahead of a hole is left for the gateway
to send again, so the journal holds every meter's readings in the order they were read.
"""

from ingest.admission import (
    Admitted,
    Declarations,
    Reason,
    Refused,
    admit,
    declarations,
    frame_name,
    is_frame_number,
    read_payload,
    serial_in,
)
from ingest.quick import quick
from ingest.session import REBIRTH_PAUSE_MS, Answer, Session, Stored
from metering import frames
from metering.dated import current_serial
from metering.registry import Park
from metering.sparkplug import Payload, body_digest
from metering.topics import MessageType, Topic, parse_topic
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, GatewayState, NewEvent, Quarantined
from storage.segment import Record

FRAMES_FOUND = "frames_found"
"""Frames of a lost range that turned up after all."""
SERIAL_CHANGED = "serial_changed"
"""换表待确认: another meter answers than the registry, or the last frame, says."""


class Host:
    """Judges messages one by one and gathers the next group commit."""

    def __init__(self, park: Park, stored: Stored) -> None:
        self._park, self._stored = park, stored
        self._gateways = {gateway.id for gateway in park.gateways}
        self._sessions: dict[str, Session] = {}
        self._unsequenced = 0
        self._declared_serials = {meter.id: current_serial(meter, park.tz) for meter in park.meters}
        self._serials: dict[str, str] = {}
        """Meter → the serial number that it last said."""
        self.reset()

    def reset(self) -> None:
        """Begin a new commit."""
        self.commit = Commit([], [], [], [])
        self.answer = Answer(set(), set(), set(), {})
        self._stored.begin()
        self._touched: set[str] = set()

    def restore(self, births: list[Record], sessions: list[GatewayState]) -> None:
        """Take up what the journal knows, so that frames decode after a restart of ingest. Nobody is online until heard."""
        for state in sessions:
            session = self._session(state.gateway)
            session.since_ms, session.last_received_ms = state.since_ms, state.last_received_ms
        for record in births:
            topic, payload = parse_topic(record.topic), read_payload(record.payload)
            if topic is not None and isinstance(payload, Payload):
                found = declarations(payload)
                if isinstance(found, Declarations):
                    self._session(topic.gateway).learn(topic.meter, found)
                    if said := serial_in(payload, found):
                        self._serials[topic.meter] = said

    def receive(self, record: Record) -> None:
        """Judge one message; the results gather in `commit` and `answer`."""
        topic = parse_topic(record.topic)
        refused = self._check_sender(topic)
        if topic is None or refused is not None:
            self._quarantine(record, topic, refused or Refused(Reason.BAD_TOPIC, "not a Sparkplug topic"))
            return
        session = self._session(topic.gateway)
        session.last_received_ms = record.received_ms
        self._touched.add(topic.gateway)
        if topic.type is MessageType.DDATA and topic.meter in session.rules:
            found = quick(record.payload, session.rules[topic.meter], record.received_ms)
            if found is not None:
                self._admitted(record, topic, session, found)
                return
        # The death of a device has nothing to say but its topic (tck-id-payloads-ddeath-*).
        payload = read_payload(record.payload, may_be_empty=topic.type is MessageType.DDEATH)
        if isinstance(payload, Refused):
            self._quarantine(record, topic, payload)
        elif topic.type in {MessageType.NBIRTH, MessageType.DBIRTH}:
            self._birth(record, topic, payload, session)
        elif topic.type in {MessageType.NDEATH, MessageType.DDEATH}:
            self._death(record, topic, payload, session)
        elif topic.type in {MessageType.NDATA, MessageType.DDATA}:
            self._data(record, topic, payload, session)

    def close_commit(self) -> Commit:
        """The commit, with the sessions that changed."""
        self.commit.gateways = [
            GatewayState(gateway, s.online, s.since_ms, s.last_received_ms)
            for gateway, s in self._sessions.items()
            if gateway in self._touched
        ]
        return self.commit

    def _check_sender(self, topic: Topic | None) -> Refused | None:
        if topic is None:
            return Refused(Reason.BAD_TOPIC, "not a Sparkplug topic")
        if topic.group != self._park.id:
            return Refused(Reason.UNKNOWN_PARK, f"group {topic.group!r} is not park {self._park.id!r}")
        if topic.gateway not in self._gateways:
            return Refused(Reason.UNKNOWN_GATEWAY, f"gateway {topic.gateway!r} is not in the registry")
        return None

    def _session(self, gateway: str) -> Session:
        return self._sessions.setdefault(gateway, Session())

    def _quarantine(
        self, record: Record, topic: Topic | None, why: Refused, index: FrameIndex | None = None
    ) -> None:
        gateway = topic.gateway if topic else ""
        self.commit.quarantined.append(Quarantined(record, gateway, why.reason, why.detail, index))

    def _event(self, record: Record, gateway: str, kind: str, **detail: object) -> None:
        self.commit.events.append(NewEvent(record.received_ms, gateway, kind, detail))

    def _birth(self, record: Record, topic: Topic, payload: Payload, session: Session) -> None:
        found = declarations(payload)
        if isinstance(found, Refused):
            self._quarantine(record, topic, found)
            return
        if topic.type is MessageType.NBIRTH:
            session.forget()
            self._arrived(record, topic.gateway, session, _bdseq(payload))
            self._start_from(topic.gateway, session, found.epoch, payload)
        session.learn(topic.meter, found)
        if topic.meter in session.doubted:
            session.doubted[topic.meter] = True
        index = BirthIndex(topic.gateway, topic.meter, found.epoch)
        self.commit.entries.append(Entry(record, index))
        self._hear_serial(record, topic.gateway, topic.meter, serial_in(payload, found))

    def _death(self, record: Record, topic: Topic, payload: Payload, session: Session) -> None:
        if topic.type is MessageType.DDEATH:
            self._event(record, topic.gateway, "meter_offline", meter=topic.meter)
        elif session.bdseq is None or _bdseq(payload) == session.bdseq:
            if session.online:
                self._event(record, topic.gateway, "gateway_lost")
            session.online, session.since_ms = False, record.received_ms
            session.verified.clear()

    def _arrived(self, record: Record, gateway: str, session: Session, bdseq: int | None) -> None:
        """Online with the session `bdseq`. Another one than before is news, even if no death of the old one was heard."""
        if not session.online or bdseq != session.bdseq:
            self._event(record, gateway, "gateway_found")
            session.verified.clear()
        session.online, session.since_ms, session.bdseq = True, record.received_ms, bdseq

    def _start_from(self, gateway: str, session: Session, epoch: int, birth: Payload) -> None:
        """A birth of ours says up to which frame its outbox has an ack: so far it has been one with the journal."""
        said = next((metric.value for metric in birth.metrics if metric.name == frames.FRAME_NUMBER), None)
        if epoch and is_frame_number(said):
            common = min(said, self._stored.progress.get((gateway, epoch), 0))
            session.verified[epoch] = max(common, session.verified.get(epoch, 0))

    def acked(self, gateway: str, epoch: int) -> int:
        """What an ack may say: everything up to here is stored, as this gateway's outbox has it."""
        return self._session(gateway).verified.get(epoch, self._stored.progress.get((gateway, epoch), 0))

    def _verified(self, gateway: str, epoch: int, first: int) -> int:
        """As `acked`; a gateway that has not said where it starts is taken to start at the first frame heard."""
        known = self._session(gateway).verified
        return known.setdefault(epoch, min(first - 1, self._stored.progress.get((gateway, epoch), 0)))

    def _data(self, record: Record, topic: Topic, payload: Payload, session: Session) -> None:
        if not session.online:
            self._arrived(record, topic.gateway, session, session.bdseq)
        declared = session.births.get(topic.meter)
        if declared is None:
            self._quarantine(
                record,
                topic,
                Refused(Reason.NO_BIRTH, f"no birth of {topic.meter or topic.gateway!r} is known"),
            )
            self._ask_rebirth(record, topic, session)
            return
        found = admit(payload, declared, record.received_ms)
        if (
            isinstance(found, Refused)
            and found.reason is Reason.UNKNOWN_METRIC
            and not session.doubted.get(topic.meter)
        ):
            # Births travel at QoS 0: this one may have been lost. The frame is not stored before it has come again.
            session.doubted[topic.meter] = False
            self._quarantine(record, topic, found)
            self._ask_rebirth(record, topic, session)
        elif isinstance(found, Refused):
            self._refuse_data(record, topic, payload, declared, found)
        else:
            self._admitted(record, topic, session, found)

    def _admitted(self, record: Record, topic: Topic, session: Session, found: Admitted) -> None:
        """A data message that is as its birth declares."""
        if not session.online:
            self._arrived(record, topic.gateway, session, session.bdseq)
        declared = session.births[topic.meter]
        if found.asked is not None:
            self.answer.times[topic.gateway] = (declared.epoch, found.asked)
        elif not session.decodes(topic.meter, found.epoch, declared):
            # Two gateways under one name: what the other one's birth declares must not decode this frame.
            why = (
                f"no birth of epoch {found.epoch} is known, or it declares other metrics than the newest one"
            )
            self._quarantine(record, topic, Refused(Reason.NO_BIRTH, why))
            self._ask_rebirth(record, topic, session)
        elif found.epoch:
            self._sequenced(record, topic, found)
        else:
            self._append_unsequenced(record, topic, found)

    def _ask_rebirth(self, record: Record, topic: Topic, session: Session) -> None:
        if record.received_ms - session.asked_ms >= REBIRTH_PAUSE_MS:
            session.asked_ms = record.received_ms
            self.answer.rebirths.add(topic.gateway)

    def _refuse_data(
        self, record: Record, topic: Topic, payload: Payload, declared: Declarations, why: Refused
    ) -> None:
        """Quarantine; a refused frame that is next in line counts as stored, so it does not block the ones behind it."""
        epoch, number = frame_name(payload, declared)
        if not epoch or not number:
            self._quarantine(record, topic, why)
            return
        done, stored = self._verified(topic.gateway, epoch, number), self._expected(topic.gateway, epoch) - 1
        index = FrameIndex(topic.gateway, topic.meter, epoch, number, 0, body_digest(payload))
        if number > done + 1:
            self.answer.acks.add((topic.gateway, epoch))
        elif number <= stored:
            self._repeated(record, topic, index)
        else:
            self._store(index)
            self._quarantine(record, topic, why, index)

    def _expected(self, gateway: str, epoch: int) -> int:
        return self._stored.progress.get((gateway, epoch), 0) + 1

    def _store(self, index: FrameIndex) -> None:
        key = (index.gateway, index.epoch)
        self._stored.progress[key] = self._session(index.gateway).verified[index.epoch] = index.number
        self._stored.fresh[index.gateway, index.epoch, index.number] = index.digest
        if not index.meter:
            self._stored.losses.add((index.gateway, index.epoch, index.number))
        self.answer.acks.add(key)

    def _sequenced(self, record: Record, topic: Topic, found: Admitted) -> None:
        expected, first = self._expected(topic.gateway, found.epoch), found.lost_from or found.number
        done = self._verified(topic.gateway, found.epoch, first)
        index = FrameIndex(topic.gateway, topic.meter, found.epoch, found.number, found.t_ms, found.digest)
        if first > done + 1:
            self.answer.acks.add((topic.gateway, found.epoch))
        elif found.number < expected and found.lost_from:
            # What it has given up grows; a frame that stands here already is better than its loss.
            self._session(topic.gateway).verified[found.epoch] = max(done, found.number)
            self.answer.acks.add((topic.gateway, found.epoch))
        elif found.number < expected:
            self._repeated(record, topic, index, found)
        else:
            if expected == 1:
                self._event(
                    record,
                    topic.gateway,
                    "epoch_started",
                    epoch=found.epoch,
                    known=self._epochs(topic.gateway),
                )
            if found.lost_from:
                self._missing(record, topic.gateway, found, expected)
            self.commit.entries.append(Entry(record, index))
            self._store(index)
            self._hear_serial(record, topic.gateway, topic.meter, found.serial)

    def _missing(self, record: Record, gateway: str, found: Admitted, first: int) -> None:
        """An event; thinned ranges of one commit, which come by the hundred, are one."""
        if not found.thinned:
            self._event(record, gateway, "frames_lost", epoch=found.epoch, first=first, last=found.number)
            return
        outbox = (gateway, found.epoch)
        for event in self.commit.events:
            if event.kind == "frames_thinned" and (event.gateway, event.detail["epoch"]) == outbox:
                event.detail["last"] = found.number
                event.detail["frames"] += found.number - first + 1
                return
        detail = {"first": first, "last": found.number, "frames": found.number - first + 1}
        self._event(record, gateway, "frames_thinned", epoch=found.epoch, **detail)

    def _epochs(self, gateway: str) -> list[int]:
        return sorted(epoch for known, epoch in self._stored.progress if known == gateway)

    def _repeated(
        self, record: Record, topic: Topic, index: FrameIndex, found: Admitted | None = None
    ) -> None:
        """A number that the journal has passed. `found`: the frame, where it is sound."""
        where = (index.gateway, index.epoch, index.number)
        known, done = self._stored.digest_of(*where), self.acked(index.gateway, index.epoch)
        # What stands for a frame that was given up or withheld makes room for the frame, whichever copy of a card it comes from.
        lost = known is None or (
            known != index.digest
            and bool(index.meter)
            and where not in self._stored.found
            and self._stored.is_loss(*where)
        )
        if lost or known == index.digest:
            if lost and found is not None and index.meter:
                self._turned_up(record, index, found, instead=known is not None)
            self._session(index.gateway).verified[index.epoch] = max(done, index.number)
            self.answer.acks.add((index.gateway, index.epoch))
            return
        detail = f"epoch {index.epoch} number {index.number} is stored with another body"
        self._quarantine(record, topic, Refused(Reason.NUMBER_CONFLICT, detail))
        self._event(record, topic.gateway, "number_conflict", epoch=index.epoch, number=index.number)
        self.answer.new_epochs.add(topic.gateway)

    def _turned_up(self, record: Record, index: FrameIndex, found: Admitted, *, instead: bool) -> None:
        """Store a frame that was declared lost, and take that word back in part. The stream takes late readings."""
        self.commit.entries.append(Entry(record, index, instead))
        where = (index.gateway, index.epoch, index.number)
        self._stored.fresh[where] = index.digest
        self._stored.found.add(where)
        self._hear_serial(record, index.gateway, index.meter, found.serial)
        for event in self.commit.events:
            if (event.kind, event.gateway, event.detail.get("epoch")) == (FRAMES_FOUND, *where[:2]):
                event.detail["first"] = min(event.detail["first"], index.number)
                event.detail["last"] = max(event.detail["last"], index.number)
                event.detail["frames"] += 1
                return
        detail = {"epoch": index.epoch, "first": index.number, "last": index.number, "frames": 1}
        self._event(record, index.gateway, FRAMES_FOUND, **detail)

    def _append_unsequenced(self, record: Record, topic: Topic, found: Admitted) -> None:
        self._unsequenced = max(self._unsequenced, self._stored.progress.get((topic.gateway, 0), 0)) + 1
        index = FrameIndex(topic.gateway, topic.meter, 0, self._unsequenced, found.t_ms, found.digest)
        self._stored.progress[topic.gateway, 0] = self._unsequenced
        self.commit.entries.append(Entry(record, index))
        self._hear_serial(record, topic.gateway, topic.meter, found.serial)

    def _hear_serial(self, record: Record, gateway: str, meter: str, said: str) -> None:
        """An event when another meter answers than the registry names, or than the one before where it names none."""
        before = self._serials.get(meter, "")
        if not said or said == before:
            return
        self._serials[meter] = said
        expected = self._declared_serials.get(meter) or before
        if expected and said != expected:
            detail = {"meter": meter, "serial": said, "expected": expected, "before": before}
            self._event(record, gateway, SERIAL_CHANGED, **detail)


def _bdseq(payload: Payload) -> int | None:
    value = next((metric.value for metric in payload.metrics if metric.name == frames.BDSEQ), None)
    return value if isinstance(value, int) else None
