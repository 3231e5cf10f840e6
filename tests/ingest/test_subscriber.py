"""Ingest as a process of its own behind the real Mosquitto, with a gateway that is nothing but paho."""

import itertools
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest.inbox import Inbox
from ingest.subscriber import Subscriber, run, wall_ms
from metering.frames import Ack, read_ack
from metering.mqtt import BrokerSettings
from metering.sparkplug import decode
from metering.topics import MessageType, Topic, state_topic
from storage.journal import JournalReader
from storage.segment import Record
from tanyun.broker import LOOPBACK, SERVER_USER, BrokerPlan, find_mosquitto, plan_broker
from tests.ingest.gateway import EPOCH, NOW_MS, births, frame, nbirth, park_with, record

GATEWAYS = ("gw", "other", "watcher")
REGISTRY = """
id = "p"
name = "园区"
grid_scope = "CN-AH"
enterprises = [{ id = "e", name = "企业" }]
sites = [{ id = "s", enterprise = "e", name = "厂区" }]
gateways = [{ id = "gw", site = "s" }, { id = "other", site = "s" }, { id = "watcher", site = "s" }]
meters = []
"""
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPlan]:
    if find_mosquitto() is None:
        pytest.skip("no mosquitto on this machine")
    plan = plan_broker(tmp_path_factory.mktemp("broker"), park_with(*GATEWAYS), prefer="mosquitto")
    with subprocess.Popen(plan.argv, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + DEADLINE_S
        while not _is_up(plan.port):
            assert time.monotonic() < end, "the broker did not start"
            time.sleep(0.01)
        yield plan
        process.terminate()


def _is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


class Client:
    """A gateway's paho client. What it hears, it queues."""

    def __init__(self, plan: BrokerPlan, user: str, topic: str) -> None:
        self.heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        ready = threading.Event()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=user)
        self.paho.username_pw_set(user, plan.password(user))
        self.paho.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.paho.on_subscribe = lambda *_: ready.set()
        self.paho.on_message = lambda _client, _userdata, message: self.heard.put(message)
        self.paho.connect(LOOPBACK, plan.port)
        self.paho.loop_start()
        assert ready.wait(DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()
        # The callbacks hold this object and it holds the client, whose sockets close when it goes.
        self.paho.on_connect = self.paho.on_subscribe = self.paho.on_message = None

    def publish(self, *records: Record) -> None:
        for item in records:
            self.paho.publish(item.topic, item.payload)

    def ack(self, timeout_s: float = DEADLINE_S) -> Ack | None:
        """The next ack; None when none comes in time."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            try:
                found = read_ack(decode(bytes(self.heard.get(timeout=left).payload)))
            except queue.Empty:
                return None
            if found is not None:
                return found
        return None

    def state(self) -> tuple[bool, int, bool]:
        """The next STATE: (online, timestamp, retained)."""
        message = self.heard.get(timeout=DEADLINE_S)
        said = json.loads(message.payload)
        assert set(said) == {"online", "timestamp"}
        return said["online"], said["timestamp"], message.retain


def gateway(plan: BrokerPlan) -> Client:
    return Client(plan, "gw", str(Topic("p", MessageType.NCMD, "gw")))


class Server:
    """`tanyun ingest run` as a process that may be killed."""

    def __init__(self, plan: BrokerPlan, folder: Path, host_id: str) -> None:
        (folder / "park.toml").write_text(REGISTRY, encoding="utf-8")
        self.journal = folder / "data" / "journal.db"
        self._log = (folder / "ingest.log").open("ab")
        self._config = folder / "server.toml"
        self._config.write_text(
            f'registry = "park.toml"\ndata = "data"\nreports = "reports"\nhost_id = "{host_id}"\n[broker]\nuser = "{SERVER_USER}"\n'
            f'port = {plan.port}\npassword_file = "{plan.users[SERVER_USER]}"\n',
            encoding="utf-8",
        )

    def start(self) -> None:
        command = (sys.executable, "-m", "tanyun", "ingest", "run", "--config", str(self._config))
        self.process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(DEADLINE_S)


@contextmanager
def serving(plan: BrokerPlan, folder: Path, host_id: str) -> Iterator[Server]:
    """A started server, once its STATE says that it has subscribed."""
    server = Server(plan, folder, host_id)
    with Client(plan, "watcher", state_topic(host_id)) as watcher:
        server.start()
        assert watcher.state()[0]
    try:
        yield server
    finally:
        server.end(signal.SIGKILL)
        server._log.close()


def stored(file: Path) -> list[int]:
    """The frame numbers in the journal, in its own order."""
    with JournalReader(file) as reader:
        reader.verify_chain()
        found = sorted(reader.frames("gw", "m", 0, 1 << 62), key=lambda item: item.offset)
    return [item.number for item in found]


def test_an_ack_comes_after_the_journal_has_what_it_acknowledges(broker: BrokerPlan, tmp_path: Path) -> None:
    with serving(broker, tmp_path, "acks") as server, gateway(broker) as client:
        client.publish(*births("m"))
        known = 0
        while known < 60:
            client.publish(*(frame(number) for number in range(known + 1, known + 21)))
            target = known + 20
            while known < target:
                ack = client.ack()
                assert ack is not None
                with JournalReader(server.journal) as reader:
                    assert ack.journal_id == reader.journal_id
                assert len(stored(server.journal)) >= ack.number >= known
                assert (ack.epoch, abs(ack.t_ms - wall_ms()) < 60_000) == (EPOCH, True)
                known = ack.number
        assert stored(server.journal) == list(range(1, 61))


def test_a_malformed_message_on_the_wire_is_quarantined_and_the_next_frame_acknowledged(
    broker: BrokerPlan, tmp_path: Path
) -> None:
    with serving(broker, tmp_path, "bad") as server, gateway(broker) as client:
        client.publish(
            *births("m"),
            record(MessageType.DDATA, b"\xff\xff", "m"),
            record(MessageType.DDATA, b"", "m"),
            frame(1),
        )
        ack = client.ack()
        assert ack is not None
        assert ack.number == 1
        with JournalReader(server.journal) as reader:
            assert reader.quarantine_counts() == {"malformed": 1, "no_metrics": 1}
            [session] = reader.gateways()
        assert (session.gateway, session.online, session.number) == ("gw", True, 1)


def test_killed_again_and_again_ingest_stores_every_frame_once(broker: BrokerPlan, tmp_path: Path) -> None:
    """The gateway goes back to ack + 1 when no ack comes; what was acknowledged stays, whenever ingest dies."""
    chance, count, window, known = random.Random(3), 1500, 60, 0
    kill_at = sorted(chance.sample(range(1, count - window), 5))
    with serving(broker, tmp_path, "kill") as server, gateway(broker) as client:
        client.publish(*births("m"))
        sent = 0
        while known < count:
            for number in range(sent + 1, min(known + window, count) + 1):
                client.publish(frame(number, t_ms=NOW_MS + number))
                sent = number
                if kill_at and number >= kill_at[0]:
                    kill_at.pop(0)
                    server.end(signal.SIGKILL)
                    assert len(stored(server.journal)) >= known
                    server.start()
            ack = client.ack(0.2)
            sent = known if ack is None else sent
            known = max(known, ack.number if ack else 0)
        assert kill_at == []
        assert stored(server.journal) == list(range(1, count + 1))
        with JournalReader(server.journal) as reader:
            assert reader.quarantine_counts() == {}
            kinds = [event.kind for event in reader.events(limit=1000)]
        assert [kinds.count(kind) for kind in ("epoch_started", "ingest_started")] == [1, 6]  # five kills
        assert set(kinds) == {"epoch_started", "ingest_started", "broker_found", "gateway_found"}


def test_the_host_says_by_a_retained_state_that_it_is_there(broker: BrokerPlan, tmp_path: Path) -> None:
    """tck-id-host-topic-phid-birth-*, tck-id-host-topic-phid-death-*: retained, QoS 1, will and birth of one timestamp."""
    with serving(broker, tmp_path, "state") as server:
        with Client(broker, "watcher", state_topic("state")) as watcher:
            born = watcher.state()
            assert (born[0], born[2], abs(born[1] - wall_ms()) < 60_000) == (True, True, True)
            server.end(signal.SIGKILL)
            assert watcher.state() == (False, born[1], False)
        with Client(broker, "watcher", state_topic("state")) as late:
            assert late.state() == (False, born[1], True)
            server.start()
            again = late.state()
            assert again[0]
            assert again[1] > born[1]
            assert server.end(signal.SIGTERM) == 0
            assert late.state() == (False, again[1], False)


def settings(plan: BrokerPlan, port: int | None = None) -> BrokerSettings:
    return BrokerSettings(user=SERVER_USER, port=port or plan.port, password_file=plan.users[SERVER_USER])


def test_ingest_stops_in_peace_while_the_broker_is_away(broker: BrokerPlan, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind((LOOPBACK, 0))
        port = nobody.getsockname()[1]
        run(settings(broker, port), "away", park_with("gw"), tmp_path / "journal.db", lambda: True)
    assert stored(tmp_path / "journal.db") == []


def test_a_host_whose_queue_is_full_can_still_leave(broker: BrokerPlan) -> None:
    host = Subscriber(settings(broker), "full", park_with("gw"), wall_ms)
    host.messages = Inbox(1)
    with Client(broker, "watcher", state_topic("full")) as watcher, gateway(broker) as client:
        host.start()
        assert watcher.state()[0]
        client.publish(nbirth())
        while not host.messages.full():
            time.sleep(0.005)
        client.publish(*(frame(number) for number in range(1, 9)))
        while not host._portion:
            time.sleep(0.005)
        host.stop()
    assert [item.topic for item in host.drain()] == ["spBv1.0/p/NBIRTH/gw"]


def test_a_host_that_comes_back_announces_itself_with_the_time_of_its_new_will(broker: BrokerPlan) -> None:
    """tck-id-host-topic-phid-birth-payload-timestamp: birth and will of one session carry the same time.

    The connection is broken after the broker's PUBACK only: paho sends what lacks it again in the next session.
    """
    host = Subscriber(settings(broker), "back", park_with("gw"), itertools.count(1).__next__)
    acknowledged = threading.Semaphore(0)
    host._client.on_publish = lambda *_: acknowledged.release()
    with Client(broker, "watcher", state_topic("back")) as watcher:
        host.start()
        sessions = [watcher.state()[:2]]
        for _ in range(2):
            assert acknowledged.acquire(timeout=DEADLINE_S)
            connection = host._client.socket()
            assert isinstance(connection, socket.socket)
            connection.shutdown(socket.SHUT_RDWR)
            sessions += [watcher.state()[:2], watcher.state()[:2]]
        assert acknowledged.acquire(timeout=DEADLINE_S)
        host.stop()
        sessions.append(watcher.state()[:2])
    assert sessions == [(online, session) for session in (1, 2, 3) for online in (True, False)]
