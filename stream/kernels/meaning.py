"""What decoded metrics mean: the binding of each alias, the number that its data type makes of the wire value; and who hears it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.kernels import decode as d
from stream.kernels import inlined, kernel
from stream.kernels.entries import entered
from stream.kernels.still import observe

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
ALIAS, WIDTH, GAUGE, REGISTER, FIRST = range(5)
"""Columns of a binding: alias, how a value is read (`NO_NUMBER`), whether it is a gauge, row of its register in
`stream.kernels.still` and first of its terms, each -1 for none."""
T, REAL, RECEIVED = range(3)
"""Columns of a binding's newest reading: UTC ms (-1: none), the bits of its value, when its frame came."""
NEWEST_COLUMNS = 3
Bound = tuple[I64, int, int, int, F64]
Columns = tuple[I64, I64, I64, F64, I64]
Places = tuple[I64, I64, I64, I64]
Memory = tuple[I64, I64, I64, I64]
Entries = tuple[I64, I64]
FLOAT32_EXPONENT, FLOAT64_EXPONENT = 0xFF, 0x7FF
"""All ones: no finite number (IEEE 754)."""


NO_NUMBER = 65
"""Width of what is no number. Else: 0 for floats, the bits of an unsigned type, minus the bits of a signed one."""


@inlined
def find(bindings: I64, first: int, end: int, wanted: int, found: int) -> int:
    """Place of an alias among those of `bindings[first:end]`, which ascend; -1 where it is not there.

    Metrics mostly come in the order of their aliases, so the place after the one found last is tried first.
    """
    found += 1
    if first <= found < end and bindings[found, ALIAS] == wanted:
        return found
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if bindings[middle, ALIAS] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and bindings[low, ALIAS] == wanted else -1


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


@inlined
def float_bits(value: float) -> int:
    """The 64 bits of a float."""
    number: Any = np.float64(value)
    bits: int = number.view(np.int64)
    return bits


@inlined
def understand(
    rows: I64, n: int, frame: int, received_ms: int, bound: Bound, columns: Columns, m: int, memory: Memory, entries: Entries,
    k: int,
) -> tuple[int, int]:  # fmt: skip
    """The first `n` decoded metrics of a frame, whatever the caller asks for; how many readings and entries there are now.

    bound = (bindings, first, end, guess, per_raw): the frame's gateway has the bindings from `first` to `end`, its first metric
    probably has that of `guess`. Readings go into `columns`
    (which, t, raw, real, frame) from place m on, unless those are empty; into memory = (newest, registers, meters, again), where
    their binding has a row, and the totals among them into entries = (entries, terms) from k on.
    A metric without binding, time or valid value is left aside.
    """
    bindings, first, end, guess, per_raw = bound
    newest, registers, meters, again = memory
    found = guess - 1
    for i in range(n):
        t = rows[i, d.TIME]
        found = find(bindings, first, end, rows[i, d.ALIAS], found)
        if found < 0 or t < 0:
            continue
        valid, raw, real = typed(rows[i, d.KIND], rows[i, d.BITS], bindings[found, WIDTH])
        if not valid:
            continue
        if columns[0].size:
            columns[0][m], columns[1][m], columns[2][m] = found, t, raw
            columns[3][m], columns[4][m] = real, frame
            m += 1
        shown = float_bits(real)
        if newest.size and t >= newest[found, T]:
            newest[found, T], newest[found, REAL], newest[found, RECEIVED] = t, shown, received_ms
        at = bindings[found, REGISTER]
        if at >= 0:
            repeats = bindings[found, GAUGE] != 0 and shown << 1 != 0  # zero has two signs
            bits = shown if bindings[found, WIDTH] == 0 else raw
            observe(at, t, bits, repeats, registers, meters, again)
        if bindings[found, FIRST] >= 0:
            k = entered(
                bindings[found, FIRST], bindings[found, WIDTH], per_raw[found], t, raw, real, entries[1], entries[0], k
            )  # fmt: skip
    return m, k


@kernel
def read_frames(
    buf: U8, places: Places, at: int, rows: I64, given: int, topics: tuple[I64, I64], bindings: I64, first: I64, per_raw: F64,
    columns: Columns, m: int, memory: Memory, entries: Entries, k: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Payloads from number `at` on, as `understand` takes them; (the payload where it stopped, readings, entries).

    places = (begin, end, received, code): payload i is `buf[begin[i]:end[i]]`. topics = (gateway, guess) by code: that gateway's
    bindings stand from first[gateway] on, and the topic's last payload began with the one in `guess`. It stops before a payload
    that the plain codec has to read, or after the last. `rows` has room for one payload's metrics; of the first payload it has
    those already, if `given` is their number and not -1.
    """
    begin, end, received_ms, code = places
    gateway, guess = topics
    for i in range(at, begin.size):
        n, status = given, d.OK
        if given < 0:
            n, status = d.decode_frame(buf, begin[i], end[i], i, rows, 0)
        if status == d.PLAIN:
            return i, m, k
        given, of = -1, code[i]
        low, high = first[gateway[of]], first[gateway[of] + 1]
        if n:
            guess[of] = max(find(bindings, low, high, rows[0, d.ALIAS], guess[of] - 1), 0)
        bound = (bindings, low, high, guess[of], per_raw)
        m, k = understand(rows, n, i, received_ms[i], bound, columns, m, memory, entries, k)
    return begin.size, m, k
