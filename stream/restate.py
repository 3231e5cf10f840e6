"""Restatement: a total computed again, from before what came late or was declared anew, over its readings in time order.

The ledger is a function of the readings before the cursor and of the registry; how they arrived is no part of it. So a
restatement ends where a ledger made from scratch would: the same rows, the changed ones as a new revision.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from metering.registry import Meter
from storage.ledger import CheckpointRow, IntervalRow, NewLedgerEvent, Results
from storage.segment import Record
from stream.batch import Aliases, Birth, Readings, readings, runs, take_birth
from stream.context import Context, Key
from stream.entries import Entries, by_day, joined, totals
from stream.kernels import columns as c
from stream.revise import Stored, revise
from stream.rows import closed_rows, open_rows, progress_row, without_factor
from stream.state import State
from stream.step import clear, follow
from stream.still import FROZEN, Judged, first_to_know, judged, marked
from stream.still import events as frozen_events

BEGINNING = -1


class History(Protocol):
    """The journal up to the cursor, meter by meter."""

    def records(self, meter: Meter, after_ms: int) -> Sequence[Record]:
        """The births of a meter, and its frames with a reading after `after_ms`, in journal order."""
        ...


class Fresh(NamedTuple):
    """A total computed again."""

    begins_ms: int
    """Readings after it were computed; `BEGINNING` for all."""
    state: State
    """Of one channel."""
    intervals: list[IntervalRow]
    events: list[NewLedgerEvent]
    checkpoints: list[CheckpointRow]
    still: Judged | None
    """What its meter's registers say of standing still."""


def restate(
    state: State, wanted: Mapping[Key, int], context: Context, history: History, stored: Stored, results: Results,
    reason: str,
) -> None:  # fmt: skip
    """Compute totals again from before the given times. Their part of `results`, not committed yet, is replaced.

    `state` takes over what comes out. A total that the registry does not have any more rests.
    """
    for key, from_ms in wanted.items():
        row = state.index.get(key)
        if row is None or context.role(key) is None:
            look_again(state, key[0], from_ms, context, history)
            continue
        outdated = (t_ms for *of, t_ms in results.outdated if tuple(of) == key)
        kept = stored.checkpoint(*key, min([from_ms, *outdated]))
        again = compute(key, kept, context, history)
        revise(results, key, again, stored, FROZEN if key in results.frozen else reason)
        if again.still is not None:
            state.watch.settle(key[0], again.still.quarters, again.still.newest)
        state.arrays[row] = again.state.arrays[0]
        if state.arrays[row, c.SEEN]:
            results.progress.append(progress_row(state, row))


def compute(key: Key, kept: CheckpointRow | None, context: Context, history: History) -> Fresh:
    """A total from a checkpoint, or from its first reading, to the cursor."""
    state, begins = State(), BEGINNING
    state.channel(key, context)
    if kept is not None:
        state.arrays[0], begins = np.frombuffer(kept.state, np.int64), kept.heard_ms
    parts = said(history.records(context.meters[key[0]], first_to_know(begins)), context)
    again = Fresh(begins, state, [], [], [], judged(parts, begins))
    for day in by_day(in_time_order(state, parts, begins, context)):
        found = follow(state, day, context)
        closed = closed_rows(state, found.rows, context)
        again.intervals.extend(closed)
        again.events.extend(found.events + without_factor(closed, context))
        if clear(state, 0, context):
            heard = int(state.arrays[0, c.HEARD_T])
            again.checkpoints.append(CheckpointRow(*key, heard, state.arrays[0].tobytes()))
    again.intervals.extend(open_rows(state, [0], context))
    again.intervals[:] = marked(again.intervals, again.still)
    again.events.extend(frozen_events(key, again.still, begins))
    return again


def look_again(state: State, meter: str, from_ms: int, context: Context, history: History) -> None:
    """Judge anew how a meter stands still of which nothing is totalled yet."""
    if meter not in state.watch.meters or meter not in context.meters:
        return
    parts = said(history.records(context.meters[meter], first_to_know(from_ms)), context)
    found = judged(parts, from_ms)
    if found is not None:
        state.watch.settle(meter, found.quarters, found.newest)


def said(records: Sequence[Record], context: Context) -> list[Readings]:
    """Everything that a meter says in its records."""
    aliases = Aliases()
    parts = []
    for run in runs(records):
        if isinstance(run, Birth):
            take_birth(aliases, run, context.park)
        else:
            parts.append(readings(run, aliases))
    return parts


def in_time_order(state: State, parts: Iterable[Readings], after_ms: int, context: Context) -> Entries:
    """The readings of the state's only channel after a time, of equal times the smaller first."""
    key = state.channels[0].key
    found = joined(totals(state, _only(part, key), context) for part in parts)
    order = np.lexsort((found.register, found.t))
    return found.taken(order[found.t[order] > after_ms])


def _only(columns: Readings, key: Key) -> Readings:
    """Those that a total counts."""
    mine = np.array([(b.meter, b.total) == key for b in columns.binding], np.bool_)
    places, kept = np.flatnonzero(mine), np.flatnonzero(mine[columns.which])
    place = np.cumsum(mine) - 1
    return Readings(
        columns.table.taken(places), place[columns.which[kept]], columns.t[kept], columns.raw[kept], columns.real[kept],
        columns.frame[kept], columns.frame_received_ms,
    )  # fmt: skip
