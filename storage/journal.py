"""The journal: the server's append-only, hash-chained log of frames and births exactly as received. Written by ingest alone."""

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from storage import sealed_index
from storage.errors import CorruptError
from storage.merkle import CHAIN_START, chain_next, merkle_root
from storage.sealed import Blocks, opened
from storage.sealed_index import Where
from storage.segment import Record, packed, unpack_all
from storage.sqlite import Store, open_reader

SCHEMA_VERSION = 1
_CACHED_SEGMENTS = 64
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segment(
  id INTEGER PRIMARY KEY, created_ms INTEGER NOT NULL, frames INTEGER NOT NULL,
  root BLOB NOT NULL, chain BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE frame(
  gateway TEXT NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL, meter TEXT NOT NULL, t_ms INTEGER NOT NULL,
  digest BLOB NOT NULL, segment INTEGER NOT NULL, idx INTEGER NOT NULL,
  PRIMARY KEY(gateway, epoch, number)) WITHOUT ROWID;
CREATE INDEX frame_time ON frame(gateway, meter, t_ms);
CREATE TABLE birth(
  gateway TEXT NOT NULL, meter TEXT NOT NULL, epoch INTEGER NOT NULL, segment INTEGER NOT NULL, idx INTEGER NOT NULL,
  PRIMARY KEY(gateway, meter, epoch, segment, idx)) WITHOUT ROWID;
CREATE TABLE gateway(
  gateway TEXT PRIMARY KEY, online INTEGER NOT NULL, since_ms INTEGER NOT NULL,
  last_received_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine(
  id INTEGER PRIMARY KEY, received_ms INTEGER NOT NULL, topic TEXT NOT NULL, gateway TEXT NOT NULL,
  reason TEXT NOT NULL, detail TEXT NOT NULL, payload BLOB NOT NULL);
CREATE INDEX quarantine_reason ON quarantine(reason);
CREATE TABLE event(
  id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, gateway TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL);
"""
NEW_ID = "INSERT INTO meta VALUES('journal_id', lower(hex(randomblob(8))));"
"""Part of the schema's transaction: no reader ever sees a journal without its id."""
HIGHEST = (1 << 62) - 1
"""No frame has a higher number."""
REFUSED = 0
"""Segment number of a frame that stands in the quarantine instead of the journal."""


class Offset(msgspec.Struct, frozen=True, order=True, gc=False):
    """A place in the journal: segment, and record within it. As a cursor: everything before it has been read."""

    segment: int
    index: int


class FrameIndex(msgspec.Struct, frozen=True, gc=False):
    """Where a numbered frame belongs. Unsequenced frames of foreign nodes have epoch 0 and a number given by ingest."""

    gateway: str
    meter: str
    epoch: int
    number: int
    t_ms: int
    digest: bytes


class BirthIndex(msgspec.Struct, frozen=True, gc=False):
    """A birth: the meter is empty for the gateway's own."""

    gateway: str
    meter: str
    epoch: int


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record to append, with its index."""

    record: Record
    index: FrameIndex | BirthIndex | None = None
    instead_of_loss: bool = False
    """Under its number stands, so far, the word that the frame is lost; that record stays in its segment."""


class Quarantined(msgspec.Struct, frozen=True, gc=False):
    """A refused message, kept with the reason. A numbered one counts as stored, so its ack can pass."""

    record: Record
    gateway: str
    reason: str
    detail: str
    index: FrameIndex | None = None


class GatewayState(msgspec.Struct, frozen=True, gc=False):
    """What ingest knows about a gateway's session."""

    gateway: str
    online: bool
    since_ms: int
    last_received_ms: int


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that a person may have to look at."""

    t_ms: int
    gateway: str
    kind: str
    detail: dict[str, Any]


class StoredFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame or birth read back."""

    offset: Offset
    topic: str
    payload: bytes
    received_ms: int
    gateway: str
    meter: str
    epoch: int
    number: int
    t_ms: int


class QuarantineRow(msgspec.Struct, frozen=True, gc=False):
    """A refused message as the API shows it."""

    id: int
    received_ms: int
    topic: str
    gateway: str
    reason: str
    detail: str
    size: int
    payload: bytes


class GatewayRow(msgspec.Struct, frozen=True, gc=False):
    """A gateway's session and how far its frames are stored."""

    gateway: str
    online: bool
    since_ms: int
    epoch: int
    number: int
    last_received_ms: int
    last_t_ms: int


class JournalEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of ingest."""

    id: int
    t_ms: int
    gateway: str
    kind: str
    detail: dict[str, Any]


class JournalHead(NamedTuple):
    """Where the journal ends. `offset` is exclusive."""

    journal_id: str
    offset: Offset
    chain: bytes
    segments: int
    frames: int


class Commit(msgspec.Struct, gc=False):
    """Everything that one group commit makes durable, or none of it."""

    entries: list[Entry] = []
    quarantined: list[Quarantined] = []
    events: list[NewEvent] = []
    gateways: list[GatewayState] = []

    def __bool__(self) -> bool:
        return bool(self.entries or self.quarantined or self.events or self.gateways)


class JournalReader(Store):
    """Reads the journal in short transactions, while ingest goes on writing."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_reader(path, SCHEMA_VERSION))
        row = self._db.execute("SELECT value FROM meta WHERE key='journal_id'").fetchone()
        self.journal_id: str = row[0] if row else ""
        self._records = lru_cache(_CACHED_SEGMENTS)(partial(records_of, self._db))
        """Segment number → its records. They never change: sealing packs the same ones."""

    def head(self) -> JournalHead:
        """Where the journal ends now."""
        row = self._db.execute("SELECT id, chain FROM segment ORDER BY id DESC LIMIT 1").fetchone()
        segment, chain = row or (0, CHAIN_START)
        frames = self._db.execute("SELECT coalesce(sum(frames), 0) FROM segment").fetchone()[0]
        return JournalHead(self.journal_id, Offset(segment + 1, 0), bytes(chain), segment, frames)

    def last_segment(self) -> int:
        """Number of the newest segment; cheap enough to ask many times a second."""
        row = self._db.execute("SELECT max(id) FROM segment").fetchone()
        return int(row[0] or 0)

    def segments(self, cursor: Offset, limit: int) -> list[tuple[int, list[Record]]]:
        """At most `limit` segments from the cursor's on, whole; the caller skips the records it has read."""
        return [(segment, unpack_all(body)) for segment, body in self.bodies(cursor.segment, limit)]

    def bodies(self, first: int, limit: int, size: int = 1 << 62) -> list[tuple[int, bytes]]:
        """At most `limit` segments from `first` on, each as ingest wrote it; no more once they have `size` bytes together."""
        found: list[tuple[int, bytes]] = []
        with closing(self.each_body(first, limit)) as bodies:
            for segment, body in bodies:
                found.append((segment, body))
                size -= len(body)
                if size <= 0:
                    break
        return found

    def each_body(self, first: int, limit: int = -1) -> Generator[tuple[int, bytes], None, None]:
        """The same one by one. The reader's transaction lasts until it is closed."""
        query = "SELECT id, body FROM segment WHERE id >= ? ORDER BY id LIMIT ?"
        blocks: Blocks = {}
        for segment, stored in self._db.execute(query, (first, limit)):
            yield segment, opened(self._db, segment, stored, blocks)

    def segments_end(self, after: int, until: int, frames: int) -> int:
        """The segment up to which about `frames` records lie after segment `after`; at least one segment, at most `until`."""
        query = "SELECT id, frames FROM segment WHERE id > ? AND id <= ? ORDER BY id"
        for segment, count in self._db.execute(query, (after, until)):
            frames -= count
            if frames <= 0:
                return int(segment)
        return until

    def created_ms(self, segment: int) -> int | None:
        """When a segment was written."""
        row = self._db.execute("SELECT created_ms FROM segment WHERE id=?", (segment,)).fetchone()
        return int(row[0]) if row else None

    def births_before(self, segment: int) -> list[Record]:
        """The newest birth of every gateway and meter in the segments before this one, oldest first."""
        query = "SELECT max(segment * 1000000 + idx) AS place FROM birth WHERE segment < ? GROUP BY gateway, meter ORDER BY place"
        return records_at(self._db, [place for (place,) in self._db.execute(query, (segment,))])

    def verify_chain(self) -> int:
        """Recompute every segment's Merkle root and the chain; the number of segments, or CorruptError naming the first bad one."""
        chain, count = CHAIN_START, 0
        for segment, root, stored, body in self._db.execute(
            "SELECT id, root, chain, body FROM segment ORDER BY id"
        ):
            count += 1
            try:
                found = merkle_root(packed(unpack_all(opened(self._db, segment, body))))
            except CorruptError:
                found = b""  # is no root
            chain = chain_next(chain, segment, found)
            if found != root or chain != stored or segment != count:
                msg = f"journal segment {segment} does not match its digest"
                raise CorruptError(msg)
        return count

    def gateways(self) -> list[GatewayRow]:
        """Every gateway ever heard, with the progress of its newest epoch."""
        query = """
          SELECT g.gateway, g.online, g.since_ms, g.last_received_ms, f.epoch, f.number, f.t_ms FROM gateway g
          LEFT JOIN frame f ON f.gateway = g.gateway AND (f.epoch, f.number) =
            (SELECT epoch, number FROM frame WHERE gateway = g.gateway ORDER BY epoch DESC, number DESC LIMIT 1)
          ORDER BY g.gateway"""
        return [
            GatewayRow(gateway, bool(online), since, epoch or 0, number or 0, last, t_ms or 0)
            for gateway, online, since, last, epoch, number, t_ms in self._db.execute(query)
        ]

    def frame_before(self, gateway: str, meter: str, t_ms: int) -> StoredFrame | None:
        """The last frame at or before `t_ms`."""
        return self._one(gateway, meter, sealed_index.before(self._db, gateway, meter, t_ms + 1))

    def frame_after(self, gateway: str, meter: str, t_ms: int) -> StoredFrame | None:
        """The first frame at or after `t_ms`."""
        return self._one(gateway, meter, sealed_index.at_or_after(self._db, gateway, meter, t_ms))

    def _one(self, gateway: str, meter: str, rows: Iterator[Where]) -> StoredFrame | None:
        row = next(rows, None)
        return None if row is None else self._stored(gateway, meter, row)

    def frames(self, gateway: str, meter: str, start_ms: int, end_ms: int) -> Iterator[StoredFrame]:
        """The frames of a meter in `[start_ms, end_ms)`, in time order."""
        for row in list(sealed_index.between(self._db, gateway, meter, start_ms, end_ms)):
            yield self._stored(gateway, meter, row)

    def records(self, meters: Iterable[tuple[str, str]], start_ms: int, end_ms: int) -> list[Record]:
        """The frames of some meters, each by (gateway, meter), in `[start_ms, end_ms)`, in journal order; a segment is opened once."""
        found = (sealed_index.between(self._db, *pair, start_ms, end_ms) for pair in meters)
        places = [(row.segment, row.idx) for rows in found for row in rows]
        out: list[Record] = []
        for segment, group in groupby(sorted(places), itemgetter(0)):
            body = records_of(self._db, segment)
            out += [body[index] for _, index in group]
        return out

    def numbers_between(self, gateway: str, start_ms: int, end_ms: int) -> tuple[int, int, int] | None:
        """(Epoch, first, last number) of what a gateway's newest outbox had read in `[start_ms, end_ms)`, whether it is here or not.

        Told by the frames before and behind: without any behind, up to the highest number that can be. None when the gateway
        is not known, or nothing lies between.
        """
        newest = self._db.execute("SELECT max(epoch) FROM frame WHERE gateway=?", (gateway,)).fetchone()[0]
        query = """
          SELECT coalesce(max(CASE WHEN t_ms < ? THEN number END), 0) + 1,
                 min(CASE WHEN t_ms >= ? THEN number END) - 1
          FROM frame WHERE gateway=? AND epoch=? AND segment > 0 AND meter <> ''"""
        first, last = self._db.execute(query, (start_ms, end_ms, gateway, newest)).fetchone()
        last = HIGHEST if last is None else last
        for row in sealed_index.of_gateway(self._db, gateway):
            if row.epoch == newest and row.t_ms < start_ms:
                first = max(first, row.number + 1)
            elif row.epoch == newest and row.t_ms >= end_ms:
                last = min(last, row.number - 1)
        return None if not newest or first > last else (newest, first, last)

    def births(self, gateway: str, meter: str, epoch: int) -> Iterator[StoredFrame]:
        """The births that frames of this epoch decode with, newest first. An alias keeps its meaning within an epoch."""
        query = (
            "SELECT 0, epoch, 0, segment, idx FROM birth "
            "WHERE gateway=? AND meter=? AND epoch=? ORDER BY segment DESC, idx DESC"
        )
        for row in self._db.execute(query, (gateway, meter, epoch)).fetchall():
            yield self._stored(gateway, meter, Where(*row))

    def _stored(self, gateway: str, meter: str, where: Where) -> StoredFrame:
        t_ms, epoch, number, segment, index = where
        record = self._records(segment)[index]
        return StoredFrame(
            Offset(segment, index),
            record.topic,
            record.payload,
            record.received_ms,
            gateway,
            meter,
            epoch,
            number,
            t_ms,
        )

    def quarantine(self, after_id: int = 0, limit: int = 100) -> list[QuarantineRow]:
        """Refused messages, oldest first."""
        query = (
            "SELECT id, received_ms, topic, gateway, reason, detail, length(payload), payload "
            "FROM quarantine WHERE id > ? ORDER BY id LIMIT ?"
        )
        return [QuarantineRow(*row) for row in self._db.execute(query, (after_id, limit))]

    def quarantine_counts(self) -> dict[str, int]:
        """Reason → number of refused messages."""
        return dict(self._db.execute("SELECT reason, count(*) FROM quarantine GROUP BY reason").fetchall())

    def events(self, after_id: int = 0, limit: int = 100) -> list[JournalEvent]:
        """Events of ingest, oldest first."""
        query = "SELECT id, t_ms, gateway, kind, detail FROM event WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._db.execute(query, (after_id, limit))
        return [
            JournalEvent(i, t_ms, gateway, kind, json.loads(detail))
            for i, t_ms, gateway, kind, detail in rows
        ]


def record_at(db: sqlite3.Connection, segment: int, index: int) -> Record:
    return records_of(db, segment)[index]


def records_at(db: sqlite3.Connection, places: Iterable[int]) -> list[Record]:
    """The records at ascending places (segment × 10^6 + index); each segment is opened once, not once for every record."""
    out: list[Record] = []
    for segment, group in groupby(places, lambda place: place // 1_000_000):
        body = records_of(db, segment)
        out += [body[place % 1_000_000] for place in group]
    return out


def records_of(db: sqlite3.Connection, segment: int) -> list[Record]:
    """A segment's records, sealed or not."""
    row = db.execute("SELECT body FROM segment WHERE id=?", (segment,)).fetchone()
    return unpack_all(opened(db, segment, row[0]))
