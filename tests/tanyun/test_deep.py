"""`tanyun doctor --deep` over stores that were damaged on purpose: each damage is found, named, and nothing else is."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.journal import Commit, Entry, JournalReader, NewEvent, Offset
from storage.journal_writer import JournalWriter
from storage.months import MonthRow, MonthStore, digest_of
from tanyun.config import ServerConfig
from tanyun.deep import examine, rebuild
from tests.storage.entries import frame
from tests.stream.strategies import births, park, readings
from tests.tanyun.test_backup import NOW_MS

QUARTER_MS = 900_000
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Journal, the ledger that the stream makes of it, and a closed month."""
    data = tmp_path_factory.mktemp("data")
    journal = JournalWriter(data / "journal.db")
    records = [*births(), *readings("pv", *((i * QUARTER_MS, i * 100) for i in range(12)))]
    for record in records:
        journal.commit(Commit([Entry(record)]), NOW_MS)
    journal.commit(Commit([frame(1), frame(2)]), NOW_MS)
    journal.close()
    rebuild(data / "journal.db", data / "ledger.db", park(), Offset(len(records) + 1, 0))
    with MonthStore(data / "months.db") as months:
        document = b'{"energy":1}'
        months.add([MonthRow("2026-10", "park", "p", 1, "PASS", 1, None, document, digest_of(document))])
    return data


def faults(data: Path) -> list[str]:
    config = ServerConfig.model_validate(
        {
            "registry": "/r",
            "data": str(data),
            "reports": "/r",
            "broker": {"user": "host", "password_file": "/p"},
        }
    )
    return [found.id for found in examine(config, park()) if not found.ok]


def damage(file: str, sql: str) -> Callable[[Path], None]:
    def do(data: Path) -> None:
        with sqlite3.connect(data / file) as db:
            for name in [
                r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall()
            ]:
                db.execute(f"DROP TRIGGER {name}")
            assert db.execute(sql).rowcount
        db.close()

    return do


def test_sound_stores_have_no_fault(sound: Path) -> None:
    assert faults(sound) == []


@pytest.mark.parametrize("kind", ["frames_lost", "frames_thinned"])
def test_numbers_that_were_given_up_and_declared_are_no_hole(tmp_path: Path, sound: Path, kind: str) -> None:
    data = tmp_path / "data"
    shutil.copytree(sound, data)
    journal = JournalWriter(data / "journal.db")
    journal.commit(
        Commit([frame(6)], events=[NewEvent(0, "g", kind, {"epoch": 1, "first": 3, "last": 5})]), NOW_MS
    )
    journal.close()
    assert faults(data) == []


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (damage("journal.db", "UPDATE segment SET body = substr(body, 2) WHERE id = 9"), ["deep:chain", "deep:ledger"]),
        (damage("journal.db", "UPDATE segment SET root = zeroblob(32) WHERE id = 3"), ["deep:chain"]),
        (damage("journal.db", "DELETE FROM frame WHERE number = 1"), ["deep:frames"]),
        (damage("journal.db", "UPDATE frame SET idx = 7"), ["deep:frames"]),
        (damage("ledger.db", "UPDATE interval SET closing = closing + 1 WHERE start_ms = (SELECT min(start_ms) FROM interval)"),
         ["deep:ledger"]),
        (damage("ledger.db", "DELETE FROM interval WHERE start_ms = (SELECT min(start_ms) FROM interval)"), ["deep:ledger"]),
        (damage("ledger.db", "UPDATE progress SET position = position - 1"), ["deep:ledger"]),
        (damage("months.db", "UPDATE month SET document = CAST(replace(document, '1', '2') AS BLOB)"), ["deep:months"]),
    ],
)  # fmt: skip
def test_each_damage_is_found_where_it_is(
    sound: Path, tmp_path: Path, harm: Callable[[Path], None], expected: list[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(sound, data)
    harm(data)
    assert faults(data) == expected


def test_a_lost_range_that_was_declared_is_no_fault(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "journal.db")
    journal.commit(Commit([frame(1), frame(9)]), NOW_MS)
    journal.close()
    assert faults(tmp_path) == ["deep:frames"]
    with sqlite3.connect(tmp_path / "journal.db") as db:
        detail = '{"epoch": 1, "first": 2, "last": 9}'
        db.execute(
            "INSERT INTO event(t_ms, gateway, kind, detail) VALUES(1, 'g', 'frames_lost', ?)", (detail,)
        )
    assert faults(tmp_path) == []
    with JournalReader(tmp_path / "journal.db") as reader:
        assert reader.head().frames == 2
