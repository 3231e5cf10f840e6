"""A ledger rebuilt in the order of time is the one that was made in the order of arrival, bit for bit, however many workers there are."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.intervals import HOUR_MS, QUARTER_MS
from metering.registry import Park
from storage.journal import Offset
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
    folder: Path, records: list[Record], registry: Park, size: int, workers: int
) -> list[dict[str, object]]:
    """What a ledger says that was made as the records came, one segment at a time, and one that was rebuilt."""
    journal = folder / "journal.sqlite"
    write_journal(journal, records, size)
    live = Runner(journal, folder / "live.sqlite", context(registry), batch=1)
    while live.advance():
        pass
    live.close()
    again = Runner(journal, folder / "again.sqlite", context(registry))
    again.rebuild(workers)
    assert again.cursor == live.cursor
    assert again.advance() == 0
    again.close()
    return [said(folder / name, registry) for name in ("live.sqlite", "again.sqlite")]


def in_this_process(work: list[rebuild.Work]) -> Iterator[Told]:
    """The workers one after the other: a process for each of a hundred examples would take an hour."""
    for one in work:
        yield from rebuild.share(one)


@settings(max_examples=40, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(
    parts=streams(size=8), changed=changes(), chance=st.randoms(use_true_random=False), size=st.integers(1, 9),
    workers=st.integers(1, 3), slice_=st.integers(1, 12), hold=st.sampled_from([0, QUARTER_MS, HOUR_MS, 9 * HOUR_MS]),
)  # fmt: skip
def test_a_rebuilt_ledger_is_the_live_one(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]], changed: dict[str, dict[str, object]],
    chance: Random, size: int, workers: int, slice_: int, hold: int,
) -> None:  # fmt: skip
    frames = merged(parts, [0, 2, 1, 5])
    frames += [record for record in frames if chance.random() < 0.2]
    if chance.random() < 0.5:
        chance.shuffle(frames)
    with (
        patch.object(rebuild, "SLICE", slice_),
        patch.object(rebuild, "shares", in_this_process),
        patch("stream.share.HOLD_MS", hold),
        patch("stream.sources.tail.BATCH_BYTES", 200),
    ):
        folder, registry = tmp_path_factory.mktemp("again"), park("Asia/Shanghai", **changed)
        live, again = both(folder, [*births(), *frames], registry, size, workers)
    assert again == live


@settings(max_examples=25, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(
    shown=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1), st.integers(0, 1)), min_size=8, max_size=40),
    chance=st.randoms(use_true_random=False), slice_=st.integers(1, 30), shuffled=st.booleans(),
)  # fmt: skip
def test_meters_that_freeze_are_told_alike(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[int, int, int]], chance: Random, slice_: int, shuffled: bool,
) -> None:  # fmt: skip
    records, quarter, total, power = [], 0.0, 1000, 5000
    for steps, counts, moves in shown:
        quarter, total, power = quarter + steps / 4, total + counts, power + moves
        records.append(still.main(quarter, total, power))
    if shuffled:
        chance.shuffle(records)
    with patch.object(rebuild, "SLICE", slice_), patch("stream.sources.tail.BATCH_BYTES", 200):
        folder = tmp_path_factory.mktemp("still")
        live, again = both(folder, [*still.births(), *records], still.park(), 3, 1)
    assert again == live


def test_workers_are_processes_of_their_own(tmp_path: Path) -> None:
    frames = [
        frame(name, i * QUARTER_MS // 3, 100 + i) for i in range(60) for name in ("pv", "plain", "heat")
    ]
    live, again = both(tmp_path, [*births(), *frames], park(), 7, 2)
    assert again == live
    assert len(live["rows"]) > 50  # type: ignore[arg-type]


def test_a_worker_that_dies_leaves_the_ledger_to_the_order_of_arrival(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    write_journal(journal, [*births(), *readings("pv", (0, 1), (QUARTER_MS, 5))], 9)
    runner = Runner(journal, tmp_path / "ledger.sqlite", context())
    with patch.object(rebuild, "COMMAND", ("false",)):
        runner.rebuild(2)
    assert runner.cursor == START
    assert runner.advance() > 0
    runner.close()


def test_a_rebuild_that_was_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    """Rows without a snapshot may be those of readings that have been contradicted since."""
    journal, ledger = tmp_path / "journal.sqlite", tmp_path / "ledger.sqlite"
    records = [*births(), *readings("pv", *((i * QUARTER_MS, i) for i in range(40)))]
    write_journal(journal, records, 1)
    asked: list[int] = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 8

    with patch.object(rebuild, "SLICE", 4), patch("stream.sources.tail.BATCH_BYTES", 200):
        runner = Runner(journal, ledger, context())
        runner.rebuild(1, stopped)
        runner.close()
    with LedgerReader(ledger) as reader:
        assert reader.cursor() is None
        assert reader.intervals("pv", "energy_generation_total", 0, 1 << 62)
    again = Runner(journal, ledger, context())
    with LedgerReader(ledger) as reader:
        assert not reader.intervals("pv", "energy_generation_total", 0, 1 << 62)
    again.rebuild(1)
    assert again.cursor == Offset(len(records) + 1, 0)
    again.close()


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
