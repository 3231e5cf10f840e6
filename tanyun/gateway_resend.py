"""The server's end of a resend: asks a gateway over the broker for frames once more, and counts what comes."""

import queue
import threading
import time
from types import TracebackType
from typing import Any, Final

import paho.mqtt.client as mqtt

from ingest.admission import read_payload
from metering import frames
from metering.i18n import _
from metering.mqtt import BrokerSettings
from metering.sparkplug import Payload, encode
from metering.topics import NAMESPACE, MessageType, Topic
from tanyun.gateway_push import Line, PushError

_PATIENCE_S: Final = 10.0
_QUIET_S: Final = 3.0
"""When so long nothing more has come, that was all."""


class _Ears(Line):
    """Knows when its subscription stands."""

    def __init__(self, broker: BrokerSettings, topics: list[str]) -> None:
        super().__init__(broker, topics)
        self.subscribed = threading.Event()
        self._client.on_subscribe = self._stands

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._client.on_subscribe = None

    def _stands(self, _client: mqtt.Client, *_more: Any) -> None:
        self.subscribed.set()

    def ask(self, topic: str, body: bytes) -> None:
        """Send a command (QoS 0, not retained: tck-id-payloads-ncmd-qos, -retain); PushError when nobody lets us."""
        end = time.monotonic() + _PATIENCE_S
        while not self.subscribed.wait(0.05):
            self._raise()
            if time.monotonic() > end:
                raise PushError(_("the broker does not answer"))
        self._client.publish(topic, body)

    def next(self, seconds: float) -> bytes | None:
        """A message's payload; None when none comes in time."""
        try:
            heard = self._heard.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(heard, PushError):
            raise heard
        return heard[1]

    def _raise(self) -> None:
        if not self._heard.empty() and isinstance(heard := self._heard.get(), PushError):
            raise heard


def resend(broker: BrokerSettings, park: str, gateway: str, wanted: frames.Range, seconds: float) -> int:
    """Ask, and the number of frames that came as history; 0 when the gateway sent none in time. PushError."""
    came = 0
    with _Ears(broker, [f"{NAMESPACE}/{park}/{MessageType.DDATA}/{gateway}/+"]) as ears:
        now_ms = time.time_ns() // 1_000_000
        ears.ask(str(Topic(park, MessageType.NCMD, gateway)), encode(frames.resend_payload(wanted, now_ms)))
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            body = ears.next(min(left, _QUIET_S) if came else left)
            if body is None:
                break
            payload = read_payload(body)
            came += isinstance(payload, Payload) and any(metric.is_historical for metric in payload.metrics)
    return came
