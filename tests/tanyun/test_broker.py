"""Both real brokers, driven by paho: logins, topic rights, wills, retained messages."""

import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from tanyun.broker import (
    LOOPBACK,
    BrokerError,
    BrokerPlan,
    find_mosquitto,
    password_line,
    password_matches,
    plan_broker,
)
from tanyun.supervisor import Child, Supervisor
from tests.loopback import DEADLINE_S, until
from tests.site import park_with

STATE = "spBv1.0/STATE/tanyun"


PARK = park_with("gw-a", "gw-b")


class Client:
    """A paho client that remembers what it is told."""

    def __init__(
        self, plan: BrokerPlan, user: str, password: str | None = None, will: str | None = None
    ) -> None:
        self.answer: str | None = None
        self.subscribed: list[bool] = []
        self.heard: list[tuple[str, bytes, bool]] = []
        # amqtt lets an unauthenticated client take over a known client id, so every test client has its own.
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{user}-{secrets.token_hex(4)}")
        self.paho.username_pw_set(user, plan.password(user) if password is None else password)
        if will is not None:
            self.paho.will_set(will, b"gone")
        self.paho.on_connect = lambda *got: setattr(self, "answer", str(got[3]))
        self.paho.on_subscribe = lambda *got: self.subscribed.extend(not code.is_failure for code in got[3])
        self.paho.on_message = lambda *got: self.heard.append((got[2].topic, got[2].payload, got[2].retain))
        self.paho.connect(LOOPBACK, plan.port)
        self.paho.loop_start()
        until(lambda: self.answer is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, topic: str) -> bool:
        self.subscribed.clear()
        self.paho.subscribe(topic, qos=1)
        until(lambda: bool(self.subscribed))
        return self.subscribed[0]

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> None:
        self.paho.publish(topic, payload, qos=1, retain=retain).wait_for_publish(DEADLINE_S)

    def topics(self) -> list[str]:
        return [topic for topic, _, _ in self.heard]

    def vanish(self) -> None:
        """Break the connection, if the broker accepted it, without a DISCONNECT."""
        sock = self.paho.socket()
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)
        self.paho.loop_stop()


