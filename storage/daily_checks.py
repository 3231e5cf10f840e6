"""What the checks of open months found: one row per month, scope and day, the day's last run.

Written by `tanyun month watch` and `tanyun month check --keep`, in one short transaction per run.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from storage.sqlite import Store, open_reader, open_writer, transaction

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE daily(
  month TEXT NOT NULL, scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL, day TEXT NOT NULL, at_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL, outcome TEXT NOT NULL, checks TEXT NOT NULL,
  PRIMARY KEY(month, scope_kind, scope_id, day)) WITHOUT ROWID;
"""
_COLUMNS = "month, scope_kind, scope_id, day, at_ms, until_ms, outcome, checks"


class DailyRow(msgspec.Struct, frozen=True, gc=False):
    """One day's run for one scope. `checks` is the JSON of the document's check lines."""

    month: str
    scope_kind: str
    scope_id: str
    day: str
    """Local day of the run."""
    at_ms: int
    until_ms: int
    """The month was judged up to here."""
    outcome: str
    checks: str


class DailyChecks(Store):
    """The rows. Open with `writable=False` to read while a run is stored."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        super().__init__(
            open_writer(path, _SCHEMA, SCHEMA_VERSION) if writable else open_reader(path, SCHEMA_VERSION)
        )

    def put(self, rows: Sequence[DailyRow]) -> None:
        """Store a run; a later run of the same day takes its place."""
        with transaction(self._db):
            self._db.executemany(
                f"INSERT OR REPLACE INTO daily({_COLUMNS}) VALUES(?,?,?,?,?,?,?,?)",
                [msgspec.structs.astuple(row) for row in rows],
            )

    def newest(self, month: str) -> list[DailyRow]:
        """Each scope's newest run of a month."""
        query = (
            f"SELECT {_COLUMNS} FROM daily d WHERE month=? AND day=(SELECT max(day) FROM daily WHERE month=d.month "  # noqa: S608  our own columns
            "AND scope_kind=d.scope_kind AND scope_id=d.scope_id) ORDER BY scope_kind DESC, scope_id"
        )
        return [DailyRow(*row) for row in self._db.execute(query, (month,))]

    def days(self, month: str, scope_kind: str, scope_id: str) -> list[DailyRow]:
        """Every day's run of one scope, oldest first: when a fault began."""
        query = f"SELECT {_COLUMNS} FROM daily WHERE month=? AND scope_kind=? AND scope_id=? ORDER BY day"  # noqa: S608  our own columns
        return [DailyRow(*row) for row in self._db.execute(query, (month, scope_kind, scope_id))]

    def last_ms(self) -> int:
        """When the newest run was; 0 when there is none."""
        return int(self._db.execute("SELECT coalesce(max(at_ms), 0) FROM daily").fetchone()[0])
