"""Sealing the journal's old segments: smaller, and every record still there byte for byte."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from storage.blocks import seal, unseal
from storage.errors import CorruptError
from storage.journal import SCHEMA, SCHEMA_VERSION
from storage.merkle import merkle_root
from storage.sealed import BLOCK_TAG, PART_TAG, TAG_BYTES, part
from storage.sealed_index import MOST, TABLE, Where
from storage.sealed_index import pack as pack_rows
from storage.sealed_index import unpack as unpack_rows
from storage.segment import packed, unpack_all
from storage.sqlite import open_writer, transaction

BLOCK_BYTES = 8 << 20
"""Bodies that are compressed together, before compression: as much as one frame that is looked up costs to unpack (ours)."""


class Sealed(NamedTuple):
    """What sealing did."""

    segments: int
    frames: int
    bytes_before: int
    bytes_after: int


def seal_before(path: Path, until_ms: int, told: Callable[[Sealed], None] | None = None) -> Sealed:
    """Seal the segments up to the first written at `until_ms` or later, then the index of their frames.

    Block by block, each in a transaction of its own. Broken off, it goes on where it was. The caller holds the journal's lock. Freed
    pages are used by later frames; the file does not become shorter. CorruptError for a segment that does not match its root: it is
    left as it is.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    db = open_writer(path, SCHEMA, SCHEMA_VERSION)
    done = Sealed(0, 0, 0, 0)
    try:
        while block := _next(db, until_ms):
            done = Sealed(*map(sum, zip(done, _replace(db, block), strict=True)))
            if told:
                told(done)
        _seal_index(db)
    finally:
        db.close()
    return done


def _seal_index(db: sqlite3.Connection) -> None:
    """Put blocks in the place of the index rows of sealed frames, meter by meter, each in a transaction of its own."""
    db.executescript(f"BEGIN IMMEDIATE;{TABLE}COMMIT;")
    last = _last(db)
    newest = set(db.execute("SELECT gateway, epoch, max(number) FROM frame GROUP BY gateway, epoch"))
    meters = db.execute("SELECT DISTINCT gateway, meter FROM frame WHERE meter <> '' ORDER BY gateway, meter")
    query = "SELECT t_ms, epoch, number, segment, idx FROM frame WHERE gateway=? AND meter=? AND segment BETWEEN 1 AND ?"
    for gateway, meter in meters.fetchall():
        found = (Where(*row) for row in db.execute(query, (gateway, meter, last)))
        rows = sorted(row for row in found if (gateway, row.epoch, row.number) not in newest)
        if rows:
            _replace_rows(db, gateway, meter, rows)


def _replace_rows(db: sqlite3.Connection, gateway: str, meter: str, rows: list[Where]) -> None:
    blocks = []
    for at in range(0, len(rows), MOST):
        some = rows[at : at + MOST]
        data = pack_rows(some)
        if unpack_rows(data, len(some)) != some:
            msg = f"the index of {gateway} {meter} does not come back from its block; nothing was changed"
            raise CorruptError(msg)
        blocks.append((gateway, meter, len(some), some[0].t_ms, some[-1].t_ms, data))
    with transaction(db):
        db.executemany(
            "INSERT INTO sealed_frame(gateway, meter, frames, first_ms, last_ms, columns) VALUES(?,?,?,?,?,?)",
            blocks,
        )
        db.executemany(
            "DELETE FROM frame WHERE gateway=? AND epoch=? AND number=?",
            [(gateway, row.epoch, row.number) for row in rows],
        )


def _next(db: sqlite3.Connection, until_ms: int) -> list[tuple[int, int, bytes, bytes]]:
    """(segment, frames, root, body) of the next block's segments, none of them sealed."""
    query = "SELECT id, frames, root, body, created_ms FROM segment WHERE id > ? ORDER BY id"
    found: list[tuple[int, int, bytes, bytes]] = []
    size = 0
    for *row, created_ms in db.execute(query, (_last(db),)):
        if created_ms >= until_ms or size >= BLOCK_BYTES:
            break
        segment, frames, root, body = row
        found.append((segment, frames, root, body))
        size += len(body)
    return found


def _rewrite(db: sqlite3.Connection, first: int, last: int, bodies: list[bytes]) -> None:
    """Other bodies for segments `first` to `last`. Taken out and put in again: rows that shrink where they are leave pages nearly empty."""
    query = "SELECT id, created_ms, frames, root, chain FROM segment WHERE id BETWEEN ? AND ? ORDER BY id"
    heads = db.execute(query, (first, last)).fetchall()
    db.execute("DELETE FROM segment WHERE id BETWEEN ? AND ?", (first, last))
    rows = [(*head, body) for head, body in zip(heads, bodies, strict=True)]
    db.executemany("INSERT INTO segment VALUES(?,?,?,?,?,?)", rows)


def _last(db: sqlite3.Connection) -> int:
    """The newest sealed segment. Sealing goes forward without leaving one out, so none before it is open."""
    low, high = 0, db.execute("SELECT coalesce(max(id), 0) FROM segment").fetchone()[0]
    while low < high:
        middle = (low + high + 1) // 2
        row = db.execute("SELECT substr(body, 1, ?) FROM segment WHERE id=?", (TAG_BYTES, middle)).fetchone()
        low, high = (middle, high) if row[0] in {BLOCK_TAG, PART_TAG} else (low, middle - 1)
    return low


def _replace(db: sqlite3.Connection, block: list[tuple[int, int, bytes, bytes]]) -> Sealed:
    """Put a block in the place of its segments, once it has been read back and every root is right."""
    bodies = [body for _id, _frames, _root, body in block]
    stored = seal(bodies)
    for (segment, _frames, root, body), again in zip(block, unseal(stored), strict=True):
        if again != body or merkle_root(packed(unpack_all(again))) != root:
            msg = f"journal segment {segment} does not match its digest; it is not sealed: restore the journal from a backup"
            raise CorruptError(msg)
    first = block[0][0]
    places = [stored, *(part(first, place) for place in range(1, len(block)))]
    with transaction(db):
        _rewrite(db, first, block[-1][0], places)
    return Sealed(
        len(block), sum(frames for _id, frames, *_ in block), sum(map(len, bodies)), sum(map(len, places))
    )
