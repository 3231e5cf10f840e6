"""A plain Sparkplug B codec (Eclipse Sparkplug 3.0, chapter 6): payload bytes ↔ values.

Slow, obvious, and independent of `stream/`.
The compiled decoder of `stream/` is tested against this one; verification recomputes with this one.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final

import msgspec

from metering import protobuf_wire as wire
from metering.protobuf_wire import DecodeError

Value = int | float | bool | str | bytes | None
Property = int | float | bool | str


class DataType(IntEnum):
    """Sparkplug data types that gateways use (6.4.16); arrays, data sets and templates are skipped."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    BYTES = 17


DATATYPE_BY_NAME: Final = {
    "Int8": DataType.INT8, "Int16": DataType.INT16, "Int32": DataType.INT32, "Int64": DataType.INT64,
    "UInt8": DataType.UINT8, "UInt16": DataType.UINT16, "UInt32": DataType.UINT32, "UInt64": DataType.UINT64,
    "Float": DataType.FLOAT, "Double": DataType.DOUBLE,
}  # fmt: skip
SIGNED_BITS: Final[dict[int, int]] = {
    DataType.INT8: 8,
    DataType.INT16: 16,
    DataType.INT32: 32,
    DataType.INT64: 64,
}
UNSIGNED_BITS: Final[dict[int, int]] = {
    DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64, DataType.DATETIME: 64,
}  # fmt: skip
FLOATS: Final = frozenset({DataType.FLOAT, DataType.DOUBLE})
TEXTS: Final = frozenset({DataType.STRING, DataType.TEXT, DataType.UUID})
_KNOWN: Final = frozenset(DataType)
_BITS_32: Final = 32
_METRIC_VALUE: Final = 10
_PROPERTY_VALUE: Final = 3
"""Field number of the first member of the value's one-of."""
_BOOLEAN, _STRING, _BYTES = 4, 5, 6
_VALUE_WIRES: Final = {
    0: wire.VARINT, 1: wire.VARINT, 2: wire.FIXED32, 3: wire.FIXED64, _BOOLEAN: wire.VARINT,
    _STRING: wire.BYTES, _BYTES: wire.BYTES, 7: wire.BYTES, 8: wire.BYTES, 9: wire.BYTES,
}  # fmt: skip
"""Place in the one-of → wire type: int, long, float, double, boolean, string, bytes, and three that are not read.

As the protobuf encoding guide has it, a known field of another wire type is skipped like an unknown one,
and of a field or one-of given several times the last holds.
"""


_PLAIN_VARINTS: Final = frozenset({0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x50, 0x58})
"""Keys of alias, time, data type, the three flags, and of integer values (int_value, long_value)."""
_INTEGER_KEYS: Final = frozenset({0x50, 0x58})
_TIME_KEY: Final = 0x18
_MOST_TIMES: Final = 4096
_FLOAT_KEY: Final = 0x65
_DOUBLE_KEY: Final = 0x69
_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_U64: Final = (1 << 64) - 1
_METRIC_KEY: Final = 0x12
"""Field 2 of a payload, length-delimited."""
_SHORT: Final = 0x7E
"""Lengths below still take one byte when two bytes more come to them."""
_HISTORICAL: Final = b"\x28\x01"
_HEADS_OF_MARKED: Final = [bytes((_METRIC_KEY, size + len(_HISTORICAL))) for size in range(_SHORT)]


class Metric(msgspec.Struct, frozen=True, gc=False):
    """One metric as received. `value` is as it stood on the wire: integers are unsigned until `typed_value` reads them."""

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    datatype: int | None = None
    is_historical: bool = False
    is_null: bool = False
    value: Value = None
    properties: Mapping[str, Property] | None = None


class Payload(msgspec.Struct, frozen=True, gc=False):
    """One Sparkplug payload; `seq` runs 0 to 255 over the messages of an edge node."""

    metrics: tuple[Metric, ...]
    timestamp: int | None = None
    seq: int | None = None


def encode(payload: Payload) -> bytes:
    """Payload bytes, fields in the order of the schema."""
    head = b"" if payload.timestamp is None else wire.uint_field(1, payload.timestamp)
    tail = b"" if payload.seq is None else wire.uint_field(3, payload.seq)
    return head + encode_metrics(payload.metrics) + tail


