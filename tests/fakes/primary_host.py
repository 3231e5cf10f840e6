"""A primary host for tests, with paho and the protobuf library only: takes numbered frames in order and acks them like ingest."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.fakes.sparkplug_proto import Payload, parse, value_of

STATE = "spBv1.0/STATE/tanyun"
DEADLINE_S = 60.0


@dataclass
class Heard:
    """One message: its type, meter, and the payload as the protobuf library reads it."""

    kind: str
    meter: str
    payload: Any
    names: dict[str, Any]
    """Metric by name; a data message's aliases looked up in the births before it."""
    topic: str
    qos: int
    retain: bool

    def value(self, name: str) -> Any:
        """The value of a metric by name; None when it is absent or null."""
        return value_of(self.names[name]) if name in self.names else None


@dataclass
class Stored:
    """What the journal of this host holds of one outbox."""

    last: int = 0
    frames: dict[int, Heard] = field(default_factory=dict)
    lost: list[tuple[int, int]] = field(default_factory=list)


class PrimaryHost:
    """Comes online on entering. `silent` stores without acking; `deaf` does neither."""

    def __init__(self, port: int, password: str, journal: str = "journal-a") -> None:
        self.journal, self.silent, self.deaf = journal, False, False
        self.timeless = False
        """Answers no time request."""
        self.now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.heard: list[Heard] = []
        self.stored: dict[int, Stored] = {}
        self._births: dict[str, dict[int, str]] = {}
        self._changed = Condition()
        self._up = False
        self._paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"host-{time.monotonic_ns()}")
        self._paho.username_pw_set("host", password)
        self._paho.reconnect_delay_set(1, 1)
        self._paho.on_connect = self._subscribe
        self._paho.on_subscribe = self._come_up
        self._paho.on_message = self._take
        self._port = port

    def __enter__(self) -> Self:
        self.connect()
        self.state(online=True)
        return self

    def __exit__(self, *_error: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def connect(self) -> None:
        """Hear everything, without saying that we are online."""
        self._paho.connect("127.0.0.1", self._port)
        self._paho.loop_start()
        self.until(lambda: self._up)

    def state(self, *, online: bool, t_ms: int | None = None) -> None:
        """The retained STATE (tck-id-host-topic-phid-birth-payload)."""
        since = time.time_ns() // 1_000_000 if t_ms is None else t_ms
        body = json.dumps({"online": online, "timestamp": since})
        self._paho.publish(STATE, body, qos=1, retain=True).wait_for_publish(DEADLINE_S)

    def command(self, **metrics: object) -> None:
        """An NCMD: `Rebirth=True` is the metric `Node Control/Rebirth`."""
        payload = Payload(timestamp=time.time_ns() // 1_000_000)
        for name, value in metrics.items():
            text = "Node Control/" + name.replace("_", " ")
            if isinstance(value, bool):
                payload.metrics.add(name=text, datatype=11, boolean_value=value)
            elif isinstance(value, int):
                payload.metrics.add(name=text, datatype=8, long_value=value)
            else:
                payload.metrics.add(name=text, datatype=12, string_value=str(value))
        self._paho.publish("spBv1.0/park/NCMD/gw", payload.SerializeToString(), qos=0)

    def ack(self, epoch: int, number: int) -> None:
        """The journal has everything up to `number`."""
        now = time.time_ns() // 1_000_000
        self.command(Ack_Journal=self.journal, Ack_Epoch=epoch, Ack_Number=number, Ack_Time=now)

    def tell_time(self, nonce: int) -> None:
        """Answer a time request as ingest does."""
        epoch = max(self.stored, default=0)
        last = self.stored[epoch].last if epoch else 0
        self.command(
            Ack_Journal=self.journal,
            Ack_Epoch=epoch,
            Ack_Number=last,
            Ack_Time=self.now_ms(),
            Ack_Nonce=nonce,
        )

    def lose_journal(self, journal: str, keep: int = 0) -> None:
        """Another journal in place of this one, with the first `keep` frames of each outbox (a restored backup)."""
        with self._changed:
            self.journal = journal
            for epoch, stored in self.stored.items():
                stored.last = min(keep, stored.last)
                stored.frames = {n: heard for n, heard in stored.frames.items() if n <= keep}
                self.ack(epoch, stored.last)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something heard makes it true."""
        with self._changed:
            assert self._changed.wait_for(true, DEADLINE_S), "it did not happen"

    def of(self, *kinds: str) -> list[Heard]:
        """What was heard of some message types, in order."""
        return [heard for heard in self.heard if heard.kind in kinds]

    def has(self, count: int) -> Callable[[], bool]:
        """True once the outbox that was heard last is stored up to `count`."""
        return lambda: bool(self.stored) and self.stored[max(self.stored)].last >= count

    @property
    def newest_epoch(self) -> int:
        """The highest epoch."""
        return max(self.stored)

    @property
    def newest(self) -> Stored:
        """The outbox with the highest epoch."""
        return self.stored[max(self.stored)]

    def _subscribe(self, *_args: object) -> None:
        self._paho.subscribe([("spBv1.0/park/#", 1)])

    def _come_up(self, *_args: object) -> None:
        with self._changed:
            self._up = True
            self._changed.notify_all()

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        parts = message.topic.split("/")
        if parts[2] == "NCMD":
            return
        meter = parts[4] if len(parts) > 4 else ""
        payload = parse(bytes(message.payload))
        with self._changed:
            if parts[2].endswith("BIRTH"):
                self._births[meter] = {
                    metric.alias: metric.name for metric in payload.metrics if metric.alias
                }
            known = self._births.get(meter, {})
            names = {metric.name or known.get(metric.alias, ""): metric for metric in payload.metrics}
            heard = Heard(parts[2], meter, payload, names, message.topic, message.qos, message.retain)
            self.heard.append(heard)
            if "Frame/Time Request" in heard.names and not self.timeless:
                self.tell_time(heard.value("Frame/Time Request"))
            elif parts[2].endswith("DATA") and not self.deaf:
                self._store(heard)
            self._changed.notify_all()

    def _store(self, heard: Heard) -> None:
        """Go-back-N, as ingest does it."""
        epoch, number, lost = (heard.value(f"Frame/{name}") for name in ("Epoch", "Number", "Lost From"))
        if epoch is None:
            return
        stored = self.stored.setdefault(epoch, Stored())
        if number == stored.last + 1 or (lost is not None and lost <= stored.last + 1 <= number):
            if lost is not None:
                stored.lost.append((stored.last + 1, number))
            else:
                stored.frames[number] = heard
            stored.last = number
        if not self.silent:
            self.ack(epoch, stored.last)
