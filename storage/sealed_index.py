"""The index of sealed frames: by meter in blocks of columns, merged with the rows of those that are not sealed yet.

A row of `frame` and its place in two trees cost as much as the frame itself sealed. A block has up to `MOST` frames of one
meter in time order; blocks may overlap in time, as frames come late. What is looked up by gateway alone stays a row: words
that frames are lost, refused ones, and the highest number of every outbox.
"""

import heapq
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from storage.errors import CorruptError

TABLE = """
CREATE TABLE IF NOT EXISTS sealed_frame(
  id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, meter TEXT NOT NULL, frames INTEGER NOT NULL,
  first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, columns BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS sealed_frame_meter ON sealed_frame(gateway, meter, first_ms, last_ms);
"""
_WRAP = 1 << 64
MOST = 4096
"""Frames of a block: unpacking one takes some milliseconds. Ours."""


class Where(NamedTuple):
    """A frame in the index. Sorted they are in the order of their times, as all lookups by meter want them."""

    t_ms: int
    epoch: int
    number: int
    segment: int
    idx: int


class _Block(NamedTuple):
    edge_ms: int
    """Of its first row, in the direction that is asked for."""
    id: int


def pack(rows: list[Where]) -> bytes:
    """Rows as columns of differences, low bytes first."""
    out = []
    for column in zip(*rows, strict=True):
        steps = [(b - a) % _WRAP for a, b in zip((0, *column), column, strict=False)]
        data = struct.pack(f"<{len(steps)}Q", *steps)
        out += [data[byte::8] for byte in range(8)]
    return zlib.compress(b"".join(out), 9)


