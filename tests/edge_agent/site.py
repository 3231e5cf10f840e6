"""A gateway as a process beside meters that live now."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from edge_agent.simulator.config import parse_config
from edge_agent.simulator.meters import build_meters
from edge_agent.simulator.server import ModbusServers
from tests.fakes.mosquitto import Mosquitto

REGISTRY = """
id = "park"
name = "园区"
grid_scope = "CN-AH"
enterprises = [{id = "e", name = "企业"}]
sites = [{id = "s", enterprise = "e", name = "厂区"}]
gateways = [{id = "gw", site = "s"}]
meters = []
"""

REPO = Path(__file__).parents[2]
DEADLINE_S = 20.0
METERS = parse_config(
    {
        "seed": "push",
        "servers": [{"gateway": "gw", "port": 0}],
        "meters": [
            {"id": f"m{unit}", "gateway": "gw", "unit": unit, "profile": "schneider_iem3000",
             "load": {"kind": "factory", "rated_w": 1000}} for unit in (1, 2)
        ],
    }
)  # fmt: skip


def server_files(folder: Path, broker: Mosquitto) -> None:
    """What a server of that broker needs, for a park with the one gateway `gw`."""
    (folder / "park.toml").write_text(REGISTRY, encoding="utf-8")
    (folder / "host-password").write_text(broker.password("host"), encoding="utf-8")
    (folder / "server.toml").write_text(
        f'registry = "park.toml"\ndata = "data"\nreports = "reports"\n'
        f'[broker]\nport = {broker.port}\nuser = "host"\npassword_file = "host-password"\n',
        encoding="utf-8",
    )


@contextmanager
def agent(config: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = (sys.executable, "-m", "tanyun", "edge", "run", "-c", str(config))
    env = {**os.environ, **environment}
    with (
        (config.parent / "agent.log").open("ab") as log,
        subprocess.Popen(argv, cwd=REPO, stderr=log, env=env) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def meters() -> Iterator[int]:
    """Simulated meters that live now, in a thread; their port."""
    found: list[int] = []
    ready, loop = Event(), asyncio.new_event_loop()

    async def serve() -> None:
        servers = ModbusServers(
            METERS.servers, build_meters(METERS).values(), lambda: time.time_ns() // 1_000_000
        )
        async with servers as running:
            found.append(running.ports["gw"])
            ready.set()
            await asyncio.Event().wait()

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
