"""Which readings of a total count, and what happened where they do not: decision record 0004 in plain Python.

The standard library alone, so that `recompute.py` in every pack is this file and `recompute_stdlib.py` together. Shares no
line with `stream/`. A *register* is what the meter shows in base units under the ratio of its time; a *position* counts on
through roll-over, reset, exchange and ratio change: position = register + offset.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

BEYOND = 1 << 62
"""Registers and positions stay below it."""
MOST_POWER = 1 << 50
HOUR_IN_MS = 3_600_000
MARGIN_OF_TENTHS = 11
"""A rise is plausible up to 1.1 × rated power × time, and one count."""
WITNESSES = 3
"""Totals that agree with each other settle what happened."""
DOUBTFUL = 3
"""Quality QUESTIONABLE."""


class Unit(NamedTuple):
    """What a birth declares of a total's count, on the meter's own side."""

    base: Fraction
    """Base units per count."""
    modulus: int = 0
    """Counts at which it rolls over; 0: unknown."""
    sign: int = 1
    """Of a power, −1: what the meter calls positive flows the other way."""


class Swap(NamedTuple):
    """A declared exchange: both displays in base units on the meter's own side."""

    at_ms: int
    closing: Fraction
    opening: Fraction


class Dated(NamedTuple):
    """What the registry declares of a total; the ratio of a segment holds after its moment."""

    segments: tuple[tuple[int, Fraction], ...]
    """(since ms, ratio), the first since −1."""
    swaps: tuple[Swap, ...] = ()
    per_hour: int = 0
    """Base units per hour at rated power; 0: unknown."""
    gap_ms: int = 0
    """Of a total that is integrated from power: powers further apart do not tell what flowed between."""

    def segment_at(self, t: int) -> int:
        """The segment of a reading; one of the very moment of a change belongs to the segment before."""
        return bisect_left(self.segments, t, key=lambda segment: segment[0]) - 1

    def within(self, segment: int) -> int:
        """What a register of a segment stays below: under every earlier ratio, too, it stays below 2^62; a power below 2^50 mW."""
        if self.gap_ms:
            return MOST_POWER
        ratio = self.segments[segment][1]
        return min(floor(BEYOND * ratio / earlier) for _since, earlier in self.segments[: segment + 1])


class Begins(NamedTuple):
    """The last total before the month that counts."""

    t: int
    register: int
    position: int
    offset: int


class Entry(NamedTuple):
    """A reading of a total."""

    t: int
    register: int
    unit: Unit


class Point(NamedTuple):
    """A total that counts, or where it stood at a declared moment: intervals are drawn through these."""

    t: int
    position: int
    read_before: int
    """Times of the reads around the way that leads here."""
    read_after: int
    doubt: int
    """Least quality of that way."""
    in_frame: bool
    """A frame says it: neither an exchange nor a change of ratio."""


class Event(NamedTuple):
    """What happened; `until` is the time of the last reading that it is about."""

    t: int
    kind: str
    register: int
    adjustment: int
    until: int


