"""The server's end of a push: publishes a signed bundle for a gateway, and hears what becomes of it."""

import hashlib
import json
import queue
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.config import load_config
from edge_agent.updates.bundle import CONFIG, Bundle
from metering.config import ConfigError
from metering.i18n import _
from metering.mqtt import MESSAGE_BYTES, BrokerSettings
from metering.topics import configuration_topic, configured_topic

FINAL: Final = frozenset({"confirmed", "refused", "not_staged", "rolled_back"})
_FOLDERS: Final = ("profiles", "secrets")
_PATIENCE_S: Final = 10.0


class Report(msgspec.Struct, frozen=True):
    """What a gateway says of a configuration; fields as in edge_agent.updates.channel."""

    number: int
    state: str
    active: int
    detail: str = ""
    t_ms: int = 0
    bundle: str = ""

    def is_of(self, number: int, digest: str) -> bool:
        """Whether it speaks of this bundle."""
        return self.number == number or self.bundle == digest


class PushError(Exception):
    """The broker does not let us, or is not there; the message says which."""


def collect(file: Path) -> dict[str, str]:
    """A gateway's configuration and the files that lie beside it in `profiles` and `secrets`."""
    files = {CONFIG: file.read_text(encoding="utf-8")}
    for folder in _FOLDERS:
        for path in sorted((file.parent / folder).glob("*")):
            if path.is_file() and not path.name.startswith("."):
                files[f"{folder}/{path.name}"] = path.read_text(encoding="utf-8")
    return files


def bundle_of(park: str, gateway: str, file: Path, number: int, made_ms: int) -> Bundle:
    """The bundle, with a configuration that would start; ConfigError with all mistakes, OSError."""
    config = load_config(file)
    if (config.park, config.gateway) != (park, gateway):
        text = _("it is the configuration of {park}/{gateway}")
        raise ConfigError(str(file), [text.format(park=config.park, gateway=config.gateway)])
    return Bundle(park, gateway, number, made_ms, collect(file))


class Line:
    """A connection to the broker as the server's user. A context manager."""

    def __init__(self, broker: BrokerSettings, topics: list[str]) -> None:
        self._topics, self._retained = topics, list[tuple[str, bytes]]()
        self._heard: queue.Queue[tuple[str, bytes] | PushError] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"push-{secrets.token_hex(8)}")
        self._client.username_pw_set(broker.user, broker.password())
        tls = broker.tls()
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect, self._client.on_message = self._connected, self._message
        self._client.reconnect_delay_set(1, 10)
        self._address = (broker.host, broker.port)

    def __enter__(self) -> Self:
        try:
            self._client.connect(*self._address)
        except OSError as error:
            text = _("broker {host}:{port}: {error}")
            raise PushError(text.format(host=self._address[0], port=self._address[1], error=error)) from error
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_connect = self._client.on_message = None

    def retain(self, topic: str, body: bytes) -> None:
        """Keep a message at the broker, also after it has been started anew, for as long as this connection lasts."""
        if len(body) > MESSAGE_BYTES:
            raise PushError(
                _("the bundle has {size} bytes, the broker takes {most}").format(
                    size=len(body), most=MESSAGE_BYTES
                )
            )
        self._retained.append((topic, body))
        self._client.publish(topic, body, qos=1, retain=True)

    def clear(self, topic: str) -> None:
        """Take a retained message away."""
        self._retained.clear()
        self._client.publish(topic, b"", qos=1, retain=True).wait_for_publish(_PATIENCE_S)

    def reports(self, seconds: float) -> Iterator[tuple[str, Report]]:
        """(Topic, report) as they come, until nothing more has come in time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                heard = self._heard.get(timeout=left)
            except queue.Empty:
                return
            if isinstance(heard, PushError):
                raise heard
            report = read_report(heard[1])
            if report is not None:
                yield heard[0], report

    def _connected(
        self, client: mqtt.Client, _user: object, _flags: object, reason: Any, _more: object
    ) -> None:
        if reason.is_failure:
            self._heard.put(
                PushError(_("the broker refused the server's login: {reason}").format(reason=reason))
            )
            return
        client.subscribe([(topic, 1) for topic in self._topics])
        for topic, body in self._retained:
            client.publish(topic, body, qos=1, retain=True)

    def _message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        self._heard.put((message.topic, bytes(message.payload)))


def read_report(body: bytes) -> Report | None:
    """A gateway's report; None for anything else."""
    try:
        return msgspec.convert(json.loads(body), Report)
    except (ValueError, msgspec.ValidationError):
        return None


def push(broker: BrokerSettings, bundle: Bundle, message: bytes, seconds: float) -> Iterator[Report]:
    """Publish, and what the gateway says of this bundle until it is final. PushError.

    The bundle is taken from the broker again once it is final: it may hold a password. Until then it waits there for a
    gateway that is away.
    """
    digest = hashlib.sha256(message).hexdigest()
    there = configuration_topic(bundle.park, bundle.gateway)
    with Line(broker, [configured_topic(bundle.park, bundle.gateway)]) as line:
        line.retain(there, message)
        said = ""
        for _topic, report in line.reports(seconds):
            if report.is_of(bundle.number, digest) and report.state != said:
                said = report.state
                yield report
                if said in FINAL:
                    line.clear(there)
                    return


def states(broker: BrokerSettings, park: str, seconds: float = 2.0) -> dict[str, Report]:
    """Gateway → what it said last, of all that are retained at the broker."""
    with Line(broker, [configured_topic(park, "+")]) as line:
        return {topic.split("/")[2]: report for topic, report in line.reports(seconds)}
