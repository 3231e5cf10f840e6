"""Totals into intervals: the step's loop. Its plain twin is `tests/naive.py`.

For two consecutive good totals p0 at t0 and p1 at t1, the position at a grid edge e between them is
`p0 + floor((p1 - p0)·(e - t0) / (t1 - t0))`. It depends on nothing else, so interval energies telescope:
their sum equals the closing total minus the opening total, however the stream was cut.
"""

import numpy as np
from numpy.typing import NDArray

from metering.intervals import MINUTE_MS, QUARTER_MS
from stream.kernels import kernel
from stream.kernels.intmath import mul_div_floor

I64 = NDArray[np.int64]

# Columns of the state, one row per channel (a total of a meter).
SEEN, LAST_T, LAST_POS, OPEN_START, OPEN_POS, COVERAGE, QUALITY, PENDING, PENDING_T, PENDING_POS, HEARD_T = (
    range(11)
)
STATE_COLUMNS = 11
# Columns of a closed interval.
CHANNEL, START, END, OPENING, CLOSING, COVERED, EDGE_READ, WORST = range(8)
ROW_COLUMNS = 8
# Columns of an event.
E_CHANNEL, E_TIME, E_KIND, E_POSITION, E_LAST_T, E_LAST_POS = range(6)
EVENT_COLUMNS = 6
LATE, CONFLICT, PENDING_FALL, PENDING_RISE, TRANSIENT = 1, 2, 3, 4, 5

EDGE_TOLERANCE_MS = MINUTE_MS
"""Day values are read at 00:00 ± 1 min (national online-monitoring rule); we hold every grid edge to it."""
MAX_GAP_MS = QUARTER_MS + EDGE_TOLERANCE_MS
"""Reads further apart than this leave a gap: exact energy, estimated shape."""
ESTIMATED = 2
"""`metering.quality.Quality.ESTIMATED`"""
MARGIN_TENTHS = 11
"""A rise is plausible up to 1.1 × rated power × time (check V05)."""


@kernel
def count_rows(channel: I64, t: I64, state: I64) -> int:
    """An upper bound of the intervals that `accumulate` closes for these readings."""
    last = state[:, LAST_T].copy()
    seen = state[:, SEEN].copy()
    rows = 0
    for i in range(channel.size):
        c = channel[i]
        if seen[c] and t[i] > last[c]:
            rows += t[i] // QUARTER_MS - last[c] // QUARTER_MS
        if not seen[c] or t[i] > last[c]:
            last[c] = t[i]
            seen[c] = 1
    return rows


@kernel
def plausible(rise: int, elapsed_ms: int, max_power: int, grain: int) -> bool:
    """Whether rise ≤ 1.1 × max_power × elapsed + one count; `max_power` 0 means unknown, which lets every rise pass."""
    if rise < 0:
        return False
    if max_power == 0:
        return True
    return rise <= mul_div_floor(max_power * MARGIN_TENTHS, elapsed_ms, 36_000_000) + grain


@kernel
def advance(s: I64, c: int, t: int, position: int, rows: I64, n: int) -> int:
    """Move a channel's state to a good total, closing the intervals whose edge it passes; the rows used."""
    t0, p0 = s[LAST_T], s[LAST_POS]
    elapsed = t - t0
    measured = elapsed <= MAX_GAP_MS
    while s[OPEN_START] + QUARTER_MS <= t:
        edge = s[OPEN_START] + QUARTER_MS
        at_edge = p0 + mul_div_floor(position - p0, edge - t0, elapsed)
        if measured:
            s[COVERAGE] += edge - max(t0, s[OPEN_START])
        elif edge > t0:
            s[QUALITY] = max(s[QUALITY], ESTIMATED)
        rows[n, CHANNEL], rows[n, START], rows[n, END] = c, s[OPEN_START], edge
        rows[n, OPENING], rows[n, CLOSING] = s[OPEN_POS], at_edge
        rows[n, COVERED], rows[n, WORST] = s[COVERAGE], s[QUALITY]
        rows[n, EDGE_READ] = 1 if min(edge - t0, t - edge) <= EDGE_TOLERANCE_MS else 0
        n += 1
        s[OPEN_START], s[OPEN_POS], s[COVERAGE], s[QUALITY] = edge, at_edge, 0, 0
    if t > s[OPEN_START]:
        if measured:
            s[COVERAGE] += t - max(t0, s[OPEN_START])
        else:
            s[QUALITY] = max(s[QUALITY], ESTIMATED)
    s[LAST_T], s[LAST_POS] = t, position
    return n