def is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def running(plan: BrokerPlan, folder: Path) -> Iterator[BrokerPlan]:
    child = Child(
        "broker", plan.argv, folder / "broker.log", {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    with Supervisor([child], folder / "processes.json") as supervisor:
        supervisor.poll()
        until(lambda: is_up(plan.port))
        yield plan


@pytest.fixture(params=["mosquitto", "amqtt"], scope="module")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPlan]:
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("no mosquitto on this machine")
    if request.param == "amqtt" and importlib.util.find_spec("amqtt") is None:
        pytest.skip("amqtt is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    plan = plan_broker(folder, PARK, prefer=request.param)
    assert plan.kind == request.param
    yield from running(plan, folder)


def test_right_login_is_accepted(broker: BrokerPlan) -> None:
    with Client(broker, "gw-a") as client:
        assert client.answer == "Success"


@pytest.mark.parametrize(("user", "password"), [("gw-a", "wrong"), ("gw-a", ""), ("stranger", "x")])
def test_wrong_login_is_refused(broker: BrokerPlan, user: str, password: str) -> None:
    with Client(broker, user, password) as client:
        assert client.answer != "Success"


def test_gateway_reaches_the_host_on_its_own_topics(broker: BrokerPlan) -> None:
    own = ["NBIRTH/gw-a", "NDATA/gw-a", "DBIRTH/gw-a/m1", "DDATA/gw-a/m1", "DDEATH/gw-a/m1", "NDEATH/gw-a"]
    with Client(broker, "host") as host, Client(broker, "gw-a") as gateway:
        assert host.subscribe("spBv1.0/park/#")
        for topic in own:
            gateway.publish(f"spBv1.0/park/{topic}")
        until(lambda: host.topics() == [f"spBv1.0/park/{topic}" for topic in own])


def test_foreign_topics_do_not_get_through(broker: BrokerPlan) -> None:
    foreign = [
        "spBv1.0/park/NBIRTH/gw-b",
        "spBv1.0/park/DDATA/gw-b/m1",
        "spBv1.0/park/NCMD/gw-a",
        "spBv1.0/park/DDATA/gw-a/m1/deeper",
        "spBv1.0/other/NBIRTH/gw-a",
        STATE,
    ]
    with Client(broker, "host") as host, Client(broker, "gw-a") as gateway:
        host.subscribe("spBv1.0/park/#")
        host.subscribe(STATE)
        for topic in foreign:
            gateway.publish(topic)
        gateway.publish("spBv1.0/park/NDATA/gw-a", b"last")
        until(lambda: "spBv1.0/park/NDATA/gw-a" in host.topics())
        assert set(host.topics()) == {"spBv1.0/park/NDATA/gw-a"}


def test_gateway_hears_only_its_own_commands(broker: BrokerPlan) -> None:
    with Client(broker, "host") as host, Client(broker, "gw-a") as gateway:
        # Mosquitto grants such a subscription and delivers nothing; amqtt refuses it.
        for topic in ("spBv1.0/#", "spBv1.0/park/NCMD/+", "spBv1.0/park/NCMD/gw-b"):
            gateway.subscribe(topic)
        assert gateway.subscribe("spBv1.0/park/NCMD/gw-a")
        host.publish("spBv1.0/park/NCMD/gw-b")
        host.publish("spBv1.0/park/NCMD/gw-a", b"last")
        until(lambda: bool(gateway.heard))
        assert set(gateway.topics()) == {"spBv1.0/park/NCMD/gw-a"}


def test_host_may_not_pretend_to_be_a_gateway(broker: BrokerPlan) -> None:
    with Client(broker, "host") as host:
        host.subscribe("spBv1.0/park/#")
        host.publish("spBv1.0/park/DDATA/gw-a/m1")
        host.publish("spBv1.0/park/NCMD/gw-a", b"last")
        until(lambda: bool(host.heard))
        assert host.topics() == ["spBv1.0/park/NCMD/gw-a"]


def test_will_is_published_when_a_gateway_vanishes(broker: BrokerPlan) -> None:
    with Client(broker, "host") as host:
        host.subscribe("spBv1.0/park/#")
        Client(broker, "gw-a", will="spBv1.0/park/NDEATH/gw-a").vanish()
        until(lambda: host.heard == [("spBv1.0/park/NDEATH/gw-a", b"gone", False)])


def test_will_on_a_foreign_topic_is_not_published(broker: BrokerPlan) -> None:
    with Client(broker, "host") as host, Client(broker, "gw-a") as gateway:
        host.subscribe("spBv1.0/park/#")
        Client(broker, "gw-a", will="spBv1.0/park/NDEATH/gw-b").vanish()
        Client(broker, "gw-a", will="spBv1.0/park/NDEATH/gw-a").vanish()
        until(lambda: bool(host.heard))
        gateway.publish("spBv1.0/park/NDATA/gw-a", b"last")
        until(lambda: host.heard[-1][1] == b"last")
        assert host.topics() == ["spBv1.0/park/NDEATH/gw-a", "spBv1.0/park/NDATA/gw-a"]


def test_state_is_retained_for_gateways_that_come_later(broker: BrokerPlan) -> None:
    with Client(broker, "host") as host:
        host.publish(STATE, b'{"online":true}', retain=True)
    with Client(broker, "gw-b") as gateway:
        assert gateway.subscribe(STATE)
        until(lambda: (STATE, b'{"online":true}', True) in gateway.heard)


def test_payload_over_the_limit_is_not_delivered_by_mosquitto(broker: BrokerPlan) -> None:
    if broker.kind != "mosquitto":
        pytest.skip("amqtt has no size limit")
    with Client(broker, "host") as host, Client(broker, "gw-a") as gateway:
        host.subscribe("spBv1.0/park/#")
        gateway.publish("spBv1.0/park/NDATA/gw-a", bytes(262_144))
        gateway.publish("spBv1.0/park/NDATA/gw-a", bytes(262_145))
        gateway.publish("spBv1.0/park/NDATA/gw-a", b"last")
        until(lambda: bool(host.heard) and host.heard[-1][1] == b"last")
        assert [len(payload) for _, payload, _ in host.heard] == [262_144, 4]


def test_passwords_and_port_are_kept_over_restarts(tmp_path: Path) -> None:
    first, second = plan_broker(tmp_path, PARK, prefer="amqtt"), plan_broker(tmp_path, PARK, prefer="amqtt")
    assert (first.port, first.users) == (second.port, second.users)
    assert first.password("gw-a") == second.password("gw-a") != first.password("gw-b")


def test_another_port_is_taken_when_the_kept_one_is_occupied(tmp_path: Path) -> None:
    first = plan_broker(tmp_path, PARK, prefer="amqtt")
    with socket.socket() as squatter:
        squatter.bind((LOOPBACK, first.port))
        squatter.listen()
        assert plan_broker(tmp_path, PARK, prefer="amqtt").port != first.port


def test_a_given_port_is_used_and_kept(tmp_path: Path) -> None:
    assert plan_broker(tmp_path, PARK, 18830, prefer="amqtt").port == 18830
    assert plan_broker(tmp_path, PARK, prefer="amqtt").port == 18830


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    plan_broker(tmp_path, PARK)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"passwords", "acl", "mqtt-host", "mqtt-gw-a", "mqtt-gw-b"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_passwords_never_show_in_the_plan(tmp_path: Path) -> None:
    plan = plan_broker(tmp_path, PARK)
    assert all(plan.password(user) not in repr(plan) for user in plan.users)


def test_gateway_called_like_the_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="host"):
        plan_broker(tmp_path, park_with("host"))


def test_unknown_broker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="emqx"):
        plan_broker(tmp_path, PARK, prefer="emqx")


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="no mosquitto_passwd on this machine")
def test_lines_of_mosquitto_passwd_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    subprocess.run(
        ("mosquitto_passwd", "-c", "-b", str(file), "gw-a", "secret"), check=True, capture_output=True
    )
    assert password_matches("secret", file.read_text().partition(":")[2])