def encode_metrics(metrics: Iterable[Metric], *, with_datatype: bool = True) -> bytes:
    """Only the metrics; protobuf lets the payload's other fields be added before or after.

    Data messages leave the data type to the birth (tck-id-payloads-metric-datatype-not-req): `with_datatype=False`.
    """
    return b"".join(wire.bytes_field(2, _encode_metric(metric, with_datatype)) for metric in metrics)


def _encode_metric(metric: Metric, with_datatype: bool) -> bytes:
    if metric.name is None and not with_datatype and not (metric.is_historical or metric.properties):
        plain = _plain(metric)
        if plain:
            return plain
    out = b"" if metric.name is None else wire.bytes_field(1, metric.name.encode())
    datatype = metric.datatype if with_datatype else None
    for number, item in ((2, metric.alias), (3, metric.timestamp), (4, datatype)):
        if item is not None:
            out += wire.uint_field(number, item)
    if metric.is_historical:
        out += wire.uint_field(5, 1)
    if metric.properties:
        out += wire.bytes_field(9, _encode_properties(metric.properties))
    if metric.is_null or metric.value is None:
        return out + wire.uint_field(7, 1)
    return out + _encode_value(metric.value, metric.datatype, first=10)


def _plain(metric: Metric) -> bytes:
    """The metric of a data message, the short way: alias, time, value; empty when it is not one."""
    if metric.alias is None or metric.timestamp is None or metric.is_null or metric.value is None:
        return b""
    head = b"\x10" + wire.varint(metric.alias) + b"\x18" + wire.varint(metric.timestamp)
    return head + _encode_value(metric.value, metric.datatype, first=_METRIC_VALUE)


def _encode_value(value: Value, datatype: int | None, first: int) -> bytes:
    """A value; its field numbers start at `first` (10 in a metric, 3 in a property) in the order of the schema."""
    if isinstance(value, bool):
        return wire.uint_field(first + 4, int(value))
    if isinstance(value, int):
        bits = SIGNED_BITS.get(datatype) or UNSIGNED_BITS.get(datatype, 64) if datatype else 64
        number = first if bits <= _BITS_32 else first + 1
        return wire.uint_field(number, value & ((1 << max(bits, 32)) - 1))
    if isinstance(value, float):
        return (
            wire.float_field(first + 2, value)
            if datatype == DataType.FLOAT
            else wire.double_field(first + 3, value)
        )
    raw = value.encode() if isinstance(value, str) else bytes(value or b"")
    return wire.bytes_field(first + 5 if isinstance(value, str) else first + 6, raw)


def mark_historical(metrics: bytes) -> bytes:
    """The same encoded metrics, each flagged `is_historical` (field 5), for data sent again after a gap."""
    marked: list[bytes] = []
    add, at, stop = marked.extend, 0, len(metrics)
    while at + 2 <= stop and metrics[at] == _METRIC_KEY and (size := metrics[at + 1]) < _SHORT:
        end = at + 2 + size
        add((_HEADS_OF_MARKED[size], metrics[at + 2 : end], _HISTORICAL))
        at = end
    # What is not as we write it ourselves (long, or another field) takes the long way.
    for number, kind, begin, end in wire.fields(metrics, at):
        if number == 2 and kind == wire.BYTES:  # noqa: PLR2004
            marked.append(wire.bytes_field(2, metrics[begin:end] + _HISTORICAL))
    return b"".join(marked)


def _encode_properties(properties: Mapping[str, Property]) -> bytes:
    keys = b"".join(wire.bytes_field(1, key.encode()) for key in properties)
    values = b"".join(wire.bytes_field(2, _encode_property(item)) for item in properties.values())
    return keys + values


def _encode_property(item: Property) -> bytes:
    if isinstance(item, bool):
        datatype = DataType.BOOLEAN
    elif isinstance(item, int):
        datatype = DataType.INT64
    else:
        datatype = DataType.DOUBLE if isinstance(item, float) else DataType.STRING
    return wire.uint_field(1, datatype) + _encode_value(item, datatype, first=3)


