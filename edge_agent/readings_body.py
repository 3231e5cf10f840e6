"""The readings of a frame on the wire: the bytes that `metering.sparkplug.encode_metrics` writes, prepared once for each metric."""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Final

from edge_agent.assemble import Reading
from edge_agent.births import DeviceAliases
from metering.protobuf_wire import varint
from metering.sparkplug import (
    DATATYPE_BY_NAME,
    SIGNED_BITS,
    UNSIGNED_BITS,
    DataType,
    Metric,
    encode_metrics,
)

_MOST_INT: Final = 32
_HEADS: Final = [b"\x12" + bytes((size,)) for size in range(0x80)]
"""Key and length of a metric; one of ours is never longer than 40 bytes."""
_FLOAT: Final = struct.Struct("<Bf").pack
_DOUBLE: Final = struct.Struct("<Bd").pack


def readings_body(
    aliases: DeviceAliases, readings: Sequence[Reading], serial: tuple[int, str] | None = None
) -> bytes:
    """The readings of a frame as encoded metrics: (register, UTC ms of its read, raw value); and (time, serial number)."""
    parts: list[bytes] = []
    last_ms, time = -1, b""
    for register, t_ms, raw in readings:
        if t_ms != last_ms:
            last_ms, time = t_ms, b"\x18" + varint(t_ms)
        alias = aliases.readings[register.name]
        head, kind, value = _writer(alias, register.datatype)
        if type(raw) is kind:
            metric = head + time + value(raw)
            parts += (_HEADS[len(metric)], metric)
        else:
            parts.append(_one(alias, t_ms, DATATYPE_BY_NAME[register.datatype], raw))
    if serial is not None and aliases.serial is not None:
        t_ms, text = serial
        parts.append(_one(aliases.serial, t_ms, DataType.STRING, text))
    return b"".join(parts)


def _one(alias: int, t_ms: int, datatype: DataType, value: float | str) -> bytes:
    metric = Metric(alias=alias, timestamp=t_ms, datatype=datatype, value=value)
    return encode_metrics([metric], with_datatype=False)


@lru_cache(maxsize=8192)
def _writer(alias: int, datatype: str) -> tuple[bytes, type, Callable[[float], bytes]]:
    """Of a metric: its alias field, the type of its raw values, and what writes one."""
    head, number = b"\x10" + varint(alias), DATATYPE_BY_NAME[datatype]
    if number == DataType.FLOAT:
        return head, float, partial(_FLOAT, 0x65)
    if number == DataType.DOUBLE:
        return head, float, partial(_DOUBLE, 0x69)
    bits = SIGNED_BITS.get(number) or UNSIGNED_BITS[number]
    key, mask = (b"\x50", (1 << 32) - 1) if bits <= _MOST_INT else (b"\x58", (1 << 64) - 1)
    return head, int, lambda raw: key + varint(int(raw) & mask)
