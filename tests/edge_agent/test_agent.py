"""The whole agent as its users run it: simulated meters, the real broker, `tanyun edge run`, and kill -9."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from edge_agent.simulator.config import parse_config
from edge_agent.simulator.meters import expected_totals
from edge_agent.simulator.server import Endpoints, run_simulator
from metering.intervals import QUARTER_MS
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.primary_host import PrimaryHost

REPO = Path(__file__).parents[2]
TICKS = 160
PACE_S = 0.01
"""Slow enough that kills hit the run at different ticks."""
METERS = ("m1", "m2")
SIMULATED = parse_config(
    {
        "seed": "agent",
        "servers": [{"gateway": "gw", "port": 0}],
        "meters": [
            {
                "id": meter,
                "gateway": "gw",
                "unit": i + 1,
                "profile": "schneider_iem3000",
                "load": {"kind": "factory", "rated_w": 400_000},
            }
            for i, meter in enumerate(METERS)
        ],
    }
)


@contextmanager
def simulated(start_ms: int, folder: Path) -> Iterator[Endpoints]:
    """Meters and the accelerated clock, in a thread."""
    found: list[Endpoints] = []
    ready = Event()
    loop = asyncio.new_event_loop()

    def is_ready(ends: Endpoints) -> None:
        found.append(ends)
        ready.set()

    async def serve() -> None:
        state = folder / "clock.json"
        await run_simulator(SIMULATED, start_ms=start_ms, state_file=state, pace_s=PACE_S, ready=is_ready)

    task = loop.create_task(serve())

    def run() -> None:
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()

    thread = Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)


def write_config(folder: Path, broker: Mosquitto, ends: Endpoints) -> Path:
    meters = "".join(
        f'[[meters]]\nid = "{meter}"\nbus = "line"\nunit = {i + 1}\nprofile = "schneider_iem3000"\n'
        'read = ["energy_import_total", "power_active"]\n'
        for i, meter in enumerate(METERS)
    )
    file = folder / "edge.toml"
    file.write_text(
        f"""
park = "park"
gateway = "gw"
poll_interval_s = 3600
ack_timeout_s = 0.5
window = 64
[broker]
port = {broker.port}
user = "gw"
password_file = "secrets/mqtt-gw"
[outbox]
path = "outbox.db"
[publish]
totals_every_s = 1
monthly_mb = 0
[clock]
source = "stepped"
port = {ends.clock_port}
[[buses]]
id = "line"
host = "127.0.0.1"
port = {ends.ports["gw"]}
{meters}""",
        encoding="utf-8",
    )
    return file


@contextmanager
def agent(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tanyun edge run`; killed when the context ends, unless it has ended by itself."""
    argv = (sys.executable, "-m", "tanyun", "edge", "run", "-c", str(config))
    with (
        (config.parent / "agent.log").open("ab") as log,
        subprocess.Popen(argv, cwd=REPO, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def first_tick() -> int:
    return (time.time_ns() // 1_000_000 // QUARTER_MS - TICKS) * QUARTER_MS


@pytest.mark.slow
def test_killed_again_and_again_every_meter_and_tick_arrives_exactly_once(
    tmp_path: Path, broker: Mosquitto
) -> None:
    start = first_tick()
    end = start + TICKS * QUARTER_MS
    with (
        PrimaryHost(broker.port, broker.password("host")) as host,
        simulated(start, tmp_path) as ends,
    ):
        config = write_config(tmp_path, broker, ends)
        reached = 0
        for goal in sorted(random.sample(range(1, 2 * TICKS - 20), 6)):
            with agent(config) as process:
                host.until(host.has(max(goal, reached)))
                time.sleep(random.uniform(0, 0.02))  # the random point, not a wait for something
                process.send_signal(signal.SIGKILL)
            reached = host.newest.last
        births = len(host.of("NBIRTH"))
        with agent(config) as process:
            host.until(lambda: host.newest.last >= 2 * TICKS and len(host.of("NBIRTH")) > births)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert len(host.stored) == 1
    assert not host.newest.lost
    frames = host.newest.frames
    assert list(frames) == list(range(1, len(frames) + 1))
    when = [
        (frame.meter, max(metric.timestamp for metric in frame.payload.metrics)) for frame in frames.values()
    ]
    ticks = [item for item in when if item[1] < end]
    assert Counter(ticks) == Counter((meter, t) for t in range(start, end, QUARTER_MS) for meter in METERS)
    for meter in METERS:
        own = [t for name, t in when if name == meter]
        assert own == sorted(own)
    for (meter, t_ms), frame in zip(when, frames.values(), strict=True):
        if t_ms < end:
            expected = expected_totals(SIMULATED, t_ms)[meter, "energy_import_total"]
            assert frame.value("energy_import_total") == expected


def test_a_stopped_agent_says_goodbye_and_ends_with_0(tmp_path: Path, broker: Mosquitto) -> None:
    """tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath."""
    with (
        PrimaryHost(broker.port, broker.password("host")) as host,
        simulated(first_tick(), tmp_path) as ends,
        agent(write_config(tmp_path, broker, ends)) as process,
    ):
        host.until(host.has(10))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        host.until(lambda: bool(host.of("NDEATH")))
        assert host.of("NDEATH")[-1].value("bdSeq") == host.of("NBIRTH")[-1].value("bdSeq")
    log = (tmp_path / "agent.log").read_text(encoding="utf-8")
    assert "edge_ready gateway=gw meters=2 backlog=0" in log
    assert "Traceback" not in log


def test_a_killed_agent_is_declared_dead_by_its_will(tmp_path: Path, broker: Mosquitto) -> None:
    """tck-id-payloads-ndeath-will-message, tck-id-topics-nbirth-bdseq-matching."""
    with (
        PrimaryHost(broker.port, broker.password("host")) as host,
        simulated(first_tick(), tmp_path) as ends,
        agent(write_config(tmp_path, broker, ends)) as process,
    ):
        host.until(host.has(4))
        process.send_signal(signal.SIGKILL)
        host.until(lambda: bool(host.of("NDEATH")))
        assert host.of("NDEATH")[-1].value("bdSeq") == host.of("NBIRTH")[-1].value("bdSeq")
        assert not host.of("NDEATH")[-1].payload.HasField("seq")


def test_polls_go_on_while_there_is_no_broker(tmp_path: Path, broker: Mosquitto) -> None:
    broker.kill()
    with simulated(first_tick(), tmp_path) as ends:
        config = write_config(tmp_path, broker, ends)
        with agent(config):
            until_live(tmp_path)
            broker.start()
            with PrimaryHost(broker.port, broker.password("host")) as host:
                host.until(host.has(2 * TICKS))
    assert not host.newest.lost


def until_live(folder: Path) -> None:
    """Wait until the agent has polled every tick, which its log tells."""
    log = folder / "agent.log"
    end = time.monotonic() + 20
    while "clock live" not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_configuration_starts_nothing_and_ends_with_78(tmp_path: Path, command: str) -> None:
    file = tmp_path / "edge.toml"
    file.write_text('park = "park"\n', encoding="utf-8")
    argv = (sys.executable, "-m", "tanyun", "edge", command, "-c", str(file))
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(argv, cwd=REPO, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78
    assert "\n  gateway: " in done.stderr
    assert list(tmp_path.iterdir()) == [file]