def decode(data: bytes) -> Payload:
    """The payload; raises DecodeError. Unknown fields are skipped."""
    metrics: list[Metric] = []
    timestamp = seq = None
    for number, kind, at, end in wire.fields(data):
        if number == 2 and kind == wire.BYTES:  # noqa: PLR2004
            metrics.append(_decode_metric(data, at, end))
        elif number == 1 and kind == wire.VARINT:
            timestamp = at
        elif number == 3 and kind == wire.VARINT:  # noqa: PLR2004
            seq = at
    return Payload(tuple(metrics), timestamp, seq)


_times: dict[bytes, int] = {}
"""Times of six bytes, which are those from 2008 to 2109: the readings of a poll share a few."""


def _time(data: bytes, at: int, stop: int) -> tuple[int, int]:
    chunk = data[at : at + 6]
    known = _times.get(chunk)
    if known is not None:
        return known, at + 6
    value, end = wire.read_varint(data, at, stop)
    if end == at + 6:
        if len(_times) >= _MOST_TIMES:
            _times.clear()
        _times[chunk] = value
    return value, end


def _decode_metric(data: bytes, start: int, stop: int) -> Metric:
    """A metric. The short way is for what data messages are made of: one-byte keys, varints and fixed values."""
    numbers: dict[int, int] = {}
    value: Value = None
    at = start
    while at < stop:
        key = data[at]
        if key in _PLAIN_VARINTS:
            if key == _TIME_KEY and at + 7 <= stop:
                found, at = _time(data, at + 1, stop)
            else:
                found, at = wire.read_varint(data, at + 1, stop)
            if key in _INTEGER_KEYS:
                value = found
            else:
                numbers[key >> 3] = found
        elif key == _DOUBLE_KEY and at + 9 <= stop:
            value, at = _DOUBLE.unpack_from(data, at + 1)[0], at + 9
        elif key == _FLOAT_KEY and at + 5 <= stop:
            value, at = _FLOAT.unpack_from(data, at + 1)[0], at + 5
        else:
            return _decode_any_metric(data, start, stop)
    null = bool(numbers.get(7))
    return Metric(
        None,
        numbers.get(2),
        numbers.get(3),
        numbers.get(4),
        bool(numbers.get(5)),
        null,
        None if null else value,
    )


def _decode_any_metric(data: bytes, start: int, stop: int) -> Metric:
    name: str | None = None
    properties: dict[str, Property] | None = None
    value: Value = None
    numbers: dict[int, int] = {}
    for number, kind, at, end in wire.fields(data, start, stop):
        if number == 1 and kind == wire.BYTES:
            name = _text(data[at:end])
        elif number == 9 and kind == wire.BYTES:  # noqa: PLR2004
            properties = _decode_properties(data, at, end)
        elif number < _METRIC_VALUE and kind == wire.VARINT:
            numbers[number] = at
        elif _VALUE_WIRES.get(number - _METRIC_VALUE) == kind:
            value = _value(number - _METRIC_VALUE, data, at, end)
    null = bool(numbers.get(7))
    return Metric(
        name=name, alias=numbers.get(2), timestamp=numbers.get(3), datatype=numbers.get(4),
        is_historical=bool(numbers.get(5)), is_null=null, value=None if null else value, properties=properties,
    )  # fmt: skip


def _value(place: int, data: bytes, at: int, end: int) -> Value:
    """A member of a value's one-of, by its place in it; None for those that are not read (data sets, templates)."""
    kind = _VALUE_WIRES[place]
    if kind == wire.VARINT:
        return bool(at) if place == _BOOLEAN else at
    if kind == wire.FIXED32:
        return float(struct.unpack_from("<f", data, at)[0])
    if kind == wire.FIXED64:
        return float(struct.unpack_from("<d", data, at)[0])
    if place == _STRING:
        return _text(data[at:end])
    return data[at:end] if place == _BYTES else None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        msg = "a text field is not UTF-8"
        raise DecodeError(msg) from error


def _decode_properties(data: bytes, start: int, stop: int) -> dict[str, Property]:
    keys: list[str] = []
    values: list[Value] = []
    for number, kind, at, end in wire.fields(data, start, stop):
        if number == 1 and kind == wire.BYTES:
            keys.append(_text(data[at:end]))
        elif number == 2 and kind == wire.BYTES:  # noqa: PLR2004
            values.append(_decode_property(data, at, end))
    if len(keys) != len(values):
        msg = "a property set has more keys than values, or fewer"
        raise DecodeError(msg)
    return {
        key: value for key, value in zip(keys, values, strict=True) if isinstance(value, int | float | str)
    }


