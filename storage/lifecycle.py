"""The life of closed months: what was done to which revision, by whom, when and why. Append-only, one short transaction each."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from storage.errors import StoreError
from storage.sqlite import Store, open_reader, open_writer, transaction

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE act(
  id INTEGER PRIMARY KEY, month TEXT NOT NULL, scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL, revision INTEGER NOT NULL,
  at_ms INTEGER NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, action TEXT NOT NULL, status TEXT NOT NULL,
  reason TEXT NOT NULL, subject TEXT NOT NULL, file_sha256 TEXT NOT NULL, file_name TEXT NOT NULL);
CREATE INDEX act_of_month ON act(month, scope_kind, scope_id, revision);
CREATE TRIGGER act_is_frozen BEFORE UPDATE ON act BEGIN SELECT raise(ABORT, 'what was done never changes'); END;
CREATE TRIGGER act_is_kept BEFORE DELETE ON act BEGIN SELECT raise(ABORT, 'what was done is never deleted'); END;
"""
_COLUMNS = "id, month, scope_kind, scope_id, revision, at_ms, actor, role, action, status, reason, subject, file_sha256, file_name"


class OvertakenError(StoreError):
    """Somebody else acted on the same revision meanwhile; read it again, then decide again."""


class Subject(NamedTuple):
    """One revision of a month of a scope."""

    month: str
    scope_kind: str
    scope_id: str
    revision: int


class Act(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One thing that was done to a revision."""

    id: int = 0
    """Given by the store."""
    month: str
    scope_kind: str
    scope_id: str
    revision: int
    at_ms: int
    actor: str
    role: str
    action: str
    status: str
    """Status after it."""
    reason: str = ""
    subject: str = ""
    """What it is about within the revision: a check's id; empty for the whole."""
    file_sha256: str = ""
    file_name: str = ""

    @property
    def of(self) -> Subject:
        return Subject(self.month, self.scope_kind, self.scope_id, self.revision)


class LifecycleStore(Store):
    """All acts, oldest first. Open with `writable=False` to read only."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        super().__init__(
            open_writer(path, _SCHEMA, SCHEMA_VERSION) if writable else open_reader(path, SCHEMA_VERSION)
        )

    def acts(self, of: Subject) -> list[Act]:
        """What was done to a revision, in order."""
        query = f"SELECT {_COLUMNS} FROM act WHERE month=? AND scope_kind=? AND scope_id=? AND revision=? ORDER BY id"  # noqa: S608  our own columns
        return [_act(row) for row in self._db.execute(query, of)]

    def everything(self, month: str | None = None, after: int = 0) -> list[Act]:
        """All acts of a month, or of all months."""
        query = f"SELECT {_COLUMNS} FROM act WHERE (? IS NULL OR month=?) AND id>? ORDER BY id"  # noqa: S608  our own columns
        return [_act(row) for row in self._db.execute(query, (month, month, after))]

    def append(self, acts: list[Act], seen: int) -> list[Act]:
        """Store acts, all or none.

        `seen` is the id of the newest act (of any revision) that their author decided upon.

        Raises:
            OvertakenError: one of their revisions has a newer act than that.
        """
        with transaction(self._db):
            for of in {act.of for act in acts}:
                newest = self.acts(of)[-1:]
                if newest and newest[0].id > seen:
                    raise OvertakenError(
                        f"{of.month} {of.scope_id} r{of.revision}: {newest[0].actor} did {newest[0].action!r} meanwhile"
                    )
            return [self._insert(act) for act in acts]

    def _insert(self, act: Act) -> Act:
        values = msgspec.structs.astuple(act)[1:]
        marks = ",".join("?" * len(values))
        found = self._db.execute(
            f"INSERT INTO act({_COLUMNS.removeprefix('id, ')}) VALUES({marks})",
            values,
        )
        return msgspec.structs.replace(act, id=found.lastrowid or 0)

    def newest_id(self) -> int:
        """Id of the newest act; 0 without any."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM act").fetchone()[0])


def _act(row: tuple[int | str, ...]) -> Act:
    return msgspec.convert(dict(zip(_COLUMNS.split(", "), row, strict=True)), Act)
