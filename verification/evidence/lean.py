"""Data frames read for a few of their metrics: what `metering.sparkplug.decode` says of those, without building the others.

Only the usual form is read here (the payload's time stamp, then metrics of an alias and a number, fields in their order); at
anything else the answer is None, and the plain codec judges the whole frame. `stack.py` reads many frames by the form of one.
"""

import re
import struct
from collections.abc import Callable, Container
from functools import lru_cache
from typing import NamedTuple

_VARINT = rb"[\x80-\xff]{0,8}[\x00-\x7f]"
"""At most 9 bytes, 63 bits: nothing has to be cut off."""
_TIMESTAMP = re.compile(rb"\x08(" + _VARINT + rb")")
_METRIC = re.compile(
    rb"\x12([\x00-\x7f])"  # field 2, its length
    rb"\x10(?P<alias>V)(?:\x18(?P<time>V))?(?:\x20V)?(?:\x28V)?(?:\x38(?P<null>V))?"  # alias, timestamp, datatype, historical, null
    rb"(?:[\x50\x58](?P<int>V)|\x65(?P<float>.{4})|\x69(?P<double>.{8})|\x70(?P<bool>V))?".replace(
        b"V", _VARINT
    ),
    re.DOTALL,
)
_REST = re.compile(rb"(?:\x18(V))?".replace(b"V", _VARINT))
"""Field 3: seq."""
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_LAST = 0x7F
"""The largest byte that ends a varint."""
FIXED = ("float", "double")
"""Groups of a metric's value that are no varint."""


class Lean(NamedTuple):
    """A wanted metric: raw value as on the wire, None when there is none."""

    alias: int
    timestamp: int | None
    value: int | float | bool | None


Frame = tuple[int | None, list[Lean]]
"""The payload's time stamp and its wanted metrics in order."""


def read(data: bytes, wanted: Container[int | str]) -> Frame | None:
    """A frame; None when it is not of the usual form."""
    found = parts(data)
    if found is None:
        return None
    stamp, metrics, _seq = found
    mine = [
        Lean(alias, number(metric["time"]) if metric["time"] else None, _value(metric))
        for metric in metrics
        if (alias := number(metric["alias"])) in wanted
    ]
    return number(stamp[1]) if stamp else None, mine


Parts = tuple[re.Match[bytes] | None, list[re.Match[bytes]], re.Match[bytes]]
"""The time stamp, the metrics and the sequence number of a frame, with their groups; the last one may be empty."""


def parts(data: bytes) -> Parts | None:
    """None when it is not of the usual form."""
    stamp, metrics = _TIMESTAMP.match(data), []
    at = stamp.end() if stamp else 0
    while (metric := _METRIC.match(data, at)) is not None:
        end = metric.end()
        if end - at - 2 != data[at + 1]:
            return None
        at = end
        metrics.append(metric)
    rest = _REST.fullmatch(data, at)
    return (stamp, metrics, rest) if rest else None


@lru_cache(1 << 16)
def number(data: bytes) -> int:
    """A varint's number. A frame's metrics share their time, and a gateway its aliases."""
    value = data[-1]
    for byte in data[-2::-1]:
        value = value << 7 | byte & _LAST
    return value


def _value(metric: re.Match[bytes]) -> int | float | bool | None:
    if metric["null"] and number(metric["null"]):
        return None
    return next((of(metric[name]) for name, of in VALUES.items() if metric[name] is not None), None)


def _float(data: bytes) -> float:
    return float(_FLOAT.unpack(data)[0])


def _double(data: bytes) -> float:
    return float(_DOUBLE.unpack(data)[0])


def _bool(data: bytes) -> bool:
    return bool(number(data))


VALUES: dict[str, Callable[[bytes], int | float | bool]] = {
    "int": number, "float": _float, "double": _double, "bool": _bool,
}  # fmt: skip
"""Groups of a metric's value."""
