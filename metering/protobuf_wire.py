"""The protobuf wire format, as far as Sparkplug B needs it: varints, fixed 32/64, length-delimited (protobuf encoding guide)."""

import struct
from collections.abc import Iterator
from functools import lru_cache

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_U64 = (1 << 64) - 1
_MAX_FIELD_NUMBER = (1 << 29) - 1


class DecodeError(ValueError):
    """The bytes are not what their sender says they are (the peer's fault; a retry does not help)."""


@lru_cache(maxsize=8192)
def varint(value: int) -> bytes:
    """An unsigned 64-bit value in 1 to 10 bytes. Remembered: aliases, times and slow totals come again and again."""
    if value < 0x80:  # noqa: PLR2004
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def uint_field(number: int, value: int) -> bytes:
    """A varint field."""
    return varint(number << 3) + varint(value & _U64)


def bytes_field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def float_field(number: int, value: float) -> bytes:
    """A 32-bit float field."""
    return varint(number << 3 | FIXED32) + struct.pack("<f", value)


def double_field(number: int, value: float) -> bytes:
    """A 64-bit float field."""
    return varint(number << 3 | FIXED64) + struct.pack("<d", value)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, where it ends) of the varint at a place; DecodeError when it is none."""
    if at + 1 < end:
        # One byte or two, which most are, without the loop.
        first, second = data[at], data[at + 1]
        if first < 0x80:  # noqa: PLR2004
            return first, at + 1
        if second < 0x80:  # noqa: PLR2004
            return first & 0x7F | second << 7, at + 2
    value = shift = 0
    while at < end and shift < 70:  # noqa: PLR2004  ten bytes at most
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return value & _U64, at
        shift += 7
    msg = "varint runs past its end" if at >= end else "varint longer than 10 bytes"
    raise DecodeError(msg)


def fields(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Walk a message: (field number, wire type, value or start of the bytes, end of the bytes).

    For varints the third item is the value; for the others third and fourth bound the bytes in `data`.
    """
    at, stop = start, len(data) if end is None else end
    while at < stop:
        key, at = read_varint(data, at, stop)
        number, wire = key >> 3, key & 7
        if not 0 < number <= _MAX_FIELD_NUMBER:
            msg = f"field number {number}"
            raise DecodeError(msg)
        if wire == VARINT:
            value, at = read_varint(data, at, stop)
            yield number, wire, value, at
            continue
        size, at = _size(wire, data, at, stop)
        yield number, wire, at, at + size
        at += size


def _size(wire: int, data: bytes, at: int, stop: int) -> tuple[int, int]:
    if wire == BYTES:
        size, at = read_varint(data, at, stop)
    elif wire == FIXED64:
        size = 8
    elif wire == FIXED32:
        size = 4
    else:
        msg = f"wire type {wire} is not used by Sparkplug"
        raise DecodeError(msg)
    if size > stop - at:
        msg = "a field is longer than its message"
        raise DecodeError(msg)
    return size, at
