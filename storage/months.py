"""Closed months: every revision of every scope's document, never overwritten. Written by `tanyun month close`."""

import hashlib
import re
from pathlib import Path

import msgspec

from storage.sqlite import Store, open_reader, open_writer, transaction

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE month(
  month TEXT NOT NULL, scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL, revision INTEGER NOT NULL,
  outcome TEXT NOT NULL, closed_at_ms INTEGER NOT NULL, reason TEXT, document BLOB NOT NULL, digest TEXT NOT NULL,
  PRIMARY KEY(month, scope_kind, scope_id, revision)) WITHOUT ROWID;
CREATE TRIGGER month_is_frozen BEFORE UPDATE ON month BEGIN SELECT raise(ABORT, 'a closed month never changes'); END;
CREATE TRIGGER month_is_not_replaced BEFORE INSERT ON month WHEN EXISTS(
  SELECT 1 FROM month WHERE month=NEW.month AND scope_kind=NEW.scope_kind AND scope_id=NEW.scope_id AND revision=NEW.revision)
BEGIN SELECT raise(ABORT, 'a closed month never changes'); END;
CREATE TRIGGER month_is_kept BEFORE DELETE ON month BEGIN SELECT raise(ABORT, 'a closed month is never deleted'); END;
"""
_UNSAFE = re.compile(r"[^\w\-().（）·]+")
"""What is taken out of names of files: separators, spaces, control characters."""
_NAME_LENGTH = 40
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_COLUMNS = "month, scope_kind, scope_id, revision, outcome, closed_at_ms, reason, document, digest"


class MonthRow(msgspec.Struct, frozen=True, gc=False):
    """One revision of a closed month, for an enterprise or the park. `document` is canonical JSON, `digest` its SHA-256."""

    month: str
    scope_kind: str
    scope_id: str
    revision: int
    outcome: str
    closed_at_ms: int
    reason: str | None
    document: bytes
    digest: str


def report_stem(row: MonthRow) -> str:
    """`<credit code>_<short name>_<YYYY-MM>_r<revision>`: how every file of a revision begins.

    Without a credit code the scope's id stands there, without a short name its name. What no file system takes is left out.
    """
    document = msgspec.json.decode(row.document)
    scope, facts = document.get("scope", {}), document.get("facts", {})
    code = scope.get("credit_code") or row.scope_id
    short = facts.get("short_name") or scope.get("name") or row.scope_id
    safe = [_UNSAFE.sub("", part)[:_NAME_LENGTH] or row.scope_id for part in (code, short)]
    return f"{safe[0]}_{safe[1]}_{row.month}_r{row.revision}"


def verification_code(digest: str) -> str:
    """Four groups of four characters from a document's SHA-256: what one types to find the document of a printed report.

    80 bits in Crockford's base 32, which has no I, L, O and U.
    """
    number = int(digest[:20], 16)
    text = "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(75, -1, -5))
    return "-".join(text[at : at + 4] for at in range(0, 16, 4))


def digest_of(document: bytes) -> str:
    """SHA-256 of a document, hex."""
    return hashlib.sha256(document).hexdigest()


class MonthStore(Store):
    """The closed months. Open with `writable=False` to read while another process closes a month."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        super().__init__(
            open_writer(path, _SCHEMA, SCHEMA_VERSION) if writable else open_reader(path, SCHEMA_VERSION)
        )

    def add(self, rows: list[MonthRow]) -> None:
        """Store revisions, all or none; sqlite3.IntegrityError when one is already there."""
        with transaction(self._db):
            self._db.executemany(
                f"INSERT INTO month({_COLUMNS}) VALUES(?,?,?,?,?,?,?,?,?)",
                [msgspec.structs.astuple(r) for r in rows],
            )

    def get(self, month: str, scope_kind: str, scope_id: str, revision: int | None = None) -> MonthRow | None:
        """A revision, the newest when none is named."""
        query = (
            f"SELECT {_COLUMNS} FROM month WHERE month=? AND scope_kind=? AND scope_id=? "  # noqa: S608  our own columns
            "AND (? IS NULL OR revision = ?) ORDER BY revision DESC LIMIT 1"
        )
        row = self._db.execute(query, (month, scope_kind, scope_id, revision, revision)).fetchone()
        return MonthRow(*row) if row else None

    def newest(self) -> dict[tuple[str, str, str], int]:
        """(month, scope kind, scope) → newest revision, without reading any document."""
        query = "SELECT month, scope_kind, scope_id, max(revision) FROM month GROUP BY month, scope_kind, scope_id"
        return {(month, kind, scope): revision for month, kind, scope, revision in self._db.execute(query)}

    def list(self, month: str | None = None) -> list[MonthRow]:
        """All revisions, newest month first."""
        query = (
            f"SELECT {_COLUMNS} FROM month WHERE (? IS NULL OR month = ?) "  # noqa: S608  our own columns
            "ORDER BY month DESC, scope_kind DESC, scope_id, revision"
        )
        return [MonthRow(*row) for row in self._db.execute(query, (month, month))]
