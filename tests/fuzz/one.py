"""One fuzz target in a process of its own, so that a crash of compiled code or a hang ends nothing but itself.

Usage: python -m tests.fuzz.one TARGET --inputs N --seed S [--engine atheris|mutate]; a file name instead of N replays it.
The last line is one JSON object. Exit code 1: a finding, whose input lies in the folder of `--found`.
"""

import argparse
import importlib
import json
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.fuzz.mutate import MOST_BYTES, inputs

FOUND = Path(__file__).parent / "found"
HANG_S = 10
"""No input of a few kilobytes may take longer."""
MOST_GROWTH_BYTES = 256 * 1024 * 1024
"""Resident memory may grow by so much over a whole run."""
_LOOK_EVERY = 4096


class HangError(BaseException):
    """An input took too long. Not an Exception, so that no target can catch it."""


def main() -> None:
    """Run one target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--inputs", default="10000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("mutate", "atheris"), default="mutate")
    parser.add_argument("--found", type=Path, default=FOUND)
    asked = parser.parse_args()
    if asked.engine == "atheris":
        _with_atheris(asked.target, int(asked.inputs), asked.seed, asked.found)
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  atheris instruments what is imported after it

    warnings.simplefilter("ignore")
    target = TARGETS[asked.target]
    if Path(asked.inputs).is_file():
        target.run(Path(asked.inputs).read_bytes())
        return
    begun, peak = time.monotonic(), _resident()
    count = mutate(
        target.run,
        target.seeds(),
        asked.seed,
        int(asked.inputs),
        lambda data: _keep(asked.target, data, asked.found),
    )
    report(asked.target, "mutate", count, begun, _resident() - peak)


def mutate(
    run: Callable[[bytes], None], seeds: list[bytes], seed: int, count: int, keep: Callable[[bytes], Path]
) -> int:
    """Feed `count` inputs; the number fed. Whatever the target raises comes out after the input was kept.

    The seeds have no limit of time: with them kernels are compiled, and an alarm that rings inside LLVM's call into Python is
    swallowed by ctypes, which leaves numba without the code that it waits for.
    """
    signal.signal(signal.SIGALRM, _hang)
    first = 0
    for i, data in enumerate(inputs(seeds, random.Random(seed), count)):
        try:
            signal.setitimer(signal.ITIMER_REAL, HANG_S if i >= len(seeds) else 0)
            run(data)
        except BaseException:
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(f"seed {seed}, input {i}: kept as {keep(data)}", file=sys.stderr)
            raise
        if i == _LOOK_EVERY:  # What is loaded and compiled at first is not growth.
            first = _resident()
        elif i % _LOOK_EVERY == 0 and first and _resident() - first > MOST_GROWTH_BYTES:
            msg = f"resident memory grew from {first} to {_resident()} bytes within {i} inputs"
            raise MemoryError(msg)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return count


def report(name: str, engine: str, count: int, begun: float, growth: int) -> None:
    """The last line."""
    seconds = round(time.monotonic() - begun, 1)
    print(
        json.dumps(
            {"target": name, "engine": engine, "inputs": count, "seconds": seconds, "grown_mb": growth >> 20}
        )
    )


def _with_atheris(name: str, count: int, seed: int, found: Path) -> NoReturn:
    """Guided by coverage of our own modules; libFuzzer ends the process itself."""
    atheris = importlib.import_module("atheris")  # only here, and only where it is installed

    ours = [
        "metering",
        "edge_agent",
        "ingest",
        "stream",
        "storage",
        "verification",
        "factors",
        "api",
        "tanyun",
    ]
    with atheris.instrument_imports(include=ours):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    warnings.simplefilter("ignore")
    target = TARGETS[name]
    found.mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.mkdtemp(prefix=f"tanyun-corpus-{name}-"))
    for i, data in enumerate(target.seeds()):
        (corpus / f"seed{i}").write_bytes(data)
    options = [
        f"-runs={count}", f"-seed={seed or 1}", f"-max_len={MOST_BYTES}", f"-timeout={HANG_S}", "-rss_limit_mb=2048",
        f"-artifact_prefix={found / name}-", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()
    raise SystemExit


def _hang(_number: int, _frame: FrameType | None) -> NoReturn:
    raise HangError(f"an input took longer than {HANG_S} s")


def _resident() -> int:
    """Bytes of resident memory now (Linux), else the highest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _keep(name: str, data: bytes, found: Path) -> Path:
    found.mkdir(parents=True, exist_ok=True)
    path = found / f"{name}-{len(data)}-{abs(hash(data)) % 10**8}.bin"
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    main()
