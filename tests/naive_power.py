"""The slow, obvious twin of `stream/kernels/power.py`: powers in time order, one exact integral in fractions."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple

from storage.ledger import IntervalRow
from tests.naive import MINUTE, QUARTER, Event, Key, Naive, Shown

DERIVED, QUESTIONABLE = 1, 3


class Read(NamedTuple):
    """A power that counts."""

    t: int
    mw: int
    """What flows the counted way; 0 when it flows back."""
    skipped: bool
    """Whether a power was left out between the one before and this one."""


class Integral:
    """The powers of one meter, in any order."""

    def __init__(self, key: Key, shown: Iterable[Shown]) -> None:
        self.key = key
        self.events: list[Event] = []
        self.reads: list[Read] = []
        self._reversed = False
        self.marks: list[int] = []
        """Where the last power that counts stood when two powers of one time contradicted each other."""
        self._take(sorted(shown, key=lambda s: (s.t, s.register)))

    def _take(self, shown: list[Shown]) -> None:
        skipped, heard = False, -1
        for s in shown:
            power, meter = s.register * s.total.sign, s.total.meter
            self.longest = meter.power_gap_s * 1000
            if s.t == heard:
                self._note("conflicting_reading", s.t, power)
                self.marks += [self.reads[-1].t] if self.reads else []
                continue
            heard = s.t
            grain = ceil(s.total.base_per_count * self._ratio(s))
            if meter.max_power_w is not None and abs(power) > 1100 * meter.max_power_w + grain:
                self._note("power_implausible", s.t, power)
                skipped = True
                continue
            if power < 0 and not self._reversed:
                self._note("power_reversed", s.t, power)
            self._reversed = power < 0
            if self.reads and s.t - self.reads[-1].t > self.longest:
                self._note("power_gap", self.reads[-1].t, self.reads[-1].mw, s.t)
            self.reads.append(Read(s.t, max(power, 0), skipped))
            skipped = False

    def _ratio(self, shown: Shown) -> Fraction:
        meter = shown.total.meter
        later = [c for c in meter.ratio_changes if round(c.at.timestamp() * 1000) < shown.t]
        newest = max(later, key=lambda c: c.at, default=None)
        ct = meter.ct if newest is None else newest.ct
        pts = [c.pt for c in sorted(later, key=lambda c: c.at) if c.pt is not None]
        return ct * (pts[-1] if pts else meter.pt)

    def _note(self, kind: str, t: int, power: int, until: int = 0) -> None:
        self.events.append(Event(kind, *self.key, t, power, 0, until))

    def _steps(self) -> list[tuple[Read, Read]]:
        """Pairs of reads that are integrated between."""
        return [(a, b) for a, b in pairwise(self.reads) if b.t - a.t <= self.longest]

    def position(self, t: int) -> int:
        """Wh up to a time, rounded down."""
        mw_ms = sum(
            (Fraction(a.mw + b.mw, 2) * (min(t, b.t) - a.t) for a, b in self._steps() if a.t < t), Fraction(0)
        )
        return floor(mw_ms / 3_600_000_000)

    def rows(self, naive: Naive) -> dict[tuple[str, str, int], IntervalRow]:
        """Every interval with a read in it, or between two reads that are integrated."""
        if not self.reads:
            return {}
        first, last = self.reads[0].t, self.reads[-1].t
        starts = range(first // QUARTER * QUARTER, last, QUARTER)
        rows = (self._row(start, naive) for start in starts)
        return {(*self.key, row.start_ms): row for row in rows if row is not None}

    def _row(self, start: int, naive: Naive) -> IntervalRow | None:
        end = start + QUARTER
        around = [(a, b) for a, b in pairwise(self.reads) if a.t < end and b.t > start]
        measured = [(a, b) for a, b in self._steps() if a.t < end and b.t > start]
        if not measured and not any(start < r.t < end for r in self.reads):
            return None
        opening, closing = self.position(start), self.position(end)
        factor, emission = naive.emission(*self.key, start, opening, closing)
        marks = [QUESTIONABLE for t in self.marks if start <= t < end]
        doubts = [QUESTIONABLE for a, b in around if b.skipped or (a, b) not in measured]
        through = [r.t for a, b in around if a.t < end <= b.t for r in (a, b)]
        return IntervalRow(
            *self.key, start, end, 0, 1, opening, closing, emission, factor,
            coverage_ms=sum(min(b.t, end) - max(a.t, start) for a, b in measured),
            edge_read=any(abs(end - t) <= MINUTE for t in through),
            quality=max([DERIVED, *marks, *doubts]),
            closed=end <= self.reads[-1].t,
        )  # fmt: skip
