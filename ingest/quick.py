"""Admission the short way: the data message of a gateway of ours, checked in one pass over its bytes.

It says the same as `read_payload` and `admit`, or nothing: None sends the message the long way. So it never refuses, and what
it does not know (names, text, flags it does not expect, numbers written longer than needed) it leaves alone.
"""

import math
import re
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ingest.admission import Admitted, Declarations, Declared, numbered, untimely
from ingest.layout import (
    DOUBLE_BYTES,
    DOUBLE_KEY,
    FIXED,
    INTEGER,
    INTEGER_KEY,
    SENT,
    TAIL,
    TIME,
    Layout,
    head,
    moment,
)
from metering import frames
from metering.mqtt import MESSAGE_BYTES
from metering.protobuf_wire import DecodeError, read_varint, varint
from metering.sparkplug import FLOATS, SIGNED_BITS, UNSIGNED_BITS, DataType, Value, said_digest, typed_value

_ALIAS: Final = rb"[\x00-\x7f]|[\x80-\xff]{1,3}[\x01-\x7f]"
_METRIC: Final = (
    rb"\x12(.)\x10(" + _ALIAS + rb")\x18(" + TIME + rb")"
    rb"(?:[\x50\x58](" + INTEGER + rb")|\x69(.{8})|\x65(.{4}))(\x28\x01)?"
)
"""As our gateways write one: length, alias, time, value (int, long, double, float), flag `is_historical`.

Every field tells its own end, so there is one way at most to read a message so.
"""
_METRICS: Final = re.compile(_METRIC, re.DOTALL)
_WHOLE: Final = re.compile(rb"(?:\x08" + TIME + rb")?(?:" + _METRIC + rb")++" + TAIL, re.DOTALL)
_DOUBLE: Final = struct.Struct("<d")
_SINGLE: Final = struct.Struct("<f")
_NO_INTEGER: Final = -1
_UNKNOWN: Final = -2
_LAYOUTS: Final = 8
"""Lengths of messages that are remembered of a meter (ours)."""
_LARGEST: Final = 256
"""Metrics of a message whose layout is remembered (ours): it takes some 20 KB."""
_LONGEST: Final = 10
_NAMED: Final = frozenset({frames.FRAME_EPOCH, frames.FRAME_NUMBER})
_SPECIAL: Final = frozenset({frames.LOST_FROM, frames.FRAME_THINNED, frames.TIME_REQUEST, frames.SERIAL})
"""What is rare takes the long way."""


class Rules:
    """What a birth allows, by the bytes of an alias."""

    def __init__(self, declared: Declarations) -> None:
        self.free: dict[bytes, int] = {}
        """Alias → an integer of so many bytes fits its type whatever it is; `_NO_INTEGER`: a float."""
        self.types: dict[bytes, int] = {}
        self.names: dict[bytes, str] = {}
        """Aliases of epoch and number."""
        self.layouts: dict[int, Layout] = {}
        """By the length of a message."""
        for alias, one in declared.by_alias.items():
            self._learn(alias, one)

    def doubtful(self, found: Iterable[tuple[bytes, ...]]) -> list[tuple[int, int]]:
        """Place and data type of the integers that are too long to fit whatever they are."""
        return [
            (place, self.types[alias])
            for place, (_, alias, _, integer, *_) in enumerate(found)
            if len(integer) > max(self.free[alias], 0)
        ]

    def _learn(self, alias: int, one: Declared) -> None:
        bits = UNSIGNED_BITS.get(one.datatype) or SIGNED_BITS.get(one.datatype)
        if bits is None and one.datatype not in FLOATS:
            return
        if one.name in _SPECIAL or (one.name in _NAMED and one.datatype != DataType.UINT64):
            return
        written = varint(alias)
        self.types[written] = one.datatype
        signed = one.datatype in SIGNED_BITS
        # 64 bits take every long; of the smaller ones those are free whose top bit cannot be set.
        self.free[written] = _NO_INTEGER if bits is None else _LONGEST if bits == 64 else (bits - signed) // 7  # noqa: PLR2004
        if one.name in _NAMED:
            self.names[written] = one.name


def quick(data: bytes, rules: Rules, now_ms: int) -> Admitted | None:
    """As `read_payload` and `admit` of a data message would admit it; None when they have to look."""
    layout = rules.layouts.get(len(data))
    known = layout.read(data) if layout is not None else None
    if known is None:
        return _by_pattern(data, rules, now_ms)
    if untimely(known.times, now_ms) is not None or not all(_fits(*one) for one in known.doubtful):
        return None
    return _admitted(
        known.said, known.times, {name: _value(integer) for name, integer in known.named.items()}
    )


def _by_pattern(data: bytes, rules: Rules, now_ms: int) -> Admitted | None:
    """Metric by metric. The next message that lies alike goes by its layout."""
    rules.layouts.pop(len(data), None)
    if len(data) > MESSAGE_BYTES or _WHOLE.fullmatch(data) is None:
        return None
    found = _METRICS.findall(data, 7 if data[0] == SENT else 0)
    values: dict[str, Value] = {}
    said = _said(found, rules, values)
    times = [moment(time) for time in {row[2] for row in found}]
    if not said or untimely(times, now_ms) is not None:
        return None
    if len(found) <= _LARGEST:
        if len(rules.layouts) >= _LAYOUTS:
            rules.layouts.clear()
        rules.layouts[len(data)] = Layout(data, found, rules.names, rules.doubtful(found))
    return _admitted(b"".join(said), times, values)


def _admitted(said: bytes, times: list[int], values: dict[str, Value]) -> Admitted | None:
    admitted = numbered(values, max(times), said_digest(said), "")
    return admitted if isinstance(admitted, Admitted) else None


def _said(found: Iterable[tuple[bytes, ...]], rules: Rules, values: dict[str, Value]) -> list[bytes]:
    """The metrics as `body_digest` takes them, in pieces; nothing when one is not as declared. Epoch and number go to `values`."""
    pieces: list[bytes] = []
    add, free, names = pieces.extend, rules.free, rules.names
    for size, alias, time, integer, double, single, flag in found:
        most = free.get(alias, _UNKNOWN)
        if integer:
            if len(integer) > most and not _fits(integer, rules.types.get(alias, 0)):
                return []
            if alias in names:
                values[names[alias]] = _value(integer)
            written = FIXED + len(alias) + len(integer)
            add((head(alias, len(integer)), time, INTEGER_KEY, integer))
        else:
            whole = _finite(double) if double else _widened(single)
            if most != _NO_INTEGER or not whole:
                return []
            written = FIXED + len(alias) + len(double or single)
            add((head(alias, DOUBLE_BYTES), time, DOUBLE_KEY, whole))
        if size[0] != written + len(flag):
            return []
    return pieces


@lru_cache(maxsize=4096)
def _value(integer: bytes) -> int:
    return read_varint(integer, 0, len(integer))[0]


def _fits(integer: bytes, datatype: int) -> bool:
    """Whether an integer is one of that type, as the long way judges it."""
    try:
        return isinstance(typed_value(_value(integer), datatype), int)
    except DecodeError:
        return False


def _widened(single: bytes) -> bytes:
    """The double of the same value; none when it is no number."""
    return _finite(_DOUBLE.pack(*_SINGLE.unpack(single)))


def _finite(double: bytes) -> bytes:
    """The same eight bytes; none when they are no number."""
    return double if math.isfinite(_DOUBLE.unpack(double)[0]) else b""
