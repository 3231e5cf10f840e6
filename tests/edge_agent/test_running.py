"""A running agent as systemd, Prometheus and `tanyun edge status` see it."""

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from edge_agent.agent import Running
from edge_agent.health import Pulse
from edge_agent.loopback import ask, socket_of
from edge_agent.notify import Notifier, is_alive
from tanyun.commands.group import root
from tests.edge_agent.site import DEADLINE_S, agent, meters
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.primary_host import PrimaryHost
from tests.loopback import free_port, until


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def hear(self) -> list[str]:
        """The lines of the next message."""
        return self._socket.recv(4096).decode().splitlines()

    def until(self, line: str) -> None:
        """Wait for a line."""
        while line not in self.hear():
            pass


def tanyun(*args: str) -> str:
    done = CliRunner().invoke(root, ["--lang", "en", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def configured(folder: Path, broker: Mosquitto, modbus: int, more: str = "") -> Path:
    """Two meters, and a dead one, polled every second."""
    file = folder / "edge.toml"
    file.write_text(
        f"""
park = "park"
gateway = "gw"
poll_interval_s = 1
broker = {{port = {broker.port}, user = "gw", password_file = "secrets/mqtt-gw"}}
outbox = {{path = "outbox.db"}}
publish = {{totals_every_s = 1, monthly_mb = 0}}
buses = [{{id = "line", host = "127.0.0.1", port = {modbus}, timeout_s = 0.2, retries = 0}}]
meters = [{{id = "m1", bus = "line", unit = 1, profile = "schneider_iem3000"}},
          {{id = "m2", bus = "line", unit = 2, profile = "schneider_iem3000"}},
          {{id = "dead", bus = "line", unit = 99, profile = "schneider_iem3000"}}]
{more}""",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def modbus() -> Iterator[int]:
    with meters() as port:
        yield port


@pytest.fixture
def host(broker: Mosquitto) -> Iterator[PrimaryHost]:
    with PrimaryHost(broker.port, broker.password("host")) as host:
        yield host


@pytest.mark.usefixtures("host")
def test_systemd_hears_ready_then_signs_of_life_then_stopping(
    tmp_path: Path, broker: Mosquitto, modbus: int
) -> None:
    with (
        Systemd(tmp_path / "n") as systemd,
        agent(
            configured(tmp_path, broker, modbus), NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="200000"
        ) as process,
    ):
        first = systemd.hear()
        assert first[0] == "READY=1"
        assert first[1].startswith("STATUS=")
        systemd.until("WATCHDOG=1")
        systemd.until("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        systemd.until("STOPPING=1")
        assert process.wait(20) == 0


def test_status_and_metrics_say_how_each_meter_answers(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost, modbus: int
) -> None:
    port, outbox = free_port(), tmp_path / "outbox.db"
    config = configured(tmp_path, broker, modbus, f"[metrics]\nport = {port}\n")
    with agent(config):
        host.until(host.has(4))
        until(lambda: (live := ask(outbox)) is not None and live.devices[2].error)
        said = json.loads(tanyun("edge", "status", "--json", "-c", str(config)))
        devices = {item["meter"]: item for item in said["agent"]["devices"]}
        assert said["agent"]["in_session"]
        assert devices["m1"]["success_ratio"] == devices["m2"]["success_ratio"] == 1
        assert 0 < devices["m1"]["latency_s"] < 5
        assert (devices["dead"]["success_ratio"], devices["dead"]["answers"]) == (0, False)
        assert said["agent"]["disk"]["free_bytes"] > 0
        table = tanyun("edge", "status", "-c", str(config))
        assert "100 %" in table
        assert devices["dead"]["error"] in table
        families = {item.name: item for item in text_string_to_metric_families(get(port, "/metrics"))}
        up = {s.labels["meter"]: s.value for s in families["tanyun_edge_device_up"].samples}
        assert up == {"m1": 1, "m2": 1, "dead": 0}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(port, "/etc/passwd")
        assert socket_of(outbox).stat().st_mode & 0o777 == 0o600
    assert ask(outbox) is None
    assert json.loads(tanyun("edge", "status", "--json", "-c", str(config)))["agent"] is None


def test_a_taken_metrics_port_is_said_once_and_costs_nothing_else(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost, modbus: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with agent(configured(tmp_path, broker, modbus, f"[metrics]\nport = {port}\n")):
            host.until(host.has(4))
            assert ask(tmp_path / "outbox.db") is not None
    assert (tmp_path / "agent.log").read_text(encoding="utf-8").count("metrics_unavailable") == 1


def test_a_poll_loop_that_hangs_gives_no_sign_of_life_and_a_stepped_clock_may_stand() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    parts: dict[str, Any] = {
        "config": SimpleNamespace(poll_interval_s=15),
        "clock": SimpleNamespace(stepped=False),
        "poller": SimpleNamespace(pulse=pulse),
    }
    running = cast("Running", SimpleNamespace(**parts))
    now[0] = 104.0  # three periods and a minute
    assert is_alive(running)
    now[0] = 106.0
    assert not is_alive(running)
    pulse.beat()
    assert is_alive(running)
    now[0] = 10_000.0
    parts["clock"].stepped = True
    assert is_alive(running)


def test_without_systemd_nothing_is_said_and_a_dead_socket_is_no_error(tmp_path: Path) -> None:
    Notifier(None).say("READY=1")
    Notifier(str(tmp_path / "nobody")).say("READY=1")


def test_an_abstract_socket_is_understood() -> None:
    name = f"tanyun-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        Notifier(f"@{name}").say("READY=1", "STATUS=x")
        systemd.settimeout(5)
        assert systemd.recv(100) == b"READY=1\nSTATUS=x"
