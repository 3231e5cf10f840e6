"""The registry of facts with their history: append-only, one revision per change, every revision chained by SHA-256.

Written by the API role and the command line in short transactions. A frozen month names the revision it was made from, so its
facts can be had again as they were. Nothing is overwritten: a correction is a newer row, a withdrawal a row that says so.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from storage.facts.fact import Fact, State
from storage.facts.kinds import KINDS
from storage.facts.state import Facts
from storage.facts.substitution import Signed
from storage.sqlite import Store, open_reader, open_writer, transaction

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE revision(
  revision INTEGER PRIMARY KEY, who TEXT NOT NULL, at_ms INTEGER NOT NULL, why TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE fact(
  revision INTEGER NOT NULL REFERENCES revision(revision), kind TEXT NOT NULL, subject TEXT NOT NULL, key TEXT NOT NULL,
  valid_from TEXT NOT NULL, withdrawn INTEGER NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(kind, subject, key, valid_from, revision)) WITHOUT ROWID;
CREATE TRIGGER fact_is_kept BEFORE UPDATE ON fact BEGIN SELECT raise(ABORT, 'a fact never changes: add a newer one'); END;
CREATE TRIGGER fact_is_not_deleted BEFORE DELETE ON fact BEGIN SELECT raise(ABORT, 'a fact is withdrawn, not deleted'); END;
CREATE TRIGGER revision_is_kept BEFORE UPDATE ON revision BEGIN SELECT raise(ABORT, 'a revision never changes'); END;
CREATE TRIGGER revision_is_not_deleted BEFORE DELETE ON revision BEGIN SELECT raise(ABORT, 'a revision is never deleted'); END;
"""
_COLUMNS = "f.revision, f.kind, f.subject, f.key, f.valid_from, f.withdrawn, f.value, r.who, r.at_ms, r.why"


class FactRow(msgspec.Struct, frozen=True, gc=False):
    """One fact as it was written, and by whom, when and why. `value` is canonical JSON."""

    revision: int
    kind: str
    subject: str
    key: str
    valid_from: str
    """Empty for kinds that happen once."""
    withdrawn: bool
    value: str
    who: str
    at_ms: int
    why: str

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What a newer row replaces."""
        return self.kind, self.subject, self.key, self.valid_from


class Revision(msgspec.Struct, frozen=True, gc=False):
    """A state of the registry; `digest` covers every row up to it."""

    number: int
    digest: str


EMPTY = Revision(0, "")


class Audit(Protocol):
    """Where every change is told; wired by whoever opens the registry."""

    def record(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None: ...


class RegistryReader(Store):
    """Reads facts while others write."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_reader(path, SCHEMA_VERSION))

    def head(self, at: int | None = None) -> Revision:
        """The newest revision, or the newest not after `at`."""
        row = self._db.execute(
            "SELECT revision, digest FROM revision WHERE (? IS NULL OR revision <= ?) ORDER BY revision DESC LIMIT 1",
            (at, at),
        ).fetchone()
        return Revision(*row) if row else EMPTY

    def rows(self, at: int | None = None) -> list[FactRow]:
        """Every row ever written up to a revision, oldest first."""
        query = (
            f"SELECT {_COLUMNS} FROM fact f JOIN revision r USING(revision) WHERE (? IS NULL OR f.revision <= ?) "  # noqa: S608  our own columns
            "ORDER BY f.revision, f.kind, f.subject, f.key, f.valid_from"
        )
        return [_row(*row) for row in self._db.execute(query, (at, at))]

    def history(self, kind: str, subject: str | None = None) -> list[FactRow]:
        """Every row of a kind, of one subject or of all, oldest first."""
        return [row for row in self.rows() if row.kind == kind and subject in (None, row.subject)]

    def facts(self, at: int | None = None) -> Facts:
        """What holds at a revision, the newest by default."""
        newest = {row.place: row for row in self.rows(at)}
        return Facts(tuple(_fact(row) for row in newest.values() if not row.withdrawn))


