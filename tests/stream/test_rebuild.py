"""A ledger rebuilt in the order of time is the one that was made in the order of arrival, bit for bit, however many workers there are."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.intervals import HOUR_MS, QUARTER_MS
from metering.registry import Park
from storage.ledger import LedgerReader
from storage.segment import Record
from stream import rebuild
from stream.runner import START, Runner
from stream.share import Told
from tests.stream import test_still as still
from tests.stream.strategies import births, context, frame, is_void, merged, park, readings, streams
from tests.stream.test_runner import values, write_journal
from tests.stream.test_step import changes

FOLDER_PER_TEST = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def said(ledger: Path, registry: Park) -> dict[str, object]:
    """Everything a ledger says, but for the numbers of revisions and of events."""
    with LedgerReader(ledger) as reader:
        keys = [(meter.id, kind) for meter in registry.meters for kind in meter.roles]
        rows = [row for key in keys for row in reader.intervals(*key, 0, 1 << 62) if not is_void(row)]
        events = reader.events(limit=100_000)
        return {
            "rows": values(rows), "latest": reader.latest(), "progress": reader.progress(), "cursor": reader.cursor(),
            "events": sorted((e.kind, e.t_ms, e.meter, e.reading_type, repr(e.detail)) for e in events if e.kind != "restated"),
        }  # fmt: skip


def both(
    folder: Path, records: list[Record], registry: Park, size: int, workers: int, lives: Sequence[int] = ()
) -> list[dict[str, object]]:
    """What a ledger says that was made as the records came, one segment at a time, and one that was rebuilt.

    The rebuild is broken off after each of some numbers of commits, `lives`, and goes on.
    """
    journal = folder / "journal.sqlite"
    write_journal(journal, records, size)
    live = Runner(journal, folder / "live.sqlite", context(registry), batch=1)
    while live.advance():
        pass
    live.close()
    for commits in lives:
        broken = Runner(journal, folder / "again.sqlite", context(registry))
        broken.rebuild(workers, until(commits))
        broken.close()
    again = Runner(journal, folder / "again.sqlite", context(registry))
    again.rebuild(workers)
    assert again.cursor == live.cursor
    assert again.advance() == 0
    again.close()
    return [said(folder / name, registry) for name in ("live.sqlite", "again.sqlite")]


def until(commits: int) -> Callable[[], bool]:
    """False so many times."""
    left = iter(range(commits))
    return lambda: next(left, None) is None


def in_this_process(work: list[rebuild.Work]) -> Iterator[Told]:
    """The workers one after the other: a process for each of a hundred examples would take an hour."""
    for one in work:
        yield from rebuild.share(one)


@settings(max_examples=40, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(
    parts=streams(size=8), changed=changes(), chance=st.randoms(use_true_random=False), size=st.integers(1, 9),
    workers=st.integers(1, 3), slice_=st.integers(1, 12), hold=st.sampled_from([0, QUARTER_MS, HOUR_MS, 9 * HOUR_MS]),
    lives=st.lists(st.integers(0, 5), max_size=4), rows=st.integers(0, 9),
)  # fmt: skip
def test_a_rebuilt_ledger_is_the_live_one_however_often_it_was_broken_off(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]], changed: dict[str, dict[str, object]],
    chance: Random, size: int, workers: int, slice_: int, hold: int, lives: list[int], rows: int,
) -> None:  # fmt: skip
    frames = merged(parts, [0, 2, 1, 5])
    frames += [record for record in frames if chance.random() < 0.2]
    if chance.random() < 0.5:
        chance.shuffle(frames)
    with (
        patch.object(rebuild, "SLICE", slice_),
        patch.object(rebuild, "ROWS", rows),
        patch.object(rebuild, "shares", in_this_process),
        patch("stream.share.HOLD_MS", hold),
        patch("stream.sources.tail.BATCH_BYTES", 200),
    ):
        folder, registry = tmp_path_factory.mktemp("again"), park("Asia/Shanghai", **changed)
        live, again = both(folder, [*births(), *frames], registry, size, workers, lives)
    assert again == live


@settings(max_examples=25, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(
    shown=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1), st.integers(0, 1)), min_size=8, max_size=40),
    chance=st.randoms(use_true_random=False), slice_=st.integers(1, 30), shuffled=st.booleans(),
    lives=st.lists(st.integers(0, 5), max_size=3),
)  # fmt: skip
def test_meters_that_freeze_are_told_alike(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[int, int, int]], chance: Random, slice_: int, shuffled: bool,
    lives: list[int],
) -> None:  # fmt: skip
    records, quarter, total, power = [], 0.0, 1000, 5000
    for steps, counts, moves in shown:
        quarter, total, power = quarter + steps / 4, total + counts, power + moves
        records.append(still.main(quarter, total, power))
    if shuffled:
        chance.shuffle(records)
    with (
        patch.object(rebuild, "SLICE", slice_),
        patch.object(rebuild, "ROWS", 0),
        patch("stream.sources.tail.BATCH_BYTES", 200),
    ):
        folder = tmp_path_factory.mktemp("still")
        live, again = both(folder, [*still.births(), *records], still.park(), 3, 1, lives)
    assert again == live


def small_steps() -> ExitStack:
    """Chunks of some kilobytes, told slice by slice, in children too."""
    stack = ExitStack()
    for name, value in (("SLICE", 60), ("ROWS", 0), ("CHUNK_BYTES", 3000)):
        stack.enter_context(patch.object(rebuild, name, value))
    stack.enter_context(patch("stream.sources.tail.BATCH_BYTES", 3000))
    return stack


def some_hours() -> list[Record]:
    return [frame(name, i * QUARTER_MS // 3, 100 + i) for i in range(300) for name in ("pv", "plain", "heat")]


def test_workers_are_processes_of_their_own_and_go_on_where_they_were(tmp_path: Path) -> None:
    with small_steps():
        live, again = both(tmp_path, [*births(), *some_hours()], park(), 7, 2, [3])
    assert again == live
    assert len(live["rows"]) > 250  # type: ignore[arg-type]


KILLED = """
import os, signal, sys
from pathlib import Path
from storage.ledger_writer import LedgerWriter
from stream.runner import Runner
from tests.stream.strategies import context
from tests.stream.test_rebuild import small_steps

