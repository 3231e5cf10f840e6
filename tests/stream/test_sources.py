"""One loop, three sources: a closed range ends where it ends, and the shares of several workers make up one ledger, bit for bit."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.intervals import QUARTER_MS
from storage.journal import JournalReader, Offset
from storage.segment import Record
from stream.kernels.decode import PADDING
from stream.restate import restate
from stream.runner import START, Runner
from stream.sources.partition import Partition, worker_of
from stream.sources.replay import Replay
from stream.sources.source import AT_ONCE, Reach, Source
from stream.sources.tail import Tail
from stream.state import State
from stream.step import step
from tests.stream.strategies import (
    DEVICES,
    Kept,
    Ledger,
    Memory,
    births,
    context,
    follow,
    frame,
    merged,
    readings,
    streams,
)
from tests.stream.test_runner import ledger_rows, values, write_journal

FOLDER_PER_TEST = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def taken(source: Source, cursor: Offset = START) -> list[Record]:
    """Everything that a source gives from a cursor on."""
    out: list[Record] = []
    while True:
        records, after = source.read(cursor)
        assert after >= cursor
        if not records:
            return out
        out, cursor = [*out, *records], after


def ledger_of(source: Source) -> Ledger:
    """What one worker's ledger holds in the end."""
    ledger, state, world = Ledger.empty(), State(), context()
    seen: list[Record] = []
    cursor = START
    while True:
        records, cursor = source.read(cursor)
        if not records:
            return ledger
        seen += records
        results = step(state, records, world)
        restate(state, results.late, world, Memory(seen), Kept(ledger), results, "late_reading")
        ledger.add(results)


@settings(max_examples=30, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(st.integers(1, 25), st.integers(1, 6), st.integers(1, 4), st.data())
def test_replay_gives_exactly_the_records_of_its_range(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int, limit: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("replay") / "journal.db"
    records = [frame("pv", i * QUARTER_MS, i) for i in range(1, count + 1)]
    write_journal(path, records, size)
    begin, end = sorted(data.draw(st.integers(0, count)) for _ in range(2))
    places = [Offset(1 + at // size, at % size) for at in (begin, end)]
    with JournalReader(path) as journal:
        assert taken(Replay(journal, places[1], limit), places[0]) == records[begin:end]


def test_a_replay_does_not_see_what_the_journal_gets_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    old, new = readings("pv", (0, 1), (1, 2)), readings("pv", (2, 3))
    write_journal(path, old, 2)
    with JournalReader(path) as journal:
        replay = Replay(journal, journal.head().offset)
        write_journal(path, new, 1)
        assert taken(replay) == old
        assert taken(Tail(journal)) == old + new


@settings(max_examples=10, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(parts=streams(size=6), size=st.integers(1, 7), cut=st.integers(0, 40))
def test_a_recomputation_up_to_a_place_is_the_ledger_of_the_records_before_it(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]], size: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("again")
    records = [*births(), *merged(parts, [0, 2, 1, 5])]
    cut = min(cut, len(records))
    write_journal(folder / "journal.sqlite", records, size)
    end = Offset(1 + cut // size, cut % size)
    runner = Runner(folder / "journal.sqlite", folder / "ledger.sqlite", context(), end, batch=2)
    while runner.advance():
        pass
    assert runner.cursor == max(end, START)
    runner.close()
    assert values(ledger_rows(folder)) == follow(records[:cut]).values


@settings(max_examples=20, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(streams(size=8), st.integers(1, 6), st.integers(2, 7), st.integers(1, 3))
def test_the_ledgers_of_several_workers_together_are_the_ledger_of_one(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]], workers: int, size: int, limit: int
) -> None:
    path = tmp_path_factory.mktemp("shares") / "journal.db"
    write_journal(path, [*births(), *merged(parts, [3, 1, 0, 4, 2])], size)
    with JournalReader(path) as journal:
        one = ledger_of(Tail(journal, limit))
        many = [ledger_of(Partition(Tail(journal, limit), n, workers)) for n in range(workers)]
    for name in ("intervals", "latest", "progress"):
        shares = [getattr(ledger, name) for ledger in many]
        assert sum(map(len, shares)) == len(getattr(one, name)), "no total has two workers"
        assert {key: row for share in shares for key, row in share.items()} == getattr(one, name)
    told = sorted(map(repr, (event for ledger in many for event in ledger.events)))
    assert told == sorted(map(repr, one.events))


def test_every_meter_has_one_worker_and_the_shares_are_alike() -> None:
    shares: Sequence[int] = [worker_of("g", f"m{i}", 4) for i in range(4000)]
    counts = [shares.count(n) for n in range(4)]
    assert sum(counts) == 4000
    assert max(counts) - min(counts) < 200
    assert [worker_of("gw1", name, 8) for name in DEVICES] == [worker_of("gw1", name, 8) for name in DEVICES]
    assert worker_of("g", "m0", 1) == 0


def test_a_worker_without_records_goes_on_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    write_journal(path, readings("pv", *((i, i) for i in range(9))), 1)
    stranger = next(n for n in range(5) if n != worker_of(DEVICES["pv"].gateway, "pv", 5))
    with JournalReader(path) as journal:
        nothing, after = Partition(Tail(journal, 2), stranger, 5).read(START)
        assert (list(nothing), after) == ([], Offset(10, 0))
        cursors = [START]
        share = Partition(Tail(journal, 2), worker_of(DEVICES["pv"].gateway, "pv", 5), 5)
        while (found := share.read(cursors[-1]))[0]:
            cursors.append(found[1])
    assert all(before < after for before, after in pairwise(cursors))


def test_a_reach_that_stops_while_there_is_more_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journal(tmp_path / "journal.sqlite", readings("pv", *((i, i) for i in range(AT_ONCE + 2))), 1)
    monkeypatch.setattr("stream.sources.source.FULL_BYTES", PADDING + 1)
    with JournalReader(tmp_path / "journal.sqlite") as journal:
        first = Reach(Tail(journal, 1), START)
        assert (len([*first.batches()]), first.count, first.ended) == (AT_ONCE, AT_ONCE, False)
        rest = Reach(Tail(journal, 1), first.cursor)
        assert (len([*rest.batches()]), rest.count, rest.ended) == (3, 2, True)
