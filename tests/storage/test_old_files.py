"""Files of every released schema, built from checked-in SQL, opened by today's program: what they held is there.

What cannot be made again (journal, months, outbox) must open. A ledger may be refused instead, with the file and the cure named:
it is rebuilt from the journal.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.outbox import Outbox
from storage.errors import SchemaError
from storage.journal import Commit, JournalReader
from storage.journal_writer import JournalWriter
from storage.ledger import OLDEST_VERSION, LedgerReader
from storage.ledger_writer import LedgerWriter
from storage.months import MonthStore, digest_of
from storage.sqlite import set_aside_older
from tests.storage.entries import NOW_MS, frame

OLD = Path(__file__).parent / "old"


def released(store: str) -> list[Path]:
    return sorted(OLD.glob(f"{store}-*.sql"))


def built(sql: Path, folder: Path) -> Path:
    """The file that the SQL describes, in WAL mode as its writer left it."""
    path = folder / f"{sql.stem}.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(sql.read_text(encoding="utf-8"))
    return path


def test_there_is_a_file_of_every_store() -> None:
    for store in ("journal", "ledger", "months", "outbox"):
        assert released(store), store


@pytest.mark.parametrize("sql", released("journal"), ids=lambda path: path.stem)
def test_an_old_journal_is_read_and_written_on(sql: Path, tmp_path: Path) -> None:
    path = built(sql, tmp_path)
    with JournalReader(path) as journal:
        before, id_ = journal.verify_chain(), journal.journal_id
        assert {event.kind for event in journal.events()} >= {"epoch_started"}
        assert sum(journal.quarantine_counts().values()) == 1
    writer = JournalWriter(path)
    assert writer.progress()["g", 1] == 3
    writer.commit(Commit([frame(4)]), NOW_MS)
    writer.close()
    with JournalReader(path) as journal:
        assert (journal.verify_chain(), journal.journal_id) == (before + 1, id_)


@pytest.mark.parametrize("sql", released("months"), ids=lambda path: path.stem)
def test_old_months_are_as_they_were_closed(sql: Path, tmp_path: Path) -> None:
    path = built(sql, tmp_path)
    for writable in (True, False):
        with MonthStore(path, writable=writable) as months:
            row = months.get("2026-10", "park", "p")
            assert row is not None
            assert digest_of(row.document) == row.digest
    with pytest.raises(sqlite3.IntegrityError), closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE month SET outcome = 'PASS'")


@pytest.mark.parametrize("sql", released("outbox"), ids=lambda path: path.stem)
def test_an_old_outbox_keeps_its_frames_numbers_and_aliases(sql: Path, tmp_path: Path) -> None:
    outbox = Outbox(built(sql, tmp_path), 2_000_000)
    assert (outbox.acked, outbox.last, outbox.backlog(), outbox.journal_id) == (3, 5, 2, "j")
    assert [(frame.number, frame.body) for frame in outbox.after(3, 10)[0]] == [(4, b"body3"), (5, b"body4")]
    assert outbox.alias("m", "energy_import_total", "d1") == 1
    assert outbox.declaration(1) == ("m", b"birth")
    outbox.close()


@pytest.mark.parametrize("sql", released("ledger"), ids=lambda path: path.stem)
def test_an_old_ledger_opens_or_is_refused_with_its_name_and_a_cure(sql: Path, tmp_path: Path) -> None:
    path = built(sql, tmp_path)
    refusal = ""
    try:
        LedgerWriter(path).close()
    except SchemaError as error:
        refusal = str(error)
    if refusal:
        assert str(path) in refusal
        assert "move" in refusal or "install" in refusal
        return
    with LedgerReader(path) as ledger:
        rows = ledger.intervals("pv", "energy_generation_total", 0, 1 << 60)
        assert len([row for row in rows if row.closed]) == 5
        assert [(row.reading_type, row.value) for row in ledger.latest()] == [
            ("energy_generation_total", 500.0)
        ]


@pytest.mark.parametrize("store", ["journal", "ledger", "months", "outbox"])
def test_a_file_of_a_later_release_is_refused_untouched(store: str, tmp_path: Path) -> None:
    path = built(released(store)[-1], tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=999")
    opened = {"journal": JournalWriter, "ledger": LedgerWriter, "months": MonthStore}.get(store)
    with pytest.raises(Exception, match=r"999.*install the release that wrote it") as refusal:
        opened(path) if opened else Outbox(path, 2_000_000)
    assert str(path) in str(refusal.value)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (999,)


@pytest.mark.parametrize("sql", released("ledger"), ids=lambda path: path.stem)
def test_a_ledger_too_old_to_be_brought_forward_is_set_aside_whole_and_a_new_one_begins(
    sql: Path, tmp_path: Path
) -> None:
    path = built(sql, tmp_path)
    with closing(sqlite3.connect(path)) as db:
        (old,) = db.execute("PRAGMA user_version").fetchone()
    aside = set_aside_older(path, OLDEST_VERSION)
    assert aside == (path.with_name(f"{path.name}.v{old}") if old < OLDEST_VERSION else None)
    if aside is not None:
        with closing(sqlite3.connect(aside)) as db:
            assert db.execute("SELECT count(*) FROM interval").fetchone()[0] > 0
    LedgerWriter(path).close()
    assert set_aside_older(path, OLDEST_VERSION) is None
