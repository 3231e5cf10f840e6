"""Totals into intervals: the step's loop. Its plain twin is `tests/naive.py`.

For two consecutive good totals p0 at t0 and p1 at t1, the position at a grid edge e between them is
`p0 + floor((p1 - p0)·(e - t0) / (t1 - t0))`. It depends on nothing else, so interval energies telescope:
their sum equals the closing total minus the opening total plus the declared adjustments, however the stream was cut.

The ledger is a function of the set of readings in time order, of equal times the smaller one first. A reading that
comes out of that order and could change a row is given back as LATE: the caller computes the channel again from before it.
"""

import numpy as np
from numpy.typing import NDArray

from metering.intervals import MINUTE_MS, QUARTER_MS
from stream.kernels import columns as c
from stream.kernels import kernel, part
from stream.kernels.intmath import mul_div_floor
from stream.kernels.lane import ordinary
from stream.kernels.vee import ENOUGH, classify, plausible

I64 = NDArray[np.int64]
I8 = NDArray[np.int8]

EDGE_TOLERANCE_MS = MINUTE_MS
"""Day values are read at 00:00 ± 1 min (national online-monitoring rule); we hold every grid edge to it."""
MAX_GAP_MS = QUARTER_MS + EDGE_TOLERANCE_MS
"""Reads further apart than this leave a gap: exact energy, estimated shape."""
ESTIMATED = 2
"""`metering.quality.Quality.ESTIMATED`"""
QUESTIONABLE = 3
"""`metering.quality.Quality.QUESTIONABLE`"""


@kernel
def count_rows(channel: I64, t: I64, last: I64, seen: I64) -> int:
    """An upper bound of the intervals that `accumulate` closes for these entries.

    `last` and `seen` are copies of the channels' LAST_T and SEEN.
    """
    rows = 0
    for i in range(channel.size):
        at = channel[i]
        if seen[at] and t[i] > last[at]:
            rows += t[i] // QUARTER_MS - last[at] // QUARTER_MS
        if not seen[at] or t[i] > last[at]:
            last[at] = t[i]
            seen[at] = 1
    return rows


@kernel
def accumulate(
    term: I64, kind: I8, t: I64, register: I64, terms: I64, state: I64, rows: I64, events: I64
) -> tuple[int, int]:
    """Entries in their order into `state`; closed intervals into `rows`, events into `events`; how many of each.

    Entry i is a total read at t[i] (UTC ms), `register[i]` in base units, and
    `terms[term[i]]` tells how to judge it; or, by kind[i], the closing or opening total of a declared exchange.
    """
    n = k = i = 0
    while i < term.size:
        i = ordinary(i, term, kind, t, register, terms, state)
        if i == term.size:
            break
        at = term[i]
        s = state[terms[at, c.T_CHANNEL]]
        if terms[at, c.T_SIGN]:
            pass  # a power: `stream.kernels.power`
        elif kind[i] == c.CLOSING_SWAP:
            n, k = close_swap(at, t[i], register[i], terms, s, rows, n, events, k)
        elif kind[i] == c.OPENING_SWAP:
            k = open_swap(at, t[i], register[i], terms, s, events, k)
        elif not s[c.SEEN]:
            begin(s, t[i], register[i], terms[at, c.T_SEGMENT])
        elif t[i] <= s[c.HEARD_T]:
            k = heard_before(at, t[i], register[i], terms, s, events, k)
        else:
            n, k = judge(at, t[i], register[i], terms, s, rows, n, events, k)
        i += 1
    return n, k


@part
def begin(s: I64, t: int, register: int, segment: int) -> None:
    """The first total of a channel: its position is its register."""
    s[c.SEEN], s[c.SEGMENT] = 1, segment
    s[c.HEARD_T], s[c.HEARD_R], s[c.LAST_T], s[c.LAST_POS] = t, register, t, register
    s[c.OPEN_START], s[c.OPEN_POS] = t - t % QUARTER_MS, register
    forget(s)
    remember(s, t, register, 0)


