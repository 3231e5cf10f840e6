"""What goes when the ring is full, and in which order. Every function runs inside the caller's transaction.

1. acked frames, the oldest first;
2. of what the server does not have: live readings and totals between the quarter hours (`keep` = 0), the oldest first;
3. of readings that wait for the time: the same, then the oldest;
4. only then the oldest frames that the server does not have. Their numbers are declared lost.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

_MOST_AT_ONCE: Final = 500
_PART: Final = 16
"""At most this part of the ring goes at once, so that a small ring with large frames is not emptied."""
_RESERVE_BYTES: Final = 32_000_000
_RESERVE_SHARE: Final = 5
"""Free space that is left to the write-ahead log and to others: 32 MB, or a fifth of a small disk (ours)."""


class Evicted(msgspec.Struct):
    """What the ring has had to give up of what the server does not have, since the file was made."""

    thinned: int = 0
    """Live readings and totals between quarter hours; the energy of every quarter hour is still there."""
    thinned_to: int = 0
    """Up to this number no frame with `keep` = 0 is left."""
    lost: int = 0
    lost_to: int = 0
    """Up to this number frames were given up whole."""

    def is_thinned(self, first: int, last: int) -> bool:
        """Whether of a range that is not here only what lies between quarter hours was given up."""
        return self.lost_to < first and last <= self.thinned_to


def make_room(db: sqlite3.Connection, path: Path, max_bytes: int, acked: int, evicted: Evicted) -> None:
    """Delete until the ring is within its bytes, or nothing is left to delete."""
    limit = _limit(path, max_bytes)
    steps: Iterable[Callable[[], int]] = (
        lambda: _delete_oldest(db, acked),
        lambda: _thin(db, acked, evicted),
        lambda: _delete_held(db, "WHERE keep = 0"),
        lambda: _delete_held(db, ""),
        lambda: _lose(db, evicted),
    )
    for step in steps:
        while used_bytes(db) > limit:
            if not step():
                break


def used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something."""
    pages, free, size = (_pragma(db, name) for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _limit(path: Path, max_bytes: int) -> int:
    """The ring's bytes, or what the file can be on a disk that is nearly full: then it turns round in what it has."""
    disk = shutil.disk_usage(path.parent)
    reserve = min(_RESERVE_BYTES, disk.total // _RESERVE_SHARE)
    return min(max_bytes, path.stat().st_size + max(0, disk.free - reserve))


def _delete_oldest(db: sqlite3.Connection, up_to: int) -> int:
    first, last = db.execute("SELECT min(number), max(number) FROM frame").fetchone()
    if first is None or first > up_to:
        return 0
    count = min(_MOST_AT_ONCE, (last - first) // _PART + 1)
    end = min(first + count - 1, up_to)
    return db.execute("DELETE FROM frame WHERE number <= ?", (end,)).rowcount


def _thin(db: sqlite3.Connection, acked: int, evicted: Evicted) -> int:
    begin = max(acked, evicted.thinned_to)
    query = "SELECT number FROM frame WHERE number > ? AND keep = 0 ORDER BY number LIMIT ?"
    numbers = [row[0] for row in db.execute(query, (begin, _MOST_AT_ONCE))]
    if not numbers:
        return 0
    db.execute("DELETE FROM frame WHERE number > ? AND number <= ? AND keep = 0", (begin, numbers[-1]))
    evicted.thinned += len(numbers)
    evicted.thinned_to = numbers[-1]
    return len(numbers)


def _delete_held(db: sqlite3.Connection, which: str) -> int:
    query = f"DELETE FROM held WHERE id IN (SELECT id FROM held {which} ORDER BY id LIMIT {_MOST_AT_ONCE})"  # noqa: S608  two constants
    return db.execute(query).rowcount


def _lose(db: sqlite3.Connection, evicted: Evicted) -> int:
    first = db.execute("SELECT min(number) FROM frame").fetchone()[0]
    gone = _delete_oldest(db, 1 << 62)
    if gone:
        left = db.execute("SELECT min(number) FROM frame").fetchone()[0]
        evicted.lost_to = first + gone - 1 if left is None else left - 1
        evicted.lost += gone
    return gone
