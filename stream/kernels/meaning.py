"""What decoded metrics mean: the binding of each alias, the number that its data type makes of the wire value."""

import numpy as np
from numpy.typing import NDArray

from stream.kernels import decode as d
from stream.kernels import kernel

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
FLOAT32_EXPONENT, FLOAT64_EXPONENT = 0xFF, 0x7FF
"""All ones: no finite number (IEEE 754)."""


@kernel
def find_bindings(columns: I64, gateway: I64, first: I64, alias: I64, which: I64) -> None:
    """which[i] = place in `alias` of row i's alias, -1 where its gateway has none of it.

    Frame f came from gateway[f]; gateway g's aliases are `alias[first[g]:first[g + 1]]`, ascending. Metrics mostly come
    in the order of their aliases, so the place after the last one found is tried before the search by halves.
    """
    found = -1
    for i in range(len(columns)):
        g, wanted = gateway[columns[i, d.FRAME]], columns[i, d.ALIAS]
        low, high = first[g], first[g + 1]
        found += 1
        if not (low <= found < high and alias[found] == wanted):
            end = high
            while low < high:
                middle = (low + high) // 2
                if alias[middle] < wanted:
                    low = middle + 1
                else:
                    high = middle
            found = low
            if low == end or alias[low] != wanted:
                which[i] = -1
                continue
        which[i] = found


@kernel
def signed(bits: int, width: int) -> int:
    """The signed number that a wire value stands for; some encoders fill 32 bits only, some the type's own width."""
    if width == 64:
        return bits
    value = bits
    if bits >> 32 == 0 and bits >= 1 << 31:
        value = bits - (1 << 32)
    if width < 32 and bits >> width == 0 and bits >= 1 << (width - 1):
        value = bits - (1 << width)
    return value


@kernel
def type_values(kind: I64, bits: I64, width: I64, raw: I64, real: F64, valid: NDArray[np.bool_]) -> None:
    """Wire value i as its data type has it: raw[i] (0 for floats), real[i] (the integer as a float otherwise), valid[i].

    width[i] is 0 for floats, the bits of an unsigned type, minus the bits of a signed one, 65 for what is no number.
    Not valid: a value that its type cannot hold, a float that is not finite, an integer that int64 cannot hold.
    """
    for i in range(kind.size):
        w, b = width[i], bits[i]
        raw[i], real[i], valid[i] = 0, 0.0, False
        if w == 0 and kind[i] == d.REAL32 and (b >> 23) & FLOAT32_EXPONENT != FLOAT32_EXPONENT:
            real[i], valid[i] = np.uint32(b).view(np.float32), True
        elif w == 0 and kind[i] == d.REAL64 and (b >> 52) & FLOAT64_EXPONENT != FLOAT64_EXPONENT:
            real[i], valid[i] = np.int64(b).view(np.float64), True
        elif w < 0 and kind[i] == d.INTEGER:
            raw[i] = signed(b, -w)
            real[i], valid[i] = raw[i], -1 <= raw[i] >> (-w - 1) <= 0
        elif 0 < w < 65 and kind[i] == d.INTEGER:
            raw[i], real[i], valid[i] = b, b, b >= 0 and b >> min(w, 63) == 0


@kernel
def newest(which: I64, t: I64, last: I64) -> None:
    """last[w] = the reading of binding w with the latest time, of equal times the one that came last; -1 for none."""
    last[:] = -1
    for i in range(which.size):
        known = last[which[i]]
        if known < 0 or t[i] >= t[known]:
            last[which[i]] = i
