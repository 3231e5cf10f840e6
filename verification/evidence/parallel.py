"""A second process for half of a pack's meters; what it finds comes back through a pipe.

A plain child instead of `multiprocessing`: that would import the caller's own main module again, whatever it does.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from verification.evidence.figures import Share

Work = Callable[[Path, frozenset[str]], Share]
COMMAND = (sys.executable, "-c", "from verification.evidence.parallel import main; main()")


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
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=found
    ) as process:
        with suppress(BrokenPipeError):
            _begin(process, path, meters)
        try:
            yield meters, lambda: _told(process, work, path, meters)
        finally:
            process.kill()


def _begin(process: "subprocess.Popen[bytes]", path: Path, meters: frozenset[str]) -> None:
    assert process.stdin is not None  # noqa: S101  it was asked for
    process.stdin.write(pickle.dumps((path, meters)))
    process.stdin.close()
    process.stdin = None


def _told(process: "subprocess.Popen[bytes]", work: Work, path: Path, meters: frozenset[str]) -> Share:
    data, _nothing = process.communicate()
    if process.returncode != 0:  # It died, of the pack or of something else: here we see of what.
        return work(path, meters)
    share: Share = pickle.loads(data)  # noqa: S301  our own child's
    return share


def main() -> None:
    """The second process: what to do comes in on stdin, what was found goes out on stdout."""
    from verification.evidence.verify import share_of  # noqa: PLC0415  that module starts this one

    path, meters = pickle.load(sys.stdin.buffer)  # noqa: S301  our own parent's
    sys.stdout.buffer.write(pickle.dumps(share_of(path, meters)))
