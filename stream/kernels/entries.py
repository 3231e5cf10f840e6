"""What a meter counted, as an entry of the step: the register in base units under the ratio that holds at its time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.kernels import columns as c
from stream.kernels import inlined, kernel

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
TERM, T, REGISTER, KIND = range(4)
"""Columns of an entry: row of the table of terms, UTC ms, base units, kind."""
ENTRY_COLUMNS = 4
NOT_TOTALLED = -1
"""Instead of a term."""


@inlined
def entered(
    first: int, width: int, per_raw: float, t: int, raw: int, real: float, terms: I64, entries: I64, k: int,
) -> int:  # fmt: skip
    """A reading as row k of `entries`; the rows used. What no register can show is left out.

    register = floor(count × num / den), where the count is the integer that was read, or of a float rint(real × per_raw).
    Where count × num leaves 62 bits the entry is `UNSCALED` and holds the count. `first` is the first term of its metric,
    which is marked when it has no channel yet; width 0 stands for a float.
    """
    if terms[first, c.T_CHANNEL] == c.NOT_HEARD:
        terms[first, c.T_CHANNEL] = c.HEARD_FIRST
    count: Any = raw
    if width == 0:
        scaled = np.rint(real * per_raw)
        if not abs(scaled) < c.BEYOND:
            return k
        count = np.int64(scaled)
    at = first
    while (
        at + 1 < terms.shape[0]
        and terms[at + 1, c.T_SEGMENT] == terms[at, c.T_SEGMENT] + 1
        and t > terms[at + 1, c.T_SINCE]
    ):
        at += 1
    num, den, most = terms[at, c.T_NUM], terms[at, c.T_DEN], c.BEYOND // terms[at, c.T_NUM]
    kind = c.READING
    if -most < count < most:
        register = count * num
        if den != 1:
            register //= den
        if not -terms[at, c.T_LIMIT] < register < terms[at, c.T_LIMIT]:
            return k
    else:
        register, kind = count, c.UNSCALED
    entries[k, TERM], entries[k, T], entries[k, REGISTER], entries[k, KIND] = at, t, register, kind
    return k + 1


@kernel
def enter(
    which: I64, t: I64, raw: I64, real: F64, first: I64, width: I64, per_raw: F64, terms: I64, entries: I64
) -> int:  # fmt: skip
    """The readings that are totals, in their order, into `entries`; how many. By binding: `first`, `width`, `per_raw`."""
    k = 0
    for i in range(which.size):
        w = which[i]
        if first[w] >= 0:
            k = entered(first[w], width[w], per_raw[w], t[i], raw[i], real[i], terms, entries, k)
    return k