def _decode_property(data: bytes, start: int, stop: int) -> Value:
    value: Value = None
    numbers: dict[int, int] = {}
    for number, kind, at, end in wire.fields(data, start, stop):
        if number < _PROPERTY_VALUE and kind == wire.VARINT:
            numbers[number] = at
        elif _VALUE_WIRES.get(number - _PROPERTY_VALUE) == kind:
            value = _value(number - _PROPERTY_VALUE, data, at, end)
    datatype = numbers.get(1)
    return typed_value(value, datatype) if datatype in _KNOWN and not numbers.get(2) else None


def typed_value(value: Value, datatype: int | None) -> Value:
    """The wire value read as `datatype`: integers get their sign. DecodeError when it cannot be of that type."""
    if value is None or datatype is None:
        return value
    # What most readings are, at once.
    if type(value) is int and (bits := UNSIGNED_BITS.get(datatype)) and not value >> bits:
        return value
    if type(value) is float and datatype in FLOATS:
        return value
    if datatype not in _KNOWN:
        msg = f"data type {datatype} is not supported"
        raise DecodeError(msg)
    if datatype in SIGNED_BITS or datatype in UNSIGNED_BITS:
        return _typed_integer(value, DataType(datatype))
    expected = {DataType.BOOLEAN: bool, DataType.BYTES: bytes}.get(DataType(datatype))
    kind: type = expected or (float if datatype in FLOATS else str)
    if not isinstance(value, kind):
        msg = f"a {DataType(datatype).name} metric carries a {type(value).__name__}"
        raise DecodeError(msg)
    return value


def _typed_integer(value: Value, datatype: DataType) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"a {datatype.name} metric carries a {type(value).__name__}"
        raise DecodeError(msg)
    bits = SIGNED_BITS.get(datatype)
    if bits is None:
        if value >> UNSIGNED_BITS[datatype]:
            msg = f"{value} does not fit {datatype.name}"
            raise DecodeError(msg)
        return value
    return _signed(value, bits, datatype)


def _signed(value: int, bits: int, datatype: DataType) -> int:
    """Two's complement in 32 bits (int_value) or 64 (long_value); small types may also come masked to their width."""
    width = 64 if bits == 64 or value >> _BITS_32 else _BITS_32  # noqa: PLR2004
    signed = value - (1 << width) if value >> (width - 1) else value
    if bits < _BITS_32 and value >> bits == 0:
        signed = value - (1 << bits) if value >> (bits - 1) else value
    if not -(1 << (bits - 1)) <= signed < 1 << (bits - 1):
        msg = f"{signed} does not fit {datatype.name}"
        raise DecodeError(msg)
    return signed


def body_digest(payload: Payload) -> bytes:
    """16 bytes that name what a frame says: seq, payload time stamp and `is_historical` aside (decision 2 of the design).

    Values are taken as they stood on the wire: a data type that the sender adds may be no type at all.
    """
    return said_digest(b"".join(_said(metric) for metric in payload.metrics))


def said_digest(said: bytes) -> bytes:
    """The same of the metrics as `_said` writes them, for whoever has them so already."""
    return hashlib.blake2b(said, digest_size=16).digest()


def _said(metric: Metric) -> bytes:
    """A metric as the digest takes it: as `_encode_metric` writes it, without flag and data type."""
    value = metric.value
    plain = metric.name is None and not metric.properties and metric.alias is not None
    if not plain or metric.timestamp is None or metric.is_null or not isinstance(value, int | float):
        bare = msgspec.structs.replace(metric, is_historical=False, datatype=None)
        return encode_metrics((bare,), with_datatype=False)
    head = b"\x10" + wire.varint(metric.alias or 0) + b"\x18" + wire.varint(metric.timestamp)
    if isinstance(value, float):
        body = head + b"\x69" + _DOUBLE.pack(value)
    elif isinstance(value, bool):
        body = head + (b"\x70\x01" if value else b"\x70\x00")
    else:
        body = head + b"\x58" + wire.varint(value & _U64)
    return b"\x12" + wire.varint(len(body)) + body
