"""The journal's one writer: ingest. A group commit is one transaction, and one segment of the hash chain."""

import json
from collections.abc import Sequence
from pathlib import Path

from metering.sparkplug import body_digest, decode
from storage import sealed_index
from storage.journal import (
    NEW_ID,
    REFUSED,
    SCHEMA,
    SCHEMA_VERSION,
    BirthIndex,
    Commit,
    Entry,
    FrameIndex,
    GatewayState,
    Quarantined,
    record_at,
    records_at,
)
from storage.merkle import CHAIN_START, chain_next, merkle_root
from storage.segment import Record, packed
from storage.sqlite import open_writer, transaction


class JournalWriter:
    """The one writer. `commit` returns when the segment is synced to disk."""

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path, SCHEMA + NEW_ID, SCHEMA_VERSION)
        self.journal_id: str = self._db.execute("SELECT value FROM meta WHERE key='journal_id'").fetchone()[0]
        restored = self._db.execute("SELECT value FROM meta WHERE key='restored'").fetchone()
        self.ack_id = f"{self.journal_id}.{restored[0]}" if restored else self.journal_id
        """Its name in acks. After a restore it is another one, so that gateways take a lower number and send again."""
        row = self._db.execute("SELECT id, chain FROM segment ORDER BY id DESC LIMIT 1").fetchone()
        self._segment: int = row[0] if row else 0
        self._chain: bytes = row[1] if row else CHAIN_START

    def commit(self, commit: Commit, now_ms: int) -> int:
        """Store it all in one transaction; the number of the segment written, or of the last one when none was."""
        with transaction(self._db):
            segment, chain = self._write(commit, now_ms)
        self._segment, self._chain = segment, chain
        return segment

    def _write(self, commit: Commit, now_ms: int) -> tuple[int, bytes]:
        segment, chain = self._segment, self._chain
        if commit.entries:
            segment += 1
            chain = self._append(segment, commit.entries, now_ms)
        for item in commit.quarantined:
            self._quarantine(item)
        self._db.executemany(
            "INSERT INTO event(t_ms, gateway, kind, detail) VALUES(?,?,?,?)",
            [(e.t_ms, e.gateway, e.kind, json.dumps(e.detail, ensure_ascii=False)) for e in commit.events],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO gateway VALUES(?,?,?,?)",
            [(g.gateway, g.online, g.since_ms, g.last_received_ms) for g in commit.gateways],
        )
        return segment, chain

    def _append(self, segment: int, entries: Sequence[Entry], now_ms: int) -> bytes:
        leaves = packed(entry.record for entry in entries)
        root = merkle_root(leaves)
        chain = chain_next(self._chain, segment, root)
        frames = [(i, e.index) for i, e in enumerate(entries) if isinstance(e.index, FrameIndex)]
        births = [(i, e.index) for i, e in enumerate(entries) if isinstance(e.index, BirthIndex)]
        self._db.execute(
            "INSERT INTO segment VALUES(?,?,?,?,?,?)",
            (segment, now_ms, len(leaves), root, chain, b"".join(leaves)),
        )
        self._db.executemany(
            "DELETE FROM frame WHERE gateway=? AND epoch=? AND number=? AND meter=''",
            [(f.gateway, f.epoch, f.number) for i, f in frames if entries[i].instead_of_loss],
        )
        self._db.executemany(
            "INSERT INTO frame VALUES(?,?,?,?,?,?,?,?)",
            [(f.gateway, f.epoch, f.number, f.meter, f.t_ms, f.digest, segment, i) for i, f in frames],
        )
        self._db.executemany(
            "INSERT INTO birth VALUES(?,?,?,?,?)",
            [(b.gateway, b.meter, b.epoch, segment, i) for i, b in births],
        )
        return chain

    def _quarantine(self, item: Quarantined) -> None:
        record = item.record
        row = self._db.execute(
            "INSERT INTO quarantine(received_ms, topic, gateway, reason, detail, payload) VALUES(?,?,?,?,?,?)",
            (record.received_ms, record.topic, item.gateway, item.reason, item.detail, record.payload),
        )
        if item.index is not None:
            f = item.index
            values = (f.gateway, f.epoch, f.number, f.meter, f.t_ms, f.digest, REFUSED, row.lastrowid)
            self._db.execute("INSERT INTO frame VALUES(?,?,?,?,?,?,?,?)", values)

    def progress(self) -> dict[tuple[str, int], int]:
        """(gateway, epoch) → highest contiguous frame number stored."""
        rows = self._db.execute("SELECT gateway, epoch, max(number) FROM frame GROUP BY gateway, epoch")
        return {(gateway, epoch): number for gateway, epoch, number in rows}

    def digest_of(self, gateway: str, epoch: int, number: int) -> bytes | None:
        """What the stored frame of that number said, or None when the number fell into a lost range."""
        query = "SELECT digest FROM frame WHERE gateway=? AND epoch=? AND number=?"
        row = self._db.execute(query, (gateway, epoch, number)).fetchone()
        return bytes(row[0]) if row else self._digest_of_sealed(gateway, epoch, number)

    def _digest_of_sealed(self, gateway: str, epoch: int, number: int) -> bytes | None:
        """A sealed frame's index has no digest: it follows from what the frame says."""
        where = sealed_index.numbered(self._db, gateway, epoch, number)
        if where is None:
            return None
        return body_digest(decode(record_at(self._db, where.segment, where.idx).payload))

    def is_loss(self, gateway: str, epoch: int, number: int) -> bool:
        """Whether under that number stands the word that its frame is lost (an NDATA), not a frame."""
        query = "SELECT 1 FROM frame WHERE gateway=? AND epoch=? AND number=? AND meter=''"
        return self._db.execute(query, (gateway, epoch, number)).fetchone() is not None

    def births(self) -> list[Record]:
        """The newest birth of every gateway and meter and epoch, oldest first: what data messages decode with."""
        query = "SELECT max(segment * 1000000 + idx) AS place FROM birth GROUP BY gateway, meter, epoch ORDER BY place"
        return records_at(self._db, [place for (place,) in self._db.execute(query)])

    def gateways(self) -> list[GatewayState]:
        """The last known session of every gateway."""
        rows = self._db.execute("SELECT gateway, online, since_ms, last_received_ms FROM gateway")
        return [GatewayState(gateway, bool(online), since, last) for gateway, online, since, last in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()
