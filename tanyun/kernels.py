"""The cache of compiled kernels: filled once, by two processes, and used for as long as it is what they have put there.

Several processes that fill one folder of numba's can crash each other (numba issues 4807 and 10128), so each fills its own,
and one at a time takes care of the cache. A cache that is damaged, or was filled on another processor, is filled anew.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_HELPER = (sys.executable, "-c", "from stream.warm import main; main()")
_FILES = "*/*.nb[ci]"
"""Numba's index and data files, in a folder per folder of source."""
_LIST = "warm"
"""The digests of all files, below the processor that they were made for."""


def fill(cache: Path, compiled: Callable[[Path], None]) -> bool:
    """Have every kernel compiled in there, by `compiled`; whether there was anything to do."""
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache):
        if _listed(cache) == _found(cache):
            return False
        _empty(cache)
        compiled(cache)
        made = cache / f"{_LIST}.new"
        made.write_text(_found(cache), encoding="ascii")
        made.replace(cache / _LIST)
        return True


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _listed(cache: Path) -> str:
    try:
        return (cache / _LIST).read_text(encoding="ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _found(cache: Path) -> str:
    """What the list would be."""
    from llvmlite import binding  # noqa: PLC0415  as late as numba, which takes these two into its own keys

    processor = f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    files = sorted(cache.glob(_FILES))
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return "\n".join(
        [processor, *(f"{digest}  {path.name}" for digest, path in zip(digests, files, strict=True))]
    )


def _empty(cache: Path) -> None:
    (cache / _LIST).unlink(missing_ok=True)
    for path in cache.glob(_FILES):
        path.unlink()


def in_two_halves(cache: Path) -> None:
    """One half here, the other in a process beside; it is started first, so that both load numba at the same time."""
    with tempfile.TemporaryDirectory() as beside:
        path = os.pathsep.join(filter(None, sys.path))
        world = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": beside}
        with subprocess.Popen(_HELPER, stdin=subprocess.PIPE, env=world) as helper:
            from stream import warm  # noqa: PLC0415

            with warm.no_garbage():
                warm.one_half()
            if helper.wait():
                log.warning("compile_alone code=%d: the process beside has failed", helper.returncode)
        _take_over(Path(beside), cache)
    warm.other_half()  # to be had from the cache; what the process beside has not made is made here


def _take_over(made: Path, cache: Path) -> None:
    """Move what is new: functions that both have compiled are there already. An index comes after its data."""
    known = {path.relative_to(cache) for path in cache.glob(_FILES)}
    for path in sorted(made.glob(_FILES)):
        target = path.relative_to(made)
        if target not in known:
            (cache / target).parent.mkdir(exist_ok=True)
            shutil.move(path, cache / target)
