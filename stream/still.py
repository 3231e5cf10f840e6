"""Which quarter hours of a meter are frozen, worked out from its readings in time order; `stream.kernels.still` says what that means.

Frozen are `ENOUGH` still quarters in a row or more. They are marked questionable, and so is the quarter after them: what the meter
counted meanwhile may show up in it. Only quarters that are over count, so that a live run and a recomputation agree.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from metering.quality import Quality
from storage.ledger import IntervalRow, NewLedgerEvent
from stream.batch import Readings
from stream.context import Key, Registry
from stream.kernels import columns as c
from stream.kernels.still import ENOUGH, LOOK_BACK, NEVER
from stream.watch import bits_of

if TYPE_CHECKING:
    from stream.state import State

I64 = NDArray[np.int64]
B = NDArray[np.bool_]
BEFORE = ENOUGH + LOOK_BACK + 1
"""Quarters before a moment that have to be known to judge those after it."""
FROZEN, FROZEN_ENDED = "frozen", "frozen_ended"


class Looks(NamedTuple):
    """A meter's readings, each once, by register, time and bits."""

    names: list[str]
    register: I64
    t: I64
    bits: I64
    value: NDArray[np.float64]
    quarter: I64
    changes: B
    repeats: B
    """A gauge has a value again that is not zero."""


class Stretch(NamedTuple):
    """Frozen quarters `[first, end)`."""

    first: int
    end: int


class Judged(NamedTuple):
    """What a close look has found."""

    looks: Looks
    stretches: list[Stretch]
    marks: frozenset[int]
    quarters: list[int]
    """The meter's row of the watch."""
    newest: dict[str, tuple[int, int]]


def judged(parts: Sequence[Readings], begins_ms: int) -> Judged | None:
    """What a meter's readings say of the time after a moment, given those of `BEFORE` quarters before it too; None for no reading."""
    looks = _looks(parts)
    if looks is None:
        return None
    now = int(looks.quarter.max())
    moving, live = set(looks.quarter[looks.changes].tolist()), set(looks.quarter[looks.repeats].tolist())
    known_from = begins_ms // QUARTER_MS - ENOUGH - 1
    still = sorted(q for q in live - moving if known_from <= q < now)
    runs = _runs(still)
    stretches = [run for run in runs if run.end - run.first >= ENOUGH]
    marks = frozenset(q for run in stretches for q in range(run.first, run.end + 1) if q < now)
    length = next((run.end - run.first for run in runs if run.end == now), 0)
    counts = [int(np.count_nonzero(looks.changes & (looks.quarter == q))) for q in (now, now - 1)]
    lives = [int(q in live) for q in (now, now - 1)]
    row = [now, counts[0], lives[0], counts[1], lives[1], min(length, ENOUGH), max(marks, default=-1) + 1]
    last = np.flatnonzero(np.append(np.diff(looks.register) != 0, [True]))
    newest = {looks.names[looks.register[i]]: (int(looks.t[i]), int(looks.bits[i])) for i in last.tolist()}
    return Judged(looks, stretches, marks, row, newest)


def _looks(parts: Sequence[Readings]) -> Looks | None:
    names = sorted({b.reading_type for part in parts for b in part.binding})
    code = {name: i for i, name in enumerate(names)}
    columns = [
        (
            np.array([code[b.reading_type] for b in part.binding], np.int64)[part.which],
            part.t, bits_of(part), part.real,
            np.array([b.kind == "gauge" for b in part.binding], np.bool_)[part.which],
        )
        for part in parts
        if part.t.size
    ]  # fmt: skip
    if not columns:
        return None
    register, t, bits, value, gauge = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort((bits, t, register))
    register, t, bits, value, gauge = (c[order] for c in (register, t, bits, value, gauge))
    first = np.ones(t.size, np.bool_)
    first[1:] = (np.diff(register) != 0) | (np.diff(t) != 0) | (np.diff(bits) != 0)
    register, t, bits, value, gauge = (c[first] for c in (register, t, bits, value, gauge))
    quarter = t // QUARTER_MS
    near, same = np.zeros(t.size, np.bool_), np.zeros(t.size, np.bool_)
    near[1:] = (np.diff(register) == 0) & (quarter[:-1] >= quarter[1:] - LOOK_BACK)
    same[1:] = bits[1:] == bits[:-1]
    return Looks(names, register, t, bits, value, quarter, near & ~same, near & same & gauge & (value != 0))


