"""One total of one meter over a month: its readings kept small until all are there, then judged and drawn as intervals."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from metering.intervals import MINUTE_MS, QUARTER_MS, Span
from metering.quality import Quality
from storage.shifts import CUTS, SETTLED, SHIFTING
from verification.evidence.judge import Begins, Dated, Entry, Event, Judge, Point, Unit, position_at

EDGE_TOLERANCE_MS = MINUTE_MS
MAX_GAP_MS = QUARTER_MS + EDGE_TOLERANCE_MS
ESTIMATED, QUESTIONABLE = Quality.ESTIMATED.value, Quality.QUESTIONABLE.value
ADJUSTING = SETTLED | CUTS
"""Kinds of events that the balance lists."""
TOLD = SHIFTING | {"unexplained"}
"""Kinds of events that a pack lists and a replay has to find again."""


class Row(NamedTuple):
    """A closed interval, or the running one."""

    start_ms: int
    opening: int
    closing: int
    coverage_ms: int
    edge_read: bool
    quality: int
    closed: bool


class Reading(NamedTuple):
    """One total as a frame says it."""

    t_ms: int
    raw: int | float
    counts: int
    register: int
    """Base units under the ratio of its time."""
    grain: int
    """Base units of one count, rounded up."""


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
        if not self._known or unit is not self._known[-1]:
            self._known.append(unit)
        self._times.append(reading.t_ms)
        self._registers.append(reading.register)
        self._units.append(len(self._known) - 1)

    def _entries(self) -> Iterator[Entry]:
        """By time, of equal times the smaller first."""
        columns = zip(self._times, self._registers, self._units, strict=True)
        for t, register, unit in sorted(columns):
            yield Entry(t, register, self._known[unit])

    def rows(self) -> Iterator[Row]:
        """The intervals of the month, the running one last."""
        judge = Judge(self._dated, self._begins)
        judge.take(self._entries())
        self._told = _told(judge, self._span)
        if judge.points:
            yield from drawn(judge.points, judge.conflicts, self._span)

    @property
    def told(self) -> Told:
        """What else came out."""
        if self._told is None:
            next(self.rows(), None)
        assert self._told is not None  # noqa: S101  rows sets it before its first one
        return self._told


def _told(judge: Judge, span: Span) -> Told:
    times = [point.t for point in judge.points if point.in_frame]
    times += [candidate.t for candidate in judge.candidates]
    start, end = (
        (_at(times, bisect_right(times, edge) - 1), _at(times, bisect_left(times, edge))) for edge in span
    )
    positions = (position_at(judge.points, edge) for edge in span)
    return Told(tuple(judge.events), (*start, *end), *positions)


def _at(times: Sequence[int], place: int) -> int | None:
    return times[place] if 0 <= place < len(times) else None


def drawn(points: Sequence[Point], conflicts: Sequence[int], span: Span) -> Iterator[Row]:
    """The intervals of a span through points; one in which two readings contradicted each other is questionable."""
    marks = {t - t % QUARTER_MS for t in conflicts}
    start, opening = points[0].t - points[0].t % QUARTER_MS, points[0].position
    coverage = quality = 0
    for (t0, p0, *_), (t, p, before, after, doubt, _) in pairwise(points):
        measured = after - before <= MAX_GAP_MS
        worst = doubt if measured else max(doubt, ESTIMATED)
        while (edge := start + QUARTER_MS) <= t:
            at_edge = p0 + (p - p0) * (edge - t0) // (t - t0)
            if start >= span.end_ms:
                return
            if start >= span.start_ms:
                covered = coverage + (edge - max(t0, start)) * measured
                near = min(edge - before, after - edge) <= EDGE_TOLERANCE_MS
                mark = QUESTIONABLE if start in marks else 0
                yield Row(
                    start, opening, at_edge, covered, near, max(quality, worst, mark), closed=True
                )  # fmt: skip
            start, opening, coverage, quality = edge, at_edge, 0, 0
        if t > start:
            coverage += (t - max(t0, start)) * measured
            quality = max(quality, worst)
    last = points[-1]
    if last.t > start and span.start_ms <= start < span.end_ms:
        mark = QUESTIONABLE if start in marks else 0
        yield Row(start, opening, last.position, coverage, False, max(quality, mark), closed=False)
