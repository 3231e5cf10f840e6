"""Opening a store: what is wrong is said with the file's name and the cure."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.errors import SchemaError, StoreError
from storage.journal import Commit, JournalReader
from storage.journal_writer import JournalWriter
from storage.ledger import LedgerReader
from storage.ledger_writer import LedgerWriter
from storage.months import MonthStore
from storage.sqlite import open_writer, transaction

Store = JournalWriter | JournalReader | LedgerWriter | LedgerReader | MonthStore
WRITERS: list[Callable[[Path], Store]] = [JournalWriter, LedgerWriter, MonthStore]
READERS: list[Callable[[Path], Store]] = [
    JournalReader,
    LedgerReader,
    lambda path: MonthStore(path, writable=False),
]
writers = pytest.mark.parametrize("open_store", WRITERS, ids=["journal", "ledger", "months"])
readers = pytest.mark.parametrize("open_store", READERS, ids=["journal", "ledger", "months"])
everybody = pytest.mark.parametrize("open_store", WRITERS + READERS)


@writers
def test_a_store_is_created_with_its_folder_and_opens_again(
    tmp_path: Path, open_store: Callable[[Path], Store]
) -> None:
    for _ in range(2):
        open_store(tmp_path / "new" / "folder" / "store.db").close()


@writers
def test_a_commit_is_synced_to_disk(tmp_path: Path, open_store: Callable[[Path], Store]) -> None:
    store = open_store(tmp_path / "store.db")
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


@readers
def test_a_reader_of_a_store_that_nobody_has_written_says_so(
    tmp_path: Path, open_store: Callable[[Path], Store]
) -> None:
    with pytest.raises(FileNotFoundError, match=r"store\.db: not there yet"):
        open_store(tmp_path / "store.db")
    (tmp_path / "store.db").touch()
    with pytest.raises(FileNotFoundError, match=r"store\.db: not there yet"):
        open_store(tmp_path / "store.db")


@pytest.mark.parametrize(("create", "open_store"), list(zip(WRITERS, READERS, strict=True)))
def test_a_reader_cannot_write(
    tmp_path: Path, create: Callable[[Path], Store], open_store: Callable[[Path], Store]
) -> None:
    create(tmp_path / "store.db").close()
    store = open_store(tmp_path / "store.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store._db.execute("CREATE TABLE mine(x)")
    store.close()


@everybody
def test_another_schema_version_is_refused_with_the_file_and_the_cure(
    tmp_path: Path, open_store: Callable[[Path], Store]
) -> None:
    file = tmp_path / "store.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(
        SchemaError, match=r"store\.db: schema version 99, .* install the release that wrote it"
    ):
        open_store(file)


@everybody
@pytest.mark.parametrize(
    "content",
    [b"not a database, and long enough to be read as a page " * 20, b"SQLite format 3\0" + b"\xff" * 600],
)
def test_a_file_that_is_no_database_is_named(
    tmp_path: Path, open_store: Callable[[Path], Store], content: bytes
) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.db: cannot be .*; check its owner"):
        open_store(file)


@everybody
def test_a_folder_in_the_place_of_the_file_is_named(
    tmp_path: Path, open_store: Callable[[Path], Store]
) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path.name}: cannot be"):
        open_store(tmp_path)


@writers
def test_a_place_that_can_have_no_file_is_named(tmp_path: Path, open_store: Callable[[Path], Store]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"store\.db: cannot be opened for writing"):
        open_store(tmp_path / "file" / "store.db")


def test_two_journals_have_two_ids(tmp_path: Path) -> None:
    first, second = JournalWriter(tmp_path / "1.db"), JournalWriter(tmp_path / "2.db")
    assert first.journal_id != second.journal_id
    assert first.commit(Commit(), 0) == 0
    first.close()
    second.close()


def interrupted(db: sqlite3.Connection, error: BaseException, *, rolled_back: bool) -> None:
    """A transaction that an error ends; on a full disk SQLite has rolled it back by then."""
    with transaction(db):
        db.execute("INSERT INTO a VALUES(1)")
        if rolled_back:
            db.execute("ROLLBACK")
        raise error


@pytest.mark.parametrize("rolled_back", [False, True])
@pytest.mark.parametrize("error", [ValueError("disk"), KeyboardInterrupt("disk")])
def test_a_transaction_that_fails_keeps_nothing_and_raises_what_ended_it(
    tmp_path: Path, error: BaseException, rolled_back: bool
) -> None:
    db = open_writer(tmp_path / "a.db", "CREATE TABLE a(x);", 1)
    with pytest.raises(type(error), match="disk"):
        interrupted(db, error, rolled_back=rolled_back)
    with transaction(db):
        db.execute("INSERT INTO a VALUES(2)")
    assert db.execute("SELECT x FROM a").fetchall() == [(2,)]
    db.close()