@part
def judge(
    at: int, t: int, register: int, terms: I64, s: I64, rows: I64, n: int, events: I64, k: int
) -> tuple[int, int]:
    """A total that is newer than all heard: good, or one more witness of something that has to be settled."""
    power, grain = terms[at, c.T_POWER], terms[at, c.T_GRAIN]
    shown = under(terms, at, s[c.SEGMENT], register)
    s[c.HEARD_T], s[c.HEARD_R] = t, register
    rise = shown + s[c.OFFSET] - s[c.LAST_POS]
    witness = s[c.PENDING] != c.NONE and plausible(shown - s[c.WITNESS_R], t - s[c.WITNESS_T], power, grain)
    settled = s[c.PENDING] == c.BLOCKED or (power > 0 and s[c.WITNESSES] > 1)
    if plausible(rise, t - s[c.LAST_T], power, grain) and not (witness and settled):
        k = drop_candidate(at, terms, s, events, k)
        return accept(at, t, shown, register, terms, s, rows, n, events, k)
    if not witness:
        k = drop_candidate(at, terms, s, events, k)
        kind = c.PENDING_FALL if rise < 0 else c.PENDING_RISE
        k = note(events, k, terms[at, c.T_CHANNEL], t, kind, shown, s, 0)
        s[c.PENDING], s[c.WITNESSES], s[c.CANDIDATE_T], s[c.CANDIDATE_R] = c.WAITING, 0, t, shown
    s[c.WITNESSES] += 1
    if s[c.WITNESSES] == 2:
        s[c.SECOND_T], s[c.SECOND_R] = t, shown
    s[c.WITNESS_T], s[c.WITNESS_R] = t, shown
    if s[c.PENDING] == c.WAITING and s[c.WITNESSES] >= ENOUGH:
        n, k = settle(at, terms, s, rows, n, events, k)
    return n, k


@part
def settle(at: int, terms: I64, s: I64, rows: I64, n: int, events: I64, k: int) -> tuple[int, int]:
    """Enough witnesses: what happened is named, and the witnesses count from there on; or it is left to a person."""
    last = s[c.LAST_POS] - s[c.OFFSET]
    elapsed = s[c.CANDIDATE_T] - s[c.LAST_T]
    power, grain, modulus = terms[at, c.T_POWER], terms[at, c.T_GRAIN], terms[at, c.T_MODULUS]
    kind, delta = classify(last, s[c.CANDIDATE_R], elapsed, modulus, power, grain)
    if terms[at, c.T_SEGMENT] != s[c.SEGMENT]:
        kind, delta = c.UNEXPLAINED, 0
    channel = terms[at, c.T_CHANNEL]
    k = note(events, k, channel, s[c.CANDIDATE_T], kind, s[c.CANDIDATE_R], s, delta)
    if kind == c.UNEXPLAINED:
        s[c.PENDING] = c.BLOCKED
        return n, k
    s[c.PENDING] = c.NONE
    s[c.OFFSET] += delta
    forget(s)
    doubt = 0 if kind == c.ROLLOVER else QUESTIONABLE
    n = reach(s, channel, s[c.CANDIDATE_T], s[c.CANDIDATE_R] + s[c.OFFSET], doubt, rows, n)
    if s[c.WITNESSES] >= ENOUGH:
        n = reach(s, channel, s[c.SECOND_T], s[c.SECOND_R] + s[c.OFFSET], 0, rows, n)
    if s[c.WITNESSES] > 1:
        n = reach(s, channel, s[c.WITNESS_T], s[c.WITNESS_R] + s[c.OFFSET], 0, rows, n)
    s[c.HELD] = 1 if s[c.WITNESS_R] + s[c.OFFSET] < s[c.LAST_POS] else 0
    return n, k


@part
def reach(s: I64, channel: int, t: int, position: int, doubt: int, rows: I64, n: int) -> int:
    """Advance to one witness; a last digit below the one before stands for no energy."""
    position = max(position, s[c.LAST_POS])
    n = advance(s, channel, t, position, s[c.LAST_T], t, doubt, rows, n)
    remember(s, t, position, 0)
    return n


