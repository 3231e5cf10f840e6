"""A message whose bytes lie as those of one before it, cut by one `struct` instead of a pattern: most of a meter's are.

Keys, lengths, aliases and flags have to be the very same bytes; times and values are judged as the pattern would.
"""

import math
import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from metering.protobuf_wire import read_varint

TIME: Final = rb"[\x80-\xff]{5}[\x01-\x7f]"
"""A time of six bytes: 2008 to 2109."""
INTEGER: Final = rb"[\x00-\x7f]|[\x80-\xff]{1,8}[\x01-\x7f]|[\x80-\xff]{9}\x01"
TAIL: Final = rb"(?:\x18(?:[\x00-\x7f]|[\x80-\xff]\x01))?"
"""The payload's seq."""
SENT: Final = 0x08
"""Key of the payload's own time, seven bytes with it."""
_TIME, _INTEGER, _TAIL = (re.compile(pattern, re.DOTALL) for pattern in (TIME, INTEGER, TAIL))
NO_TIME: Final = -1
_FIELDS: Final = 4
"""Of a metric: what stands before its time (with the flag of the metric before), time, key of the value, value."""
_KEY, _HEAD, _DOUBLE_KEY = b"\x58", 5, b"\x69"


@lru_cache(maxsize=4096)
def moment(time: bytes) -> int:
    """UTC ms; `NO_TIME` for what is none that the pattern would take."""
    return read_varint(time, 0, len(time))[0] if _TIME.fullmatch(time) else NO_TIME


def widened(singles: bytes) -> bytes:
    """Floats as doubles; none when one of them is no number. No sum of so few floats leaves a double."""
    size = len(singles) // 4
    numbers = struct.unpack(f"<{size}f", singles)
    return struct.pack(f"<{size}d", *numbers) if math.isfinite(sum(numbers)) else b""


class Known(NamedTuple):
    """What such a message says."""

    said: bytes
    """The metrics as `body_digest` takes them."""
    times: list[int]
    """Each once."""
    named: dict[str, bytes]
    doubtful: list[tuple[bytes, int]]
    """Integers, and the data types that they still have to fit."""


class Layout:
    """Learnt from a message that was admitted: its length, and its metrics as the pattern found them."""

    def __init__(
        self, data: bytes, found: Sequence[tuple[bytes, ...]], names: dict[bytes, str], doubtful: list[tuple[int, int]]
    ) -> None:  # fmt: skip
        """Of `found`: size, alias, time, integer, double, single, flag. `names` has the aliases whose values are told.

        `doubtful`: place and data type of the integers that only their value tells whether they fit.
        """
        self._doubtful = doubtful
        self._begin = at = 7 if data[0] == SENT else 0
        self._said: list[bytes] = []
        self._integers: list[int] = []
        self._singles: list[int] = []
        self._doubles: list[int] = []
        self._named: list[tuple[int, str]] = []
        cuts, flagged = "", 0
        for place, (_size, alias, _time, integer, double, single, flag) in enumerate(found):
            value, before = integer or double or single, flagged + 4 + len(alias)
            cuts += f"{before}s6s1s{len(value)}s"
            at, flagged = at + before + 7 + len(value), len(flag)
            kind = self._integers if integer else self._doubles if double else self._singles
            kind.append(place)
            if integer and alias in names:
                self._named.append((place, names[alias]))
            length = 4 + len(alias) + 6 - 1 + (len(integer) if integer else 8)
            head = b"\x12" + bytes((length, 0x10)) + alias + b"\x18"
            self._said += [head, b"", _KEY if integer else _DOUBLE_KEY, b""]
        self._end = at + flagged
        self._cut = struct.Struct(f"<{cuts}{flagged}s")
        parts = self._cut.unpack_from(data, self._begin)
        self._heads, self._keys = parts[0::_FIELDS], parts[2::_FIELDS]

    def read(self, data: bytes) -> Known | None:
        """What it says; None when it lies otherwise, or has what is no number."""
        begin = self._begin
        if begin and (data[0] != SENT or moment(data[1:begin]) == NO_TIME):
            return None
        parts = self._cut.unpack_from(data, begin)
        if parts[0::_FIELDS] != self._heads or parts[2::_FIELDS] != self._keys:
            return None
        values, times = [*parts[3::_FIELDS]], parts[1::_FIELDS]
        moments = [moment(time) for time in set(times)]
        if NO_TIME in moments or not _TAIL.fullmatch(data, self._end) or not self._judged(values):
            return None
        said = self._said.copy()
        said[1::_FIELDS], said[3::_FIELDS] = times, values
        named = {name: values[place] for place, name in self._named}
        return Known(
            b"".join(said), moments, named, [(values[place], kind) for place, kind in self._doubtful]
        )

    def _judged(self, values: list[bytes]) -> bool:
        """Whether they are numbers; floats become doubles."""
        if not all(_INTEGER.fullmatch(values[place]) for place in self._integers):
            return False
        if self._singles:
            doubles = widened(b"".join([values[place] for place in self._singles]))
            for i, place in enumerate(self._singles):
                values[place] = doubles[8 * i : 8 * i + 8]
            if not doubles:
                return False
        size = len(self._doubles)
        numbers = struct.unpack(f"<{size}d", b"".join([values[place] for place in self._doubles]))
        return all(map(math.isfinite, numbers))
