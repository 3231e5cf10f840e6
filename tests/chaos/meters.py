"""The demo's simulated meters and clock with a pace, as a process: CONFIG START_MS CLOCK_PORT STATE PACE_S."""

import asyncio
import sys
from pathlib import Path

from edge_agent.simulator.config import load_config
from edge_agent.simulator.server import run_simulator
from tanyun.commands.common import start_logging

if __name__ == "__main__":
    config, start, port, state, pace = sys.argv[1:]
    start_logging()
    asyncio.run(
        run_simulator(
            load_config(Path(config)),
            start_ms=int(start), clock_port=int(port), state_file=Path(state), pace_s=float(pace),
        )
    )  # fmt: skip
