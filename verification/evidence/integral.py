"""Energy from power, again: decision record 0023 in plain Python, for meters without totals.

The standard library alone, so that `recompute.py` in every pack has it too. Shares no line with `stream/`. Between two reads no
further apart than the declared gap the energy is (p0 + p1) / 2 × time; nothing is integrated over a longer one. Sums are exact
integers of 2 · mW · ms; a position is such a sum and the ledger's own share before the first read, ÷ 7 200 000 000, rounded down.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from verification.evidence.judge import MARGIN_OF_TENTHS, Dated, Entry, Event

PER_WH = 2 * 3_600_000 * 1000
"""2 · mW · ms in a watt-hour."""


class Power(NamedTuple):
    """A power that counts."""

    t: int
    mw: int
    """What flows the counted way; 0 when it flows back."""
    skipped: bool
    """Whether a power that the meter cannot carry was left out since the one before."""


class Integral:
    """Makes the powers of one meter, in time order, into sums."""

    def __init__(self, dated: Dated) -> None:
        self.points: list[Power] = []
        self.sums: list[int] = []
        """Up to each of the points."""
        self.heard: list[int] = []
        """Times of all powers, those that were left out too."""
        self.events: list[Event] = []
        self.conflicts: list[int] = []
        """Where the last power that counts stood when two powers of one time contradicted each other."""
        self.before = 0
        """What the ledger's position has of the time before the first point: see `anchor`."""
        self._dated = dated
        self._skipped = False
        self._registers: set[int] = set()

    def take(self, entries: Iterable[Entry]) -> None:
        """Powers in mW in the order of their time, of equal times the smaller register first: that one counts."""
        for new in entries:
            if self.heard and new.t <= self.heard[-1]:
                self._contradict(new)
                continue
            self.heard.append(new.t)
            self._registers = {new.register}
            power, most = new.register * new.unit.sign, self._most(new)
            if most is not None and abs(power) > most:
                self._skipped = True
                continue
            self._count(Power(new.t, max(power, 0), self._skipped))
            self._skipped = False

    def _contradict(self, new: Entry) -> None:
        if new.t == self.heard[-1] and new.register not in self._registers:
            self._registers.add(new.register)
            self.events.append(Event(new.t, "conflicting_reading", new.register * new.unit.sign, 0, new.t))
            self.conflicts += [point.t for point in self.points[-1:]]

    def _most(self, new: Entry) -> int | None:
        """MW that the meter can carry: 1.1 × its rated power, and one count; None where that is not known."""
        if not self._dated.per_hour:
            return None
        ratio = self._dated.segments[self._dated.segment_at(new.t)][1]
        return self._dated.per_hour * MARGIN_OF_TENTHS * 100 + ceil(new.unit.base * ratio)

    def _count(self, new: Power) -> None:
        last = self.points[-1] if self.points else new
        known = self.sums[-1] if self.sums else 0
        self.sums.append(known + self.both(last, new) * (new.t - last.t))
        self.points.append(new)

    def both(self, a: Power, b: Power) -> int:
        """p0 + p1 in mW of two powers beside each other; 0 over a gap."""
        return a.mw + b.mw if self.joined(a, b) else 0

    def joined(self, a: Power, b: Power) -> bool:
        """Whether the energy between two powers beside each other is known."""
        return b.t - a.t <= self._dated.gap_ms

    def until(self, t: int) -> int:
        """The sum up to a time; before the first point 0, after the last one it stays."""
        place = bisect_left(self.points, t, key=lambda point: point.t)
        if place == len(self.points):
            return self.sums[-1] if self.sums else 0
        if place == 0:
            return 0
        a, b = self.points[place - 1], self.points[place]
        return self.sums[place - 1] + self.both(a, b) * (t - a.t)

    def at(self, t: int) -> int:
        """Wh up to a time, rounded down."""
        return (self.before + self.until(t)) // PER_WH

    def anchor(self, told: Iterable[tuple[int, int]]) -> None:
        """Where the ledger stood at some times, in Wh: one share from before the first point has to explain all of them.

        Each leaves a range for it. The first one that contradicts those before stays a difference.
        """
        low: int | None = None
        high = 0
        for t, position in told:
            least = position * PER_WH - self.until(t)
            if low is None:
                low, high = least, least + PER_WH - 1
            elif least > high or least + PER_WH - 1 < low:
                break
            else:
                low, high = max(low, least), min(high, least + PER_WH - 1)
        self.before = low or 0

    def gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """What of a time nobody knows: before the first point, between two that are too far apart, after the last."""
        first, last = (self.points[0].t, self.points[-1].t) if self.points else (end, end)
        apart = [(a.t, b.t) for a, b in pairwise(self.points) if not self.joined(a, b)]
        for since, until in ((start, first), *apart, (last, end)):
            if since < until and since < end and until > start:
                yield since, until
