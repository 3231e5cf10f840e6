"""What decoded metrics mean: the binding of each alias, the number that its data type makes of the wire value."""

import numpy as np
from numpy.typing import NDArray

from stream.kernels import decode as d
from stream.kernels import inlined, kernel

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
B = NDArray[np.bool_]
FLOAT32_EXPONENT, FLOAT64_EXPONENT = 0xFF, 0x7FF
"""All ones: no finite number (IEEE 754)."""


NO_NUMBER = 65
"""Width of what is no number. Else: 0 for floats, the bits of an unsigned type, minus the bits of a signed one."""


@inlined
def find(alias: I64, first: int, end: int, wanted: int, found: int) -> int:
    """Place of an alias among `alias[first:end]`, which ascend; -1 where it is not there.

    Metrics mostly come in the order of their aliases, so the place after the one found last is tried first.
    """
    found += 1
    if first <= found < end and alias[found] == wanted:
        return found
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if alias[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and alias[low] == wanted else -1


@inlined
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
def typed(kind: int, bits: int, width: int) -> tuple[bool, int, float]:
    """A wire value as its data type has it: whether it is valid, the integer (0 for floats), the float (or the integer as one).

    Not valid: a value that its type cannot hold, a float that is not finite, an integer that int64 cannot hold.
    """
    if width == 0:
        if kind == d.REAL32 and (bits >> 23) & FLOAT32_EXPONENT != FLOAT32_EXPONENT:
            return True, 0, np.float64(np.uint32(bits).view(np.float32))
        if kind == d.REAL64 and (bits >> 52) & FLOAT64_EXPONENT != FLOAT64_EXPONENT:
            return True, 0, np.int64(bits).view(np.float64)
        return False, 0, 0.0
    if kind != d.INTEGER or width == NO_NUMBER:
        return False, 0, 0.0
    value = signed(bits, -width) if width < 0 else bits
    fits = -1 <= value >> (-width - 1) <= 0 if width < 0 else value >= 0 and value >> min(width, 63) == 0
    return fits, value, np.float64(value)


@kernel
def understand(
    rows: I64, n: int, tables: tuple[I64, I64, B], first: int, end: int, which: I64, t: I64, raw: I64, real: F64,
    frame: I64, counted: I64, m: int, k: int,
) -> tuple[int, int]:  # fmt: skip
    """The first `n` decoded metrics of a frame into readings from place `m` on; how many readings there are now, and `counted`.

    tables = (alias, width, counts) of all bindings, the frame's gateway's from `first` to `end`; the places of readings whose
    binding counts go into `counted` from `k` on. A metric without binding, time or valid value is left aside.
    """
    alias, width, counts = tables
    found = -1
    for i in range(n):
        found = find(alias, first, end, rows[i, d.ALIAS], found)
        if found < 0 or rows[i, d.TIME] < 0:
            continue
        valid, raw[m], real[m] = typed(rows[i, d.KIND], rows[i, d.BITS], width[found])
        if not valid:
            continue
        if counts[found]:
            counted[k] = m
            k += 1
        which[m], t[m], frame[m] = found, rows[i, d.TIME], rows[i, d.FRAME]
        m += 1
    return m, k


@kernel
def read_frames(
    buf: U8, begin: I64, end: I64, gateway: I64, first: I64, tables: tuple[I64, I64, B], rows: I64, status: I64,
    which: I64, t: I64, raw: I64, real: F64, frame: I64, counted: I64,
) -> tuple[int, int]:  # fmt: skip
    """Payload i is `buf[begin[i]:end[i]]`, of gateway[i], whose bindings stand in `tables` from first[gateway[i]] on.

    Fills `status` and the readings (`understand`); how many there are, and how many count. `rows` holds one payload's metrics.
    """
    m = k = 0
    for i in range(begin.size):
        n, status[i] = d.decode_frame(buf, begin[i], end[i], i, rows, 0)
        g = gateway[i]
        m, k = understand(rows, n, tables, first[g], first[g + 1], which, t, raw, real, frame, counted, m, k)
    return m, k


@kernel
def newest(which: I64, t: I64, last: I64) -> None:
    """last[w] = the reading of binding w with the latest time, of equal times the one that came last; -1 for none."""
    last[:] = -1
    for i in range(which.size):
        known = last[which[i]]
        if known < 0 or t[i] >= t[known]:
            last[which[i]] = i
