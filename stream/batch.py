"""From records to columns: one compiled pass over the payloads, then the meaning of each alias."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.protobuf_wire import DecodeError
from metering.registry import Park
from metering.sparkplug import FLOATS, SIGNED_BITS, UNSIGNED_BITS, DataType, Value, decode
from metering.topics import MessageType, Topic, parse_topic
from storage.segment import Record
from stream.binding import Binding, bind, int64_bits, name_alias
from stream.kernels import decode as d
from stream.kernels import meaning as m

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
_parsed = lru_cache(maxsize=8192)(parse_topic)
"""The same few topics come again and again."""

_NO_NUMBER = 65
_WIDTHS = np.full(256, _NO_NUMBER, np.int64)
"""Data type → how `type_values` reads it."""
for _datatype in DataType:
    _WIDTHS[_datatype] = (
        0 if _datatype in FLOATS
        else -SIGNED_BITS[_datatype] if _datatype in SIGNED_BITS
        else UNSIGNED_BITS.get(_datatype, _NO_NUMBER)
    )  # fmt: skip


class Data(NamedTuple):
    """Data messages in journal order, between two births, each with its topic."""

    topics: Sequence[Topic]
    records: Sequence[Record]


class Birth(msgspec.Struct):
    """A birth: from here on the gateway's aliases mean what it says."""

    topic: Topic
    payload: bytes


class Table(NamedTuple):
    """A gateway's aliases, ascending, and the binding of each."""

    alias: I64
    bindings: list[Binding]

    @classmethod
    def of(cls, known: Mapping[int, Binding]) -> "Table":
        """From alias → binding."""
        alias = sorted(known)
        return cls(np.array(alias, np.int64), [known[a] for a in alias])


class Declared(dict[int, Binding]):
    """What a gateway's births declare."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[str, list[int]] = {}

    def declare(self, meter: str, bindings: Mapping[int, Binding]) -> None:
        """A meter's newest birth, in place of its older ones."""
        for alias in self._of.get(meter, ()):
            if alias in self and self[alias].meter == meter:
                del self[alias]
        self.update(bindings)
        self._of[meter] = list(bindings)
        self.__dict__.pop("table", None)

    @cached_property
    def table(self) -> Table:
        """As the kernels search it, made but once between two births."""
        return Table.of(self)


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
    topics = [_parsed(record.topic) for record in records]
    start = 0
    for i, topic in enumerate(topics):
        if topic is None or topic.type is not MessageType.DDATA:
            if start < i:
                yield Data(topics[start:i], records[start:i])  # type: ignore[arg-type]  # none of them None
            start = i + 1
            if topic is not None and topic.type in {MessageType.DBIRTH, MessageType.NBIRTH}:
                yield Birth(topic, records[i].payload)
    if start < len(records):
        yield Data(topics[start:], records[start:])  # type: ignore[arg-type]


def take_birth(aliases: dict[str, Declared], birth: Birth, park: Park) -> None:
    """Take up what a meter's birth declares, in place of its older births. An NBIRTH declares no readings of a meter."""
    gateway = birth.topic.gateway
    if birth.topic.type is MessageType.NBIRTH:
        return
    try:
        bindings = bind(park, gateway, birth.topic.meter, decode(birth.payload))
    except DecodeError:
        return
    aliases.setdefault(gateway, Declared()).declare(birth.topic.meter, bindings)


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
    payloads = [record.payload for record in data.records]
    columns, status = decode_columns(payloads)
    plain = [
        plain_columns(payloads[i], i, data.topics[i].meter)
        for i in np.flatnonzero(status == d.PLAIN).tolist()
    ]
    if plain:
        columns = np.vstack([columns, *plain])
        columns = columns[np.argsort(columns[:, d.FRAME], kind="stable")]
    which, bindings = _bind(columns, [topic.gateway for topic in data.topics], aliases)
    keep = which >= 0
    if not keep.all():
        columns, which = columns[keep], which[keep]
    datatype = np.array([binding.datatype for binding in bindings], np.int64)[which]
    kind, bits, t = (np.ascontiguousarray(columns[:, at]) for at in (d.KIND, d.BITS, d.TIME))
    raw, real, keep = typed_values(kind, bits, datatype)
    keep &= t >= 0
    received = np.array([record.received_ms for record in data.records], np.int64)[columns[:, d.FRAME]]
    if keep.all():
        return Readings(bindings, which, t, raw, real, received)
    return Readings(bindings, which[keep], t[keep], raw[keep], real[keep], received[keep])


def _bind(
    columns: I64, gateways: Sequence[str], aliases: Mapping[str, Mapping[int, Binding]]
) -> tuple[I64, list[Binding]]:
    """(row → place in the list of distinct bindings, or -1; that list)."""
    code = {gateway: i for i, gateway in enumerate(dict.fromkeys(gateways))}
    known = [aliases.get(gateway, {}) for gateway in code]
    tables = [item.table if isinstance(item, Declared) else Table.of(item) for item in known]
    first = np.zeros(len(tables) + 1, np.int64)
    np.cumsum([len(table.alias) for table in tables], out=first[1:])
    alias = np.concatenate([table.alias for table in tables])
    which = np.empty(len(columns), np.int64)
    gateway = np.array([code[name] for name in gateways], np.int64)
    m.find_bindings(columns, gateway, first, alias, which)
    met = np.zeros(alias.size + 1, np.bool_)
    met[which] = True  # -1 is the last
    present = np.flatnonzero(met[:-1])
    place = np.full(alias.size + 1, -1, np.int64)
    place[present] = np.arange(present.size)
    of = np.searchsorted(first, present, side="right") - 1
    bindings = [
        tables[g].bindings[i] for g, i in zip(of.tolist(), (present - first[of]).tolist(), strict=True)
    ]
    return place[which], bindings


def typed_values(kind: I64, bits: I64, datatype: I64) -> tuple[I64, F64, NDArray[np.bool_]]:
    """(integer values, float values, valid), as `metering.sparkplug.typed_value` reads them.

    Not valid: a value that its data type cannot hold, a float that is not finite, an integer that int64 cannot hold.
    """
    raw, real = np.empty(kind.size, np.int64), np.empty(kind.size)
    valid = np.empty(kind.size, np.bool_)
    m.type_values(kind, bits, _WIDTHS[datatype], raw, real, valid)
    return raw, real, valid


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
