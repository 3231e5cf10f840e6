"""The audit log: who did what, and when. Append-only and hash-chained; nothing of ours changes or removes an entry.

An entry's hash is SHA-256 over the hash before it and the entry's own canonical JSON, so that a change, a removal or an
insertion breaks every later one. Whoever owns the machine could rebuild the whole chain: its head (`AuditLog.head`) is
what has to leave the machine. Written by every role that lets somebody do something, in transactions of milliseconds.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from storage.errors import CorruptError
from storage.sqlite import Store, create_private, open_reader, open_writer, transaction

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE entry(
  id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL,
  outcome TEXT NOT NULL, address TEXT NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL);
CREATE TRIGGER entry_is_frozen BEFORE UPDATE ON entry BEGIN SELECT raise(ABORT, 'an audit entry never changes'); END;
CREATE TRIGGER entry_is_kept BEFORE DELETE ON entry BEGIN SELECT raise(ABORT, 'an audit entry is never removed'); END;
CREATE TRIGGER entry_is_next BEFORE INSERT ON entry
  WHEN NEW.id <> (SELECT coalesce(max(id), 0) + 1 FROM entry)
BEGIN SELECT raise(ABORT, 'audit entries are numbered without a gap'); END;
"""
_COLUMNS: Final = "id, t_ms, actor, action, target, outcome, address, detail, hash"
GENESIS: Final = bytes(32)
TEXT_LIMIT: Final = 200
"""Characters of each text that are kept: what is written may be a stranger's."""
DETAIL_LIMIT: Final = 4000


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something that somebody did, or tried."""

    actor: str
    """User, `key:ID`, `cli:OS USER`, or what a stranger called himself."""
    action: str
    """A word of two parts: `session.begin`, `month.approve`."""
    target: str = ""
    outcome: str = "ok"
    """`ok`, `refused` or `failed`."""
    address: str = ""
    """Where the request came from."""
    detail: Mapping[str, object] = {}
    """Anything that can be JSON. Never a secret."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line of the log. `detail` is JSON text."""

    id: int
    t_ms: int
    actor: str
    action: str
    target: str
    outcome: str
    address: str
    detail: str
    hash: bytes

    def chained(self, before: bytes) -> bytes:
        """What its hash has to be after the hash of the entry before."""
        fields = [
            self.id, self.t_ms, self.actor, self.action, self.target, self.outcome, self.address, self.detail,
        ]  # fmt: skip
        return hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode("ascii")).digest()


class AuditLog(Store):
    """The log. Open with `writable=False` to read only; FileNotFoundError when there is none yet."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        if writable:
            create_private(path)
        self._path = path
        super().__init__(
            open_writer(path, _SCHEMA, SCHEMA_VERSION) if writable else open_reader(path, SCHEMA_VERSION)
        )

    def append(self, event: Event, t_ms: int) -> Entry:
        """Write an event down; it is on disk when this returns."""
        with transaction(self._db):
            entry = self._next(event, t_ms)
            places = ",".join("?" * len(entry.__struct_fields__))
            self._db.execute(
                f"INSERT INTO entry({_COLUMNS}) VALUES({places})", msgspec.structs.astuple(entry)
            )
        return entry

    def entries(
        self, after_id: int = 0, limit: int = 100, *, actor: str | None = None, action: str | None = None
    ) -> list[Entry]:
        """Entries in order, from the one after `after_id` on."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM entry WHERE id>? "  # noqa: S608  our own columns
            "AND (? IS NULL OR actor=?) AND (? IS NULL OR action=?) ORDER BY id LIMIT ?",
            (after_id, actor, actor, action, action, limit),
        )
        return [Entry(*row) for row in rows]

    def newest(self, limit: int) -> list[Entry]:
        """The last entries, in order."""
        return self.entries(max(self.head()[0] - limit, 0), limit)

    def head(self) -> tuple[int, bytes]:
        """Number and hash of the last entry; it stands for the whole log."""
        row = self._db.execute("SELECT id, hash FROM entry ORDER BY id DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else (0, GENESIS)

    def verify(self) -> int:
        """How many entries there are, every hash of which was computed again; CorruptError names the first that is wrong."""
        number, before = 0, GENESIS
        for entry in self._all():
            number += 1
            if entry.id != number or entry.hash != entry.chained(before):
                msg = (
                    f"{self._path}: entry {number} is not what was written: the chain breaks there. "
                    "Compare with a backup and with the head that left the machine"
                )
                raise CorruptError(msg)
            before = entry.hash
        return number

    def _next(self, event: Event, t_ms: int) -> Entry:
        number, before = self.head()
        actor, action, target, outcome, address = (
            _storable(text)
            for text in (event.actor, event.action, event.target, event.outcome, event.address)
        )
        detail = _detail(event.detail)
        entry = Entry(number + 1, t_ms, actor, action, target, outcome, address, detail, b"")
        return msgspec.structs.replace(entry, hash=entry.chained(before))

    def _all(self) -> Iterator[Entry]:
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM entry ORDER BY id"):  # noqa: S608
            yield Entry(*row)


def _storable(text: str) -> str:
    """Short, and without lone surrogates, which UTF-8 has no bytes for."""
    return text[:TEXT_LIMIT].encode(errors="replace").decode()


def _detail(value: Mapping[str, object]) -> str:
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= DETAIL_LIMIT else json.dumps({"cut": text[: DETAIL_LIMIT // 2]})