@given(password=st.text(min_size=1, max_size=40), other=st.text(max_size=40))
def test_a_password_line_matches_its_password_only(password: str, other: str) -> None:
    hashed = password_line("gw-a", password).partition(":")[2]
    assert password_matches(password, hashed)
    assert password_matches(other, hashed) == (other == password)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine")
def test_mosquitto_also_serves_an_ordinary_user() -> None:
    nobody = pwd.getpwnam("nobody")
    # Not pytest's tmp_path: that one is closed to other users.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = plan_broker(folder, PARK, prefer="mosquitto")
        config = folder / "broker" / "mosquitto.conf"
        config.write_text(config.read_text().replace("user root\n", ""))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        process = subprocess.Popen(
            plan.argv, user="nobody", group=nobody.pw_gid, extra_groups=(), stderr=subprocess.DEVNULL
        )
        try:
            until(lambda: is_up(plan.port))
            with Client(plan, "gw-a") as client:
                assert client.answer == "Success"
        finally:
            process.terminate()
            process.wait()


@pytest.mark.parametrize(
    ("allowed", "wanted", "covered"),
    [
        ("a/#", "a/b/c", True),
        ("a/#", "a/#", True),
        ("a/#", "a/+/c", True),
        ("a/#", "a", True),
        ("a/#", "#", False),
        ("a/+", "a/b", True),
        ("a/+", "a/+", True),
        ("a/+", "a/#", False),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("a/b", "a/b", True),
        ("a/b", "a/+", False),
        ("a/b", "a", False),
    ],
)
def test_a_filter_covers_what_it_contains(allowed: str, wanted: str, covered: bool) -> None:
    pytest.importorskip("amqtt")
    from tanyun.broker_fallback import covers  # noqa: PLC0415  amqtt may be missing

    assert covers(allowed, wanted) == covered
