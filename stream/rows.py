"""What the kernels found, as rows and events of the ledger."""

from collections.abc import Iterable
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from metering.reading_types import READING_TYPES
from storage.ledger import ClosedIntervals, IntervalRow, NewLedgerEvent, ProgressRow
from stream.context import Context, Key
from stream.kernels import accumulate as a
from stream.kernels import columns as c
from stream.state import State

I64 = NDArray[np.int64]
_FIRST_REVISION = 1

EVENT_KINDS = {
    c.CONFLICT: "conflicting_reading", c.PENDING_FALL: "pending_fall", c.PENDING_RISE: "pending_rise",
    c.TRANSIENT: "transient_dropped", c.LAST_DIGIT: "last_digit", c.ROLLOVER: "rollover", c.STEP_BACK: "step_back",
    c.RESET: "reset", c.UNEXPLAINED: "unexplained", c.EXCHANGE: "exchange", c.RATIO_CHANGE: "ratio_change",
    c.POWER_GAP: "power_gap", c.POWER_IMPLAUSIBLE: "power_implausible", c.POWER_REVERSED: "power_reversed",
}  # fmt: skip
"""Every event of the step, `LATE` apart, which only asks for a restatement."""
NO_FACTOR = "missing_factor"
OF_POWER = frozenset({c.POWER_GAP, c.POWER_IMPLAUSIBLE, c.POWER_REVERSED})
"""Their evidence is a power."""


def closed_rows(state: State, rows: I64, context: Context) -> list[IntervalRow]:
    """The intervals that were closed."""
    column = rows.T
    spans = column[c.START], column[c.OPENING], column[c.CLOSING]
    figures = column[c.COVERED], column[c.EDGE_READ].astype(np.bool_), column[c.WORST]
    return _rows(state, column[c.CHANNEL], spans, figures, context, closed=True)


def closed_columns(state: State, rows: I64, context: Context) -> ClosedIntervals:
    """The same by column."""
    column = rows.T
    used, key = np.unique(column[c.CHANNEL], return_inverse=True)
    spans = column[c.START], column[c.OPENING], column[c.CLOSING]
    ids, ug = _emissions(state, column[c.CHANNEL], spans, context)
    number = {id_: i for i, id_ in enumerate(dict.fromkeys(ids))}
    start, opening, closing = (span.tolist() for span in spans)
    figures = (column[at].tolist() for at in (c.COVERED, c.EDGE_READ, c.WORST))
    return ClosedIntervals(
        [state.channels[at].key for at in used.tolist()], list(number), key.tolist(), start, opening, closing, ug,
        [number[id_] for id_ in ids], *figures,
    )  # fmt: skip


def columns_without_factor(closed: ClosedIntervals, context: Context) -> list[NewLedgerEvent]:
    """`without_factor` of columns."""
    if None not in closed.factor_ids:
        return []
    none = closed.factor_ids.index(None)
    found = zip(closed.key, closed.start_ms, closed.factor, strict=True)
    return missing_factors(
        ((closed.keys[key], start) for key, start, factor in found if factor == none), context
    )


def open_rows(state: State, channels: list[int], context: Context) -> list[IntervalRow]:
    """The running interval of each channel that has one, provisional."""
    s = state.arrays[channels]
    running = s[:, c.LAST_T] > s[:, c.OPEN_START]
    s = s[running].T
    spans = s[c.OPEN_START], s[c.OPEN_POS], s[c.LAST_POS]
    figures = s[c.COVERAGE], np.zeros(s.shape[1], np.bool_), s[c.QUALITY]
    return _rows(state, np.array(channels, np.int64)[running], spans, figures, context, closed=False)


def _rows(
    state: State, channels: I64, spans: tuple[I64, I64, I64], figures: tuple[I64, NDArray[np.bool_], I64], context: Context,
    *, closed: bool,
) -> list[IntervalRow]:  # fmt: skip
    """Intervals by column: spans = (start, opening, closing), figures = (coverage, whether the edge was read, quality)."""
    at = channels.tolist()
    factor, ug = _emissions(state, channels, spans, context)
    start, opening, closing = (span.tolist() for span in spans)
    names = [state.channels[i] for i in at]
    columns: tuple[Iterable[object], ...] = (
        [name.meter for name in names], [name.reading_type for name in names], start, (spans[0] + QUARTER_MS).tolist(),
        repeat(0), repeat(_FIRST_REVISION), opening, closing, ug, factor, *(figure.tolist() for figure in figures),
        repeat(closed),
    )  # fmt: skip
    return list(map(IntervalRow, *columns))


def _emissions(
    state: State, channels: I64, spans: tuple[I64, I64, I64], context: Context
) -> tuple[list[str | None], list[int | None]]:
    """(factor id, µg) of intervals given by start, opening and closing position; None when the number stops."""
    known = np.flatnonzero(np.bincount(channels, minlength=len(state.channels)))
    roles: dict[str | None, int] = {}
    role = np.zeros(len(state.channels), np.int64)
    role[known] = [
        roles.setdefault(_carrier(state.channels[at].key, context), len(roles)) for at in known.tolist()
    ]
    starts, opening, closing = (np.ascontiguousarray(column) for column in spans)
    ids, num, den = context.policy.factors([*roles], role[channels], starts)
    out = np.empty(channels.size, np.int64)
    a.emissions(opening, closing, num, den, out)
    ug: list[int | None] = [*out.tolist()]
    for i in np.flatnonzero(out < 0).tolist():
        ug[i] = None
    return ids, ug


def _carrier(key: Key, context: Context) -> str | None:
    """The role whose factor a total's energy takes; None for what carries no emission of electricity."""
    return context.role(key) if READING_TYPES[key[1]].unit == "Wh" else None


def without_factor(rows: Iterable[IntervalRow], context: Context) -> list[NewLedgerEvent]:
    """One event per total and month of which rows have no factor, so no emission. Known from the month's first interval on."""
    return missing_factors(
        (((row.meter, row.reading_type), row.start_ms) for row in rows if row.factor_id is None), context
    )


def missing_factors(found: Iterable[tuple[Key, int]], context: Context) -> list[NewLedgerEvent]:
    """The same of intervals without a factor, given by total and start."""
    months = {
        (key, context.policy.month_at(start_ms)): None for key, start_ms in found if _carrier(key, context) is not None
    }  # fmt: skip
    return [
        NewLedgerEvent(
            start_ms, *key, NO_FACTOR, {"month": month, "role": str(context.role(key))}, start_ms + QUARTER_MS
        )
        for key, (start_ms, _end_ms, month) in months
    ]


def progress_row(state: State, row: int) -> ProgressRow:
    """How far a channel is accounted."""
    channel = state.channels[row]
    return ProgressRow(channel.meter, channel.reading_type, *state.progress(row))


def event(state: State, found: list[int]) -> NewLedgerEvent:
    """An event with its evidence: what was read, the good total before it, and what the position gained over the register."""
    read = "position" if found[c.E_KIND] not in OF_POWER else "power_mw"
    detail = {
        read: found[c.E_POSITION],
        "last_good_t_ms": found[c.E_LAST_T],
        "last_good_position": found[c.E_LAST_POS],
    }
    if found[c.E_DELTA]:
        detail["adjustment"] = found[c.E_DELTA]
    if found[c.E_UNTIL] != found[c.E_TIME]:
        detail["until_t_ms"] = found[c.E_UNTIL]
    kind = EVENT_KINDS[found[c.E_KIND]]
    return NewLedgerEvent(
        found[c.E_TIME], *state.channels[found[c.E_CHANNEL]].key, kind, detail, found[c.E_NOTED]
    )
