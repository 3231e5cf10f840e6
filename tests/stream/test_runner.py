"""The loop over a real journal and a real ledger: dropped anywhere, it resumes exactly."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factors.policy import enterprise_policy
from metering.intervals import QUARTER_MS
from storage.journal import Commit, Entry, JournalReader, Offset
from storage.journal_writer import JournalWriter
from storage.ledger import IntervalRow, LedgerReader, LedgerWriter
from storage.segment import Record
from stream.runner import START, Runner, run, wait_for_journal
from stream.sources.tail import Tail
from stream.state import StateError
from tests.stream.strategies import (
    AS_OF,
    DEVICES,
    TABLE,
    births,
    context,
    follow,
    merged,
    park,
    readings,
    streams,
)


def write_journal(path: Path, records: Sequence[Record], size: int) -> None:
    writer = JournalWriter(path)
    for at in range(0, len(records), size):
        writer.commit(Commit(entries=[Entry(record) for record in records[at : at + size]]), 1)
    writer.close()


@contextmanager
def running(folder: Path, registry: str = "") -> Iterator[Runner]:
    """A runner over the files of a folder; leaving it is a kill between two commits: nothing is said goodbye to."""
    reader, writer = JournalReader(folder / "journal.sqlite"), LedgerWriter(folder / "ledger.sqlite")
    runner = Runner(reader, writer, context(park(plain={"ct": registry}) if registry else None))
    runner._source._limit = 1  # one segment per batch, so that there is a between
    try:
        yield runner
    finally:
        reader.close()
        writer.close()


def ledger_rows(folder: Path) -> list[IntervalRow]:
    with LedgerReader(folder / "ledger.sqlite") as reader:
        rows = [r for name, d in DEVICES.items() for r in reader.intervals(name, d.reading_type, 0, 1 << 62)]
    return sorted(rows, key=lambda row: (row.meter, row.reading_type, row.start_ms))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=streams(size=6), size=st.integers(1, 7), lives=st.lists(st.integers(0, 4), max_size=6))
def test_dropped_at_any_commit_it_ends_with_the_same_ledger(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]], size: int, lives: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    records = [*births(), *merged(parts, [0, 2, 1, 5])]
    write_journal(folder / "journal.sqlite", records, size)
    for batches in lives:
        with running(folder) as runner:
            for _ in range(batches):
                runner.advance()
    with running(folder) as runner:
        while runner.advance():
            pass
    whole = follow(records)
    assert ledger_rows(folder) == whole.rows
    with LedgerReader(folder / "ledger.sqlite") as reader:
        assert {(row.meter, row.reading_type): row for row in reader.latest()} == whole.latest
        assert {(row.meter, row.reading_type): row for row in reader.progress()} == whole.progress
        assert [(e.kind, e.t_ms, e.meter) for e in reader.events(limit=10_000)] == [
            (e.kind, e.t_ms, e.meter) for e in whole.events
        ]


def test_rows_state_and_cursor_are_committed_together(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", [*births(), *readings("pv", (0, 1), (QUARTER_MS, 5))], 3)
    with running(tmp_path) as runner:
        assert runner.cursor == START
        assert [runner.advance() for _ in range(4)] == [3, 3, 3, 0]
        assert runner.cursor == Offset(4, 0)
    with LedgerReader(tmp_path / "ledger.sqlite") as reader:
        assert reader.change_seq() == 3
    with running(tmp_path) as runner:
        assert runner.cursor == Offset(4, 0)
        assert runner.advance() == 0


def test_what_the_journal_gains_later_is_read_on(tmp_path: Path) -> None:
    first, second = [*births(), *readings("pv", (0, 1))], readings("pv", (QUARTER_MS, 5))
    write_journal(tmp_path / "journal.sqlite", first, 99)
    with running(tmp_path) as runner:
        runner.advance()
        write_journal(tmp_path / "journal.sqlite", second, 1)
        assert runner.advance() == 1
    assert [row.energy for row in ledger_rows(tmp_path)] == [4]


def test_a_commit_that_fails_leaves_the_ledger_where_it_was(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", [*births(), *readings("pv", (0, 1), (QUARTER_MS, 5))], 99)
    with running(tmp_path) as runner:
        runner._ledger.close()
        with pytest.raises(Exception, match="closed"):
            runner.advance()
        assert runner.cursor == START
    with running(tmp_path) as runner:
        assert runner.advance() == 9
    assert [row.energy for row in ledger_rows(tmp_path)] == [4]


def test_a_ledger_made_from_another_journal_is_refused(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", births(), 9)
    with running(tmp_path) as runner:
        runner.advance()
    for file in tmp_path.glob("journal.sqlite*"):
        file.unlink()
    write_journal(tmp_path / "journal.sqlite", births(), 9)
    with (
        pytest.raises(StateError, match="put the right journal back, or move the ledger file away"),
        running(tmp_path),
    ):
        pass


def test_a_ratio_changed_between_two_runs_is_refused_at_start_and_cured_by_a_new_ledger(
    tmp_path: Path,
) -> None:
    write_journal(tmp_path / "journal.sqlite", [*births(), *readings("plain", (0, 1), (QUARTER_MS, 5))], 9)
    with running(tmp_path) as runner:
        runner.advance()
    with pytest.raises(StateError, match="move the ledger file away"), running(tmp_path, "600/5"):
        pass
    for file in tmp_path.glob("ledger.sqlite*"):
        file.rename(file.with_name(f"old-{file.name}"))
    with running(tmp_path, "600/5") as runner:
        assert runner.advance() == 9
    assert [row.energy for row in ledger_rows(tmp_path)] == [4 * 120 * 10]


def test_the_tail_skips_what_was_read_and_counts_what_was_not(tmp_path: Path) -> None:
    records = readings("pv", *((i, i) for i in range(7)))
    write_journal(tmp_path / "journal.sqlite", records, 3)
    with JournalReader(tmp_path / "journal.sqlite") as journal:
        tail = Tail(journal, limit=2)
        assert tail.read(Offset(1, 2)) == (records[2:6], Offset(3, 0))
        assert tail.read(Offset(3, 0)) == (records[6:], Offset(4, 0))
        assert tail.read(Offset(4, 0)) == ([], Offset(4, 0))
        assert [tail.backlog(Offset(n, 0)) for n in (1, 3, 4)] == [3, 1, 0]


def test_it_waits_for_the_journal_until_it_is_stopped(tmp_path: Path) -> None:
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 2

    assert wait_for_journal(tmp_path / "journal.sqlite", stopped) is None
    JournalWriter(tmp_path / "journal.sqlite").close()
    asked.clear()
    journal = wait_for_journal(tmp_path / "journal.sqlite", stopped)
    assert journal is not None
    assert journal.journal_id
    journal.close()


def test_on_a_new_day_open_intervals_take_the_factor_of_that_day(tmp_path: Path) -> None:
    """Before any notice there is no factor; the day after, the running interval has one when it is next touched."""
    journal, ledger = tmp_path / "journal.sqlite", tmp_path / "ledger.sqlite"
    write_journal(journal, [*births(), *readings("plain", (0, 1), (60_000, 2))], 99)
    days = iter([date(2000, 1, 1)] * 2)
    asked: list[int] = []

    def stopped() -> bool:
        asked.append(1)
        if len(asked) == 3:
            write_journal(journal, readings("plain", (120_000, 3)), 1)
        return len(asked) > 4

    run(park(), journal, ledger, TABLE, enterprise_policy(), lambda: next(days, AS_OF), stopped)
    (row,) = ledger_rows(tmp_path)
    assert row.emission_ug == row.energy * 530_600