@kernel
def note(events: I64, k: int, c: int, t: int, kind: int, position: int, s: I64) -> int:
    """Write an event with its evidence: the reading, and the last good total it contradicts; the events used."""
    events[k, E_CHANNEL], events[k, E_TIME], events[k, E_KIND] = c, t, kind
    events[k, E_POSITION], events[k, E_LAST_T], events[k, E_LAST_POS] = position, s[LAST_T], s[LAST_POS]
    return k + 1


@kernel
def accumulate(
    channel: I64, t: I64, position: I64, max_power: I64, grain: I64, state: I64, rows: I64, events: I64
) -> tuple[int, int]:
    """Readings in frame order into `state`; closed intervals into `rows`, events into `events`; how many of each.

    channel[i], t[i] (UTC ms), position[i] (base units) is one total, max_power[i] (base units per hour; 0: unknown)
    and grain[i] (base units per count, rounded up) what it is judged by. A fall or an implausible rise opens a
    pending event: the channel stands still at its last good total until a later total agrees with it. Later means
    later than every total heard, the rejected ones included, so that a frame delivered again changes nothing.
    """
    n = k = 0
    for i in range(channel.size):
        c = channel[i]
        s = state[c]
        if not s[SEEN]:
            s[SEEN], s[HEARD_T], s[LAST_T], s[LAST_POS] = 1, t[i], t[i], position[i]
            s[OPEN_START], s[OPEN_POS] = t[i] - t[i] % QUARTER_MS, position[i]
            continue
        if t[i] <= s[HEARD_T]:
            if t[i] < s[HEARD_T]:
                k = note(events, k, c, t[i], LATE, position[i], s)
            elif t[i] == s[LAST_T] and position[i] != s[LAST_POS]:
                k = note(events, k, c, t[i], CONFLICT, position[i], s)
            continue
        s[HEARD_T] = t[i]
        rise = position[i] - s[LAST_POS]
        if not plausible(rise, t[i] - s[LAST_T], max_power[i], grain[i]):
            if not s[PENDING]:
                k = note(events, k, c, t[i], PENDING_FALL if rise < 0 else PENDING_RISE, position[i], s)
                s[PENDING], s[PENDING_T], s[PENDING_POS] = 1, t[i], position[i]
            continue
        if s[PENDING]:
            k = note(events, k, c, s[PENDING_T], TRANSIENT, s[PENDING_POS], s)
            s[PENDING] = 0
        n = advance(s, c, t[i], position[i], rows, n)
    return n, k


@kernel
def emissions(opening: I64, closing: I64, num: I64, den: I64, out: I64) -> None:
    """out[i] = floor(closing·num/den) − floor(opening·num/den) µg: differences of floored cumulative products telescope.

    A factor num/den is µg per base unit; num -1 means that none is in force. That leaves -1, as does an emission of
    2^62 µg or more. Cumulative products may
    leave 64 bits (a 220 kV meter counts 10^15 Wh); their difference is right modulo 2^64, hence right.
    """
    for i in range(opening.size):
        if num[i] < 0 or (closing[i] - opening[i]) // den[i] >= (1 << 62) // max(num[i], 1):
            out[i] = -1
        else:
            out[i] = mul_div_floor(closing[i], num[i], den[i]) - mul_div_floor(opening[i], num[i], den[i])
