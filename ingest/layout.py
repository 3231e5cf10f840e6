"""A message whose bytes lie as those of one before it, cut by one `struct` instead of a pattern: most of a meter's are.

Keys, lengths, aliases and flags have to be the very same bytes, which is one comparison of long integers; times and values are
judged as the pattern would.
"""

import math
import re
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

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
INTEGER_KEY, DOUBLE_KEY = b"\x58", b"\x69"
FIXED: Final = 9
"""Bytes of a metric beside its alias and an integer's digits: three keys, six of the time. One byte more is the value's."""
DOUBLE_BYTES: Final = 8


@lru_cache(maxsize=4096)
def moment(time: bytes) -> int:
    """UTC ms; `NO_TIME` for what is none that the pattern would take."""
    return read_varint(time, 0, len(time))[0] if _TIME.fullmatch(time) else NO_TIME


def head(alias: bytes, size: int) -> bytes:
    """How a metric with a value of so many bytes begins, up to its time, as `body_digest` takes it."""
    return b"\x12" + bytes((FIXED + len(alias) + size, 0x10)) + alias + b"\x18"


def values_at(places: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The values of such metrics, among times and values in turn."""
    at = [2 * place + 1 for place in places]
    if len(at) > 1:
        return itemgetter(*at)
    return lambda parts: tuple(parts[i] for i in at)


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
        self._begin = at = 7 if data[0] == SENT else 0
        places: dict[str, list[int]] = {"s": [], "d": [], "f": []}
        cuts, saids, heads, flagged = [f"{at}x"], [], [], 0
        same = [b"\xff", bytes(6)] if at else []
        for place, (_size, alias, _time, integer, double, single, flag) in enumerate(found):
            kind = "s" if integer else "d" if double else "f"
            places[kind].append(place)
            value, before = integer or double or single, flagged + 4 + len(alias)
            said = len(integer) or DOUBLE_BYTES
            cuts.append(f"{before}x6sx{len(integer) or ''}{kind}")
            saids.append(f"{4 + len(alias)}x6sx{len(integer) or ''}{'s' if integer else 'd'}")
            heads += [head(alias, said), bytes(6), INTEGER_KEY if integer else DOUBLE_KEY, bytes(said)]
            same += [b"\xff" * before, bytes(6), b"\xff", bytes(len(value))]
            at, flagged = at + before + 7 + len(value), len(flag)
        self._end = at + flagged
        self._cut, self._said = struct.Struct("<" + "".join(cuts)), struct.Struct("<" + "".join(saids))
        self._heads = int.from_bytes(b"".join(heads), "little")
        self._mask = int.from_bytes(b"".join([*same, b"\xff" * flagged]), "little")
        self._same = int.from_bytes(data, "little") & self._mask
        self._integers, self._doubles, self._singles = (values_at(places[kind]) for kind in "sdf")
        self._named = [
            (names[row[1]], 2 * i + 1) for i, row in enumerate(found) if row[3] and row[1] in names
        ]
        self._doubtful = [(2 * place + 1, kind) for place, kind in doubtful]

    def read(self, data: bytes) -> Known | None:
        """What it says; None when it lies otherwise, or has what is no number."""
        if int.from_bytes(data, "little") & self._mask != self._same:
            return None
        parts = self._cut.unpack_from(data)
        moments = [moment(time) for time in set(parts[::2])]
        if NO_TIME in moments or not self._judged(parts) or not _TAIL.fullmatch(data, self._end):
            return None
        if self._begin and moment(data[1:7]) == NO_TIME:
            return None
        said = int.from_bytes(self._said.pack(*parts), "little") | self._heads
        return Known(
            said.to_bytes(self._said.size, "little"), moments, {name: parts[at] for name, at in self._named},
            [(parts[at], kind) for at, kind in self._doubtful],
        )  # fmt: skip

    def _judged(self, parts: tuple[Any, ...]) -> bool:
        """Whether they are numbers. No sum of so few floats leaves a double."""
        return (
            math.isfinite(sum(self._singles(parts)))
            and all(map(math.isfinite, self._doubles(parts)))
            and all(map(_INTEGER.fullmatch, self._integers(parts)))
        )
