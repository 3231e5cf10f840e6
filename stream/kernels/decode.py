"""Sparkplug payloads to columns, without protobuf objects. The plain twin is `metering.sparkplug.decode`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.kernels import inlined, kernel, part

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

NULL, INTEGER, REAL32, REAL64, TRUTH, OTHER = 0, 1, 2, 3, 4, 5
"""Kinds of a value, by the field it came in."""
OK, MALFORMED, PLAIN = 0, 1, 2
"""What became of a frame: columns, refused, or left to the plain codec, because a metric has no alias or carries text."""
FRAME, ALIAS, TIME, KIND, BITS = 0, 1, 2, 3, 4
"""Columns of a decoded metric: frame's position in the batch, alias, UTC ms, kind, value bits."""
COLUMNS = 5
NO_TIME, BEYOND = -1, -2
"""Instead of a time: none given, or one that int64 does not hold."""
ALIAS_KEY, TIME_KEY, TYPE_KEY = 0x10, 0x18, 0x20
METRIC_KEY = 0x12
INT_KEY, LONG_KEY, REAL32_KEY, REAL64_KEY = 0x50, 0x58, 0x65, 0x69
"""Field number × 8 + wire type of the fields that a data message has, each one byte."""
TIME_BYTES, NOTHING_SAID = 0x00FFFFFFFFFFFFFF, -1
"""Of eight bytes from `TIME_KEY` on, those of the key and of a time in our days; instead of them, for none."""
PADDING = 16
"""Bytes after the last payload: a metric is read eight bytes at a time, and checked against its end afterwards."""
MAX_FIELD_NUMBER = (1 << 29) - 1
"""Protobuf encoding guide; a larger one is no field."""


@part
def read_varint(buf: U8, at: int, end: int) -> tuple[int, int]:
    """(value as int64 bits, place after it); place -1 when it runs past `end` or is longer than 10 bytes."""
    if at < end and buf[at] < 0x80:
        small: Any = np.int64(buf[at])
        return small, at + 1
    value: Any = np.int64(0)
    for i in range(10):
        if at + i >= end:
            return 0, -1
        byte = np.int64(buf[at + i])
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    return 0, -1


