"""The loop over a real journal and a real ledger: dropped anywhere, it resumes exactly."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factors.policy import enterprise_policy
from metering.intervals import QUARTER_MS
from metering.sparkplug import decode
from metering.topics import MessageType, parse_topic
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, JournalReader, Offset
from storage.journal_writer import JournalWriter
from storage.ledger import EventRow, IntervalRow, LedgerReader, NewLedgerEvent
from storage.segment import Record
from stream.context import Context
from stream.policy import Policy
from stream.requests import Answer, Request, Requests
from stream.runner import START, Runner, only_one, run, wait_for_journal
from stream.sources.tail import Tail
from stream.state import StateError
from tests.stream.strategies import (
    AS_OF,
    DEVICES,
    T0,
    TABLE,
    births,
    context,
    follow,
    is_void,
    merged,
    park,
    readings,
    streams,
)


def write_journal(path: Path, records: Sequence[Record], size: int) -> None:
    writer = JournalWriter(path)
    taken = max(writer.progress().values(), default=0)
    entries = [entry(record, taken + number) for number, record in enumerate(records, 1)]
    for at in range(0, len(entries), size):
        writer.commit(Commit(entries=entries[at : at + size]), 1)
    writer.close()


def entry(record: Record, number: int) -> Entry:
    topic = parse_topic(record.topic)
    assert topic is not None
    if topic.type is MessageType.DBIRTH:
        return Entry(record, BirthIndex(topic.gateway, topic.meter, 1))
    payload = decode(record.payload)
    times = [payload.timestamp if m.timestamp is None else m.timestamp for m in payload.metrics]
    newest = max(t for t in times if t is not None)
    return Entry(record, FrameIndex(topic.gateway, topic.meter, 1, number, newest, b""))


@contextmanager
def running(folder: Path, **plain: object) -> Iterator[Runner]:
    """A runner over the files of a folder; leaving it is a kill between two commits: nothing is said goodbye to."""
    world = context(park(plain=plain) if plain else None)
    # One segment per batch, so that there is a between.
    runner = Runner(folder / "journal.sqlite", folder / "ledger.sqlite", world, batch=1)
    try:
        yield runner
    finally:
        runner.close()


def ledger_rows(folder: Path) -> list[IntervalRow]:
    with LedgerReader(folder / "ledger.sqlite") as reader:
        rows = [r for name, d in DEVICES.items() for r in reader.intervals(name, d.reading_type, 0, 1 << 62)]
    found = [row for row in rows if not is_void(row)]
    return sorted(found, key=lambda row: (row.meter, row.reading_type, row.start_ms))


def values(rows: Sequence[IntervalRow]) -> list[IntervalRow]:
    return [msgspec.structs.replace(row, revision=1) for row in rows]


def told(events: Sequence[EventRow | NewLedgerEvent]) -> list[tuple[str, int, str]]:
    return sorted((e.kind, e.t_ms, e.meter) for e in events if e.kind != "restated")


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
    assert values(ledger_rows(folder)) == whole.values
    with LedgerReader(folder / "ledger.sqlite") as reader:
        assert {(row.meter, row.reading_type): row for row in reader.latest()} == whole.latest
        assert {(row.meter, row.reading_type): row for row in reader.progress()} == whole.progress
        assert told(reader.events(limit=10_000)) == told(whole.events)


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


QUARTERS = [(i * QUARTER_MS, 500_000 + 10 * i) for i in range(8)]


def test_a_ratio_put_right_restates_from_its_date_and_keeps_the_first_revision(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", [*births(), *readings("plain", *QUARTERS)], 9)
    with running(tmp_path) as runner:
        while runner.advance():
            pass
    change = {"at": datetime.fromtimestamp((T0 + 4 * QUARTER_MS) / 1000, UTC), "ct": "120"}
    with running(tmp_path, ratio_changes=[change]):
        rows = ledger_rows(tmp_path)
    assert [(row.energy, row.revision) for row in rows] == [(8000, 1)] * 4 + [(12_000, 2)] * 3
    with LedgerReader(tmp_path / "ledger.sqlite") as reader:
        kept = reader.revisions("plain", "energy_import_total", T0 + 4 * QUARTER_MS, T0 + 5 * QUARTER_MS)
        assert [(row.revision, row.energy) for row in kept] == [(1, 8000), (2, 12_000)]
        (ratio, restated) = reader.events()
    assert (ratio.kind, restated.kind, restated.detail["reason"]) == (
        "ratio_change",
        "restated",
        "declared_anew",
    )
    assert (restated.detail["energy_before"], restated.detail["energy_after"]) == (24_000, 36_000)
    with running(tmp_path, ratio_changes=[change]) as runner:
        assert runner.cursor == Offset(3, 0)
    assert ledger_rows(tmp_path) == rows


def test_intervals_after_a_restatement_take_the_place_of_their_newest_revision(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    spike = [(0, 500_000), (QUARTER_MS, 500_010), (2 * QUARTER_MS, 500_020)]
    write_journal(journal, [*births(), *readings("plain", *spike)], 99)
    with running(tmp_path) as runner:
        runner.advance()
        write_journal(
            journal, readings("plain", (QUARTER_MS + 600_000, 500_100)), 99
        )  # the last total now contradicts it
        runner.advance()
        assert [row.energy for row in ledger_rows(tmp_path)] == [8000, 90 * 800]
        write_journal(
            journal, readings("plain", *((i * QUARTER_MS, 500_000 + 10 * i) for i in range(3, 7))), 99
        )
        runner.advance()
    whole = follow(
        [*births(), *readings("plain", *spike, (QUARTER_MS + 600_000, 500_100)),
         *readings("plain", *((i * QUARTER_MS, 500_000 + 10 * i) for i in range(3, 7)))]
    )  # fmt: skip
    assert values(ledger_rows(tmp_path)) == whole.values


def test_a_request_names_every_line_that_differs_and_none_when_all_are_right(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", [*births(), *readings("plain", *QUARTERS)], 9)
    requests = Requests(tmp_path / "ledger.sqlite")
    with running(tmp_path) as runner:
        while runner.advance():
            pass
        name = requests.put(Request(T0, "asked"))
        ((found, request),) = requests.waiting()
        assert found == name
        requests.answer(name, runner.carry_out(request))
    assert requests.waiting() == []
    assert requests.take(name) == Answer(1, [])
    assert requests.take(name) is None


def test_a_file_that_is_no_request_is_answered_and_disturbs_nothing(tmp_path: Path) -> None:
    requests = Requests(tmp_path / "ledger.sqlite")
    name = requests.put(Request(T0, "asked"))
    (requests.folder / "0.request").write_bytes(b"{")
    assert [found for found, _request in requests.waiting()] == [name]
    answer = requests.take("0")
    assert answer is not None
    assert "not a request" in (answer.error or "")


def test_a_second_stream_on_one_ledger_is_refused(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "ledger.sqlite"),
        pytest.raises(BlockingIOError),
        only_one(tmp_path / "ledger.sqlite"),
    ):
        pass


def test_the_tail_skips_what_was_read_and_counts_what_was_not(tmp_path: Path) -> None:
    records = readings("pv", *((i, i) for i in range(7)))
    write_journal(tmp_path / "journal.sqlite", records, 3)
    with JournalReader(tmp_path / "journal.sqlite") as journal:
        tail = Tail(journal, limit=2)
        found = {start: tail.read(start) for start in (Offset(1, 2), Offset(3, 0), Offset(4, 0))}
        assert [(list(block), after) for block, after in found.values()] == [
            (records[2:6], Offset(3, 0)), (records[6:], Offset(4, 0)), ([], Offset(4, 0)),
        ]  # fmt: skip
        assert [tail.backlog(Offset(n, 0)) for n in (1, 3, 4)] == [3, 1, 0]


def test_it_waits_for_the_journal_until_it_is_stopped(tmp_path: Path) -> None:
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 2

    assert not wait_for_journal(tmp_path / "journal.sqlite", stopped)
    JournalWriter(tmp_path / "journal.sqlite").close()
    asked.clear()
    assert wait_for_journal(tmp_path / "journal.sqlite", stopped)


def test_on_a_new_day_open_intervals_take_the_factor_of_that_day(tmp_path: Path) -> None:
    """Before any notice there is no factor; the day after, closed and running intervals have one."""
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


def test_a_factor_that_comes_later_withdraws_the_event_of_its_absence(tmp_path: Path) -> None:
    journal, ledger = tmp_path / "journal.sqlite", tmp_path / "ledger.sqlite"
    write_journal(journal, [*births(), *readings("plain", *((i * QUARTER_MS, i) for i in range(5)))], 99)
    for day, kinds in ((date(2000, 1, 1), ["missing_factor"]), (AS_OF, ["restated"])):
        runner = Runner(journal, ledger, Context(park(), Policy(TABLE, enterprise_policy(), park().tz, day)))
        while runner.advance():
            pass
        runner.close()
        with LedgerReader(ledger) as reader:
            assert [event.kind for event in reader.events()] == kinds
