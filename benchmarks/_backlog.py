"""A month of 32 meters that the server has not had: how fast it goes from the gateway's outbox to a stored ack, and in how much memory.

Gateway (the whole agent), Mosquitto with TLS and ingest are processes of their own; the figure ends with the ack of the last frame.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks._chain import broker, devices_of, edge_config, ingest, whole_frames
from benchmarks._process import cpu_s
from edge_agent import agent
from edge_agent.outbox import Outbox

QUARTERS: Final = 31 * 96
_READINGS: Final = 14
_LONGEST_S: Final = 40.0
_MB: Final = 1e6


def fill(folder: Path, port: int, quarters: int) -> None:
    """The outbox of a gateway that was alone for so long."""
    config = edge_config(folder, port)
    outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
    devices = devices_of(config, outbox)
    for first in range(0, quarters, 96):
        drafts = [d for q in range(first, min(first + 96, quarters)) for d in whole_frames(devices, q)]
        outbox.append(drafts, first + 1)
    outbox.close()


async def drain(folder: Path, port: int) -> dict[str, float]:
    """Run the agent until everything is acked, or long enough to know."""
    config = edge_config(folder, port, publish={"monthly_mb": 0}, window=1024)
    stop = asyncio.Event()
    found: dict[str, float] = {}

    async def watch(running: agent.Running) -> None:
        goal, begun = running.outbox.last, 0.0
        cpu = time.process_time()
        while running.outbox.acked < goal and not (begun and time.monotonic() - begun > _LONGEST_S):
            if not begun and running.publisher.in_session:
                begun, cpu = time.monotonic(), time.process_time()
            await asyncio.sleep(0.01)
        found["frames"] = running.outbox.acked
        found["seconds"] = time.monotonic() - begun
        found["cpu_s"] = time.process_time() - cpu
        found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MB
        stop.set()

    await agent.run(config, stop, (watch,))
    return found


def measure(folder: Path, quarters: int = QUARTERS) -> dict[str, float]:
    """`drain_readings_per_s`, `rss_mb` (the most at any moment), and what each side's processor did."""
    folder.mkdir()
    with broker(folder) as port, ingest(folder, port) as server:
        fill(folder, port, quarters)
        argv = (sys.executable, "-m", "benchmarks._backlog", str(folder), str(port))
        server_s = cpu_s(server.pid)
        done = subprocess.run(argv, check=True, stdout=subprocess.PIPE)
        server_s = cpu_s(server.pid) - server_s
    said = json.loads(done.stdout.splitlines()[-1])
    readings = said["frames"] * _READINGS
    return {
        "drain_readings_per_s": readings / said["seconds"],
        "drain_readings_per_gateway_cpu_s": readings / said["cpu_s"],
        "drain_readings_per_server_cpu_s": readings / server_s,
        "rss_mb": said["rss_mb"],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(drain(Path(sys.argv[1]), int(sys.argv[2])))))
