"""All totals computed again in one pass over the journal: a rebuild that begins at their checkpoints, in a file beside the ledger.

What differs goes into the ledger as by `stream.restate`, line by line. That way reads the journal once per meter, so it is for few.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from storage.journal import Offset
from storage.ledger import (
    CheckpointRow,
    IntervalRow,
    LedgerReader,
    NewLedgerEvent,
    RebuildPoint,
    Results,
    joined_results,
)
from storage.ledger_writer import LedgerWriter
from storage.slices import JournalSlice
from stream.context import Context, Key
from stream.rebuild import told_by
from stream.restate import BEGINNING, Fresh
from stream.revise import FOREVER, revise
from stream.rows import progress_row
from stream.share import Point, Told
from stream.sources.partition import worker_of
from stream.state import State
from stream.still import first_to_know

MOST_BEFORE_MS = 3 * 86_400_000
"""A total whose readings are needed from longer before is computed by itself (ours): it was pending for days, or stopped long ago."""


class Whence(NamedTuple):
    """From where on totals are computed."""

    kept: dict[Key, CheckpointRow | None]
    after_ms: int
    """Readings after it are needed."""


class Found(NamedTuple):
    """What the workers have found."""

    state: State
    late: set[Key]
    running: dict[Key, list[IntervalRow]]
    events: dict[Key, list[NewLedgerEvent]]


def whence(
    wanted: Mapping[Key, int], context: Context, journal: JournalSlice, stored: LedgerReader
) -> Whence:
    """The totals that can be computed together; the others are few."""
    found: dict[Key, CheckpointRow | None] = {}
    needed: list[int] = []
    for key, from_ms in wanted.items():
        if context.role(key) is None:
            continue
        kept = stored.checkpoint(*key, from_ms)
        after_ms = _needed(key, kept, context, journal)
        if after_ms is not None and after_ms >= from_ms - MOST_BEFORE_MS:
            found[key] = kept
            needed.append(after_ms)
    return Whence(found, min(needed, default=0))


def _needed(key: Key, kept: CheckpointRow | None, context: Context, journal: JournalSlice) -> int | None:
    """The readings of a total after this are needed; None when its meter has no frame."""
    if kept is not None:
        return first_to_know(kept.heard_ms)
    meter = context.meters[key[0]]
    first = journal.after(meter.gateway, meter.id, 0, 1)
    return first[0].t_ms - 1 if first else None


def together(
    state: State, from_: Whence, context: Context, journal: JournalSlice, path: Path, stored: LedgerReader,
    beside: Path, workers: int, reason: str,
) -> tuple[Results, set[Key]]:  # fmt: skip
    """Compute totals again; what changes, and the totals that have to be looked at by themselves after all.

    `path` is the journal's file; what is found in between goes to files that begin with the name `beside`, and are removed.
    """
    segment = journal.first_segment(from_.after_ms)
    begin = min(Offset(segment, 0), journal.end) if segment else journal.end
    points = _points(from_.kept, context, begin, workers)
    with _ledger(beside) as writer:
        found = _found(told_by(workers, path, journal.end, context, points), writer, workers)
        with LedgerReader(beside) as again:
            parts = [
                _revised(state, key, kept, found, again, context, stored, reason)
                for key, kept in from_.kept.items()
                if key not in found.late
            ]
    return joined_results(*parts), found.late & from_.kept.keys()


def _points(
    kept: Mapping[Key, CheckpointRow | None], context: Context, begin: Offset, workers: int
) -> list[RebuildPoint]:
    """Where each worker begins: the states of its totals as the checkpoints have them."""
    states = [State() for _ in range(workers)]
    begins: list[dict[Key, int]] = [{} for _ in range(workers)]
    for key, row in kept.items():
        meter = context.meters[key[0]]
        worker = worker_of(meter.gateway, meter.id, workers)
        at = states[worker].channel(key, context)
        if row is not None:
            states[worker].arrays[at] = np.frombuffer(row.state, np.int64)
        begins[worker][key] = BEGINNING if row is None else row.heard_ms
    return [
        RebuildPoint(i, workers, msgspec.msgpack.encode(Point(begin, states[i].snapshot(), begins=begins[i])))
        for i in range(workers)
    ]  # fmt: skip


@contextmanager
def _ledger(beside: Path) -> Iterator[LedgerWriter]:
    _remove(beside)
    try:
        with LedgerWriter(beside) as writer, writer.filling():
            yield writer
    finally:
        _remove(beside)


def _remove(beside: Path) -> None:
    for file in beside.parent.glob(f"{beside.name}*"):
        file.unlink()


def _found(told_by_all: Iterator[Told], writer: LedgerWriter, workers: int) -> Found:
    state, late = State(), set[Key]()
    running, events = defaultdict[Key, list[IntervalRow]](list), defaultdict[Key, list[NewLedgerEvent]](list)
    for told in told_by_all:
        writer.fill(told.closed, told.results, RebuildPoint(told.worker, workers, b""), "")
        for event in told.results.events:
            events[event.meter, event.reading_type].append(event)
        if told.rest is not None:
            state.take_in(State.restore(told.state))
            late |= told.rest.late.keys()
            for row in told.rest.intervals:
                running[row.meter, row.reading_type].append(row)
    return Found(state, late, running, events)


def _revised(
    state: State, key: Key, kept: CheckpointRow | None, found: Found, again: LedgerReader, context: Context,
    stored: LedgerReader, reason: str,
) -> Results:  # fmt: skip
    """What one total changes; `state` takes it over."""
    one = State()
    one.channel(key, context)
    one.arrays[0] = found.state.arrays[found.state.index[key]]
    begins = BEGINNING if kept is None else kept.heard_ms
    intervals = again.intervals(*key, 0, FOREVER) + found.running[key]
    fresh = Fresh(begins, one, intervals, found.events[key], again.checkpoints(*key), None)
    results = Results()
    revise(results, key, fresh, stored, reason)
    row = state.index[key]
    state.arrays[row] = one.arrays[0]
    results.progress.append(progress_row(state, row))
    return results