@part
def short_varint(buf: U8, at: int, end: int) -> tuple[int, int]:
    """(value, place after it) of a varint of at most nine bytes, which is never negative; else place -1."""
    value: Any = np.int64(0)
    shift = 0
    while at < end and shift < 63:
        byte = np.int64(buf[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, -1


@part
def field_end(buf: U8, wire: int, at: int, end: int) -> tuple[int, int]:
    """(start, end) of a field that is not a varint; end -1 when it leaves its message or the wire type is unknown."""
    size = -1
    if wire == 2:
        size, at = read_varint(buf, at, end)
        if at < 0:
            return 0, -1
    elif wire == 1:
        size = 8
    elif wire == 5:
        size = 4
    if size < 0 or size > end - at:
        return 0, -1
    return at, at + size


@part
def little_endian(buf: U8, at: int, size: int) -> int:
    """The bits of a fixed-width field."""
    value: Any = np.int64(0)
    for i in range(size):
        value |= np.int64(buf[at + i]) << (8 * i)
    bits: int = value
    return bits


@inlined
def word(buf: U8, at: int) -> int:
    """Eight bytes from `at` on, all of them in the buffer. An unsigned place: the compiler makes one load of it."""
    value: Any = np.int64(0)
    start: Any = np.uint64(at)
    for i in range(8):
        value |= np.int64(buf[start + np.uint64(i)]) << (8 * i)
    bits: int = value
    return bits


@inlined
def common_metric(
    buf: U8, at: int, end: int, out: I64, n: int, said: int, t: int
) -> tuple[bool, int, int]:  # fmt: skip
    """One metric into row `n`, if it is just alias, time, maybe data type, and a number, as gateways send them; else False.

    `said` are the bytes of the time of the metric before, with its key, and `t` what they mean: most metrics of a frame have
    the same. The two to go on with are returned. What it takes, `decode_metric` would take alike: it only looks for no other
    field. Most of the decoder's time is saved.
    """
    part = word(buf, at)
    if part & 0xFF != ALIAS_KEY:
        return False, said, t
    if part & 0x8000 == 0:
        alias, at = part >> 8 & 0x7F, at + 2
    elif part & 0x800000 == 0:
        alias, at = part >> 8 & 0x7F | part >> 9 & 0x3F80, at + 3
    else:
        alias, at = short_varint(buf, at + 1, end)
    if at < 0 or at >= end:
        return False, said, t
    part = word(buf, at)
    if part & TIME_BYTES == said:
        at += 7
    elif part & 0x00808080808080FF == 0x0000808080808000 | TIME_KEY:  # six bytes: 2004 to 2109
        said, at = part & TIME_BYTES, at + 7
        t = part >> 8 & 0x7F | part >> 9 & 0x3F80 | part >> 10 & 0x1FC000
        t = t | part >> 11 & 0xFE00000 | part >> 12 & 0x7F0000000 | part >> 13 & 0x3F800000000
    elif part & 0xFF == TIME_KEY:
        said = NOTHING_SAID
        t, at = short_varint(buf, at + 1, end)
    else:
        return False, said, t
    if at < 0 or at >= end:
        return False, said, t
    part = word(buf, at)
    if part & 0x80FF == TYPE_KEY:
        at, part = at + 2, word(buf, at + 2)
    elif part & 0xFF == TYPE_KEY:
        _datatype, at = short_varint(buf, at + 1, end)
        if at < 0 or at >= end:
            return False, said, t
        part = word(buf, at)
    return common_value(buf, at, end, part, alias, t, out, n), said, t


@inlined
def common_value(buf: U8, at: int, end: int, part: int, alias: int, t: int, out: I64, n: int) -> bool:
    """The number that ends a common metric; `part` are the eight bytes from its key on."""
    key = part & 0xFF
    out[n, ALIAS], out[n, TIME] = alias, t
    if key == REAL32_KEY:
        out[n, KIND], out[n, BITS] = REAL32, part >> 8 & 0xFFFFFFFF
        return end == at + 5
    if key in (INT_KEY, LONG_KEY):
        bits, at = short_varint(buf, at + 1, end)
        out[n, KIND], out[n, BITS] = INTEGER, bits
        return at == end
    if key == REAL64_KEY and end == at + 9:
        out[n, KIND], out[n, BITS] = REAL64, word(buf, at + 1)
        return True
    return False


@part
def decode_metric(buf: U8, at: int, end: int, out: I64, n: int) -> int:
    """One metric into row `n` (alias, time, kind, bits); OK, MALFORMED or PLAIN.

    A known field of another wire type is skipped like an unknown one, and of a value given twice the last holds,
    as the protobuf encoding guide has it.
    """
    out[n, ALIAS], out[n, TIME], out[n, KIND], out[n, BITS] = -1, NO_TIME, NULL, 0
    null = text = False
    while at < end:
        key, at = read_varint(buf, at, end)
        if at < 0:
            return MALFORMED
        number, wire = key >> 3, key & 7
        if number <= 0 or number > MAX_FIELD_NUMBER:
            return MALFORMED
        if wire == 0:
            value, at = read_varint(buf, at, end)
            if at < 0:
                return MALFORMED
            if number == 2:
                out[n, ALIAS] = value
            elif number == 3:
                out[n, TIME] = value if value >= 0 else BEYOND
            elif number == 7:
                null = value != 0
            elif 10 <= number <= 11:
                out[n, KIND], out[n, BITS] = INTEGER, value
            elif number == 14:
                out[n, KIND], out[n, BITS] = TRUTH, value
            continue
        start, at = field_end(buf, wire, at, end)
        if at < 0:
            return MALFORMED
        if number == 12 and wire == 5:
            out[n, KIND], out[n, BITS] = REAL32, little_endian(buf, start, 4)
        elif number == 13 and wire == 1:
            out[n, KIND], out[n, BITS] = REAL64, little_endian(buf, start, 8)
        elif wire == 2 and 16 <= number <= 19:
            out[n, KIND] = OTHER
        elif wire == 2 and number in (1, 9, 15):
            text = True
    if null:
        out[n, KIND] = NULL
    return PLAIN if text or out[n, ALIAS] < 0 else OK


@inlined
def decode_frame(buf: U8, at: int, end: int, frame: int, out: I64, n: int) -> tuple[int, int]:
    """All metrics of one payload into `out` from row `n` on; (rows now used, status). A bad frame leaves no rows."""
    first, frame_time, status = n, NO_TIME, OK
    said, t = NOTHING_SAID, NO_TIME
    while at < end:
        head = word(buf, at)
        if head & 0x80FF == METRIC_KEY:
            start = at + 2
            at = start + (head >> 8 & 0x7F)
            if at <= end:
                common, said, t = common_metric(buf, start, at, out, n, said, t)
                if common:
                    out[n, FRAME] = frame
                    n += 1
                    continue
            at = start - 2
        key, at = read_varint(buf, at, end)
        number, wire = key >> 3, key & 7
        if at < 0 or number <= 0 or number > MAX_FIELD_NUMBER:
            return first, MALFORMED
        if wire == 0:
            value, at = read_varint(buf, at, end)
            if at < 0:
                return first, MALFORMED
            if number == 1:
                frame_time = value if value >= 0 else BEYOND
            continue
        start, at = field_end(buf, wire, at, end)
        if at < 0:
            return first, MALFORMED
        if number == 2 and wire == 2:
            found = decode_metric(buf, start, at, out, n)
            if found == MALFORMED:
                return first, MALFORMED
            status = max(status, found)
            out[n, FRAME] = frame
            n += 1
    for i in range(first, n):
        if out[i, TIME] == NO_TIME:
            out[i, TIME] = frame_time
    return (n, OK) if status == OK else (first, status)


@kernel
def decode_frames(buf: U8, begin: I64, end: I64, out: I64, status: I64) -> int:
    """Payload i is `buf[begin[i]:end[i]]`, `PADDING` bytes follow the last. Fills `out` and `status`; the rows used.

    A metric takes at least two bytes, so `out` needs no more than half as many rows as `buf` has bytes.
    """
    n = 0
    for i in range(begin.size):
        n, status[i] = decode_frame(buf, begin[i], end[i], i, out, n)
    return n
