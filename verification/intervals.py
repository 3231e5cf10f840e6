"""A total's stored intervals, gone through once: all that accounting and checks ask of them, without keeping them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from metering.intervals import HOUR_MS, QUARTER_MS, Span, local_day
from metering.quality import Quality
from storage.ledger import CELLS

KEPT = 20
"""Odd intervals kept as evidence; all are counted."""
_PLACES = 10_000
_ESTIMATED = int(Quality.ESTIMATED)

Column = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Odd:
    """An interval that a check asks about."""

    start_ms: int
    end_ms: int
    energy: int


@dataclass(frozen=True, slots=True)
class OddOnes:
    """How many, and the first of them."""

    count: int = 0
    first: tuple[Odd, ...] = ()


@dataclass(frozen=True, slots=True)
class DayEnergy:
    """One local day of the span: the sum of its stored intervals, and whether closed ones cover it without a hole."""

    span: Span
    energy: int
    whole: bool
    first: bool
    """Whether the total's first stored interval lies in it."""


@dataclass(frozen=True, slots=True)
class PeriodSum:
    """What belongs to one period of the day (尖峰平谷深谷)."""

    energy: int = 0
    estimated: int = 0
    """Energy whose shape, and so whose period, is estimated or in question."""
    peak: Odd | None = None
    """The valid quarter hour with the most energy."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The intervals of one total over a span."""

    count: int
    start_ms: int
    end_ms: int
    opening: int
    closing: int
    """Positions at the first interval's start and the last one's end; 0 when there is none."""
    energy: int
    whole: bool
    """Closed intervals cover the span without a hole."""
    estimated: int
    """Energy whose shape over its intervals is estimated, or in question."""
    points_read: int
    points_expected: int
    days: tuple[DayEnergy, ...]
    longest_gap: Span | None
    """The longest run of grid points without a read."""
    peak: Odd | None
    """The valid quarter hour with the most energy."""
    falling: OddOnes
    leaping: OddOnes
    """Above what the limit allows in their time."""
    measured: int = 0
    """Energy of the closed intervals alone: what a running one holds may still change."""
    holes: tuple[Span, ...] = ()
    """Stretches that no closed interval covers."""
    periods: dict[int, PeriodSum] | None = None
    """By the code of the period (metering.periods.CODES), for every code that the span has; None without a calendar."""

    @property
    def completeness(self) -> float:
        """Points read ÷ expected, rounded down to 4 places: 1.0 means every point."""
        return self.points_read * _PLACES // self.points_expected / _PLACES


@dataclass(frozen=True, slots=True)
class _Rows:
    """The newest revisions in time order, one column each, in base units and UTC milliseconds."""

    start: Column
    end: Column
    opening: Column
    closing: Column
    read: Column
    """A valid read lies near its end, and it is closed."""
    sure: Column
    """Neither estimated nor in question."""
    closed: Column

    @property
    def energy(self) -> Column:
        return self.closing - self.opening


@dataclass(frozen=True, slots=True)
class _Quarters:
    """Quarter hours that have intervals, in time order."""

    start: Column
    energy: Column
    estimated: Column
    known: Mask
    """All of it closed and sure."""


def days_of(span: Span, zone: ZoneInfo) -> list[Span]:
    """The local days that a span touches, cut at its edges."""
    days, at = [], span.start_ms
    while at < span.end_ms:
        end = min(local_day(at, zone).end_ms, span.end_ms)
        days.append(Span(at, end))
        at = end
    return days


def summarize(
    cells: Iterable[Sequence[int]],
    span: Span,
    days: list[Span],
    limit_w: Fraction | None = None,
    codes: bytes | None = None,
) -> Summary:
    """The summary of a total's intervals, each as `storage.ledger.CELLS` in the order of time, part and revision.

    `days` are those of `days_of`; above `limit_w` × time a rise is odd; `codes` is the period of every quarter.
    Columns, because a close sums up millions of intervals: 0.9 µs each instead of 9. Sums are of 64-bit integers, as SQLite's own are.
    """
    rows = newest(cells)
    many, energy = len(rows.start), rows.energy
    reads, quarters = _reads(rows, span.start_ms), _quarters(rows)
    joined = many > 0 and bool(rows.start[0] == span.start_ms and (rows.start[1:] == rows.end[:-1]).all())
    return Summary(
        count=many,
        start_ms=int(rows.start[0]) if many else span.start_ms,
        end_ms=int(rows.end[-1]) if many else span.start_ms,
        opening=int(rows.opening[0]) if many else 0,
        closing=int(rows.closing[-1]) if many else 0,
        energy=int(energy.sum()),
        whole=joined and bool(rows.closed.all() and rows.end[-1] == span.end_ms),
        estimated=int(energy[rows.sure == 0].sum()),
        points_read=len(reads) - 1,
        points_expected=(span.end_ms - span.start_ms) // QUARTER_MS,
        days=tuple(_days(rows, days)),
        longest_gap=_longest_gap(reads, span.end_ms),
        peak=_peak(quarters, quarters.known),
        falling=_odd_ones(rows, energy < 0),
        leaping=_odd_ones(rows, _leaps(rows, limit_w)),
        measured=int(energy[rows.closed == 1].sum()),
        holes=tuple(_holes(rows, span)),
        periods=None if codes is None else _periods(quarters, span, codes),
    )


