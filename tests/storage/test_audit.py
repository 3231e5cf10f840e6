"""The audit log: it grows, it does not change, and a change from outside shows."""

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.audit import DETAIL_LIMIT, GENESIS, TEXT_LIMIT, AuditLog, Event
from storage.errors import CorruptError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "audit.db"
    with AuditLog(file) as log:
        for number in range(5):
            log.append(Event(actor="ann", action="month.approve", target=f"2026-{number:02}"), 1000 + number)
    return file


def outside(path: Path, statement: str) -> None:
    """What somebody does who owns the file: triggers do not stop him."""
    with sqlite3.connect(path) as db:
        for trigger in ("entry_is_frozen", "entry_is_kept", "entry_is_next"):
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute(statement)
    db.close()


def test_entries_are_numbered_chained_and_verified(path: Path) -> None:
    with AuditLog(path, writable=False) as log:
        assert log.verify() == 5
        entries = log.entries()
        assert [entry.id for entry in entries] == [1, 2, 3, 4, 5]
        assert entries[0].hash == entries[0].chained(GENESIS)
        assert log.head() == (5, entries[-1].hash)
        assert log.newest(2) == entries[3:]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET actor='bob' WHERE id=3",
        "UPDATE entry SET outcome='refused' WHERE id=5",
        "UPDATE entry SET t_ms=7 WHERE id=1",
        "DELETE FROM entry WHERE id=3",
        "DELETE FROM entry WHERE id=1",
        "UPDATE entry SET detail='{}x' WHERE id=2",
    ],
)
def test_any_change_from_outside_breaks_the_chain(path: Path, statement: str) -> None:
    outside(path, statement)
    with AuditLog(path, writable=False) as log, pytest.raises(CorruptError, match="chain breaks"):
        log.verify()


def test_a_cut_end_shows_against_a_head_that_was_kept(path: Path) -> None:
    with AuditLog(path, writable=False) as log:
        number, digest = log.head()
    outside(path, "DELETE FROM entry WHERE id>3")
    with AuditLog(path, writable=False) as log:
        assert log.verify() == 3  # a shorter chain is a good chain ...
        assert log.entries(number - 1, 1) == []  # ... but not the one whose head was kept
        assert log.head() != (number, digest)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET actor='bob'",
        "DELETE FROM entry",
        "INSERT INTO entry SELECT 9, t_ms, actor, action, target, outcome, address, detail, hash FROM entry LIMIT 1",
        "INSERT OR REPLACE INTO entry SELECT 2, t_ms, 'bob', action, target, outcome, address, detail, hash FROM entry LIMIT 1",
    ],
)
def test_no_statement_of_a_program_changes_the_past(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db, pytest.raises(sqlite3.IntegrityError, match="audit"):
        db.execute(statement)
    db.close()


def test_several_writers_make_one_chain(tmp_path: Path) -> None:
    file = tmp_path / "audit.db"
    AuditLog(file).close()

    def write(actor: str) -> None:
        for number in range(10):
            with AuditLog(file) as log:
                log.append(Event(actor=actor, action="x", target=str(number)), number)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("api", "cli", "delivery")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with AuditLog(file, writable=False) as log:
        assert log.verify() == 30


@given(
    st.text(st.characters(exclude_categories=()), max_size=400),
    st.dictionaries(st.text(max_size=9), st.text(max_size=3000), max_size=3),
)
def test_whatever_a_stranger_calls_himself_is_kept_short_and_chained(
    tmp_path_factory: pytest.TempPathFactory, name: str, detail: dict[str, str]
) -> None:
    with AuditLog(tmp_path_factory.mktemp("audit") / "audit.db") as log:
        entry = log.append(Event(actor=name, action="session.begin", detail=detail), 1)
        assert log.verify() == 1
        assert log.entries() == [entry]
    assert len(entry.actor) <= TEXT_LIMIT
    assert len(entry.detail) <= 2 * DETAIL_LIMIT


def test_the_file_is_its_owners_alone(path: Path) -> None:
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}