@part
def accept(
    at: int, t: int, shown: int, register: int, terms: I64, s: I64, rows: I64, n: int, events: I64, k: int
) -> tuple[int, int]:
    """Advance to a good total. A ratio that changed on the way cuts the energy between the two reads at its moment."""
    before = s[c.LAST_T]
    left = shown + s[c.OFFSET] - s[c.LAST_POS]
    channel, segment = terms[at, c.T_CHANNEL], terms[at, c.T_SEGMENT]
    if left < 0 and not s[c.HELD]:
        k = note(events, k, channel, t, c.LAST_DIGIT, shown, s, 0)
    s[c.HELD] = 1 if left < 0 else 0
    if s[c.SEGMENT] == segment:
        n = advance(s, channel, t, s[c.LAST_POS] + max(left, 0), before, t, 0, rows, n)
        remember(s, t, s[c.LAST_POS], 0)
        return n, k
    while s[c.SEGMENT] < segment:
        following = terms[at - (segment - s[c.SEGMENT]) + 1]
        cut = following[c.T_SINCE]
        part = mul_div_floor(left, cut - s[c.LAST_T], t - s[c.LAST_T]) if left > 0 else 0
        n = advance(s, channel, cut, s[c.LAST_POS] + part, before, t, 0, rows, n)
        left = mul_div_floor(left - part, following[c.T_KNUM], following[c.T_KDEN]) if left > 0 else 0
        s[c.SEGMENT] += 1
    position = s[c.LAST_POS] + left
    k = note(events, k, channel, s[c.LAST_T], c.RATIO_CHANGE, register, s, position - register - s[c.OFFSET])
    s[c.OFFSET], s[c.HELD] = position - register, 0
    n = advance(s, channel, t, position, before, t, 0, rows, n)
    forget(s)
    remember(s, t, position, 0)
    return n, k


@part
def close_swap(
    at: int, t: int, register: int, terms: I64, s: I64, rows: I64, n: int, events: I64, k: int
) -> tuple[int, int]:
    """The old meter's closing total, as declared: it counts as read, and settles what was pending."""
    if not s[c.SEEN]:
        return n, k
    power, grain = terms[at, c.T_POWER], terms[at, c.T_GRAIN]
    shown = under(terms, at, s[c.SEGMENT], register)
    s[c.HEARD_T] = t
    if s[c.PENDING] == c.WAITING and plausible(shown - s[c.WITNESS_R], t - s[c.WITNESS_T], power, grain):
        n, k = settle(at, terms, s, rows, n, events, k)
    k = drop_candidate(at, terms, s, events, k)
    return accept(at, t, shown, register, terms, s, rows, n, events, k)


@part
def open_swap(at: int, t: int, register: int, terms: I64, s: I64, events: I64, k: int) -> int:
    """The new meter's opening total: from here on its register counts, the position goes on.

    A reading of the same moment belongs to the old meter: when it comes later it is LATE, whatever it says.
    """
    s[c.SWAPPED_T] = t
    if not s[c.SEEN]:
        return k
    delta = s[c.LAST_POS] - register - s[c.OFFSET]
    k = note(events, k, terms[at, c.T_CHANNEL], t, c.EXCHANGE, register, s, delta)
    s[c.OFFSET] += delta
    s[c.SEGMENT], s[c.HEARD_R], s[c.HELD] = terms[at, c.T_SEGMENT], c.BEYOND, 0
    forget(s)
    return k


@part
def heard_before(at: int, t: int, register: int, terms: I64, s: I64, events: I64, k: int) -> int:
    """A total no newer than the newest: known, in conflict with it, without effect, or LATE."""
    channel = terms[at, c.T_CHANNEL]
    if t == s[c.HEARD_T] and register >= s[c.HEARD_R]:
        if register > s[c.HEARD_R]:
            k = note(events, k, channel, t, c.CONFLICT, register, s, 0)
            s[c.QUALITY] = QUESTIONABLE
        return k
    if t != s[c.HEARD_T] and terms[at, c.T_SEGMENT] == s[c.SEGMENT] and absorbed(at, t, register, terms, s):
        return k
    return note(events, k, channel, t, c.LATE, register, s, 0)


@part
def absorbed(at: int, t: int, register: int, terms: I64, s: I64) -> bool:
    """Whether a total belongs between two of the last good ones and changes nothing: no grid edge lies between those."""
    if s[c.PENDING]:
        return False
    position = register + s[c.OFFSET]
    for j in range(c.RING_SIZE):
        older = c.RING + 2 * j
        if s[older] < 0 or s[older] > t:
            continue
        if s[older] == t:
            known: bool = position == s[older + 1]
            return known
        fits = j > 0 and between(
            s[older - 2 : older + 2], t, position, terms[at, c.T_POWER], terms[at, c.T_GRAIN]
        )
        if fits:
            remember(s, t, position, j)
        return fits
    return False


