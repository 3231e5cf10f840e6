"""A push from end to end: real broker, real agent, `tanyun gateway push`; what is worse than before is taken back, and no frame is lost."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from click.testing import CliRunner, Result
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.loopback import ask
from edge_agent.updates.bundle import Bundle, pack
from tanyun.broker import password_line
from tanyun.commands.group import root
from tests.edge_agent.site import agent, meters, server_files
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.primary_host import PrimaryHost
from tests.loopback import until
from verification.evidence import signing


class Plant:
    """A server's files and a gateway's; the gateway runs while a test does."""

    def __init__(self, folder: Path, broker: Mosquitto, modbus: int) -> None:
        self.folder, self._broker, self._modbus = folder, broker, modbus
        server_files(folder, broker)
        self.key = folder / "updates.pem"
        signing.generate(self.key)
        self.installed = folder / "edge.toml"
        self.installed.write_text(self.text(), encoding="utf-8")

    def text(self, *, meters: tuple[int, ...] = (1,), port: int | None = None, minutes: float = 0.05) -> str:
        rows = "".join(
            f'[[meters]]\nid = "m{unit}"\nbus = "line"\nunit = {unit}\nprofile = "schneider_iem3000"\n'
            'read = ["energy_import_total"]\n'
            for unit in meters
        )
        return f"""
park = "park"
gateway = "gw"
poll_interval_s = 1
ack_timeout_s = 0.5
publish = {{totals_every_s = 1, monthly_mb = 0}}
broker = {{port = {port or self._broker.port}, user = "gw", password_file = "{self.folder}/secrets/mqtt-gw"}}
outbox = {{path = "{self.folder}/outbox.db"}}
updates = {{key_file = "{signing.public_path(self.key)}", confirm_minutes = {minutes}}}
buses = [{{id = "line", host = "127.0.0.1", port = {self._modbus}, timeout_s = 0.3, retries = 0}}]
{rows}"""

    def push(self, text: str, *words: str) -> Result:
        """`tanyun gateway push` with a configuration."""
        new = self.folder / "new"
        new.mkdir(exist_ok=True)
        (new / "edge.toml").write_text(text, encoding="utf-8")
        return tanyun(
            "gateway", "push", "gw", str(new / "edge.toml"), "--key", str(self.key), "-c", str(self.folder / "server.toml"),
            "--wait-minutes", "0.5", *words,
        )  # fmt: skip

    def polled(self) -> list[str]:
        """Meters of the configuration in force, when they all answer."""
        live = ask(self.folder / "outbox.db")
        return [item.meter for item in live.devices if item.answers] if live is not None else []

    def log(self) -> str:
        return (self.folder / "agent.log").read_text(encoding="utf-8")


def tanyun(*args: str) -> Result:
    return CliRunner().invoke(root, ["--lang", "en", *args], catch_exceptions=False)


@pytest.fixture
def plant(tmp_path: Path, broker: Mosquitto) -> Iterator[Plant]:
    with meters() as port:
        yield Plant(tmp_path, broker, port)


@pytest.fixture
def host(broker: Mosquitto) -> Iterator[PrimaryHost]:
    with PrimaryHost(broker.port, broker.password("host")) as host:
        yield host


@contextmanager
def running(plant: Plant) -> Iterator[subprocess.Popen[bytes]]:
    with agent(plant.installed) as process:
        until(lambda: plant.polled() == ["m1"])
        yield process


def stored(host: PrimaryHost) -> int:
    """Frames that the host has; none before the first session."""
    return host.newest.last if host.stored else 0


def whole(host: PrimaryHost) -> bool:
    """Every number from 1 on, under one epoch, nothing lost."""
    stored = host.newest
    return (
        len(host.stored) == 1 and not stored.lost and list(stored.frames) == list(range(1, stored.last + 1))
    )


def test_a_push_is_staged_tried_and_confirmed_while_frames_go_on(plant: Plant, host: PrimaryHost) -> None:
    with running(plant) as process:
        said = plant.push(plant.text(meters=(1, 2)), "--number", "10")
        assert said.exit_code == 0, said.output + plant.log()
        states = [line.split("  ")[0] for line in said.output.splitlines()[1:]]
        assert [state for state in states if state != "staged"] == ["trial", "confirmed"]
        assert process.poll() is None
        until(lambda: plant.polled() == ["m1", "m2"])
        number = stored(host)
        host.until(host.has(number + 4))
        live = ask(plant.folder / "outbox.db")
        assert live is not None
        assert (live.configuration.number, live.configuration.state) == (10, "confirmed")
        shown = json.loads(
            tanyun("gateway", "state", "--json", "-c", str(plant.folder / "server.toml")).output
        )
        assert (shown["gw"]["active"], shown["gw"]["state"]) == (10, "confirmed")
    assert whole(host)
    with agent(plant.installed):  # it stays in force after a kill
        until(lambda: plant.polled() == ["m1", "m2"])


def test_what_loses_the_broker_is_taken_back_and_nothing_of_the_outbox_is_lost(
    plant: Plant, host: PrimaryHost
) -> None:
    with running(plant):
        said = plant.push(plant.text(meters=(1, 2), port=1), "--number", "3")
        assert said.exit_code == 1, said.output
        assert "no session with broker and server" in said.output
        assert said.output.splitlines()[-1].startswith("rolled_back")
        number = stored(host)
        host.until(host.has(number + 2))
        until(lambda: plant.polled() == ["m1"])
    assert whole(host)
    assert "configuration_rolled_back" in plant.log()


def test_what_silences_a_meter_that_answered_is_taken_back(plant: Plant, host: PrimaryHost) -> None:
    with running(plant):
        said = plant.push(plant.text().replace("unit = 1\n", "unit = 77\n"))
        assert said.exit_code == 1, said.output
        assert "meters that answered before are silent: m1" in said.output
        until(lambda: plant.polled() == ["m1"])
    assert whole(host)


@pytest.mark.usefixtures("host")
def test_a_wrong_configuration_is_refused_by_the_gateway_itself(plant: Plant) -> None:
    """The server would have said the same: here it is gone around."""
    with running(plant):
        wrong = plant.text().replace("unit = 1", "unit = 900")
        key = signing.load_private(plant.key)
        bundle = Bundle("park", "gw", 5, 0, {"edge.toml": wrong})
        report = published(plant, pack(bundle, key.sign))
        assert report["state"] == "refused"
        assert "meters[0].unit" in report["detail"]
        assert plant.polled() == ["m1"]
    assert "configuration_staged" not in plant.log()


def test_tampered_and_old_bundles_are_refused_and_said_so(plant: Plant, host: PrimaryHost) -> None:
    key = signing.load_private(plant.key)
    with running(plant):
        assert plant.push(plant.text(meters=(1, 2)), "--number", "10").exit_code == 0
        old = pack(Bundle("park", "gw", 9, 0, {"edge.toml": plant.text()}), key.sign)
        report = published(plant, old)
        assert (report["state"], "number 9 is old" in report["detail"]) == ("refused", True)
        new = pack(Bundle("park", "gw", 11, 0, {"edge.toml": plant.text()}), key.sign)
        report = published(plant, new[:-1] + bytes([new[-1] ^ 1]))
        assert (report["state"], "signature" in report["detail"]) == ("refused", True)
        assert (report["active"], plant.polled()) == (10, ["m1", "m2"])
    assert whole(host)


def published(plant: Plant, message: bytes) -> dict[str, Any]:
    """Publish a bundle as the server would; the gateway's report of it."""
    heard: list[dict[str, Any]] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("host", (plant.folder / "host-password").read_text(encoding="utf-8"))
    up = Event()
    client.on_subscribe = lambda *_args: up.set()
    client.on_message = lambda _c, _u, message: heard.append(json.loads(message.payload))
    client.connect("127.0.0.1", plant._broker.port)
    client.subscribe("tanyun/park/gw/configured", qos=1)
    client.loop_start()
    try:
        assert up.wait(10)
        until(lambda: heard)  # what is retained
        known = len(heard)
        client.publish("tanyun/park/gw/configuration", message, qos=1)
        until(lambda: len(heard) > known)
        return heard[-1]
    finally:
        client.disconnect()
        client.loop_stop()


