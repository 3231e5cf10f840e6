"""All totals computed again in one pass over the journal: the same ledger, line by line, as total by total."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.intervals import HOUR_MS, QUARTER_MS
from metering.registry import Park
from storage.journal import Offset
from storage.ledger import IntervalRow, LedgerReader
from storage.segment import Record
from storage.slices import JournalSlice
from stream import rebuild
from stream.requests import Answer, Request
from stream.runner import Runner
from tests.stream import test_still as still
from tests.stream.strategies import T0, births, context, frame, merged, park, readings, streams
from tests.stream.test_rebuild import in_this_process, small_steps
from tests.stream.test_runner import write_journal
from tests.stream.test_step import changes

DAY_MS = 24 * HOUR_MS
FOLDER_PER_TEST = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def ledger(folder: Path, registry: Park) -> dict[str, object]:
    """Everything in a ledger, revisions included, but for the ids of events."""
    with LedgerReader(folder / "ledger.sqlite") as reader:
        keys = [(meter.id, kind) for meter in registry.meters for kind in meter.roles]
        rows: list[IntervalRow] = [row for key in keys for row in reader.revisions(*key, 0, 1 << 62)]
        events = reader.events(limit=100_000)
        return {
            "rows": rows, "progress": reader.progress(), "latest": reader.latest(), "seq": reader.change_seq(),
            "events": sorted((e.kind, e.t_ms, e.meter, e.reading_type, repr(e.detail)) for e in events),
        }  # fmt: skip


def made(folder: Path, records: list[Record], registry: Park, size: int) -> None:
    """A journal and its ledger."""
    write_journal(folder / "journal.sqlite", records, size)
    runner = Runner(folder / "journal.sqlite", folder / "ledger.sqlite", context(registry))
    while runner.advance():
        pass
    runner.close()


def spoilt(folder: Path) -> None:
    """Some rows of a ledger are other ones than the journal says."""
    runner = Runner(folder / "journal.sqlite", folder / "ledger.sqlite", context())
    with runner._ledger as writer:
        writer._db.execute(
            "UPDATE interval SET closing = closing + 7, emission_ug = 1 WHERE start_ms % 7 < 3"
        )
        writer._db.execute("DELETE FROM interval WHERE start_ms % 7 = 4")


@contextmanager
def way(together: bool, workers: int) -> Iterator[None]:
    with (
        patch("stream.runner.MANY", 0 if together else 1 << 30),
        patch("stream.runner.cores", lambda: workers),
    ):
        yield


def both(
    folder: Path, registry: Park, from_ms: int, workers: int = 1
) -> list[tuple[list[object], dict[str, object]]]:
    """(Differences, ledger) after a restatement total by total, and after one of all together."""
    out = []
    for together in (False, True):
        copy = folder.with_name(f"{folder.name}-{together}")
        shutil.copytree(folder, copy)
        runner = Runner(copy / "journal.sqlite", copy / "ledger.sqlite", context(registry))
        with way(together, workers):
            answer: Answer = runner.carry_out(Request(from_ms, "asked"))
        runner.close()
        assert not list(copy.glob("*.again*"))
        found = sorted(map(msgspec.structs.astuple, answer.differences), key=repr)
        out.append(([answer.totals, *found], ledger(copy, registry)))
    return out


@settings(max_examples=15, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(
    parts=streams(size=8), changed=changes(), chance=st.randoms(use_true_random=False), size=st.integers(1, 9),
    workers=st.integers(1, 3), from_h=st.integers(-30, 60), slice_=st.integers(1, 12), rows=st.integers(0, 9),
)  # fmt: skip
def test_together_they_end_with_the_ledger_that_they_have_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]], changed: dict[str, dict[str, object]],
    chance: Random, size: int, workers: int, from_h: int, slice_: int, rows: int,
) -> None:  # fmt: skip
    frames = merged(parts, [0, 2, 1, 5])
    if chance.random() < 0.5:
        chance.shuffle(frames)
    folder, registry = tmp_path_factory.mktemp("together"), park("Asia/Shanghai", **changed)
    made(folder, [*births(), *frames], registry, size)
    spoilt(folder)
    with (
        patch.object(rebuild, "SLICE", slice_),
        patch.object(rebuild, "ROWS", rows),
        patch.object(rebuild, "shares", in_this_process),
        patch("stream.sources.tail.BATCH_BYTES", 200),
    ):
        apart, together = both(folder, registry, T0 + from_h * HOUR_MS, workers)
    assert together == apart


@settings(max_examples=8, **FOLDER_PER_TEST)  # type: ignore[arg-type]
@given(
    shown=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1), st.integers(0, 1)), min_size=8, max_size=40),
    from_h=st.integers(0, 30),
)  # fmt: skip
def test_meters_that_freeze_are_judged_alike(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[int, int, int]], from_h: int
) -> None:
    records, quarter, total, power = [], 0.0, 1000, 5000
    for steps, counts, moves in shown:
        quarter, total, power = quarter + steps / 4, total + counts, power + moves
        records.append(still.main(quarter, total, power))
    folder = tmp_path_factory.mktemp("still")
    made(folder, [*still.births(), *records], still.park(), 3)
    spoilt(folder)
    with small_steps():
        apart, together = both(folder, still.park(), T0 + from_h * HOUR_MS)
    assert together == apart


def test_by_processes_of_their_own_only_what_differs_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "some"
    times = [T0 + i * QUARTER_MS // 3 for i in range(900)]
    records = [frame(n, t, 100 + i) for i, t in enumerate(times) for n in ("pv", "plain", "heat")]
    made(folder, [*births(), *records], park(), 7)
    with small_steps():
        (nothing, _), (again, _) = both(folder, park(), T0 + 2 * DAY_MS, 1)
        assert nothing == again == [3]
        shutil.rmtree(tmp_path / "some-False")
        shutil.rmtree(tmp_path / "some-True")
        spoilt(folder)
        apart, together = both(folder, park(), T0 + 2 * DAY_MS, 2)
    assert together == apart
    assert 100 < len(together[0]) < 400, "only of the last day"


def test_a_pass_begins_at_the_first_frame_that_matters_however_late_it_came(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    write_journal(path, [*births(), *readings("pv", (QUARTER_MS, 5), (0, 1), (9, 2), (2 * QUARTER_MS, 9))], 1)
    first = len(births()) + 1
    with JournalSlice(path, Offset(99, 0)) as journal:
        found = [journal.first_segment(T0 + after) for after in (-1, 5, QUARTER_MS, 2 * QUARTER_MS)]
    assert found == [first, first, first + 3, None]