def _runs(quarters: Sequence[int]) -> list[Stretch]:
    """Quarters in a row."""
    runs: list[Stretch] = []
    for q in quarters:
        if runs and runs[-1].end == q:
            runs[-1] = Stretch(runs[-1].first, q + 1)
        else:
            runs.append(Stretch(q, q + 1))
    return runs


def marked(rows: Sequence[IntervalRow], found: Judged | None) -> list[IntervalRow]:
    """Rows, questionable where the meter was frozen."""
    if found is None or not found.marks:
        return list(rows)
    least = Quality.QUESTIONABLE.value
    return [
        msgspec.structs.replace(row, quality=max(row.quality, least))
        if row.start_ms // QUARTER_MS in found.marks else row
        for row in rows
    ]  # fmt: skip


def events(key: Key, found: Judged | None, begins_ms: int) -> list[NewLedgerEvent]:
    """That a total's meter froze, with the first hour as evidence, and that it moved again; what was known by then left out."""
    if found is None:
        return []
    out = []
    for first, end in found.stretches:
        until = (first + ENOUGH) * QUARTER_MS
        out.append(
            NewLedgerEvent(first * QUARTER_MS, *key, FROZEN, _evidence(found.looks, first, until), until)
        )
        if end < found.quarters[0]:
            out.append(NewLedgerEvent(end * QUARTER_MS, *key, FROZEN_ENDED, {}, (end + 1) * QUARTER_MS))
    return [event for event in out if event.noted_ms > begins_ms]


def _evidence(looks: Looks, first: int, until_ms: int) -> dict[str, object]:
    """Until when, how many readings, and the raw values that all of them repeat."""
    within = np.flatnonzero((looks.quarter >= first) & (looks.t < until_ms))
    values = {looks.names[looks.register[i]]: float(looks.value[i]) for i in within.tolist()}
    return {"until_t_ms": until_ms, "readings": int(within.size), "values": values}


def first_to_know(begins_ms: int) -> int:
    """Readings after this moment are needed to judge those after `begins_ms`."""
    return NEVER if begins_ms < 0 else max((begins_ms // QUARTER_MS - BEFORE) * QUARTER_MS - 1, NEVER)


def to_compute_again(
    state: "State", seen: Mapping[str, int], channels: I64, rows: I64, known: int, context: Registry
) -> Iterator[tuple[Key, int]]:
    """Totals, and from when: of the meters in `seen` (with a quarter), and whatever now came into a marked quarter.

    `channels` had entries, closed `rows`, and are new from `known` on.
    """
    for meter, quarter in seen.items():
        for name in context.meters[meter].roles:
            yield (meter, name), max((quarter - ENOUGH + 1) * QUARTER_MS, 0)
    newest = state.watch.newest_mark * QUARTER_MS
    if not newest:
        return
    starts = np.concatenate([rows[:, [c.CHANNEL, c.START]], _running(state, channels)])
    for at, start in starts[starts[:, 1] < newest].tolist():
        key = state.channels[at].key
        if start < state.watch.marked(key[0]) * QUARTER_MS:
            yield key, start
    for channel in state.channels[known:]:
        if state.watch.marked(channel.meter):
            yield channel.key, 0


def _running(state: "State", channels: I64) -> I64:
    """(channel, start of its running interval)."""
    return np.column_stack([channels, state.arrays[channels, c.OPEN_START]])