def test_killed_in_the_middle_of_a_trial_it_goes_on_with_the_trial(plant: Plant, host: PrimaryHost) -> None:
    key = signing.load_private(plant.key)
    with running(plant):
        text = plant.text(meters=(1, 2))
        published(plant, pack(Bundle("park", "gw", 4, 0, {"edge.toml": text}), key.sign))
        until(
            lambda: (
                (live := ask(plant.folder / "outbox.db")) is not None and live.configuration.state == "trial"
            )
        )
    with agent(plant.installed):
        until(
            lambda: (
                (live := ask(plant.folder / "outbox.db")) is not None
                and live.configuration.state == "confirmed"
            )
        )
        until(lambda: plant.polled() == ["m1", "m2"])
    assert whole(host)


def test_a_password_is_renewed_without_a_visit(plant: Plant, host: PrimaryHost, broker: Mosquitto) -> None:
    """Staged first, then the broker learns it: the old one is of no use any more when the trial begins."""
    text = plant.text(meters=(1, 2), minutes=0.05).replace(
        f'"{plant.folder}/secrets/mqtt-gw"', '"secrets/password"'
    )
    bundle = Bundle("park", "gw", 2, 0, {"edge.toml": text, "secrets/password": "renewed\n"})
    with running(plant):
        published(plant, pack(bundle, signing.load_private(plant.key).sign))
        file = plant.folder / "broker" / "passwords"
        lines = [
            line
            for line in file.read_text(encoding="utf-8").splitlines(keepends=True)
            if not line.startswith("gw:")
        ]
        file.write_text("".join([*lines, password_line("gw", "renewed")]), encoding="utf-8")
        assert broker._process is not None
        broker._process.send_signal(signal.SIGHUP)
        until(
            lambda: (
                (live := ask(plant.folder / "outbox.db")) is not None
                and live.configuration.state == "confirmed"
            )
        )
        (plant.folder / "secrets" / "mqtt-gw").write_text("of no use", encoding="utf-8")
        number = stored(host)
        host.until(host.has(number + 2))
    assert whole(host)
    with agent(plant.installed):
        until(lambda: plant.polled() == ["m1", "m2"])


def test_the_server_refuses_what_no_gateway_would_take(plant: Plant) -> None:
    assert plant.push(plant.text().replace("unit = 1", "unit = 900")).exit_code == 78
    wrong = plant.push(plant.text().replace('gateway = "gw"', 'gateway = "gw-2"'))
    assert (wrong.exit_code, "configuration of park/gw-2" in wrong.output) == (78, True)
    config = str(plant.folder / "server.toml")
    said = tanyun("gateway", "push", "nobody", str(plant.installed), "--key", str(plant.key), "-c", config)
    assert (said.exit_code, "known are gw" in said.output) == (78, True)
    said = tanyun("gateway", "push", "gw", str(plant.installed), "--key", str(plant.installed), "-c", config)
    assert (said.exit_code, "holds no Ed25519 private key" in said.output) == (1, True)
