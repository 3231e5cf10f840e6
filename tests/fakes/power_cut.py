"""A power cut, without cutting any power: what a process wrote below SQLite is played back up to a random moment.

What was synced is there. Of what was written after a file's last sync, any part may be: all of it, none of it, some writes
and not others, in any order, and the last of a write's 512-byte sectors missing. That is what a disk owes nobody.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_suffix(".c")
SECTOR = 512
WRITE, TRUNCATE, SYNC, REMOVE = 1, 2, 3, 4
_HEAD = struct.Struct("=4q")


class Operation(NamedTuple):
    """What was done to a file. `at`: of a write its offset, of a cut the length that was left."""

    kind: int
    path: str
    at: int
    data: bytes


def compiler() -> str | None:
    """A C compiler, where there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """The shim as a library to preload."""
    library = folder / "power_cut.so"
    subprocess.run(
        [str(compiler()), "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True
    )
    return library


def environment(library: Path, log: Path, files: str, full: int | None = None) -> dict[str, str]:
    """What a process is started with, to be watched; `full`: bytes after which the disk takes no more."""
    more = {} if full is None else {"POWER_CUT_FULL": str(full)}
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "POWER_CUT_LOG": str(log),
        "POWER_CUT_FILES": files,
        "PYTHONPATH": os.pathsep.join(sys.path),
        **more,
    }


def operations(log: Path) -> list[Operation]:
    """What was written down, in order."""
    data, at, found = log.read_bytes(), 0, []
    while at + _HEAD.size <= len(data):
        kind, length, offset, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        path, body = data[at : at + length].decode(), data[at + length : at + length + size]
        at += length + size
        found.append(Operation(kind, path, offset, body))
    return found


def after_cut(done: Sequence[Operation], rng: random.Random) -> dict[str, bytes]:
    """Path → content, had the power gone after these operations."""
    synced: dict[str, bytearray] = defaultdict(bytearray)
    loose: dict[str, list[Operation]] = defaultdict(list)
    for operation in done:
        if operation.kind == REMOVE:  # SQLite syncs the folder behind it.
            synced.pop(operation.path, None)
            loose.pop(operation.path, None)
        elif operation.kind == SYNC:
            for earlier in loose.pop(operation.path, []):
                _apply(synced[operation.path], earlier)
        else:
            loose[operation.path].append(operation)
    share = rng.choice((0.0, 0.2, 0.5, 0.8, 1.0))
    for path, written in loose.items():
        kept = [_torn(operation, rng) for operation in written if rng.random() < share]
        if rng.random() < 0.5:
            rng.shuffle(kept)
        for operation in kept:
            _apply(synced[path], operation)
    return {path: bytes(content) for path, content in synced.items()}


def _torn(operation: Operation, rng: random.Random) -> Operation:
    sectors = -(-len(operation.data) // SECTOR)
    if operation.kind != WRITE or sectors < 2 or rng.random() < 0.7:
        return operation
    return operation._replace(data=operation.data[: SECTOR * rng.randrange(1, sectors)])


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind == TRUNCATE:
        del content[operation.at :]
        content.extend(bytes(operation.at - len(content)))
        return
    if len(content) < operation.at:
        content.extend(bytes(operation.at - len(content)))
    content[operation.at : operation.at + len(operation.data)] = operation.data