def fill(ledger, *told, fill=LedgerWriter.fill, left=iter(range(int(sys.argv[2])))):
    fill(ledger, *told)
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)

LedgerWriter.fill = fill
with small_steps():
    Runner(Path(sys.argv[1]) / "journal.sqlite", Path(sys.argv[1]) / "again.sqlite", context()).rebuild(1)
"""


def test_killed_with_signal_9_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Twice, each after other commits; what was filled in by then is not made again."""
    records, filled = [*births(), *some_hours()], []
    write_journal(tmp_path / "journal.sqlite", records, 7)
    for commits in ("3", "2"):
        done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, commits], check=False)
        assert done.returncode == -signal.SIGKILL
        with sqlite3.connect(tmp_path / "again.sqlite") as db:
            filled.append(db.execute("SELECT meter, start_ms, change_seq FROM interval").fetchall())
        db.close()
    with LedgerReader(tmp_path / "again.sqlite") as reader:
        assert reader.cursor() is None, "nothing is final before the end"
    assert set() < {*filled[0]} < {*filled[1]}
    with small_steps():
        live, again = both(tmp_path, [], park(), 7, 1)
    assert again == live
    assert len(live["rows"]) > len(filled[1])  # type: ignore[arg-type]


def test_under_another_registry_a_rebuild_begins_anew(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", [*births(), *some_hours()], 7)
    with small_steps():
        broken = Runner(tmp_path / "journal.sqlite", tmp_path / "again.sqlite", context())
        broken.rebuild(1, until(3))
        broken.close()
        live, again = both(tmp_path, [], park(plain={"ct": "120"}), 7, 1)
    assert again == live


def test_a_worker_that_dies_leaves_the_ledger_to_the_order_of_arrival(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    write_journal(journal, [*births(), *readings("pv", (0, 1), (QUARTER_MS, 5))], 9)
    runner = Runner(journal, tmp_path / "ledger.sqlite", context())
    with patch.object(rebuild, "COMMAND", ("false",)):
        runner.rebuild(2)
    assert runner.cursor == START
    assert runner.advance() > 0
    runner.close()


def test_what_a_broken_rebuild_left_is_gone_when_the_journal_is_read_as_it_came(tmp_path: Path) -> None:
    """Rows without a snapshot may be those of readings that have been contradicted since."""
    write_journal(tmp_path / "journal.sqlite", [*births(), *some_hours()], 7)
    with small_steps():
        broken = Runner(tmp_path / "journal.sqlite", tmp_path / "again.sqlite", context())
        broken.rebuild(1, until(3))
        assert broken.cursor == START
    with LedgerReader(tmp_path / "again.sqlite") as reader:
        assert reader.cursor() is None
        assert reader.intervals("pv", "energy_generation_total", 0, 1 << 62)
        broken._context = context(park(pv={"roles": {}}))
        while broken.advance():
            pass
        assert not reader.intervals("pv", "energy_generation_total", 0, 1 << 62)
        assert reader.intervals("plain", "energy_import_total", 0, 1 << 62)
    broken.close()


def test_disorder_within_the_time_held_back_restates_nothing(tmp_path: Path) -> None:
    """Every frame comes after the next one of its meter, across slices too."""
    order = [i ^ 1 for i in range(400)]
    frames = [frame("pv", i * 60_000, 10 * i) for i in order]
    with patch.object(rebuild, "SLICE", 50), patch("stream.sources.tail.BATCH_BYTES", 2000):
        live, again = both(tmp_path, [*births(), *frames], park(), 5, 1)
    assert again == live
    with LedgerReader(tmp_path / "again.sqlite") as reader:
        revised = [
            row for row in reader.revisions("pv", "energy_generation_total", 0, 1 << 62) if row.revision > 1
        ]
    assert not revised


def test_a_journal_that_grows_meanwhile_is_read_on_from_where_the_rebuild_ended(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    write_journal(journal, [*births(), *readings("pv", (0, 1))], 99)
    runner = Runner(journal, tmp_path / "ledger.sqlite", context())
    runner.rebuild(1)
    write_journal(journal, readings("pv", (QUARTER_MS, 5)), 1)
    assert runner.advance() == 1
    runner.close()
    with LedgerReader(tmp_path / "ledger.sqlite") as reader:
        assert [row.energy for row in reader.intervals("pv", "energy_generation_total", 0, 1 << 62)] == [4]
