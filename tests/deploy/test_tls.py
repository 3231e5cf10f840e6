"""The real Mosquitto with a site's generated files, and the very clients that gateways and ingest use."""

import asyncio
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiomqtt
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest.subscriber import Subscriber
from metering.mqtt import BrokerSettings
from tanyun.broker import LOOPBACK, SERVER_USER, find_mosquitto
from tanyun.broker_files import Wanted, bring_up_to_date
from tanyun.doctor import BrokerAddress, check_broker
from tests.loopback import DEADLINE_S, free_port, until
from tests.site import mosquitto, park_with

pytestmark = [
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine"),
]


@dataclass
class Site:
    """A running broker with its files."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def settings(self, user: str, ca: Path | None = None) -> BrokerSettings:
        """As in server.toml and edge.toml, with the files of `host/` or `gateways/ID/`."""
        own = self.folder / "host" if user == SERVER_USER else self.folder / "gateways" / user
        return BrokerSettings(
            host="localhost", port=self.port, user=user, password_file=own / "password", ca_file=ca or own / "ca.crt"
        )  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    # Not pytest's tmp_path: that one is closed to other users.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder, port = Path(name), free_port()
        bring_up_to_date(folder, park_with("gw-a", "gw-b"), Wanted(names=("mqtt.park.example",), port=port))
        with mosquitto(folder, port) as process:
            yield Site(folder, port, process)


@pytest.fixture(scope="module")
def foreign_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    bring_up_to_date(folder, park_with("gw-a"), Wanted(names=("mqtt.park.example",)))
    return folder / "ca.crt"


class Client:
    """A paho client that signs in as our settings say, and remembers what it is told."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.answer, self.lost = "", False
        self.heard: list[str] = []
        self.subscribed = False
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=secrets.token_hex(4), reconnect_on_failure=False
        )
        self.paho.username_pw_set(settings.user, settings.password())
        self.paho.tls_set_context(settings.tls())
        self.paho.on_connect = lambda *got: setattr(self, "answer", str(got[3]))
        self.paho.on_subscribe = lambda *_got: setattr(self, "subscribed", True)
        self.paho.on_message = lambda *got: self.heard.append(got[2].topic)
        self.paho.on_disconnect = lambda *_got: setattr(self, "lost", True)
        self.paho.connect(settings.host, settings.port)
        self.paho.loop_start()
        until(lambda: bool(self.answer) or self.lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, topic: str) -> None:
        self.subscribed = False
        self.paho.subscribe(topic, qos=1)
        until(lambda: self.subscribed)

    def publish(self, topic: str) -> None:
        self.paho.publish(topic, b"x", qos=1).wait_for_publish(DEADLINE_S)


def hello(port: int, context: ssl.SSLContext) -> str | None:
    """The TLS version agreed on; SSLError when there is none."""
    with (
        socket.create_connection((LOOPBACK, port), 5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return tls.version()


def test_right_ca_and_password_connect(site: Site) -> None:
    with Client(site.settings("gw-a")) as client:
        assert client.answer == "Success"


def test_wrong_password_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong", encoding="ascii")
    settings = site.settings("gw-a").model_copy(update={"password_file": tmp_path / "password"})
    with Client(settings) as client:
        assert client.answer != "Success"


def test_wrong_ca_is_refused_by_the_client(site: Site, foreign_ca: Path) -> None:
    context = site.settings("gw-a", foreign_ca).tls()
    assert context is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        hello(site.port, context)


def test_another_name_than_the_certificates_is_refused_by_the_client(site: Site) -> None:
    context = site.settings("gw-a").tls()
    assert context is not None
    with (
        socket.create_connection((LOOPBACK, site.port), 5) as raw,
        pytest.raises(ssl.SSLCertVerificationError, match="other"),
    ):
        context.wrap_socket(raw, server_hostname="other.example")


def test_the_certificate_passes_the_strict_check_of_newer_pythons(site: Site) -> None:
    context = site.settings("gw-a").tls()
    assert context is not None
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert hello(site.port, context) in {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused_by_the_broker(site: Site, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(site.folder / "ca.crt"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = version, version
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this client could not even offer it
    with pytest.raises(ssl.SSLError) as refused:
        hello(site.port, context)
    # The broker's own word, so that it is not this client that refuses.
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_is_spoken(site: Site, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(site.folder / "ca.crt"))
    context.minimum_version = context.maximum_version = version
    assert hello(site.port, context) == version.name.replace("_", ".")


def test_a_plain_connection_is_refused(site: Site) -> None:
    plain = BrokerAddress(LOOPBACK, site.port, "gw-a", site.settings("gw-a").password())
    found = {item.id: item.ok for item in check_broker(plain)}
    assert found == {"broker": True, "broker-mqtt": False}


def test_nobody_signs_in_without_a_name(site: Site) -> None:
    stranger = BrokerAddress("localhost", site.port, tls=site.settings("gw-a").tls())
    assert {item.id: item.ok for item in check_broker(stranger)}["broker-login"] is False


def test_foreign_topics_do_not_get_through(site: Site) -> None:
    with Client(site.settings(SERVER_USER)) as host, Client(site.settings("gw-a")) as gateway:
        host.subscribe("spBv1.0/#")
        for topic in (
            "spBv1.0/park/NDATA/gw-b",
            "spBv1.0/park/DDATA/gw-b/m",
            "spBv1.0/STATE/tanyun",
            "spBv1.0/other/NDATA/gw-a",
        ):
            gateway.publish(topic)
        gateway.publish("spBv1.0/park/NDATA/gw-a")
        until(lambda: bool(host.heard))
        assert host.heard == ["spBv1.0/park/NDATA/gw-a"]


def test_gateways_client_and_ingests_client_meet_over_tls(site: Site) -> None:
    """The edge agent's library and ingest's own subscriber, each with its settings."""
    host = Subscriber(site.settings(SERVER_USER), "tanyun", park_with("gw-a"), lambda: 1)
    host.start()
    settings = site.settings("gw-a")

    async def gateway() -> None:
        async with aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.user,
            password=settings.password(),
            tls_context=settings.tls(),
        ) as client:
            await client.subscribe("spBv1.0/STATE/tanyun", qos=1)
            async with asyncio.timeout(DEADLINE_S):
                async for message in client.messages:
                    if b"true" in bytes(message.payload):
                        break
            await client.publish("spBv1.0/park/NDATA/gw-a", b"frame", qos=1)

    try:
        asyncio.run(gateway())
        found = host.messages.take(2, DEADLINE_S)
        assert [record.topic for record in found] == ["spBv1.0/park/NDATA/gw-a"]
    finally:
        host.stop()


def test_a_gateway_added_later_signs_in_after_a_reload_and_a_removed_one_is_thrown_out() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder, port = Path(name), free_port()
        wanted = Wanted(names=("mqtt.park.example",), port=port)
        bring_up_to_date(folder, park_with("gw-a", "gw-b"), wanted)
        with mosquitto(folder, port) as process:
            site = Site(folder, port, process)
            with Client(site.settings("gw-a")) as kept, Client(site.settings("gw-b")) as removed:
                bring_up_to_date(folder, park_with("gw-a", "gw-c"), wanted)
                process.send_signal(signal.SIGHUP)
                until(lambda: removed.lost)
                with Client(site.settings("gw-c")) as added, Client(site.settings("gw-b")) as again:
                    assert (added.answer, kept.lost) == ("Success", False)
                    assert again.answer != "Success"
