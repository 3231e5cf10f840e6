"""From records to columns: one compiled pass over the payloads, then the meaning of each alias."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.sparkplug import FLOATS, SIGNED_BITS, DataType, Value, decode
from metering.topics import MessageType, Topic, parse_topic
from storage.segment import Record
from stream.binding import Binding, name_alias
from stream.kernels import decode as d

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


class Data(msgspec.Struct):
    """Data messages in journal order, between two births."""

    gateways: list[str]
    meters: list[str]
    payloads: list[bytes]
    received_ms: list[int]


class Birth(msgspec.Struct):
    """A birth: from here on the gateway's aliases mean what it says."""

    topic: Topic
    payload: bytes


class Readings(msgspec.Struct):
    """Columns of readings with a known meaning, in frame order."""

    binding: list[Binding]
    """The distinct bindings; `which` points into it."""
    which: I64
    t: I64
    raw: I64
    """Integer raw values (0 for floats)."""
    real: F64
    """Float raw values (the integer as a float otherwise)."""
    received_ms: I64


def runs(records: Sequence[Record]) -> Iterator[Data | Birth]:
    """Births one by one, the data messages between them together."""
    data = Data([], [], [], [])
    for record in records:
        topic = parse_topic(record.topic)
        if topic is None:
            continue
        if topic.type is MessageType.DDATA:
            data.gateways.append(topic.gateway)
            data.meters.append(topic.meter)
            data.payloads.append(record.payload)
            data.received_ms.append(record.received_ms)
        elif topic.type in {MessageType.DBIRTH, MessageType.NBIRTH}:
            if data.payloads:
                yield data
                data = Data([], [], [], [])
            yield Birth(topic, record.payload)
    if data.payloads:
        yield data


def decode_columns(payloads: Sequence[bytes]) -> tuple[I64, I64]:
    """(rows × COLUMNS, status per payload) from the compiled decoder."""
    buf = np.frombuffer(b"".join(payloads), np.uint8)
    offsets = np.zeros(len(payloads) + 1, np.int64)
    np.cumsum([len(payload) for payload in payloads], out=offsets[1:])
    out = np.empty((buf.size // 2 + 1, d.COLUMNS), np.int64)
    status = np.empty(len(payloads), np.int64)
    used = d.decode_frames(buf, offsets, out, status)
    return out[:used], status


def readings(data: Data, aliases: Mapping[str, Mapping[int, Binding]]) -> Readings:
    """The readings of a run of data messages whose alias has a binding; everything else is left aside."""
    columns, status = decode_columns(data.payloads)
    named = [_by_name(data, i) for i in np.flatnonzero(status == d.NAMED).tolist()]
    if named:
        columns = np.vstack([columns, *named])
        columns = columns[np.argsort(columns[:, d.FRAME], kind="stable")]
    which, bindings = _bind(columns, data.gateways, aliases)
    keep = which >= 0
    columns, which = columns[keep], which[keep]
    raw, real, valid = _values(columns, np.array([b.datatype for b in bindings], np.int64)[which] if len(which) else which)
    received = np.array(data.received_ms, np.int64)[columns[:, d.FRAME]] if len(which) else which
    return Readings(bindings, which[valid], columns[valid, d.TIME], raw[valid], real[valid], received[valid])


def _bind(
    columns: I64, gateways: Sequence[str], aliases: Mapping[str, Mapping[int, Binding]]
) -> tuple[I64, list[Binding]]:
    bindings: list[Binding] = []
    place: dict[tuple[str, int], int] = {}
    which = np.full(len(columns), -1, np.int64)
    for i, (frame, alias) in enumerate(columns[:, : d.ALIAS + 1].tolist()):
        key = (gateways[frame], alias)
        if key not in place:
            binding = aliases.get(key[0], {}).get(alias)
            place[key] = -1 if binding is None else len(bindings)
            if binding is not None:
                bindings.append(binding)
        which[i] = place[key]
    return which, bindings


def _values(columns: I64, datatype: I64) -> tuple[I64, F64, NDArray[np.bool_]]:
    """(integer values, float values, valid): signs by data type; a value that cannot be of its type is not valid."""
    kind, bits = columns[:, d.KIND], columns[:, d.BITS]
    is_float = np.isin(datatype, [int(t) for t in FLOATS])
    raw = np.where(is_float, 0, bits)
    valid = (columns[:, d.TIME] >= 0) & np.where(is_float, (kind == d.REAL32) | (kind == d.REAL64), kind == d.INTEGER)
    for signed, width in SIGNED_BITS.items():
        raw = np.where(datatype == signed, _signed(bits, width), raw)
    valid &= ~((datatype == DataType.UINT64) & (bits < 0))
    bits32 = np.where(kind == d.REAL32, bits, 0).astype(np.uint32)
    real32 = bits32.view(np.float32).astype(np.float64)
    real64 = np.where(kind == d.REAL64, bits, 0).view(np.float64)
    real = np.where(kind == d.REAL32, real32, np.where(kind == d.REAL64, real64, raw.astype(np.float64)))
    return raw, real, valid & np.isfinite(real)


def _signed(bits: I64, width: int) -> I64:
    """The twin of `metering.sparkplug._signed`, on columns."""
    if width == 64:  # noqa: PLR2004
        return bits
    low = (bits >> 32) == 0
    value = np.where(low & (bits >= 1 << 31), bits - (1 << 32), bits)
    if width < 32:  # noqa: PLR2004
        small = (bits >> width) == 0
        value = np.where(small & (bits >= 1 << (width - 1)), bits - (1 << width), value)
    return value


def _by_name(data: Data, frame: int) -> I64:
    """A payload of a foreign node that names its metrics, by the plain codec, as rows under `name_alias`."""
    payload = decode(data.payloads[frame])
    rows = []
    for metric in payload.metrics:
        alias = metric.alias if metric.alias is not None else name_alias(data.meters[frame], metric.name or "")
        t_ms = metric.timestamp if metric.timestamp is not None else payload.timestamp
        rows.append([frame, alias, -1 if t_ms is None else t_ms, *_bits(metric.value)])
    return np.array(rows, np.int64).reshape(-1, d.COLUMNS)


def _bits(value: Value) -> tuple[int, int]:
    """(kind, bits) as the compiled decoder would give them."""
    if isinstance(value, float):
        return d.REAL64, int(np.float64(value).view(np.int64))
    if isinstance(value, bool) or not isinstance(value, int):
        return (d.NULL if value is None else d.OTHER), 0
    return d.INTEGER, value - (1 << 64) if value >> 63 else value