def unpack(data: bytes, count: int) -> list[Where]:
    """The twin of `pack`; CorruptError when it does not add up."""
    width = len(Where._fields)
    try:
        flat = zlib.decompress(data)
    except zlib.error as error:
        msg = f"a block of the journal's frame index cannot be read: {error}"
        raise CorruptError(msg) from error
    if len(flat) != 8 * width * count:
        msg = f"a block of the journal's frame index has {len(flat)} bytes, not those of {count} frames"
        raise CorruptError(msg)
    columns = []
    for at in range(0, len(flat), 8 * count):
        steps = bytearray(8 * count)
        for byte in range(8):
            steps[byte::8] = flat[at + byte * count : at + (byte + 1) * count]
        total, column = 0, []
        for step in struct.unpack(f"<{count}Q", steps):
            total = (total + step + _WRAP // 2) % _WRAP - _WRAP // 2
            column.append(total)
        columns.append(column)
    return [Where(*row) for row in zip(*columns, strict=True)]


def at_or_after(db: sqlite3.Connection, gateway: str, meter: str, t_ms: int) -> Iterator[Where]:
    """The frames of a meter from a time on, earliest first."""
    query = f"{_LIVE} AND t_ms >= ? ORDER BY t_ms, epoch, number"
    blocks = _blocks(db, "first_ms", "last_ms >= ?", gateway, meter, t_ms)
    live = db.execute(query, (gateway, meter, t_ms))
    found = _merged(db, map(Where._make, live), blocks, 1)
    return (row for row in found if row.t_ms >= t_ms)


def before(db: sqlite3.Connection, gateway: str, meter: str, t_ms: int) -> Iterator[Where]:
    """The frames of a meter before a time, latest first."""
    query = f"{_LIVE} AND t_ms < ? ORDER BY t_ms DESC, epoch DESC, number DESC"
    blocks = _blocks(db, "last_ms", "first_ms < ?", gateway, meter, t_ms)
    live = db.execute(query, (gateway, meter, t_ms))
    found = _merged(db, map(Where._make, live), blocks, -1)
    return (row for row in found if row.t_ms < t_ms)


def between(db: sqlite3.Connection, gateway: str, meter: str, start_ms: int, end_ms: int) -> Iterator[Where]:
    """The frames of a meter in `[start_ms, end_ms)`, earliest first."""
    for row in at_or_after(db, gateway, meter, start_ms):
        if row.t_ms >= end_ms:
            return
        yield row


def numbered(db: sqlite3.Connection, gateway: str, epoch: int, number: int) -> Where | None:
    """A sealed frame by its outbox's number; reads every sealed block of the gateway: for what hardly ever happens."""
    for row in of_gateway(db, gateway):
        if (row.epoch, row.number) == (epoch, number):
            return row
    return None


def of_gateway(db: sqlite3.Connection, gateway: str) -> Iterator[Where]:
    """Every sealed frame of a gateway."""
    for id_ in _ids(db, "SELECT id FROM sealed_frame WHERE gateway=?", gateway):
        yield from _rows(db, id_)


def everything(db: sqlite3.Connection) -> Iterator[tuple[str, Where]]:
    """(gateway, frame) of every sealed frame, a block at a time."""
    for id_ in _ids(db, "SELECT id FROM sealed_frame ORDER BY gateway"):
        (gateway,) = db.execute("SELECT gateway FROM sealed_frame WHERE id=?", (id_,)).fetchone()
        for row in _rows(db, id_):
            yield gateway, row


def first_segment(db: sqlite3.Connection, after_ms: int) -> int | None:
    """The first segment with a frame of any meter whose time is after a moment; None for none. It reads the index of all of them."""
    query = "SELECT min(segment) FROM frame WHERE t_ms > ? AND segment > 0 AND meter <> ''"
    found = [segment for (segment,) in db.execute(query, (after_ms,)) if segment is not None]
    blocks = _ids(db, "SELECT id FROM sealed_frame WHERE last_ms > ?", after_ms)
    found += [min(row.segment for row in _rows(db, id_) if row.t_ms > after_ms) for id_ in blocks]
    return min(found, default=None)


_LIVE = "SELECT t_ms, epoch, number, segment, idx FROM frame WHERE gateway=? AND meter=? AND segment > 0"


def _ids(db: sqlite3.Connection, query: str, *values: object) -> list[int]:
    return [id_ for (id_,) in db.execute(query, values)] if _is_there(db) else []


def _is_there(db: sqlite3.Connection) -> bool:
    """Whether anything was ever sealed so."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name='sealed_frame'").fetchone() is not None


def _blocks(db: sqlite3.Connection, edge: str, where: str, *values: object) -> list[_Block]:
    """The blocks of a meter that may have what is asked for."""
    if not _is_there(db):
        return []
    query = f"SELECT {edge}, id FROM sealed_frame WHERE gateway=? AND meter=? AND {where}"  # noqa: S608  our own clauses
    return [_Block(*row) for row in db.execute(query, values)]


def _rows(db: sqlite3.Connection, id_: int) -> list[Where]:
    data, count = db.execute("SELECT columns, frames FROM sealed_frame WHERE id=?", (id_,)).fetchone()
    return unpack(data, count)


def _merged(db: sqlite3.Connection, live: Iterator[Where], blocks: list[_Block], way: int) -> Iterator[Where]:
    """Rows in order (`way` 1) or in reverse (-1). A block is unpacked when its first row may be the next one."""
    waiting = sorted(blocks, key=lambda block: way * block.edge_ms, reverse=True)
    heap: list[tuple[tuple[int, ...], int, Where]] = []
    sources = [live]

    def advance(number: int) -> None:
        row = next(sources[number], None)
        if row is not None:
            heapq.heappush(heap, (tuple(way * value for value in row), number, row))

    advance(0)
    while heap or waiting:
        while waiting and (not heap or way * waiting[-1].edge_ms <= heap[0][0][0]):
            sources.append(iter(_rows(db, waiting.pop().id)[::way]))
            advance(len(sources) - 1)
        _key, number, row = heapq.heappop(heap)
        yield row
        advance(number)
