"""Bytes of a pack for `recompute.py`, with the standard library alone: protobuf, Sparkplug B values, pruned Merkle trees."""

# ruff: noqa: PLR2004  Field numbers, wire types and data types of Sparkplug B, named in the comments beside.
import struct
from collections.abc import Iterator
from hashlib import sha256
from math import isfinite
from typing import Any

FLOATS = {9: "<f", 10: "<d"}
SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
UNSIGNED = {5: 8, 6: 16, 7: 32, 8: 64, 13: 64}
Field = tuple[int, int, int, int]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at


def fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    """(number, wire type, value or start, end) of every field of a protobuf message."""
    while at < end:
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
            yield key >> 3, wire, value, at
            continue
        size = {1: 8, 5: 4}.get(wire, 0)
        if wire == 2:
            size, at = varint(data, at)
        yield key >> 3, wire, at, at + size
        at += size


def metrics(payload: bytes) -> Iterator[dict[int, Field]]:
    """Sparkplug B: field 2 of a payload is a metric; of its fields the last of a number holds (field 0: the value)."""
    for number, wire, at, end in fields(payload, 0, len(payload)):
        if number == 2 and wire == 2:
            metric: dict[int, Field] = {}
            for field in fields(payload, at, end):
                metric[0 if field[0] >= 10 else field[0]] = field
            yield metric


def text(data: bytes, field: Field | None) -> str:
    return data[field[2] : field[3]].decode() if field else ""


def properties(data: bytes, field: Field | None) -> dict[str, Any]:
    """Field 9 of a metric: keys (1) and values (2) side by side; a value's type is its field 1."""
    keys: list[str] = []
    values: list[Any] = []
    for number, wire, at, end in fields(data, field[2], field[3]) if field else ():
        if number == 1 and wire == 2:
            keys.append(data[at:end].decode())
        elif number == 2 and wire == 2:
            parts = {part[0]: part for part in fields(data, at, end)}
            kind = parts[1][2] if 1 in parts else 0
            value = next((part for number, part in parts.items() if number >= 3), None)
            values.append(
                None
                if value is None
                else number_of(data, value, kind)
                if value[1] != 2
                else text(data, value)
            )
    return dict(zip(keys, values, strict=True))


def number_of(data: bytes, field: Field, kind: int) -> Any:
    """An integer or float as its Sparkplug data type says; None for everything else."""
    wire, at = field[1], field[2]
    if kind in FLOATS and wire in (1, 5):
        value = struct.unpack_from("<d" if wire == 1 else "<f", data, at)[0]
        return value if isfinite(value) else None
    if wire != 0 or field[0] not in (3, 4, 10, 11):
        return None
    if kind in UNSIGNED:
        return at if not at >> min(UNSIGNED[kind], 63) else None
    if kind not in SIGNED:
        return None
    bits = SIGNED[kind]
    for width in (64 if bits == 64 or at >> 32 else 32, bits):
        low = at - (1 << width) if at >> width - 1 else at
        if at >> width == 0 and -(1 << bits - 1) <= low < 1 << bits - 1:
            return low
    return None


def sha(*parts: bytes) -> bytes:
    return sha256(b"".join(parts)).digest()


class Journal:
    """The segments of journal/records.bin: number and count (uint64, uint32), then a pruned tree (0 hash, 1 record, 2 node)."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.records: list[bytes] = []

    def take(self, size: int) -> bytes:
        data: bytes = self.file.read(size)
        if len(data) != size:
            raise ValueError("journal/records.bin ends too early")
        return data

    def segments(self) -> Iterator[tuple[int, bytes]]:
        """(segment, root); `records` holds its records."""
        while True:
            head = self.file.read(12)
            if not head:
                return
            segment, count = struct.unpack(">QI", head)
            self.records = []
            yield segment, self.tree(0, count)

    def tree(self, low: int, high: int) -> bytes:
        """RFC 6962: leaf = SHA-256(00 record), node = SHA-256(01 left right), the larger power of two on the left."""
        tag = self.take(1)[0]
        if tag == 0:
            return self.take(32)
        if tag == 1:
            record = self.take(struct.unpack(">I", self.take(4))[0])
            self.records.append(record)
            return sha(b"\0", record)
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        left = self.tree(low, middle)
        return sha(b"\1", left, self.tree(middle, high))