class RegistryWriter(RegistryReader):
    """Changes facts. Several processes may: each change is one short transaction."""

    def __init__(self, path: Path, audit: Audit | None = None) -> None:
        Store.__init__(self, open_writer(path, _SCHEMA, SCHEMA_VERSION))
        self._audit = audit

    def apply(
        self, facts: Sequence[Fact], who: str, why: str, at_ms: int, withdrawn: Sequence[Fact] = ()
    ) -> Revision:
        """Write facts and withdraw others, all or none; what is there already as it is makes no row.

        The revision that holds now. Facts are judged before (`storage.facts.judge`): this only stores.
        """
        with transaction(self._db):
            known = {row.place: row for row in self.rows()}
            fresh = [(*_placed(fact), False) for fact in facts] + [
                (*_placed(fact), True) for fact in withdrawn
            ]
            changed = [row for row in fresh if _changes(known.get(row[:4]), row)]
            if not changed:
                return self.head()
            revision = self._write(changed, who, why, at_ms)
        for kind, subject, key, valid_from, value, gone in changed if self._audit else ():
            self._tell(revision, who, why, (kind, subject, key, valid_from), value, gone)
        return revision

    def _write(
        self, changed: Sequence[tuple[str, str, str, str, str, bool]], who: str, why: str, at_ms: int
    ) -> Revision:
        before = self.head()
        number = before.number + 1
        rows = sorted({row[:4]: row for row in changed}.values())
        told = msgspec.json.encode([before.digest, number, who, at_ms, why, rows])
        revision = Revision(number, hashlib.sha256(told).hexdigest())
        self._db.execute("INSERT INTO revision VALUES(?,?,?,?,?)", (number, who, at_ms, why, revision.digest))
        self._db.executemany(
            "INSERT INTO fact(revision, kind, subject, key, valid_from, value, withdrawn) VALUES(?,?,?,?,?,?,?)",
            [(number, *row) for row in rows],
        )
        return revision

    def _tell(
        self, revision: Revision, who: str, why: str, place: tuple[str, str, str, str], value: str, gone: bool
    ) -> None:
        kind, subject, key, valid_from = place
        detail = {
            "registry_revision": revision.number, "key": key, "valid_from": valid_from, "why": why, "value": value,
        }  # fmt: skip
        action = f"registry.{kind}.{'withdraw' if gone else 'set'}"
        if self._audit is not None:
            self._audit.record(actor=who, action=action, subject=subject, detail=detail)


def _placed(fact: Fact) -> tuple[str, str, str, str, str]:
    valid_from = fact.valid_from.isoformat() if isinstance(fact, State) else ""
    return fact.KIND, fact.subject, fact.key, valid_from, canonical_fact(fact)


def canonical_fact(fact: Fact) -> str:
    """A fact's JSON: keys sorted, every field, numbers as text. Who wrote it is the row's word, not the fact's."""
    plain = fact.model_dump(mode="json")
    if isinstance(fact, Signed):
        plain["by"] = ""
    return msgspec.json.encode(plain, order="sorted").decode()


def _changes(known: FactRow | None, row: tuple[str, str, str, str, str, bool]) -> bool:
    """Whether a row says anything new."""
    if known is None:
        return not row[5]
    return known.withdrawn != row[5] or (not row[5] and known.value != row[4])


def _row(*cells: Any) -> FactRow:
    """A row as selected; SQLite keeps truth values as 0 and 1."""
    return msgspec.convert(dict(zip(FactRow.__struct_fields__, cells, strict=True)), FactRow, strict=False)


def _fact(row: FactRow) -> Fact:
    fact = KINDS[row.kind].model_validate_json(row.value)
    return fact.model_copy(update={"by": row.who}) if isinstance(fact, Signed) else fact


def fact_digest(fact: Fact) -> str:
    """SHA-256 of a fact's JSON: what an approval names."""
    return hashlib.sha256(canonical_fact(fact).encode()).hexdigest()


def verify_chain(reader: RegistryReader) -> int | None:
    """The first revision whose digest does not follow from its rows; None when all do."""
    before = ""
    by_revision: dict[int, list[FactRow]] = {}
    for row in reader.rows():
        by_revision.setdefault(row.revision, []).append(row)
    for number in range(1, reader.head().number + 1):
        rows = by_revision.get(number, [])
        plain = sorted((*row.place, row.value, row.withdrawn) for row in rows)
        said = reader.head(number)
        who, at_ms, why = (rows[0].who, rows[0].at_ms, rows[0].why) if rows else ("", 0, "")
        found = hashlib.sha256(msgspec.json.encode([before, number, who, at_ms, why, plain])).hexdigest()
        if said != Revision(number, found):
            return number
        before = found
    return None
