"""One total of one meter over a month: its readings kept small until all are there, then judged and drawn as intervals."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from metering.intervals import Span
from storage.shifts import CUTS, SETTLED, SHIFTING
from verification.evidence.judge import HOUR_IN_MS, MARGIN_OF_TENTHS, Begins, Dated, Entry, Event, Judge, Unit
from verification.evidence.track import LARGEST, NO_ROWS, Column, Rows, Track

ADJUSTING = SETTLED | CUTS
"""Kinds of events that the balance lists."""
TOLD = SHIFTING | {"unexplained"}
"""Kinds of events that a pack lists and a replay has to find again."""


class Reading(NamedTuple):
    """One total as a frame says it."""

    t_ms: int
    raw: int | float
    counts: int
    register: int
    """Base units under the ratio of its time."""
    grain: int
    """Base units of one count, rounded up."""
    shown: int
    """Base units as a balance shows them: of a power W, while its register has mW."""


class Told(NamedTuple):
    """What judging a total came to, its intervals apart."""

    events: tuple[Event, ...]
    nearest: tuple[int | None, int | None, int | None, int | None]
    """Times of the last reading at or before, and the first at or after, the month's start; the same for its end.

    Readings that proved transient are none; of those still pending nobody knows yet.
    """
    opening: int | None
    """Position at the month's start; None where no two totals that count enclose it."""
    closing: int | None
    """At its end."""
    gaps: tuple[Span, ...] = ()
    """Of a total that is integrated from power: what of the month nobody knows."""


NOTHING_TOLD = Told((), (None, None, None, None), None, None)


class Total:
    """Feed it readings in any order; ask its rows, then what else it has to tell."""

    def __init__(self, span: Span, dated: Dated, begins: Begins | None) -> None:
        self._span, self._dated, self._begins = span, dated, begins
        self._from = (begins.t, begins.register) if begins is not None else (-1, 0)
        self._times, self._registers, self._units = array("q"), array("q"), array("l")
        self._known: list[Unit] = []
        self._told: Told | None = None

    @classmethod
    def of(cls, told: Told) -> "Total":
        """One that another process has judged."""
        found = cls(Span(0, 0), Dated(()), None)
        found._told = told
        return found

    def feed(self, reading: Reading, unit: Unit) -> None:
        """A reading; those up to the one that the month begins with are left out."""
        if (reading.t_ms, reading.register) <= self._from:
            return
        self._times.append(reading.t_ms)
        self._registers.append(reading.register)
        self._units.append(self._place_of(unit))

    def feed_all(self, times: Column, registers: Column, unit: Unit) -> None:
        """Readings of one unit."""
        first, register = self._from
        later = (times > first) | ((times == first) & (registers > register))
        self._times.frombytes(times[later].tobytes())
        self._registers.frombytes(registers[later].tobytes())
        self._units.extend([self._place_of(unit)] * int(later.sum()))

    def _place_of(self, unit: Unit) -> int:
        if not self._known or unit is not self._known[-1]:
            self._known.append(unit)
        return len(self._known) - 1

    def _entries(self) -> Iterator[Entry]:
        """By time, of equal times the smaller first."""
        columns = zip(self._times, self._registers, self._units, strict=True)
        for t, register, unit in sorted(columns):
            yield Entry(t, register, self._known[unit])

    def rows(self) -> Rows:
        """The intervals of the month, the running one last."""
        track = self._plain()
        if track is not None:
            self._told = _told(track, track.t.tolist(), (), self._span)
            return track.rows(self._span)
        judge = Judge(self._dated, self._begins)
        judge.take(self._entries())
        if not judge.points:
            self._told = NOTHING_TOLD
            return NO_ROWS
        times = [point.t for point in judge.points if point.in_frame]
        times += [candidate.t for candidate in judge.candidates]
        track = Track.through(judge.points)
        self._told = _told(track, times, judge.events, self._span)
        return track.rows(self._span, judge.conflicts)

    def _plain(self) -> Track | None:
        """The points of a usual month, in which nothing has to be judged: each reading newer, none lower, none above the rated power."""
        order = np.argsort(self._times)
        t, register = np.array(self._times, np.int64)[order], np.array(self._registers, np.int64)[order]
        begins = self._begins
        if self._dated.swaps or len(self._dated.segments) > 1 or not len(t):
            return None
        if begins is None:
            return Track.read(t, register) if self._rises(t, register) else None
        t, register = np.append(begins.t, t), np.append(begins.position, register + begins.offset)
        return Track.read(t, register) if self._rises(t, register) else None

    def _rises(self, t: Column, position: Column) -> bool:
        elapsed, rise, per_hour = np.diff(t), np.diff(position), self._dated.per_hour * MARGIN_OF_TENTHS
        if (elapsed <= 0).any() or (rise < 0).any():
            return False
        if not per_hour or not len(t):
            return True
        if int(elapsed.max(initial=0)) * per_hour >= LARGEST:
            return False
        return bool((rise <= per_hour * elapsed // (10 * HOUR_IN_MS)).all())

    @property
    def told(self) -> Told:
        """What else came out."""
        if self._told is None:
            self.rows()
        assert self._told is not None  # noqa: S101  rows sets it
        return self._told


def _told(track: Track, times: Sequence[int], events: Sequence[Event], span: Span) -> Told:
    return Told(tuple(events), nearest(times, span), track.at(span.start_ms), track.at(span.end_ms))


def nearest(times: Sequence[int], span: Span) -> tuple[int | None, int | None, int | None, int | None]:
    """The last of some times at or before, and the first at or after, a span's start; the same for its end."""
    start, end = (
        (_at(times, bisect_right(times, edge) - 1), _at(times, bisect_left(times, edge))) for edge in span
    )
    return *start, *end


def _at(times: Sequence[int], place: int) -> int | None:
    return times[place] if 0 <= place < len(times) else None
