"""A ledger made from the journal by several processes, each with its share of the meters; this one writes.

A plain child instead of `multiprocessing`: that would import the caller's own main module again, whatever it does.
"""

import gc
import os
import pickle
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import msgspec

from metering.registry import Park
from storage.journal import JournalReader, Offset
from stream.context import Context
from stream.policy import Policy
from stream.share import SLICE, Share, Told
from stream.sources.partition import Partition
from stream.sources.replay import Replay

COMMAND = (sys.executable, "-c", "from stream.rebuild import main; main()")
BEGIN = Offset(1, 0)
_SIZE_BYTES = 8
Work = tuple[Path, Offset, Park, Policy, int, int]
"""Journal, its end, registry, factors, number of the worker, and of how many."""


class WorkerError(Exception):
    """A worker left before its time (ours). What it said went to the log."""


def cores() -> int:
    """What this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def told_by(workers: int, journal: Path, end: Offset, context: Context) -> Iterator[Told]:
    """What so many workers find, as it comes; each ends with one that has a state."""
    work = [(journal, end, context.park, context.policy, i, workers) for i in range(workers)]
    return shares(work) if workers > 1 else share(work[0])


def share(work: Work) -> Iterator[Told]:
    """What one worker finds."""
    path, end, park, policy, worker, workers = work
    with JournalReader(path) as journal:
        source = Partition(Replay(journal, end, times=workers), worker, workers)
        yield from Share(source, Context(park, policy), SLICE).told(BEGIN)


def shares(work: list[Work]) -> Iterator[Told]:
    """What several find, each in a process of its own; they end when nobody asks any more."""
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with ExitStack() as stack, selectors.DefaultSelector() as ready:
        for one in work:
            process = stack.enter_context(
                subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=found)
            )
            stack.callback(process.kill)
            if process.stdin is None or process.stdout is None:
                raise AssertionError
            # One that has gone already is noticed when it is read from.
            with suppress(BrokenPipeError):
                process.stdin.write(pickle.dumps(one))
            with suppress(BrokenPipeError):
                process.stdin.close()
            ready.register(process.stdout, selectors.EVENT_READ)
        while ready.get_map():
            for key, _events in ready.select():
                told = _read(key.fileobj)  # type: ignore[arg-type]
                if told.state:
                    ready.unregister(key.fileobj)
                yield told


def _read(pipe: IO[bytes]) -> Told:
    size = int.from_bytes(pipe.read(_SIZE_BYTES))
    data = pipe.read(size)
    if not size or len(data) < size:
        msg = "a worker of the rebuild left before its time"
        raise WorkerError(msg)
    return msgspec.msgpack.decode(data, type=Told)


def main() -> None:
    """A worker: what to do comes in on stdin, what was found goes out on stdout."""
    gc.disable()  # it makes no cycles, and looking for them among its rows takes a tenth of the time
    for told in share(pickle.load(sys.stdin.buffer)):  # noqa: S301  our own parent's
        data = msgspec.msgpack.encode(told)
        sys.stdout.buffer.write(len(data).to_bytes(_SIZE_BYTES) + data)
        sys.stdout.buffer.flush()
