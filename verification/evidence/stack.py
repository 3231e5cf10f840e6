"""Frames of one meter read many at once: those of one layout are the rows of a matrix of bytes, a value is some of its columns.

A meter's frames are alike but for times and values. A *layout* is a frame with these left out: a row belongs to it if every other
byte is the layout's, and if every varint begins and ends where the layout's does. What belongs to none is left to `lean.read`.
"""

from collections.abc import Container, Iterator, Sequence
from re import Match
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from verification.evidence import lean
from verification.evidence.track import Column

Numbers = Column | npt.NDArray[np.float64]
"""Values as on the wire: integers without their sign, or floats."""
Matrix = npt.NDArray[np.uint8]

_LAYOUTS = 8
"""Kept per length of frame. Ours."""
_FEW = 8
"""So many frames of one length are read as fast one by one. Ours."""
_ALL, _GOES_ON, _ANY, _BITS = 0xFF, 0x80, 0, 0x7F
"""Bits of a byte that a layout holds to: all of them, or of a varint whether it goes on, or none."""


class Found(NamedTuple):
    """A wanted metric in some frames; metrics without a time or a value are left out."""

    alias: int
    times: Column
    values: Numbers


class Stack:
    """Reads the frames of one meter, of which some metrics are wanted."""

    def __init__(self, wanted: Container[int | str]) -> None:
        self._wanted = wanted
        self._known: dict[int, list[_Layout]] = {}
        """By the length of the frame."""

    def read(self, frames: Sequence[bytes]) -> tuple[list[Found], list[int]]:
        """What is in them, in no order; and which of them have to be read one by one."""
        by_length: dict[int, list[int]] = {}
        for place, frame in enumerate(frames):
            by_length.setdefault(len(frame), []).append(place)
        found: list[Found] = []
        left: list[int] = []
        for places in by_length.values():
            alike = [frames[place] for place in places]
            rest = self._alike(alike, found) if len(alike) > _FEW else range(len(alike))
            left += [places[row] for row in rest]
        return found, left

    def _alike(self, frames: Sequence[bytes], found: list[Found]) -> Sequence[int]:
        """Of one length: rows that no layout fits."""
        matrix = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)
        known = self._known.setdefault(matrix.shape[1], [])
        rest = np.arange(len(frames))
        for layout in known:
            rest = rest[~layout.read(matrix, rest, found)]
        unusual = []
        while len(rest) and len(known) < _LAYOUTS:
            new = _Layout.of(frames[rest[0]], self._wanted)
            if new is None:
                unusual.append(int(rest[0]))
                rest = rest[1:]
            else:
                known.append(new)
                rest = rest[~new.read(matrix, rest, found)]
        return [*unusual, *rest.tolist()]


class _Metric(NamedTuple):
    """Where a wanted metric has its time and its value."""

    alias: int
    time: slice
    value: slice
    kind: str


class _Layout(NamedTuple):
    held: Matrix
    """Per byte of a frame, the bits that are the layout's."""
    bits: Matrix
    plan: tuple[_Metric, ...]

    @classmethod
    def of(cls, frame: bytes, wanted: Container[int | str]) -> Self | None:
        """That of a frame; None if it is not of the usual form, or if a wanted metric is neither integer nor float."""
        parts = lean.parts(frame)
        if parts is None:
            return None
        stamp, metrics, _seq = parts
        mine = [metric for metric in metrics if lean.number(metric["alias"]) in wanted]
        if any(metric["bool"] is not None for metric in mine):
            return None
        held = np.full(len(frame), _ALL, np.uint8)
        for start, end, kind in _spans(*parts):
            held[start:end] = _ANY if kind in lean.FIXED else _GOES_ON
        sent = slice(*stamp.span(1)) if stamp else None
        plan = tuple(found for metric in mine if (found := _planned(metric, sent)) is not None)
        return cls(held, np.frombuffer(frame, np.uint8) & held, plan)

    def read(self, matrix: Matrix, rows: npt.NDArray[np.intp], found: list[Found]) -> npt.NDArray[np.bool_]:
        """Which of these rows are of this layout; what is in them is added to `found`."""
        frames = matrix[rows]
        fits: npt.NDArray[np.bool_] = ((frames & self.held) == self.bits).all(axis=1)
        if fits.any():
            mine = frames[fits]
            for alias, time, value, kind in self.plan:
                found.append(Found(alias, _varints(mine[:, time]), _READ[kind](mine[:, value])))
        return fits


def _spans(
    stamp: Match[bytes] | None, metrics: Sequence[Match[bytes]], seq: Match[bytes]
) -> Iterator[tuple[int, int, str]]:
    """What may differ from frame to frame."""
    for number in (stamp, seq):
        if number and number[1] is not None:
            yield *number.span(1), "number"
    for metric in metrics:
        for name in ("time", *lean.VALUES):
            if metric[name] is not None:
                yield *metric.span(name), name


def _planned(metric: Match[bytes], sent: slice | None) -> _Metric | None:
    """None for a metric without a value or a time. Whether it is null is a byte that the layout holds to."""
    kind = next((name for name in lean.VALUES if metric[name] is not None), None)
    time = sent if metric["time"] is None else slice(*metric.span("time"))
    if kind is None or time is None or (metric["null"] is not None and lean.number(metric["null"])):
        return None
    return _Metric(lean.number(metric["alias"]), time, slice(*metric.span(kind)), kind)


def _varints(cells: Matrix) -> Column:
    """Of at most 9 bytes: 63 bits."""
    found: Column = (cells & _BITS).astype(np.int64) @ (1 << 7 * np.arange(cells.shape[1], dtype=np.int64))
    return found


def _floats(cells: Matrix) -> Numbers:
    return np.ascontiguousarray(cells).view("<f4")[:, 0].astype(np.float64)


def _doubles(cells: Matrix) -> Numbers:
    return np.ascontiguousarray(cells).view("<f8")[:, 0].astype(np.float64)


_READ = {"int": _varints, "float": _floats, "double": _doubles}
