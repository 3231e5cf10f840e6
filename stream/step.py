"""The step: `results = step(state, records, context)`. No clock, no file, no log; everything it knows is in its arguments."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from metering.protobuf_wire import DecodeError
from metering.registry import Park
from metering.sparkplug import FLOATS, decode
from metering.topics import MessageType
from storage.ledger import IntervalRow, LatestRow, NewLedgerEvent, ProgressRow, Results
from storage.segment import Record
from stream.batch import Birth, Readings, readings, runs
from stream.binding import bind
from stream.kernels import accumulate as a
from stream.policy import Policy
from stream.state import State

I64 = NDArray[np.int64]
_FIRST_REVISION = 1
_EVENT_KINDS = {
    a.LATE: "late_reading", a.CONFLICT: "conflicting_reading", a.PENDING_FALL: "pending_fall",
    a.PENDING_RISE: "pending_rise", a.TRANSIENT: "transient_dropped",
}  # fmt: skip


class Context(msgspec.Struct):
    """What the step is told about the world: the registry and the factors in force."""

    park: Park
    policy: Policy


def step(state: State, records: Sequence[Record], context: Context) -> Results:
    """Advance `state` over journal records, in order; the rows that changed. Cutting the records elsewhere changes no final row."""
    results = Results()
    touched: set[int] = set()
    latest: dict[tuple[str, str], LatestRow] = {}
    for run in runs(records):
        if isinstance(run, Birth):
            _bind(state, run, context.park)
            continue
        columns = readings(run, state.aliases)
        touched |= _totals(state, columns, context, results)
        _keep_latest(columns, latest)
    results.intervals += _open_intervals(state, sorted(touched), context.policy)
    results.progress = [_progress(state, row) for row in sorted(touched)]
    results.latest = list(latest.values())
    return results


def _bind(state: State, birth: Birth, park: Park) -> None:
    """From an NBIRTH on, only the aliases of the births that follow it hold."""
    gateway = birth.topic.gateway
    if birth.topic.type is MessageType.NBIRTH:
        return
    try:
        bindings = bind(park, gateway, birth.topic.meter, decode(birth.payload))
    except DecodeError:
        return
    known = state.aliases.setdefault(gateway, {})
    for alias in [alias for alias, old in known.items() if old.meter == birth.topic.meter]:
        del known[alias]
    known.update(bindings)


def _totals(state: State, columns: Readings, context: Context, results: Results) -> set[int]:
    """Accumulate the totals among the readings; the channels they touched."""
    channel_of = np.full(len(columns.binding), -1, np.int64)
    for i, binding in enumerate(columns.binding):
        meter = context.park.meter(binding.meter)
        if binding.kind == "total" and meter is not None:
            channel_of[i] = state.channel(binding, meter.roles[binding.reading_type])
    channel = channel_of[columns.which] if len(columns.which) else columns.which
    keep = channel >= 0
    if not keep.any():
        return set()
    positions = _positions(columns)[keep]
    closed, events = _accumulate(state, channel[keep], columns.t[keep], positions, context.park)
    results.intervals += _closed_intervals(state, closed, context.policy)
    results.events += [_event(state, event) for event in events]
    return set(np.unique(channel[keep]).tolist())


def _positions(columns: Readings) -> I64:
    """Raw values to base units: floor(count × num / den), in Python integers where a product could leave 64 bits."""
    out = np.zeros(len(columns.which), np.int64)
    for i, binding in enumerate(columns.binding):
        mine = columns.which == i
        if binding.kind != "total" or not mine.any():
            continue
        if binding.datatype in FLOATS:
            count = np.rint(columns.real[mine] * binding.multiplier).astype(np.int64)
        else:
            count = columns.raw[mine]
        small = np.abs(count).max() < (1 << 62) // binding.num
        out[mine] = count * binding.num // binding.den if small else _exact(count, binding.num, binding.den)
    return out


def _exact(count: I64, num: int, den: int) -> I64:
    return np.array([int(c) * num // den for c in count], dtype=np.int64)


def _accumulate(state: State, channel: I64, t: I64, position: I64, park: Park) -> tuple[I64, I64]:
    limits = [park.meter(c.meter) for c in state.channels]
    max_power = np.array([(m.max_power_w or 0) if m else 0 for m in limits], np.int64)
    grain = np.array([-(-c.num // c.den) for c in state.channels], np.int64)
    rows = np.empty((a.count_rows(channel, t, state.arrays), a.ROW_COLUMNS), np.int64)
    events = np.empty((2 * channel.size, a.EVENT_COLUMNS), np.int64)
    used, noted = a.accumulate(channel, t, position, max_power, grain, state.arrays, rows, events)
    return rows[:used], events[:noted]


def _emissions(state: State, channels: I64, starts: I64, opening: I64, closing: I64, policy: Policy) -> tuple[list[str | None], I64]:
    roles = [state.channels[c].role for c in channels]
    ids, num, den = policy.factors(roles, starts)
    out = np.empty(len(channels), np.int64)
    a.emissions(opening, closing, num, den, out)
    return ids, out


def _closed_intervals(state: State, rows: I64, policy: Policy) -> list[IntervalRow]:
    column = [np.ascontiguousarray(rows[:, i]) for i in range(a.ROW_COLUMNS)]
    ids, ug = _emissions(state, column[a.CHANNEL], column[a.START], column[a.OPENING], column[a.CLOSING], policy)
    return [
        IntervalRow(
            state.channels[r[a.CHANNEL]].meter, state.channels[r[a.CHANNEL]].reading_type, r[a.START], r[a.END], 0,
            _FIRST_REVISION, r[a.OPENING], r[a.CLOSING], None if factor is None else emission, factor,
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
            _FIRST_REVISION, r[a.OPEN_POS], r[a.LAST_POS], None if factor is None else emission, factor,
            r[a.COVERAGE], False, r[a.QUALITY], False,
        )
        for c, r, factor, emission in zip(which.tolist(), s.tolist(), ids, ug.tolist(), strict=True)
    ]  # fmt: skip


def _progress(state: State, row: int) -> ProgressRow:
    channel = state.channels[row]
    return ProgressRow(channel.meter, channel.reading_type, *state.progress(row))


def _event(state: State, event: I64) -> NewLedgerEvent:
    channel = state.channels[event[a.E_CHANNEL]]
    detail = {
        "position": int(event[a.E_POSITION]),
        "last_good_t_ms": int(event[a.E_LAST_T]),
        "last_good_position": int(event[a.E_LAST_POS]),
    }
    kind = _EVENT_KINDS[int(event[a.E_KIND])]
    return NewLedgerEvent(int(event[a.E_TIME]), channel.meter, channel.reading_type, kind, detail)


def _keep_latest(columns: Readings, latest: dict[tuple[str, str], LatestRow]) -> None:
    """The newest reading per meter and type; of two with the same time, the later frame."""
    for i, binding in enumerate(columns.binding):
        mine = np.flatnonzero(columns.which == i)
        if not mine.size:
            continue
        at = mine[np.flatnonzero(columns.t[mine] == columns.t[mine].max())[-1]]
        per_raw = binding.num / binding.den * binding.multiplier
        row = LatestRow(
            binding.meter, binding.reading_type, int(columns.t[at]), float(columns.real[at]) * per_raw,
            int(columns.received_ms[at]),
        )  # fmt: skip
        known = latest.get((row.meter, row.reading_type))
        if known is None or row.t_ms >= known.t_ms:
            latest[row.meter, row.reading_type] = row
