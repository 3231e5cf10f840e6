"""The step: `results = step(state, records, context)`. No clock, no file, no log; everything it knows is in its arguments."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Park
from metering.sparkplug import FLOATS
from storage.ledger import IntervalRow, LatestRow, NewLedgerEvent, ProgressRow, Results
from storage.segment import Record
from stream.batch import Birth, Readings, readings, runs, take_birth
from stream.binding import LIMIT, Binding
from stream.kernels import accumulate as a
from stream.policy import Policy
from stream.state import State

I64 = NDArray[np.int64]
_FIRST_REVISION = 1
_EVENT_KINDS = {
    a.LATE: "late_reading", a.CONFLICT: "conflicting_reading", a.PENDING_FALL: "pending_fall",
    a.PENDING_RISE: "pending_rise", a.TRANSIENT: "transient_dropped",
}  # fmt: skip


_PER_HOUR = {"Wh": Fraction(1), "varh": Fraction(1), "kJ": Fraction("3.6")}
"""Base units that 1 W makes in an hour. No power bounds a volume."""


class Context(msgspec.Struct):
    """What the step is told about the world: the registry and the factors in force."""

    park: Park
    policy: Policy
    meters: dict[str, Meter] = {}

    def __post_init__(self) -> None:
        self.meters = {meter.id: meter for meter in self.park.meters}


def step(state: State, records: Sequence[Record], context: Context) -> Results:
    """Advance `state` over journal records, in order; the rows that changed. Cutting the records elsewhere changes no final row."""
    results = Results()
    touched: set[int] = set()
    latest: dict[tuple[str, str], LatestRow] = {}
    for run in runs(records):
        if isinstance(run, Birth):
            take_birth(state.aliases, run, context.park)
            continue
        columns = readings(run, state.aliases)
        touched |= _totals(state, columns, context, results)
        _keep_latest(columns, latest)
    results.intervals += _open_intervals(state, sorted(touched), context.policy)
    results.progress = [_progress(state, row) for row in sorted(touched)]
    results.latest = list(latest.values())
    return results


def _totals(state: State, columns: Readings, context: Context, results: Results) -> set[int]:
    """Accumulate the totals among the readings; the channels they touched."""
    channel_of = np.array([_channel(state, binding, context) for binding in columns.binding], np.int64)
    rows = np.flatnonzero(channel_of[columns.which] >= 0)
    position, held = positions(columns, rows)
    rows, position = rows[held], position[held]
    if not rows.size:
        return set()
    which = columns.which[rows]
    limits = [
        _limits(b, context) if c >= 0 else (0, 0)
        for b, c in zip(columns.binding, channel_of.tolist(), strict=True)
    ]
    max_power, grain = np.array(limits, np.int64)[which].T.copy()
    closed, events = _accumulate(state, channel_of[which], columns.t[rows], position, max_power, grain)
    results.intervals += _closed_intervals(state, closed, context.policy)
    results.events += [_event(state, event) for event in events.tolist()]
    return set(np.unique(channel_of[which]).tolist())


def _channel(state: State, binding: Binding, context: Context) -> int:
    """The channel of a total that the registry gives a role; -1 for everything else."""
    meter = context.meters.get(binding.meter)
    role = meter.roles.get(binding.reading_type) if meter is not None and binding.kind == "total" else None
    return -1 if role is None else state.channel(binding, role)


def _limits(binding: Binding, context: Context) -> tuple[int, int]:
    """(largest rise per hour at rated power in base units, 0 when unknown; base units per count, rounded up)."""
    meter = context.meters.get(binding.meter)
    power_w = meter.max_power_w if meter is not None else None
    per_hour = _PER_HOUR.get(READING_TYPES[binding.reading_type].unit, 0) * (power_w or 0)
    return ceil(per_hour), -(-binding.num // binding.den)


def positions(columns: Readings, rows: I64) -> tuple[I64, NDArray[np.bool_]]:
    """(floor(count × num / den) of readings that are totals, whether it stays below `LIMIT`; others are left aside)."""
    which = columns.which[rows]
    num, den = np.array([(b.num, b.den) for b in columns.binding], np.int64).reshape(-1, 2)[which].T
    is_float = np.array([b.datatype in FLOATS for b in columns.binding], np.bool_)[which]
    with np.errstate(over="ignore"):  # beyond every limit is beyond this one
        scaled = np.rint(columns.real[rows] * np.array([b.multiplier for b in columns.binding])[which])
    held = ~is_float | (np.abs(scaled) < LIMIT)
    count = np.where(is_float, np.where(held, scaled, 0).astype(np.int64), columns.raw[rows])
    small = (count < LIMIT // num) & (count > -(LIMIT // num))
    out = np.where(small, count, 0) * num // den
    for i in np.flatnonzero(~small).tolist():  # the product may leave 64 bits, so Python's integers take over
        exact = int(count[i]) * int(num[i]) // int(den[i])
        held[i] &= abs(exact) < LIMIT
        out[i] = exact if held[i] else 0
    return out, held


def _accumulate(
    state: State, channel: I64, t: I64, position: I64, max_power: I64, grain: I64
) -> tuple[I64, I64]:
    rows = np.empty((a.count_rows(channel, t, state.arrays), a.ROW_COLUMNS), np.int64)
    events = np.empty((2 * channel.size, a.EVENT_COLUMNS), np.int64)
    used, noted = a.accumulate(channel, t, position, max_power, grain, state.arrays, rows, events)
    return rows[:used], events[:noted]


def _emissions(
    state: State, channels: I64, starts: I64, opening: I64, closing: I64, policy: Policy
) -> tuple[list[str | None], I64]:
    carriers = [c.role if READING_TYPES[c.reading_type].unit == "Wh" else None for c in state.channels]
    ids, num, den = policy.factors([carriers[c] for c in channels.tolist()], starts)
    out = np.empty(len(channels), np.int64)
    a.emissions(opening, closing, num, den, out)
    return ids, out


def _closed_intervals(state: State, rows: I64, policy: Policy) -> list[IntervalRow]:
    column = [np.ascontiguousarray(rows[:, i]) for i in range(a.ROW_COLUMNS)]
    ids, ug = _emissions(
        state, column[a.CHANNEL], column[a.START], column[a.OPENING], column[a.CLOSING], policy
    )
    return [
        IntervalRow(
            state.channels[r[a.CHANNEL]].meter, state.channels[r[a.CHANNEL]].reading_type, r[a.START], r[a.END], 0,
            _FIRST_REVISION, r[a.OPENING], r[a.CLOSING], None if emission < 0 else emission, factor,
            r[a.COVERED], bool(r[a.EDGE_READ]), r[a.WORST], True,
        )
        for r, factor, emission in zip(rows.tolist(), ids, ug.tolist(), strict=True)
    ]  # fmt: skip


def _open_intervals(state: State, channels: list[int], policy: Policy) -> list[IntervalRow]:
    """The running interval of each touched channel, provisional."""
    s = state.arrays[channels]
    running = s[:, a.LAST_T] > s[:, a.OPEN_START]
    which = np.array(channels, np.int64)[running]
    s = s[running]
    start, opening, closing = (np.ascontiguousarray(s[:, i]) for i in (a.OPEN_START, a.OPEN_POS, a.LAST_POS))
    ids, ug = _emissions(state, which, start, opening, closing, policy)
    return [
        IntervalRow(
            state.channels[c].meter, state.channels[c].reading_type, r[a.OPEN_START], r[a.OPEN_START] + QUARTER_MS, 0,
            _FIRST_REVISION, r[a.OPEN_POS], r[a.LAST_POS], None if emission < 0 else emission, factor,
            r[a.COVERAGE], False, r[a.QUALITY], False,
        )
        for c, r, factor, emission in zip(which.tolist(), s.tolist(), ids, ug.tolist(), strict=True)
    ]  # fmt: skip


def _progress(state: State, row: int) -> ProgressRow:
    channel = state.channels[row]
    return ProgressRow(channel.meter, channel.reading_type, *state.progress(row))


def _event(state: State, event: list[int]) -> NewLedgerEvent:
    channel = state.channels[event[a.E_CHANNEL]]
    detail = {
        "position": event[a.E_POSITION],
        "last_good_t_ms": event[a.E_LAST_T],
        "last_good_position": event[a.E_LAST_POS],
    }
    return NewLedgerEvent(
        event[a.E_TIME], channel.meter, channel.reading_type, _EVENT_KINDS[event[a.E_KIND]], detail
    )


def _keep_latest(columns: Readings, latest: dict[tuple[str, str], LatestRow]) -> None:
    """The newest reading per meter and type; of two with the same time, the later frame."""
    order = np.lexsort((columns.t, columns.which))
    last = order[np.flatnonzero(np.diff(columns.which[order], append=-1))]
    values = (columns.which[last], columns.t[last], columns.real[last], columns.received_ms[last])
    for which, t_ms, real, received_ms in zip(*(column.tolist() for column in values), strict=True):
        binding = columns.binding[which]
        key = (binding.meter, binding.reading_type)
        known = latest.get(key)
        if known is None or t_ms >= known.t_ms:
            value = real * (binding.num / binding.den * binding.multiplier)
            latest[key] = LatestRow(binding.meter, binding.reading_type, t_ms, value, received_ms)
