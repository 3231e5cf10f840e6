"""Parts of the journal for evidence: where a meter's frames and births stand, whole segments, and their digests."""

import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

import msgspec

from storage import sealed_index
from storage.errors import CorruptError
from storage.journal import SCHEMA_VERSION, Offset
from storage.merkle import CHAIN_START, chain_next, merkle_root
from storage.sealed import opened
from storage.sealed_index import Where
from storage.segment import Record, packed, unpack_all
from storage.sqlite import Store, open_reader

_CACHED_SEGMENTS = 256


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a frame stands in the journal, and the time of its readings."""

    offset: Offset
    t_ms: int


class JournalSlice(Store):
    """Reads the journal up to an end (exclusive), as it was when a month was closed: what came later is not there."""

    def __init__(self, path: Path, end: Offset) -> None:
        super().__init__(open_reader(path, SCHEMA_VERSION))
        self.end = end
        self.journal_id: str = self._db.execute("SELECT value FROM meta WHERE key='journal_id'").fetchone()[0]
        self.records = lru_cache(_CACHED_SEGMENTS)(self._records)
        """Segment number → its records' bytes, each exactly as stored: the leaves of its Merkle tree."""
        self.unpacked = lru_cache(_CACHED_SEGMENTS)(self._unpacked)
        """Segment number → its records."""

    def before(self, gateway: str, meter: str, t_ms: int, limit: int) -> list[Place]:
        """The last `limit` frames before a time, latest first."""
        return self._places(sealed_index.before(self._db, gateway, meter, t_ms), limit)

    def after(self, gateway: str, meter: str, t_ms: int, limit: int) -> list[Place]:
        """The first `limit` frames at or after a time, earliest first."""
        return self._places(sealed_index.at_or_after(self._db, gateway, meter, t_ms), limit)

    def between(self, gateway: str, meter: str, start_ms: int, end_ms: int) -> list[Place]:
        """The frames in `[start_ms, end_ms)`, in time order."""
        return self._places(sealed_index.between(self._db, gateway, meter, start_ms, end_ms), None)

    def first_segment(self, after_ms: int) -> int | None:
        """The first segment with a frame after a time, of any meter; None for none. It may lie beyond the end."""
        return sealed_index.first_segment(self._db, after_ms)

    def _places(self, rows: Iterator[Where], limit: int | None) -> list[Place]:
        """The first of some frames that the slice has."""
        places = (Place(Offset(row.segment, row.idx), row.t_ms) for row in rows)
        return list(islice((place for place in places if place.offset < self.end), limit))

    def births(self, gateway: str, meter: str) -> list[Offset]:
        """Every birth of a meter, in journal order."""
        query = (
            "SELECT DISTINCT segment, idx FROM birth WHERE gateway=? AND meter=? "
            "AND (segment, idx) < (?, ?) ORDER BY segment, idx"
        )
        rows = self._db.execute(query, (gateway, meter, self.end.segment, self.end.index))
        return [Offset(segment, index) for segment, index in rows]

    def _records(self, segment: int) -> list[bytes]:
        return packed(self._unpacked(segment))

    def _unpacked(self, segment: int) -> list[Record]:
        row = self._db.execute("SELECT body FROM segment WHERE id=?", (segment,)).fetchone()
        if row is None:
            msg = f"journal segment {segment} is not there"
            raise CorruptError(msg)
        return unpack_all(opened(self._db, segment, row[0]))

    def bodies(self, first: int, last: int) -> list[bytes]:
        """The segments `first` to `last`, as far as there are some, each as ingest wrote it."""
        rows = self._db.execute(
            "SELECT id, body FROM segment WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)
        )
        return [opened(self._db, segment, body) for segment, body in rows]

    def chain_after(self, segment: int) -> bytes:
        """The chain value after a segment; before the first it is 32 zero bytes."""
        return _chain(self._db, segment) if segment else CHAIN_START

    def recomputed_chain(self, last: int) -> bytes:
        """The chain value after a segment, computed again from every record's bytes; empty when the journal does not reach it."""
        chain, count = CHAIN_START, 0
        for segment, body in self._db.execute(
            "SELECT id, body FROM segment WHERE id<=? ORDER BY id", (last,)
        ):
            root = merkle_root(packed(unpack_all(opened(self._db, segment, body))))
            chain, count = chain_next(chain, segment, root), count + 1
        return chain if count == last else b""

    def roots(self, first: int, last: int) -> Iterator[bytes]:
        """The Merkle roots of the segments `first` to `last`."""
        rows = self._db.execute(
            "SELECT root FROM segment WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)
        )
        return (bytes(root) for (root,) in rows)


def _chain(db: sqlite3.Connection, segment: int) -> bytes:
    row = db.execute("SELECT chain FROM segment WHERE id=?", (segment,)).fetchone()
    if row is None:
        msg = f"journal segment {segment} is not there"
        raise CorruptError(msg)
    return bytes(row[0])
