"""Sparkplug to the letter: one scenario on a real broker, tapped, and every statement that binds an edge node checked against it."""

import re
import time
from pathlib import Path

import pytest

from tanyun.broker import find_mosquitto
from tests.edge_agent.sparkplug_statements import CHECKS, DEVICES, NOT_APPLICABLE, Run
from tests.fakes.gateway import HandFed, config_for
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_tap import Tap
from tests.fakes.primary_host import PrimaryHost
from tests.loopback import until

DOCUMENT = Path(__file__).parents[2] / "docs" / "sparkplug.md"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def first_session(fed: HandFed, host: PrimaryHost, tap: Tap) -> None:
    """The host is offline, then online: births, a rebirth, an old offline, more frames than a sequence number has."""
    until(lambda: tap.connections and len(tap.connections[0].subscriptions) >= 2)
    host.state(online=False, t_ms=5000)
    host.state(online=True, t_ms=4000)  # older: still offline
    fed.feed(20)
    assert not host.heard
    host.state(online=True, t_ms=6000)
    host.until(host.has(40))
    host.state(online=False, t_ms=1)  # older: no reason to go
    host.silent = True
    fed.feed(280, first=21)
    host.until(lambda: host.newest.last == 40 + fed._config.window)
    host.silent = False
    host.command(Rebirth=True)
    host.ack(host.newest_epoch, host.newest.last)
    host.until(lambda: len(host.of("NBIRTH")) == 2)
    fed.feed(10, first=301)
    host.until(host.has(620))


def a_silent_device(fed: HandFed, host: PrimaryHost) -> None:
    """Three polls without an answer; then it answers again."""
    breaker = fed.devices[DEVICES[1]].breaker
    for _ in range(3):
        breaker.failed(0.1, time.monotonic())
    host.until(lambda: bool(host.of("DDEATH")))
    breaker.answered()
    fed.feed(5, first=311)
    host.until(host.has(630))


def later_sessions(fed: HandFed, host: PrimaryHost, tap: Tap) -> None:
    """The host goes and comes back while frames wait; a part of them is lost meanwhile."""
    connections = len(tap.connections)
    host.state(online=False, t_ms=7000)
    host.until(lambda: bool(host.of("NDEATH")))
    fed.feed(10, first=316)
    fed.outbox._db.execute("DELETE FROM frame WHERE number BETWEEN 631 AND 634")  # as a full ring would
    until(lambda: len(tap.connections) > connections)
    host.state(online=True, t_ms=8000)
    host.until(host.has(650))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if find_mosquitto() is None:
        pytest.skip("no mosquitto on this machine")
    folder = tmp_path_factory.mktemp("tck")
    since = now_ms()
    with Mosquitto(folder) as broker, Tap(broker.port) as tap:
        host = PrimaryHost(broker.port, broker.password("host"))
        host.connect()
        # A window that cannot grow, so that the scenario knows when it is shut.
        config = config_for(folder, tap.port, DEVICES, ack_timeout_s=30, window=16)
        with HandFed(config) as fed:
            first_session(fed, host, tap)
            a_silent_device(fed, host)
            later_sessions(fed, host, tap)
        host.__exit__()
        with HandFed(config):  # a second start of the same gateway
            until(lambda: len(tap.connections) >= 3 and len(tap.connections[-1].subscriptions) >= 2)
        return Run(list(tap.connections), since, now_ms(), idle_node=len(host.newest.lost))


@pytest.mark.parametrize("tck_id", CHECKS)
def test_the_statement_holds(run: Run, tck_id: str) -> None:
    CHECKS[tck_id](run)


def test_the_document_lists_every_statement_and_nothing_else() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    tested, other = text.split("## Not ours to keep")
    assert sorted(re.findall(r"`(tck-id-[\w-]+)`", tested)) == sorted(CHECKS)
    assert re.findall(r"^\| `(.+?)` \| (.+) \|$", other, re.MULTILINE) == list(NOT_APPLICABLE.items())