def newest(cells: Iterable[Sequence[int]]) -> _Rows:
    """The newest revisions of intervals given as for `summarize`, by column."""
    flat = np.fromiter(chain.from_iterable(cells), dtype=np.int64).reshape(-1, len(CELLS)).T
    superseded = np.zeros(flat.shape[1], dtype=bool)
    superseded[:-1] = (flat[:2, 1:] == flat[:2, :-1]).all(axis=0)
    start, _part, end, opening, closing, read, quality, closed = np.ascontiguousarray(flat[:, ~superseded])
    return _Rows(start, end, opening, closing, read & closed, (quality < _ESTIMATED) & 1, closed)


def _reads(rows: _Rows, start_ms: int) -> Column:
    """The span's start and every later grid point with a read, each once."""
    at_point = (rows.read == 1) & (rows.end % QUARTER_MS == 0) & (rows.end > start_ms)
    return np.unique(np.append(rows.end[at_point], start_ms))


def _longest_gap(reads: Column, end_ms: int) -> Span | None:
    """The first of the longest: it ends a quarter hour before the read after it, or with the span."""
    ends = np.append(reads[1:] - QUARTER_MS, end_ms)
    at = int(np.argmax(ends - reads))
    return Span(int(reads[at]), int(ends[at])) if ends[at] > reads[at] else None


def _holes(rows: _Rows, span: Span) -> Iterator[Span]:
    """Before, between and after the closed intervals."""
    closed = rows.closed == 1
    ends = np.append(span.start_ms, rows.end[closed])
    starts = np.append(rows.start[closed], span.end_ms)
    for at in np.flatnonzero(ends < starts).tolist():
        yield Span(int(ends[at]), int(starts[at]))


def holes_between(runs: Sequence[Span], span: Span) -> list[Span]:
    """What lies before, between and after some runs; of holes, the runs."""
    edges = [span.start_ms, *(edge for run in runs for edge in run), span.end_ms]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [Span(start, end) for start, end in pairs if start < end]


def on_quarters(gaps: Iterable[Span], span: Span) -> list[Span]:
    """The quarter hours of a span that gaps, in time order, reach into, as stretches."""
    found: list[Span] = []
    for gap in gaps:
        start = max(gap.start_ms - gap.start_ms % QUARTER_MS, span.start_ms)
        end = min(gap.end_ms + -gap.end_ms % QUARTER_MS, span.end_ms)
        if found and start <= found[-1].end_ms:
            start, end = found[-1].start_ms, max(end, found.pop().end_ms)
        if start < end:
            found.append(Span(start, end))
    return found


def _quarters(rows: _Rows) -> _Quarters:
    """Parts of a quarter hour lie one after another."""
    quarter = rows.start - rows.start % QUARTER_MS
    first = np.flatnonzero(np.diff(quarter, prepend=-1))
    if not len(first):
        return _Quarters(quarter, quarter, quarter, quarter > 0)
    energy, guessed = rows.energy, rows.energy * (1 - rows.sure)
    known = np.minimum.reduceat(rows.closed & rows.sure, first) == 1
    return _Quarters(quarter[first], np.add.reduceat(energy, first), np.add.reduceat(guessed, first), known)


def _peak(quarters: _Quarters, chosen: Mask) -> Odd | None:
    """The first of the largest of those chosen."""
    places = np.flatnonzero(chosen)
    if not len(places):
        return None
    best = places[np.argmax(quarters.energy[places])]
    start = int(quarters.start[best])
    return Odd(start, start + QUARTER_MS, int(quarters.energy[best]))


def _periods(quarters: _Quarters, span: Span, codes: bytes) -> dict[int, PeriodSum]:
    of = np.frombuffer(codes, dtype=np.uint8)[(quarters.start - span.start_ms) // QUARTER_MS]
    return {
        code: PeriodSum(
            int(quarters.energy[of == code].sum()),
            int(quarters.estimated[of == code].sum()),
            _peak(quarters, quarters.known & (of == code)),
        )
        for code in sorted(set(codes))
    }


def _leaps(rows: _Rows, limit_w: Fraction | None) -> Mask:
    """Rises above the limit: chosen in floating point with room to spare, then compared in integers."""
    found = np.zeros(len(rows.start), dtype=bool)
    if limit_w is None:
        return found
    numerator, denominator = limit_w.as_integer_ratio()
    rough = rows.energy * float(HOUR_MS) > float(limit_w) * (rows.end - rows.start) * (1 - 1e-9)
    for at in np.flatnonzero(rough & (rows.energy >= 0)).tolist():
        energy, length = int(rows.energy[at]), int(rows.end[at] - rows.start[at])
        found[at] = energy * HOUR_MS * denominator > numerator * length
    return found


def _odd_ones(rows: _Rows, chosen: Mask) -> OddOnes:
    places = np.flatnonzero(chosen)
    columns = (column[places[:KEPT]].tolist() for column in (rows.start, rows.end, rows.energy))
    return OddOnes(len(places), tuple(Odd(*row) for row in zip(*columns, strict=True)))


def _days(rows: _Rows, days: list[Span]) -> Iterator[DayEnergy]:
    cuts = np.searchsorted(rows.start, [*(day.start_ms for day in days), days[-1].end_ms]).tolist()
    first_ms = int(rows.start[0]) if len(rows.start) else days[-1].end_ms
    covered = (rows.end - rows.start) * rows.closed
    for day, (low, high) in zip(days, pairwise(cuts), strict=True):
        whole = int(covered[low:high].sum()) == day.end_ms - day.start_ms
        energy = int(rows.energy[low:high].sum())
        yield DayEnergy(day, energy, whole, day.start_ms <= first_ms < day.end_ms)