class Judge:
    """Makes the readings of one total, in time order, into points and events."""

    def __init__(self, dated: Dated, begins: Begins | None = None) -> None:
        self.points: list[Point] = []
        self.events: list[Event] = []
        self.conflicts: list[int] = []
        """Where the total stood when two readings of one time contradicted each other."""
        self.candidates: list[Entry] = []
        """What does not fit the last point, each fitting the one before it; at the end: what is still pending."""
        self.offset = 0
        self._dated, self._swaps = dated, sorted(dated.swaps)
        self._segment = 0
        self._held = self._blocked = False
        self._heard = self._contradicted = -1, -1
        """The newest reading, and the newest that contradicted another of its time."""
        self._terms: dict[tuple[Unit, int], tuple[int, int]] = {}
        if begins is not None:
            self._begin(begins)

    def _begin(self, begins: Begins) -> None:
        self.points.append(Point(begins.t, begins.position, begins.t, begins.t, 0, in_frame=True))
        self.offset, self._segment = begins.offset, self._dated.segment_at(begins.t)
        self._held = begins.register + begins.offset < begins.position
        self._heard = begins.t, begins.register
        self._swaps = [swap for swap in self._swaps if swap.at_ms >= begins.t]

    def take(self, entries: Iterable[Entry]) -> None:
        """Readings in the order of their time, of equal times the smaller register first; of equal ones the first counts."""
        changing = len(self._dated.segments) > 1
        for new in entries:
            while self._swaps and self._swaps[0].at_ms < new.t:
                self._exchange(self._swaps.pop(0))
            if changing or self.candidates or not self._simple(new):
                self._next(new)

    def _simple(self, new: Entry) -> bool:
        """The usual reading, which is most of them: newer, no lower, no more than the rated power allows."""
        if not self.points or new.t <= self._heard[0]:
            return False
        last = self.points[-1]
        position, per_hour = new.register + self.offset, self._dated.per_hour
        rise, t = position - last.position, new.t
        if rise < 0 or (per_hour and rise > per_hour * MARGIN_OF_TENTHS * (t - last.t) // (10 * HOUR_IN_MS)):
            return False
        self._heard, self._held = (t, new.register), False
        self.points.append(Point(t, position, last.t, t, 0, True))
        return True

    def _next(self, new: Entry) -> None:
        if not self.points:
            self._begin(Begins(new.t, new.register, new.register, 0))
        elif new.t <= self._heard[0]:
            self._heard_before(new)
        else:
            self._heard = new.t, new.register
            self._weigh(new)

    def _heard_before(self, new: Entry) -> None:
        """Of two readings of one time the smaller counts."""
        found = new.t, new.register
        if new.t == self._heard[0] and found not in {self._heard, self._contradicted}:
            self._contradicted = found
            self._note("conflicting_reading", new.t, new.register)
            self.conflicts.append(self.points[-1].t)

    def _weigh(self, new: Entry) -> None:
        last, shown = self.points[-1], self._under(new)
        rise = shown + self.offset - last.position
        fits = self._plausible(new, rise, new.t - last.t)
        follows = bool(self.candidates) and self._follows(new)
        settled = self._blocked or (self._dated.per_hour > 0 and len(self.candidates) > 1)
        if fits and not (follows and settled):
            self._drop()
            self._accept(new, self._dated.segment_at(new.t))
            return
        if not follows:
            self._drop()
            self._note("pending_fall" if rise < 0 else "pending_rise", new.t, shown)
        self.candidates.append(new)
        if len(self.candidates) == WITNESSES and not self._blocked:
            self._settle(new)

    def _follows(self, new: Entry) -> bool:
        witness = self.candidates[-1]
        return self._plausible(new, self._under(new) - self._under(witness), new.t - witness.t)

    def _under(self, shown: Entry) -> int:
        """The register under the last point's ratio, rounded down at each change on the way back."""
        register, segments = shown.register, self._dated.segments
        for later in range(self._dated.segment_at(shown.t), self._segment, -1):
            register = floor(register * segments[later - 1][1] / segments[later][1])
        return register

    def _counted(self, shown: Entry) -> tuple[int, int]:
        """(one count rounded up, modulus or 0) in base units under the ratio of the reading's time."""
        key = shown.unit, self._dated.segment_at(shown.t)
        if key not in self._terms:
            worth = shown.unit.base * self._dated.segments[key[1]][1]
            modulus = floor(shown.unit.modulus * worth)
            self._terms[key] = ceil(worth), modulus if modulus < BEYOND else 0
        return self._terms[key]

    def _limit(self, elapsed: int) -> int:
        return self._dated.per_hour * MARGIN_OF_TENTHS * elapsed // (10 * HOUR_IN_MS)

    def _plausible(self, of: Entry, rise: int, elapsed: int) -> bool:
        grain, _modulus = self._counted(of)
        return rise >= -grain and (not self._dated.per_hour or rise <= self._limit(elapsed) + grain)

    def _note(self, kind: str, t: int, register: int, adjustment: int = 0, until: int = 0) -> None:
        self.events.append(Event(t, kind, register, adjustment, until or t))

    def _drop(self) -> None:
        """What was pending has proved transient."""
        if self.candidates:
            first, last = self.candidates[0], self.candidates[-1]
            self._note("transient_dropped", first.t, self._under(first), until=last.t)
        self.candidates, self._blocked = [], False

    def _settle(self, newest: Entry) -> None:
        """Enough witnesses: what happened is named and they count from there on; or it is left to a person."""
        first, last = self.candidates[0], self.points[-1]
        register, kind, adjustment = self._under(first), "unexplained", 0
        if self._dated.segment_at(newest.t) == self._segment:
            before = last.position - self.offset
            kind, adjustment = self._classify(newest, before, register, first.t - last.t)
        self._note(kind, first.t, register, adjustment)
        if kind == "unexplained":
            self._blocked = True
            return
        self.offset += adjustment
        doubt = 0 if kind == "rollover" else DOUBTFUL
        for shown in self.candidates:
            last = self.points[-1]
            position = max(shown.register + self.offset, last.position)
            self.points.append(Point(shown.t, position, last.t, shown.t, doubt, in_frame=True))
            doubt = 0
        self._held = self.candidates[-1].register + self.offset < self.points[-1].position
        self.candidates = []

    def _classify(self, of: Entry, last: int, found: int, elapsed: int) -> tuple[str, int]:
        """(kind, adjustment) of a register that went from `last` to `found` and stayed there."""
        fall, bounded = last - found, self._dated.per_hour > 0
        _grain, modulus = self._counted(of)
        if 0 < fall <= modulus and last <= modulus:
            rise = modulus - fall
            if self._plausible(of, rise, elapsed) if bounded else rise <= modulus // 10:
                return "rollover", modulus
        if fall <= 0 or found < 0:
            return "unexplained", 0
        if bounded and fall <= self._limit(HOUR_IN_MS):
            return "step_back", fall
        if self._plausible(of, found, elapsed) if bounded else found <= last // 100:
            return "reset", last
        return "unexplained", 0

    def _accept(self, new: Entry, target: int, *, in_frame: bool = True) -> None:
        """To a good total, through every change of ratio on the way: each cuts the energy at its moment."""
        last, shown = self.points[-1], self._under(new)
        left = shown + self.offset - last.position
        if left < 0 and not self._held:
            self._note("last_digit", new.t, shown)
        self._held, left = left < 0, max(left, 0)
        if target == self._segment:
            self.points.append(Point(new.t, last.position + left, last.t, new.t, 0, in_frame))
            return
        at, segments = last, self._dated.segments
        for i in range(self._segment + 1, target + 1):
            since, ratio = segments[i]
            part = left * (since - at.t) // (new.t - at.t)
            at = Point(since, at.position + part, last.t, new.t, 0, in_frame=False)
            self.points.append(at)
            left = floor((left - part) * ratio / segments[i - 1][1])
        position = at.position + left
        self._note("ratio_change", at.t, new.register, position - new.register - self.offset)
        self.offset, self._segment, self._held = position - new.register, target, False
        self.points.append(Point(new.t, position, last.t, new.t, 0, in_frame))

    def _exchange(self, swap: Swap) -> None:
        """The old meter's closing total counts as read; the new meter counts on from its opening total."""
        if not self.points:
            return
        since: Sequence[int] = [segment[0] for segment in self._dated.segments]
        before, after = bisect_left(since, swap.at_ms) - 1, bisect_right(since, swap.at_ms) - 1
        unit = Unit(Fraction(1, swap.closing.denominator))
        register = floor(swap.closing * self._dated.segments[before][1])
        closing = Entry(swap.at_ms, register, unit)
        if self.candidates and not self._blocked and self._follows(closing):
            self._settle(closing)
        self._drop()
        self._accept(closing, before, in_frame=False)
        position, opening = self.points[-1].position, floor(swap.opening * self._dated.segments[after][1])
        self._note("exchange", swap.at_ms, opening, position - opening - self.offset)
        self.offset, self._segment, self._held = position - opening, after, False
        self._heard = swap.at_ms, BEYOND


def position_at(points: Sequence[Point], t: int) -> int | None:
    """Where a total stood: linear between the points around a time, rounded down; None where none are around it."""
    place = bisect_left(points, t, key=lambda point: point.t)
    if place == len(points):
        return None
    after = points[place]
    if after.t == t:
        return after.position
    if place == 0:
        return None
    before = points[place - 1]
    return before.position + (after.position - before.position) * (t - before.t) // (after.t - before.t)
