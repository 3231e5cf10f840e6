"""From records to columns: one compiled pass over the payloads, then the meaning of each alias."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.protobuf_wire import DecodeError
from metering.registry import Park
from metering.sparkplug import FLOATS, SIGNED_BITS, UNSIGNED_BITS, Value, decode
from metering.topics import MessageType, Topic, parse_topic
from storage.segment import Record
from stream.binding import Binding, bind, int64_bits, name_alias
from stream.kernels import decode as d

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
_parsed = lru_cache(maxsize=8192)(parse_topic)
"""The same few topics come again and again."""


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
        topic = _parsed(record.topic)
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


def take_birth(aliases: dict[str, dict[int, Binding]], birth: Birth, park: Park) -> None:
    """Take up what a meter's birth declares, in place of its older births. An NBIRTH declares no readings of a meter."""
    gateway = birth.topic.gateway
    if birth.topic.type is MessageType.NBIRTH:
        return
    try:
        bindings = bind(park, gateway, birth.topic.meter, decode(birth.payload))
    except DecodeError:
        return
    known = aliases.setdefault(gateway, {})
    for alias in [alias for alias, old in known.items() if old.meter == birth.topic.meter]:
        del known[alias]
    known.update(bindings)


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
    plain = [
        plain_columns(data.payloads[i], i, data.meters[i]) for i in np.flatnonzero(status == d.PLAIN).tolist()
    ]
    if plain:
        columns = np.vstack([columns, *plain])
        columns = columns[np.argsort(columns[:, d.FRAME], kind="stable")]
    which, bindings = _bind(columns, data.gateways, aliases)
    known = which >= 0
    columns, which = columns[known], which[known]
    datatype = np.array([binding.datatype for binding in bindings], np.int64)[which]
    raw, real, valid = typed_values(columns[:, d.KIND], columns[:, d.BITS], datatype)
    valid &= columns[:, d.TIME] >= 0
    received = np.array(data.received_ms, np.int64)[columns[:, d.FRAME]]
    return Readings(bindings, which[valid], columns[valid, d.TIME], raw[valid], real[valid], received[valid])


def _bind(
    columns: I64, gateways: Sequence[str], aliases: Mapping[str, Mapping[int, Binding]]
) -> tuple[I64, list[Binding]]:
    """(row → place in the list of distinct bindings, or -1; that list)."""
    code = {gateway: i for i, gateway in enumerate(dict.fromkeys(gateways))}
    names = list(code)
    gateway = np.array([code[name] for name in gateways], np.int64)[columns[:, d.FRAME]]
    alias, alias_place = np.unique(columns[:, d.ALIAS], return_inverse=True)
    pair, pair_place = np.unique(gateway * alias.size + alias_place, return_inverse=True)
    bindings: list[Binding] = []
    which = np.full(pair.size, -1, np.int64)
    for i, (g, a) in enumerate(
        zip((pair // alias.size).tolist(), alias[pair % alias.size].tolist(), strict=True)
    ):
        binding = aliases.get(names[g], {}).get(a)
        if binding is not None:
            which[i] = len(bindings)
            bindings.append(binding)
    return which[pair_place], bindings


def typed_values(kind: I64, bits: I64, datatype: I64) -> tuple[I64, F64, NDArray[np.bool_]]:
    """(integer values, float values, valid), as `metering.sparkplug.typed_value` reads them.

    Not valid: a value that its data type cannot hold, a float that is not finite, an integer that int64 cannot hold.
    """
    is_float = np.isin(datatype, [int(t) for t in FLOATS])
    raw = np.where(is_float, 0, bits)
    valid = np.where(is_float, (kind == d.REAL32) | (kind == d.REAL64), kind == d.INTEGER)
    for present in np.unique(datatype).tolist():
        mine = datatype == present
        if present in SIGNED_BITS:
            width = SIGNED_BITS[present]
            raw = np.where(mine, _signed(bits, width), raw)
            sign = raw >> (width - 1)  # 0 or -1 in every bit that the type has not
            valid &= ~mine | (sign == 0) | (sign == -1)
        elif present in UNSIGNED_BITS:
            valid &= ~mine | ((bits >= 0) & (bits >> min(UNSIGNED_BITS[present], 63) == 0))
    bits32 = np.where(kind == d.REAL32, bits, 0).astype(np.uint32)
    with np.errstate(invalid="ignore"):  # a signalling NaN is not finite either
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


def plain_columns(payload: bytes, frame: int, meter: str) -> I64:
    """A payload by the plain codec, as the compiled decoder would give it; metrics without alias get `name_alias`."""
    try:
        decoded = decode(payload)
    except DecodeError:
        return np.empty((0, d.COLUMNS), np.int64)
    rows = []
    for metric in decoded.metrics:
        alias = int64_bits(metric.alias) if metric.alias is not None else name_alias(meter, metric.name or "")
        t_ms = metric.timestamp if metric.timestamp is not None else decoded.timestamp
        rows.append([frame, alias, _time(t_ms), *_bits(metric.value)])
    return np.array(rows, np.int64).reshape(-1, d.COLUMNS)


def _time(t_ms: int | None) -> int:
    if t_ms is None:
        return d.NO_TIME
    return d.BEYOND if t_ms >> 63 else t_ms


def _bits(value: Value) -> tuple[int, int]:
    """(kind, bits) as the compiled decoder would give them."""
    if isinstance(value, float):
        return d.REAL64, int(np.float64(value).view(np.int64))
    if isinstance(value, bool):
        return d.TRUTH, int(value)
    if isinstance(value, int):
        return d.INTEGER, int64_bits(value)
    return (d.NULL if value is None else d.OTHER), 0
