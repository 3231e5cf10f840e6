"""Power into intervals, for meters without totals. Its plain twin is `tests/naive_power.py`.

Between two reads that count, no further apart than the longest gap that is declared, the energy is (p0 + p1) / 2 × time,
spread evenly. It is summed up exactly: position = floor(sum of (p0 + p1)·ms / 7 200 000 000) Wh with powers in mW, the rest is
carried on. So Σ intervals is the whole integral, rounded down once. Over a longer gap nothing is integrated: what is not known
is neither zero nor an average, so its intervals are missing, those at its ends are questionable, and an event says from when
to when.
"""

import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from stream.kernels import columns as c
from stream.kernels import kernel, part
from stream.kernels.accumulate import EDGE_TOLERANCE_MS, QUESTIONABLE, forget, note, remember
from stream.kernels.intmath import mul_div_floor
from stream.kernels.vee import MARGIN_TENTHS

I64 = NDArray[np.int64]
I8 = NDArray[np.int8]

PER_WH = 2 * 3_600_000 * 1000
"""(p0 + p1)·ms of a watt-hour, with powers in mW."""
DERIVED = 1
"""`metering.quality.Quality.DERIVED`"""


@kernel
def integrate(
    term: I64, kind: I8, t: I64, register: I64, terms: I64, state: I64, rows: I64, n: int, events: I64, k: int
) -> tuple[int, int]:
    """The entries that are powers into `state`, `rows` from n on and `events` from k on; how many of each then.

    Entry i is a power of `register[i]` mW at t[i] (UTC ms), in the meter's own direction; `terms[term[i]]` tells how to take it.
    A declared exchange means nothing to a power.
    """
    for i in range(term.size):
        at = term[i]
        if terms[at, c.T_SIGN] == 0 or kind[i] != c.READING:
            continue
        s = state[terms[at, c.T_CHANNEL]]
        if s[c.HEARD_ANY] and t[i] <= s[c.HEARD_T]:
            k = known_before(at, t[i], register[i], terms, s, events, k)
        else:
            n, k = take(at, t[i], register[i], terms, s, rows, n, events, k)
    return n, k


@part
def take(
    at: int, t: int, register: int, terms: I64, s: I64, rows: I64, n: int, events: I64, k: int
) -> tuple[int, int]:
    """A power that is newer than all heard. One that the meter cannot have carried is told, and left out."""
    if not s[c.HEARD_ANY]:
        forget(s)
    s[c.HEARD_ANY], s[c.HEARD_T], s[c.HEARD_R] = 1, t, register
    remember(s, t, register, 0)
    power, channel = register * terms[at, c.T_SIGN], terms[at, c.T_CHANNEL]
    most = mul_div_floor(terms[at, c.T_POWER] * MARGIN_TENTHS, 1000, 10) + terms[at, c.T_GRAIN]
    if terms[at, c.T_POWER] and abs(power) > most:
        s[c.SKIPPED] = 1
        return n, note(events, k, channel, t, c.POWER_IMPLAUSIBLE, power, s, 0)
    if power < 0 and not s[c.HELD]:
        k = note(events, k, channel, t, c.POWER_REVERSED, power, s, 0)
    s[c.HELD] = 1 if power < 0 else 0
    carried = max(power, 0)
    if not s[c.SEEN]:
        start(s, t)
    elif t - s[c.LAST_T] > terms[at, c.T_GAP]:
        k = note(events, k, channel, s[c.LAST_T], c.POWER_GAP, s[c.POWER], s, 0)
        events[k - 1, c.E_UNTIL] = t
        n = leap(s, channel, t, rows, n)
    else:
        n = walk(s, channel, t, s[c.POWER] + carried, rows, n)
    s[c.POWER], s[c.SKIPPED] = carried, 0
    return n, k


@part
def start(s: I64, t: int) -> None:
    """The first power that counts: the position begins at zero."""
    s[c.SEEN], s[c.LAST_T], s[c.LAST_POS], s[c.REST] = 1, t, 0, 0
    s[c.OPEN_START], s[c.OPEN_POS], s[c.COVERAGE], s[c.QUALITY] = t - t % QUARTER_MS, 0, 0, DERIVED


