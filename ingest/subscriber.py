"""The Sparkplug host's MQTT session: paho in its own thread, a bounded queue, STATE with a will, commands out."""

import json
import logging
import queue
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from ingest.bulk_client import BulkClient
from ingest.host import Host
from ingest.inbox import Inbox
from ingest.sole import sole_writer
from ingest.writer import MAX_COMMIT, Command, StoredInJournal, Writer
from metering.mqtt import BrokerSettings
from metering.registry import Park
from metering.sparkplug import encode
from metering.topics import NAMESPACE, MessageType, Topic, state_topic
from storage.journal import NewEvent
from storage.journal_writer import JournalWriter
from storage.segment import Record

log = logging.getLogger("tanyun.ingest")
QUEUE_LIMIT = 20_000
IDLE_S = 0.05


class Subscriber:
    """Connects, subscribes to the park, announces the host, and hands messages over in the order they came."""

    def __init__(self, broker: BrokerSettings, host_id: str, park: Park, now_ms: Callable[[], int]) -> None:
        self._park, self._host_id, self._now_ms = park, host_id, now_ms
        self.messages = Inbox(QUEUE_LIMIT)
        self._portion: list[Record] = []
        """What the network's thread has read since it last handed something over."""
        self._frames, self._own = (
            f"{NAMESPACE}/{park.id}/{kind}/".encode() for kind in (MessageType.DDATA, MessageType.NCMD)
        )
        self._notices: queue.Queue[tuple[str, dict[str, object]]] = queue.Queue()
        self._stopping = False
        # A name that nobody can guess: a client that took it over would throw this one off the broker.
        self._client = BulkClient(
            self._frame_came,
            self._hand_over,
            client_id=f"host-{host_id}-{secrets.token_hex(8)}",
            clean_session=True,
            reconnect_on_failure=True,
        )
        self._client.username_pw_set(broker.user, broker.password())
        tls = broker.tls()
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._client.on_connect, self._client.on_message = self._on_connect, self._on_message
        self._client.on_disconnect = self._on_disconnect
        self._set_will()
        self._client.connect_async(broker.host, broker.port, keepalive=20)

    def start(self) -> None:
        """Connect in the background, again and again until it works."""
        self._client.loop_start()

    def stop(self) -> None:
        """Say that the host leaves, and leave."""
        self._stopping = True
        leaving = self._client.publish(
            state_topic(self._host_id), self._state(online=False), qos=1, retain=True
        )
        with suppress(RuntimeError):  # not connected: the will has said it
            leaving.wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its wake-up sockets when the client goes, which our callbacks would keep from going.
        self._client.on_connect = self._client.on_message = self._client.on_disconnect = None

    def send(self, command: Command) -> None:
        """Publish an NCMD (QoS 0, not retained)."""
        topic = Topic(self._park.id, MessageType.NCMD, command.gateway)
        self._client.publish(str(topic), encode(command.payload))

    def drain(self) -> list[Record]:
        """What has come since the last call: waits a little for the first, takes what is there of the rest."""
        return self.messages.take(MAX_COMMIT, IDLE_S)

    def notice(self, kind: str, **detail: object) -> None:
        """Something that happened to ingest itself, for whoever asks later why readings came late."""
        self._notices.put((kind, detail))

    def notices(self) -> list[NewEvent]:
        """What was noticed since the last call, a few hundredths of a second ago."""
        noticed = [self._notices.get_nowait() for _ in range(self._notices.qsize())]
        return [NewEvent(self._now_ms(), "", kind, detail) for kind, detail in noticed]

    def _state(self, *, online: bool) -> str:
        return json.dumps({"online": online, "timestamp": self._since_ms})

    def _set_will(self) -> None:
        """The will and the announcement of one session carry the same time (tck-id-host-topic-phid-*-payload)."""
        self._since_ms = self._now_ms()
        self._client.will_set(state_topic(self._host_id), self._state(online=False), qos=1, retain=True)

    def _on_connect(
        self, client: mqtt.Client, _u: object, _f: object, reason: ReasonCode, _p: object
    ) -> None:
        if reason.is_failure:
            log.error("broker_refused reason=%s", reason)
            return
        client.subscribe([(state_topic(self._host_id), 1), (f"{NAMESPACE}/{self._park.id}/#", 0)])
        client.publish(state_topic(self._host_id), self._state(online=True), qos=1, retain=True)
        self.notice("broker_found")
        log.info("broker_connected park=%s host=%s", self._park.id, self._host_id)

    def _on_disconnect(self, _c: object, _u: object, _f: object, reason: ReasonCode, _p: object) -> None:
        if not self._stopping:
            self.notice("broker_lost", reason=str(reason))
            log.warning("broker_lost reason=%s", reason)
        self._set_will()

    def _on_message(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == state_topic(self._host_id) and not message.retain:
            self._correct_state(client, bytes(message.payload))
        if message.topic.startswith(f"{NAMESPACE}/STATE/") or f"/{MessageType.NCMD}/" in message.topic:
            return
        self._portion.append(Record(message.topic, bytes(message.payload), self._now_ms()))

    def _frame_came(self, topic: bytes, payload: bytes) -> bool:
        """A message that is nothing but a meter's data, or an ack of ours that the broker tells us too: most are one or the other."""
        if topic.startswith(self._own):
            return True
        if not topic.startswith(self._frames):
            return False
        self._portion.append(Record(topic.decode(errors="replace"), payload, self._now_ms()))
        return True

    def _hand_over(self) -> None:
        if self._portion:
            self.messages.put(self._portion, lambda: self._stopping)
            self._portion = []

    def _correct_state(self, client: mqtt.Client, said: bytes) -> None:
        """Announce again where the broker retains something else: an older session's will, or a resent announcement."""
        state = self._state(online=True)
        if said != state.encode() and not self._stopping:
            client.publish(state_topic(self._host_id), state, qos=1, retain=True)


def wall_ms() -> int:
    """The system clock."""
    return time.time_ns() // 1_000_000


def run(
    broker: BrokerSettings, host_id: str, park: Park, journal_file: Path, stopped: Callable[[], bool],
    now_ms: Callable[[], int] = wall_ms,
) -> None:  # fmt: skip
    """Ingest until `stopped()`; what has been received by then is committed before it returns."""
    with sole_writer(journal_file):
        _run(broker, host_id, park, journal_file, stopped, now_ms)


def _run(
    broker: BrokerSettings, host_id: str, park: Park, journal_file: Path, stopped: Callable[[], bool],
    now_ms: Callable[[], int],
) -> None:  # fmt: skip
    journal = JournalWriter(journal_file)
    stored = StoredInJournal(journal)
    writer = Writer(journal, Host(park, stored), now_ms)
    subscriber = Subscriber(broker, host_id, park, now_ms)
    subscriber.start()
    subscriber.notice("ingest_started")
    log.info("ingest_ready journal=%s", journal.journal_id)
    while not stopped():
        for command in writer.store(subscriber.drain(), subscriber.notices()):
            subscriber.send(command)
    subscriber.stop()
    while records := subscriber.drain():
        writer.store(records)
    subscriber.notice("ingest_stopped")
    writer.store([], subscriber.notices())
    journal.close()
