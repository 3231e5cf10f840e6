"""Closed months: what is closed stays as it is; a correction is another revision."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from storage.months import MonthRow, MonthStore, digest_of


def row(
    month: str = "2026-10", scope_id: str = "e1", revision: int = 1, scope_kind: str = "enterprise"
) -> MonthRow:
    document = f'{{"month":"{month}","revision":{revision}}}'.encode()
    reason = None if revision == 1 else "迟到数据"
    return MonthRow(
        month,
        scope_kind,
        scope_id,
        revision,
        "PASS",
        1_790_000_000_000,
        reason,
        document,
        digest_of(document),
    )


@pytest.fixture
def months(tmp_path: Path) -> Iterator[MonthStore]:
    with MonthStore(tmp_path / "months.db") as store:
        yield store


def test_a_revision_reads_back_as_it_was_stored(months: MonthStore) -> None:
    months.add([row()])
    found = months.get("2026-10", "enterprise", "e1")
    assert found == row()
    assert found.digest == hashlib.sha256(found.document).hexdigest()


def test_the_newest_revision_is_given_unless_one_is_named(months: MonthStore) -> None:
    months.add([row(revision=1)])
    months.add([row(revision=2), row(revision=10)])
    assert months.get("2026-10", "enterprise", "e1") == row(revision=10)
    assert months.get("2026-10", "enterprise", "e1", 2) == row(revision=2)
    assert months.get("2026-10", "enterprise", "e1", 3) is None
    assert months.get("2026-10", "park", "e1") is None


def test_a_revision_is_never_written_twice_and_all_rows_or_none_are_kept(months: MonthStore) -> None:
    months.add([row()])
    changed = msgspec.structs.replace(row(), outcome="FAIL")
    with pytest.raises(sqlite3.IntegrityError):
        months.add([row(scope_id="e2"), changed])
    assert months.list() == [row()]
    months.add([row(scope_id="e2")])
    assert len(months.list()) == 2


@pytest.mark.parametrize(("statement", "says"), [
    ("UPDATE month SET outcome='PASS'", "never changes"), ("UPDATE month SET document=x'00' WHERE revision=1", "never changes"),
    ("DELETE FROM month", "never deleted"), ("DELETE FROM month WHERE month='2026-10'", "never deleted"),
])  # fmt: skip
def test_the_file_itself_refuses_to_change_a_closed_month(
    tmp_path: Path, months: MonthStore, statement: str, says: str
) -> None:
    months.add([row()])
    db = sqlite3.connect(tmp_path / "months.db")
    with pytest.raises(sqlite3.IntegrityError, match=says):
        db.execute(statement)
    db.close()
    assert months.list() == [row()]


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"])
def test_replacing_does_not_get_past_the_freeze(tmp_path: Path, months: MonthStore, verb: str) -> None:
    months.add([row()])
    db = sqlite3.connect(tmp_path / "months.db")
    changed = msgspec.structs.astuple(msgspec.structs.replace(row(), outcome="FAIL"))
    with pytest.raises(sqlite3.IntegrityError, match="never changes"), db:
        db.execute(f"{verb} INTO month VALUES(?,?,?,?,?,?,?,?,?)", changed)
    db.close()
    assert months.list() == [row()]


def test_months_are_listed_newest_first_park_before_enterprises(months: MonthStore) -> None:
    rows = [
        row("2026-09"),
        row("2026-10", "e2"),
        row("2026-10", "e1", 2),
        row("2026-10", "e1"),
        row("2026-10", "p", scope_kind="park"),
    ]
    months.add(rows)
    order = [(found.month, found.scope_id, found.revision) for found in months.list()]
    assert order == [
        ("2026-10", "p", 1),
        ("2026-10", "e1", 1),
        ("2026-10", "e1", 2),
        ("2026-10", "e2", 1),
        ("2026-09", "e1", 1),
    ]
    assert months.list("2026-09") == [row("2026-09")]


def test_a_reader_sees_what_another_process_closes(tmp_path: Path, months: MonthStore) -> None:
    with MonthStore(tmp_path / "months.db", writable=False) as reader:
        assert reader.list() == []
        months.add([row()])
        assert reader.list() == [row()]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.add([row("2026-11")])
