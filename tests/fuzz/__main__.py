"""All fuzz targets, one process each, until the asked number of inputs has been fed. Last line: one JSON object.

Usage: scripts/fuzz --inputs 10000000 [--seed S] [--engine mutate|atheris] [TARGET ...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default"
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="over all targets together")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--engine", choices=("mutate", "atheris"), default="mutate")
    asked = parser.parse_args()
    chosen = {name: TARGETS[name].weight for name in asked.targets or TARGETS}
    print(f"seed {asked.seed}, engine {asked.engine}", flush=True)
    total, failed, begun = 0, [], time.monotonic()
    for name, weight in chosen.items():
        count = -(-asked.inputs * weight // sum(chosen.values()))
        if _run(name, count, asked.seed, asked.engine):
            total += count
        else:
            failed.append(name)
    seconds = round(time.monotonic() - begun)
    print(
        json.dumps(
            {
                "inputs": total,
                "targets": len(chosen),
                "failed": failed,
                "seed": asked.seed,
                "seconds": seconds,
            }
        )
    )
    raise SystemExit(bool(failed))


def _run(name: str, count: int, seed: int, engine: str) -> bool:
    """True when the target took all inputs. Compiled code checks every index, in a cache of its own."""
    cache = Path(tempfile.gettempdir()) / f"tanyun-fuzz-numba-{os.getuid()}"
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache)}
    argv = [
        sys.executable,
        "-m",
        "tests.fuzz.one",
        name,
        "--inputs",
        str(count),
        "--seed",
        str(seed),
        "--engine",
        engine,
    ]
    done = subprocess.run(argv, check=False, env=environment, capture_output=True, text=True)
    if done.returncode == 0 and engine == "mutate":
        print(done.stdout.strip().splitlines()[-1], flush=True)
    else:
        print(f"{name}: exit {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-3000:]}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
