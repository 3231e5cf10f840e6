"""The step: `results = step(state, records, context)`. No clock, no file, no log; everything it knows is in its arguments."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from storage.ledger import CheckpointRow, NewLedgerEvent, Results
from storage.segment import Record
from stream.batch import Birth, Data, Ears, read, runs, take_birth
from stream.context import Context, Key
from stream.entries import DAY_MS, Entries, entered, in_time_order, joined, with_swaps
from stream.kernels import accumulate as a
from stream.kernels import columns as c
from stream.kernels import power as p
from stream.kernels.entries import ENTRY_COLUMNS
from stream.kernels.still import NEVER
from stream.latest import Newest
from stream.rows import EVENT_KINDS, closed_rows, event, open_rows, progress_row, without_factor
from stream.state import State
from stream.still import to_compute_again

I64 = NDArray[np.int64]
Name = TypeVar("Name", str, Key)
CHECKPOINT_EVERY_MS = DAY_MS
"""How often a channel's state is kept, so that a late reading costs no more than this much of the journal."""


class Found(NamedTuple):
    """What entries led to."""

    channels: I64
    """Those that had entries."""
    rows: I64
    """Closed intervals."""
    events: list[NewLedgerEvent]
    late: dict[Key, int]
    """Total → time of its earliest late reading: the caller has to compute it again from before."""


class Heard:
    """What journal records say, taken up but not accounted yet."""

    def __init__(self, state: State, context: Context) -> None:
        self.parts: list[Entries] = []
        self._seen: dict[str, int] = {}
        self.newest = Newest(context)
        self._state, self._known = state, len(state.channels)
        self._rows: I64 = np.empty((0, ENTRY_COLUMNS), np.int64)
        """Room for the totals of one run of messages, used again for the next."""

    def asked(self) -> tuple[dict[str, int], int]:
        """(meter → the quarter from which on it has to be looked at closely, channels there were) when this was asked last."""
        told = self._seen, self._known
        self._seen, self._known = {}, len(self._state.channels)
        return told

    def hear(self, records: Sequence[Record], context: Context) -> None:
        """Take up records, in journal order."""
        state = self._state
        for run in runs(records):
            if isinstance(run, Birth):
                take_birth(state.aliases, run, context.park)
                continue
            self._hear(run, context)

    def _hear(self, data: Data, context: Context) -> None:
        """One pass over the messages: registers that stand still, the newest readings, totals."""
        state, known = self._state, self._state.aliases.joined_for(data.block)
        table = known.table
        bindings, terms, watch = state.bound(table, context), state.terms(table, context), state.watch
        again = np.full(len(watch.meters), NEVER, np.int64)
        if len(self._rows) < data.room:
            self._rows = np.empty((data.room, ENTRY_COLUMNS), np.int64)
        memory = self.newest.of(table), watch.of_registers, watch.of_meters, again
        _readings, k = read(data, known, bindings, Ears(memory=memory, entries=(self._rows, terms.table)))
        keep_earliest(self._seen, watch.asked(again).items())
        self.parts.append(entered(state, terms, self._rows[:k]))


def step(state: State, records: Sequence[Record], context: Context) -> Results:
    """Advance `state` over journal records, in order; the rows that changed. Cutting the records elsewhere changes no final row."""
    return step_through(state, [records], context)


def step_through(state: State, batches: Iterable[Sequence[Record]], context: Context) -> Results:
    """The step over several batches at once: their readings are decoded batch by batch, their totals accounted together."""
    heard = Heard(state, context)
    for records in batches:
        heard.hear(records, context)
    return account(state, heard, context)


def account(state: State, heard: Heard, context: Context) -> Results:
    """Account what was heard."""
    before = days_heard(state.arrays)
    found = follow(state, joined(heard.parts), context)
    channels, closed = found.channels.tolist(), closed_rows(state, found.rows, context)
    results = Results(
        intervals=closed + open_rows(state, channels, context),
        latest=heard.newest.rows(),
        progress=[progress_row(state, row) for row in channels if state.arrays[row, c.SEEN]],
        events=found.events + without_factor(closed, context),
        checkpoints=checkpoints(state, channels, before, context),
        outdated=outdated_by(found.events),
    )
    seen, known = heard.asked()
    keep_earliest(results.late, found.late.items())
    keep_earliest(results.late, to_compute_again(state, seen, found.channels, found.rows, known, context))
    results.frozen = results.late.keys() - found.late.keys()
    return results


def follow(state: State, entries: Entries, context: Context) -> Found:
    """Accumulate entries, with the exchanges declared between them, into `state`."""
    entries = in_time_order(entries, len(state.channels))
    heard = np.zeros(len(state.channels), np.bool_)
    heard[entries.channel] = True
    channels = np.flatnonzero(heard)
    keys = {at: state.channels[at].key for at in channels.tolist()}
    entries = with_swaps(entries, keys, state, context)
    term, kind, t, register, terms = entries
    rows = np.empty(
        (a.count_rows(entries.channel, t, *state.arrays[:, [c.LAST_T, c.SEEN]].T.copy()), c.ROW_COLUMNS),
        np.int64,
    )
    events = np.empty((c.EVENTS_PER_ENTRY * term.size, c.EVENT_COLUMNS), np.int64)
    used, noted = a.accumulate(term, kind, t, register, terms, state.arrays, rows, events)
    if terms[:, c.T_SIGN].any():
        used, noted = p.integrate(term, kind, t, register, terms, state.arrays, rows, used, events, noted)
    told = events[:noted].tolist()
    late: dict[Key, int] = {}
    for found in told:
        if found[c.E_KIND] == c.LATE:
            key = keys[found[c.E_CHANNEL]]
            late[key] = min(found[c.E_TIME], late.get(key, found[c.E_TIME]))
    named = [event(state, found) for found in told if found[c.E_KIND] != c.LATE]
    return Found(channels, rows[:used], named, late)


def clear(state: State, row: int, context: Context) -> bool:
    """Whether a channel's state may be computed on from: nothing pending, and no change declared for that very moment."""
    s = state.arrays[row]
    moments = (since for since, _what in context.entries(state.channels[row].key))
    return not s[c.PENDING] and int(s[c.HEARD_T]) not in moments


def keep_earliest(known: dict[Name, int], more: Iterable[tuple[Name, int]]) -> None:
    """Take up times, of equal names the earliest."""
    for name, t_ms in more:
        known[name] = min(t_ms, known.get(name, t_ms))


def outdated_by(events: Sequence[NewLedgerEvent]) -> list[tuple[str, str, int]]:
    """Checkpoints that hold no longer: one of the very moment of a conflict had not heard it."""
    conflict = EVENT_KINDS[c.CONFLICT]
    return [(e.meter, e.reading_type, e.t_ms) for e in events if e.kind == conflict]


def days_heard(arrays: I64) -> I64:
    """Row → day of the newest reading; -1 for none."""
    return np.where(arrays[:, c.SEEN] > 0, arrays[:, c.HEARD_T] // CHECKPOINT_EVERY_MS, -1)


def checkpoints(state: State, channels: list[int], before: I64, context: Context) -> list[CheckpointRow]:
    """Of the channels whose newest reading is of another day than `before`."""
    days = days_heard(state.arrays)
    days[: before.size][days[: before.size] == before] = -1
    return [
        CheckpointRow(
            *state.channels[row].key, int(state.arrays[row, c.HEARD_T]), state.arrays[row].tobytes()
        )
        for row in channels
        if days[row] >= 0 and clear(state, row, context)
    ]
