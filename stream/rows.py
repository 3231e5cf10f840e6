"""What the kernels found, as rows and events of the ledger."""

import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from metering.reading_types import READING_TYPES
from storage.ledger import IntervalRow, NewLedgerEvent, ProgressRow
from stream.context import Context
from stream.kernels import accumulate as a
from stream.kernels import columns as c
from stream.state import Channel, State

I64 = NDArray[np.int64]
_FIRST_REVISION = 1

EVENT_KINDS = {
    c.CONFLICT: "conflicting_reading", c.PENDING_FALL: "pending_fall", c.PENDING_RISE: "pending_rise",
    c.TRANSIENT: "transient_dropped", c.LAST_DIGIT: "last_digit", c.ROLLOVER: "rollover", c.STEP_BACK: "step_back",
    c.RESET: "reset", c.UNEXPLAINED: "unexplained", c.EXCHANGE: "exchange", c.RATIO_CHANGE: "ratio_change",
    c.POWER_GAP: "power_gap", c.POWER_IMPLAUSIBLE: "power_implausible", c.POWER_REVERSED: "power_reversed",
}  # fmt: skip
"""Every event of the step, `LATE` apart, which only asks for a restatement."""
OF_POWER = frozenset({c.POWER_GAP, c.POWER_IMPLAUSIBLE, c.POWER_REVERSED})
"""Their evidence is a power."""


def closed_rows(state: State, rows: I64, context: Context) -> list[IntervalRow]:
    """The intervals that were closed."""
    ids, ug = _emissions(state, rows[:, c.CHANNEL], rows[:, [c.START, c.OPENING, c.CLOSING]], context)
    meters, kinds = _names(state)
    return [
        IntervalRow(
            meters[r[c.CHANNEL]], kinds[r[c.CHANNEL]], r[c.START], r[c.END], 0,
            _FIRST_REVISION, r[c.OPENING], r[c.CLOSING], None if emission < 0 else emission,
            factor, r[c.COVERED], bool(r[c.EDGE_READ]), r[c.WORST], True,
        )
        for r, factor, emission in zip(rows.tolist(), ids, ug.tolist(), strict=True)
    ]  # fmt: skip


def open_rows(state: State, channels: list[int], context: Context) -> list[IntervalRow]:
    """The running interval of each channel that has one, provisional."""
    s = state.arrays[channels]
    running = s[:, c.LAST_T] > s[:, c.OPEN_START]
    which = np.array(channels, np.int64)[running]
    s = s[running]
    ids, ug = _emissions(state, which, s[:, [c.OPEN_START, c.OPEN_POS, c.LAST_POS]], context)
    meters, kinds = _names(state)
    return [
        IntervalRow(
            meters[at], kinds[at], r[c.OPEN_START], r[c.OPEN_START] + QUARTER_MS, 0,
            _FIRST_REVISION, r[c.OPEN_POS], r[c.LAST_POS],
            None if emission < 0 else emission, factor, r[c.COVERAGE], False, r[c.QUALITY], False,
        )
        for at, r, factor, emission in zip(which.tolist(), s.tolist(), ids, ug.tolist(), strict=True)
    ]  # fmt: skip


def _names(state: State) -> tuple[list[str], list[str]]:
    return [channel.meter for channel in state.channels], [channel.reading_type for channel in state.channels]


def _emissions(state: State, channels: I64, spans: I64, context: Context) -> tuple[list[str | None], I64]:
    """(factor id, µg) of intervals given by start, opening and closing position; µg -1 when the number stops."""
    carriers = [_carrier(channel, context) for channel in state.channels]
    starts, opening, closing = (np.ascontiguousarray(column) for column in spans.T)
    ids, num, den = context.policy.factors([carriers[at] for at in channels.tolist()], starts)
    out = np.empty(len(channels), np.int64)
    a.emissions(opening, closing, num, den, out)
    return ids, out


def _carrier(channel: Channel, context: Context) -> str | None:
    """The role whose factor a channel's energy takes; None for what carries no emission of electricity."""
    return context.role(channel.key) if READING_TYPES[channel.reading_type].unit == "Wh" else None


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
