"""The ledger: results, state and cursor stand or fall together; the newest revision is what readers see."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from metering.intervals import QUARTER_MS
from storage.journal import Offset
from storage.ledger import (
    CheckpointRow,
    IntervalRow,
    LatestRow,
    LedgerReader,
    NewLedgerEvent,
    ProgressRow,
    RebuildPoint,
    Results,
    Snapshot,
)
from storage.ledger_writer import LedgerWriter

TOTAL = "energy_import_total"
ROW = IntervalRow(
    "m", TOTAL, 0, QUARTER_MS, 0, 1, 100, 350, 134_150_000, "cn-2023", QUARTER_MS, True, 0, True
)
BIG = (1 << 63) - 1


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerWriter]:
    writer = LedgerWriter(tmp_path / "ledger.db")
    yield writer
    writer.close()


@pytest.fixture
def reader(tmp_path: Path, ledger: LedgerWriter) -> Iterator[LedgerReader]:
    assert ledger.snapshot() is None
    with LedgerReader(tmp_path / "ledger.db") as opened:
        yield opened


def at(seq: int) -> Snapshot:
    return Snapshot("0011223344556677", Offset(seq, 3), seq, b"state %d" % seq)


def test_a_new_ledger_has_no_snapshot_and_no_changes(ledger: LedgerWriter, reader: LedgerReader) -> None:
    assert ledger.snapshot() is None
    assert reader.change_seq() == 0
    assert (reader.latest(), reader.progress(), reader.events()) == ([], [], [])


def test_a_restart_resumes_at_the_last_snapshot(tmp_path: Path, ledger: LedgerWriter) -> None:
    for seq in (1, 2, 7):
        ledger.commit(at(seq), Results())
    again = LedgerWriter(tmp_path / "ledger.db")
    assert again.snapshot() == at(7)
    again.close()


def test_a_rebuild_leaves_the_index_of_changes_to_its_last_commit(
    tmp_path: Path, ledger: LedgerWriter
) -> None:
    file = sqlite3.connect(tmp_path / "ledger.db")

    def indexed() -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type='index' AND name='interval_change'"
        return file.execute(query).fetchone() is not None

    assert indexed()
    with ledger.filling():
        ledger.fill([], Results([ROW]), RebuildPoint(0, 1, b"here"), "of this")
        assert not indexed()
    LedgerWriter(tmp_path / "ledger.db").close()  # goes on where it was broken off
    assert not indexed()
    ledger.commit(at(1), Results())
    assert indexed()
    file.execute("DROP INDEX interval_change")  # broken off before anything was filled in
    LedgerWriter(tmp_path / "ledger.db").close()
    assert indexed()
    file.close()


def test_a_rebuild_that_is_given_up_leaves_an_index_of_changes(tmp_path: Path, ledger: LedgerWriter) -> None:
    with ledger.filling():
        ledger.fill([], Results([ROW]), RebuildPoint(0, 1, b"here"), "of this")
    ledger.clear()
    with sqlite3.connect(tmp_path / "ledger.db") as file:
        assert file.execute("SELECT 1 FROM sqlite_master WHERE name='interval_change'").fetchone()
    ledger.commit(at(1), Results([ROW]))


def test_rows_read_back_as_they_were_written(ledger: LedgerWriter, reader: LedgerReader) -> None:
    open_row = msgspec.structs.replace(
        ROW, start_ms=QUARTER_MS, end_ms=2 * QUARTER_MS, opening=BIG - 1, closing=BIG, emission_ug=None, factor_id=None,
        edge_read=False, quality=3, closed=False,
    )  # fmt: skip
    latest, progress = LatestRow("m", "power_active", 5, -1.25, 6), ProgressRow("m", TOTAL, 5, BIG, True)
    ledger.commit(
        at(1),
        Results(
            [open_row, ROW], [latest], [progress], [NewLedgerEvent(5, "m", TOTAL, "fall", {"到": [1, 2]})]
        ),
    )
    assert reader.intervals("m", TOTAL, 0, BIG) == [ROW, open_row]
    assert open_row.energy == 1
    assert (reader.latest(), reader.progress()) == ([latest], [progress])
    [event] = reader.events()
    assert (event.id, event.t_ms, event.meter, event.reading_type, event.kind, event.detail) == (
        1,
        5,
        "m",
        TOTAL,
        "fall",
        {"到": [1, 2]},
    )
    assert reader.change_seq() == 1


def test_readers_see_the_newest_revision_of_every_part(ledger: LedgerWriter, reader: LedgerReader) -> None:
    parts = [
        msgspec.structs.replace(ROW, part=part, revision=revision, closing=350 + revision)
        for part in (0, 1)
        for revision in (1, 2)
    ]
    third = msgspec.structs.replace(ROW, part=1, revision=10, closing=999)
    ledger.commit(at(1), Results(parts))
    ledger.commit(at(2), Results([third]))
    assert reader.intervals("m", TOTAL, 0, QUARTER_MS) == [parts[1], third]


def test_a_row_of_the_same_revision_is_replaced(ledger: LedgerWriter, reader: LedgerReader) -> None:
    ledger.commit(at(1), Results([msgspec.structs.replace(ROW, closed=False, closing=200)]))
    ledger.commit(at(2), Results([ROW]))
    assert reader.intervals("m", TOTAL, 0, QUARTER_MS) == [ROW]


@pytest.mark.parametrize(
    ("start", "end", "starts"),
    [(0, 1, [0]), (1, QUARTER_MS, []), (1, QUARTER_MS + 1, [QUARTER_MS]), (5, 5, [])],
)
def test_intervals_are_chosen_by_their_start_half_open(
    ledger: LedgerWriter, reader: LedgerReader, start: int, end: int, starts: list[int]
) -> None:
    second = msgspec.structs.replace(ROW, start_ms=QUARTER_MS, end_ms=2 * QUARTER_MS)
    elsewhere = [
        msgspec.structs.replace(ROW, meter="other"),
        msgspec.structs.replace(ROW, reading_type="volume_total"),
    ]
    ledger.commit(at(1), Results([second, ROW, *elsewhere]))
    assert [row.start_ms for row in reader.intervals("m", TOTAL, start, end)] == starts


def test_the_latest_reading_never_goes_back_in_time(ledger: LedgerWriter, reader: LedgerReader) -> None:
    for seq, (t_ms, value) in enumerate([(10, 1.0), (30, 3.0), (20, 2.0), (30, 3.5), (29, 9.0)], 1):
        ledger.commit(at(seq), Results(latest=[LatestRow("m", "power_active", t_ms, value, seq)]))
    assert reader.latest() == [LatestRow("m", "power_active", 30, 3.5, 4)]


def test_newest_readings_of_a_ledger_of_the_release_before_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    rows = [LatestRow("m", "power", 30, 0.1, 40), LatestRow("n", "flow", 9, 1 / 3, 10)]
    with LedgerWriter(path) as ledger:
        ledger.commit(at(1), Results([ROW]))
    older = sqlite3.connect(path)
    older.executescript(
        "DROP TABLE latest; CREATE TABLE latest(meter TEXT NOT NULL, reading_type TEXT NOT NULL, t_ms INTEGER NOT NULL, "
        "value REAL NOT NULL, received_ms INTEGER NOT NULL, change_seq INTEGER NOT NULL, "
        "PRIMARY KEY(meter, reading_type)) WITHOUT ROWID; PRAGMA user_version=2"
    )
    with older:
        older.executemany(
            "INSERT INTO latest VALUES(?,?,?,?,?,1)", map(msgspec.structs.astuple, reversed(rows))
        )
    older.close()
    with LedgerWriter(path) as ledger, LedgerReader(path) as reader:
        assert reader.latest() == rows
        ledger.commit(at(2), Results(latest=[newer := LatestRow("n", "power", 11, 5.0, 12)]))
        assert reader.latest() == [*rows, newer]
        assert reader.intervals("m", TOTAL, 0, QUARTER_MS) == [ROW]


def test_within_one_commit_it_does_not_either(ledger: LedgerWriter, reader: LedgerReader) -> None:
    rows = [LatestRow("m", "power_active", t_ms, float(t_ms), 1) for t_ms in (20, 30, 10)]
    ledger.commit(at(1), Results(latest=rows))
    assert reader.latest() == [rows[1]]


def test_a_commit_that_fails_changes_nothing(ledger: LedgerWriter, reader: LedgerReader) -> None:
    ledger.commit(at(1), Results([ROW]))
    newest, too_big = LatestRow("m", "power_active", 1, 1.0, 1), ProgressRow("m", TOTAL, 1 << 63, 1, False)
    with pytest.raises(OverflowError):
        ledger.commit(at(2), Results([msgspec.structs.replace(ROW, revision=2)], [newest], [too_big]))
    nameless = msgspec.structs.replace(NewLedgerEvent(1, "m", TOTAL, "x", {}), meter=None)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.commit(at(3), Results([msgspec.structs.replace(ROW, revision=3)], events=[nameless]))
    assert ledger.snapshot() == at(1)
    assert reader.latest() == []
    assert reader.intervals("m", TOTAL, 0, QUARTER_MS) == [ROW]
    ledger.commit(at(2), Results())
    assert reader.change_seq() == 2


def test_events_are_paged_and_chosen_by_meter(ledger: LedgerWriter, reader: LedgerReader) -> None:
    events = [NewLedgerEvent(n, "ab"[n % 2], TOTAL, "gap", {"n": n}) for n in range(6)]
    ledger.commit(at(1), Results(events=events))
    assert [event.id for event in reader.events(after_id=2, limit=2)] == [3, 4]
    assert [event.detail["n"] for event in reader.events(meter="b")] == [1, 3, 5]
    assert [event.detail["n"] for event in reader.events(after_id=2, limit=1, meter="b")] == [3]


def test_a_first_revision_of_a_restated_interval_takes_the_place_of_the_newest(
    ledger: LedgerWriter, reader: LedgerReader
) -> None:
    """Also after a restart: the stream goes on without knowing what was restated."""
    ledger.commit(at(1), Results([ROW]))
    ledger.commit(at(2), Results([msgspec.structs.replace(ROW, revision=2, closed=False)]))
    ledger.commit(at(3), Results([msgspec.structs.replace(ROW, closing=777)]))
    found = reader.revisions("m", TOTAL, 0, QUARTER_MS)
    assert [(row.revision, row.closing) for row in found] == [(1, ROW.closing), (2, 777)]


def test_an_event_is_kept_once_and_again_after_it_was_withdrawn(
    ledger: LedgerWriter, reader: LedgerReader
) -> None:
    event = NewLedgerEvent(5, "m", TOTAL, "reset", {"position": 1}, noted_ms=9)
    ledger.commit(at(1), Results(events=[event, event]))
    ledger.commit(at(2), Results(events=[event]))
    (known,) = reader.events()
    assert reader.events_noted_after("m", TOTAL, 8) == [known]
    assert reader.events_noted_after("m", TOTAL, 9) == []
    ledger.commit(at(3), Results(withdrawn=[known.id]))
    assert reader.events() == reader.events_noted_after("m", TOTAL, 8) == []
    ledger.commit(at(4), Results(events=[event]))
    assert [found.kind for found in reader.events()] == ["reset"]


def test_a_checkpoint_is_the_last_before_a_time_until_it_is_outdated(
    ledger: LedgerWriter, reader: LedgerReader
) -> None:
    kept = [CheckpointRow("m", TOTAL, heard, bytes([heard])) for heard in (10, 20, 30)]
    ledger.commit(at(1), Results(checkpoints=kept))
    assert [reader.checkpoint("m", TOTAL, before) for before in (31, 30, 10)] == [kept[2], kept[1], None]
    ledger.commit(at(2), Results(outdated=[("m", TOTAL, 20)]))
    assert reader.checkpoint("m", TOTAL, 99) == kept[0]


def test_rows_and_events_are_there_as_they_were_after_an_earlier_commit(
    ledger: LedgerWriter, reader: LedgerReader
) -> None:
    """What a pack of a month reads that was restated since: events found later, and withdrawn again, are not there."""

    def event(t_ms: int) -> NewLedgerEvent:
        return NewLedgerEvent(t_ms, "m", TOTAL, "rollover", {"position": 1}, t_ms)

    ledger.commit(at(1), Results([ROW], events=[event(1), event(2)]))
    seq, last = reader.change_seq(), reader.last_event()
    restated = msgspec.structs.replace(ROW, revision=2, closing=400)
    ledger.commit(at(2), Results([restated], events=[event(3)], withdrawn=[1]))
    ledger.commit(at(3), Results(withdrawn=[3]))
    assert reader.intervals("m", TOTAL, 0, BIG, seq) == [ROW]
    assert reader.intervals("m", TOTAL, 0, BIG) == [restated]
    assert [e.t_ms for e in reader.events_as_of({"rollover"}, seq, last)] == [1, 2]
    assert [e.t_ms for e in reader.events_of({"rollover"})] == [2]