@part
def between(pair: I64, t: int, position: int, power: int, grain: int) -> bool:
    """Whether a total fits between two neighbours (newer time and position, older ones) without touching a grid edge."""
    up, down = position - pair[3], pair[1] - position
    if up < 0 or down < 0 or (pair[0] - 1) // QUARTER_MS != pair[2] // QUARTER_MS:
        return False
    return plausible(up, t - pair[2], power, grain) and plausible(down, pair[0] - t, power, grain)


@part
def advance(
    s: I64,
    channel: int,
    t: int,
    position: int,
    read_before: int,
    read_after: int,
    doubt: int,
    rows: I64,
    n: int,
) -> int:
    """Move a channel's state to a position, closing the intervals whose edge it passes; the rows used.

    `read_before` and `read_after` are the reads around the way, which measure it and its edges; `doubt` is a quality
    that all of it has at least.
    """
    t0, p0 = s[c.LAST_T], s[c.LAST_POS]
    elapsed = t - t0
    measured = read_after - read_before <= MAX_GAP_MS
    worst = doubt if measured else max(doubt, ESTIMATED)
    while s[c.OPEN_START] + QUARTER_MS <= t:
        start, edge = s[c.OPEN_START], s[c.OPEN_START] + QUARTER_MS
        at_edge = p0 + mul_div_floor(position - p0, edge - t0, elapsed)
        if measured:
            s[c.COVERAGE] += edge - max(t0, start)
        rows[n, c.CHANNEL], rows[n, c.START], rows[n, c.END] = channel, start, edge
        rows[n, c.OPENING], rows[n, c.CLOSING] = s[c.OPEN_POS], at_edge
        rows[n, c.COVERED], rows[n, c.WORST] = s[c.COVERAGE], max(s[c.QUALITY], worst)
        near = min(edge - read_before, read_after - edge) <= EDGE_TOLERANCE_MS
        rows[n, c.EDGE_READ] = 1 if near else 0
        n += 1
        s[c.OPEN_START], s[c.OPEN_POS], s[c.COVERAGE], s[c.QUALITY] = edge, at_edge, 0, 0
    if t > s[c.OPEN_START]:
        if measured:
            s[c.COVERAGE] += t - max(t0, s[c.OPEN_START])
        s[c.QUALITY] = max(s[c.QUALITY], worst)
    s[c.LAST_T], s[c.LAST_POS] = t, position
    return n


@part
def under(terms: I64, at: int, segment: int, register: int) -> int:
    """The register that a reading would show under an earlier ratio, rounded down at each change on the way back."""
    for back in range(terms[at, c.T_SEGMENT] - segment):
        row = terms[at - back]
        register = mul_div_floor(register, row[c.T_KDEN], row[c.T_KNUM])
    return register


@part
def remember(s: I64, t: int, position: int, place: int) -> None:
    """Put a good total into the ring, `place` from the newest."""
    for j in range(c.RING_SIZE - 1, place, -1):
        s[c.RING + 2 * j] = s[c.RING + 2 * j - 2]
        s[c.RING + 2 * j + 1] = s[c.RING + 2 * j - 1]
    s[c.RING + 2 * place], s[c.RING + 2 * place + 1] = t, position


@part
def forget(s: I64) -> None:
    """Empty the ring: positions before do not compare with registers after."""
    for j in range(c.RING_SIZE):
        s[c.RING + 2 * j] = -1


@part
def drop_candidate(at: int, terms: I64, s: I64, events: I64, k: int) -> int:
    """What was pending has proved transient. What comes late between its readings may judge them otherwise."""
    if s[c.PENDING] == c.NONE:
        return k
    s[c.PENDING] = c.NONE
    forget(s)
    k = note(events, k, terms[at, c.T_CHANNEL], s[c.CANDIDATE_T], c.TRANSIENT, s[c.CANDIDATE_R], s, 0)
    events[k - 1, c.E_UNTIL] = s[c.WITNESS_T]
    return k


@part
def note(events: I64, k: int, channel: int, t: int, kind: int, register: int, s: I64, delta: int) -> int:
    """Write an event with its evidence: the reading, and the last good total it follows; the events used."""
    events[k, c.E_CHANNEL], events[k, c.E_TIME], events[k, c.E_KIND] = channel, t, kind
    events[k, c.E_POSITION], events[k, c.E_LAST_T], events[k, c.E_LAST_POS] = (
        register,
        s[c.LAST_T],
        s[c.LAST_POS],
    )
    events[k, c.E_DELTA], events[k, c.E_NOTED], events[k, c.E_UNTIL] = delta, s[c.HEARD_T], t
    return k + 1


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
