"""A second process for half of a pack's meters; what it finds comes back through a pipe."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from verification.evidence.figures import Share

Work = Callable[[Path, frozenset[str]], Share]


def two_cores() -> bool:
    """Whether a second process has a core of its own."""
    return len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) > 1


@contextmanager
def other_process(
    work: Work, path: Path, meters: frozenset[str]
) -> Iterator[tuple[frozenset[str], Callable[[], Share | None]]]:
    """The meters that another process works on, and how to wait for it; it ends with the `with`, done or not."""
    if not meters:
        yield meters, lambda: None
        return
    context = get_context("spawn")
    ours, its = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(work, path, meters, its), daemon=True)
    process.start()
    its.close()
    try:
        yield meters, lambda: _told(ours, work, path, meters)
    finally:
        process.terminate()
        process.join()
        ours.close()


def _tell(work: Work, path: Path, meters: frozenset[str], pipe: Connection) -> None:
    pipe.send(work(path, meters))


def _told(pipe: Connection, work: Work, path: Path, meters: frozenset[str]) -> Share:
    try:
        share: Share = pipe.recv()
    except EOFError:  # It died, of the pack or of something else: here we see of what.
        return work(path, meters)
    return share