@part
def walk(s: I64, channel: int, t: int, both: int, rows: I64, n: int) -> int:
    """Integrate up to t, closing the intervals whose edge is passed; `both` is the sum of the two powers, mW."""
    before, doubt = s[c.LAST_T], QUESTIONABLE if s[c.SKIPPED] else DERIVED
    while s[c.OPEN_START] + QUARTER_MS <= t:
        edge = s[c.OPEN_START] + QUARTER_MS
        grow(s, both, edge)
        s[c.QUALITY] = max(s[c.QUALITY], doubt)
        n = close(s, channel, before, t, rows, n)
        s[c.OPEN_START], s[c.OPEN_POS], s[c.COVERAGE], s[c.QUALITY] = edge, s[c.LAST_POS], 0, DERIVED
    if t > s[c.OPEN_START]:
        grow(s, both, t)
        s[c.QUALITY] = max(s[c.QUALITY], doubt)
    return n


@part
def grow(s: I64, both: int, t: int) -> None:
    """Add the energy from the last time to t: whole Wh to the position, the rest to what is left over."""
    elapsed = t - s[c.LAST_T]
    whole = mul_div_floor(both, elapsed, PER_WH)
    rest = s[c.REST] + both * elapsed - whole * PER_WH  # right modulo 2^64, hence right
    if rest >= PER_WH:
        whole, rest = whole + 1, rest - PER_WH
    s[c.LAST_POS], s[c.REST], s[c.LAST_T] = s[c.LAST_POS] + whole, rest, t
    s[c.COVERAGE] += elapsed


@part
def leap(s: I64, channel: int, t: int, rows: I64, n: int) -> int:
    """Pass over a gap: the running interval ends with what is known, those wholly within the gap are not written."""
    before, edge = s[c.LAST_T], s[c.OPEN_START] + QUARTER_MS
    if t < edge:
        s[c.QUALITY] = QUESTIONABLE
    else:
        if before > s[c.OPEN_START]:
            s[c.QUALITY] = QUESTIONABLE
            n = close(s, channel, before, t, rows, n)
        s[c.OPEN_START], s[c.OPEN_POS], s[c.COVERAGE] = t - t % QUARTER_MS, s[c.LAST_POS], 0
        s[c.QUALITY] = QUESTIONABLE if t > s[c.OPEN_START] else DERIVED
    s[c.LAST_T] = t
    return n


@part
def close(s: I64, channel: int, before: int, after: int, rows: I64, n: int) -> int:
    """Write the running interval, which ends where the position stands; `before` and `after` are the reads around its edge."""
    edge = s[c.OPEN_START] + QUARTER_MS
    rows[n, c.CHANNEL], rows[n, c.START], rows[n, c.END] = channel, s[c.OPEN_START], edge
    rows[n, c.OPENING], rows[n, c.CLOSING] = s[c.OPEN_POS], s[c.LAST_POS]
    rows[n, c.COVERED], rows[n, c.WORST] = s[c.COVERAGE], s[c.QUALITY]
    rows[n, c.EDGE_READ] = 1 if min(edge - before, after - edge) <= EDGE_TOLERANCE_MS else 0
    return n + 1


@part
def known_before(at: int, t: int, register: int, terms: I64, s: I64, events: I64, k: int) -> int:
    """A power no newer than the newest: heard already, in conflict with it (the smaller counts), or LATE."""
    channel = terms[at, c.T_CHANNEL]
    if t == s[c.HEARD_T] and register >= s[c.HEARD_R]:
        if register > s[c.HEARD_R]:
            k = note(events, k, channel, t, c.CONFLICT, register * terms[at, c.T_SIGN], s, 0)
            s[c.QUALITY] = QUESTIONABLE
        return k
    for j in range(c.RING_SIZE):
        if s[c.RING + 2 * j] == t and s[c.RING + 2 * j + 1] == register:
            return k
    return note(events, k, channel, t, c.LATE, register, s, 0)
