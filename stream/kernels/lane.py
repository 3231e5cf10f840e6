"""The fast lane of `accumulate`: totals that simply rise within the running interval, nine in ten of them or more.

What it takes, `judge` and `accept` would take alike, one by one and with every question asked anew.
"""

import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from stream.kernels import columns as c
from stream.kernels import part
from stream.kernels.vee import plausible

I64 = NDArray[np.int64]
I8 = NDArray[np.int8]


@part
def ordinary(i: int, term: I64, kind: I8, t: I64, register: I64, terms: I64, state: I64) -> int:
    """Takes entries from i on into `state`, as long as they are ordinary and of one term; the first that is not.

    Within a quarter of an hour no two reads are too far apart to measure, so the coverage grows by the time between them.
    """
    at = term[i]
    row = terms[at, c.T_CHANNEL]
    if state[row, c.SEEN] == 0 or state[row, c.PENDING] != c.NONE or terms[at, c.T_SIGN] != 0:
        return i
    if terms[at, c.T_SEGMENT] != state[row, c.SEGMENT]:
        return i
    power, grain, offset = terms[at, c.T_POWER], terms[at, c.T_GRAIN], state[row, c.OFFSET]
    end, heard = state[row, c.OPEN_START] + QUARTER_MS, state[row, c.HEARD_T]
    begun, before, position = i, state[row, c.LAST_T], state[row, c.LAST_POS]
    while i < term.size and term[i] == at and kind[i] == c.READING and heard < t[i] < end:
        rise = register[i] + offset - position
        if rise < 0 or not plausible(rise, t[i] - before, power, grain):
            break
        heard = before = t[i]
        position += rise
        i += 1
    if i > begun:
        state[row, c.COVERAGE] += before - state[row, c.LAST_T]
        state[row, c.HEARD_T], state[row, c.HEARD_R], state[row, c.HELD] = heard, register[i - 1], 0
        state[row, c.LAST_T], state[row, c.LAST_POS] = before, position
        for j in range(max(begun, i - c.RING_SIZE), i):
            remembered(state, row, t[j], register[j] + offset)
    return i


@part
def remembered(state: I64, row: int, t: int, position: int) -> None:
    """`accumulate.remember` of the newest."""
    for at in range(c.STATE_COLUMNS - 1, c.RING + 1, -1):
        state[row, at] = state[row, at - 2]
    state[row, c.RING], state[row, c.RING + 1] = t, position
