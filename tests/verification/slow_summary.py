"""The summary of a total's intervals, one by one in plain Python: the slow twin of `verification.intervals.summarize`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from metering.intervals import HOUR_MS, QUARTER_MS, Span
from metering.quality import Quality
from storage.ledger import CELLS, IntervalRow
from verification.intervals import KEPT, DayEnergy, Odd, OddOnes, Summary

_ESTIMATED = int(Quality.ESTIMATED)


def cells(row: IntervalRow) -> tuple[int, ...]:
    """An interval as `LedgerReader.cells` gives it."""
    return tuple(int(getattr(row, name)) for name in CELLS)


@dataclass(slots=True)
class _Pass:
    """What one pass remembers."""

    span: Span
    days: list[Span]
    limit: tuple[int, int] | None
    """Numerator and denominator in W: whole numbers, because this is asked of every interval."""
    at_ms: int = 0
    covered_ms: int = 0
    """Up to here closed intervals cover, or a hole was noted."""
    holes: list[Span] = field(default_factory=list)
    count: int = 0
    first: IntervalRow | None = None
    last: IntervalRow | None = None
    energy: int = 0
    measured: int = 0
    estimated: int = 0
    whole: bool = True
    points: int = 0
    read_ms: int = 0
    gap: Span | None = None
    quarter_ms: int = -1
    """Start of the running quarter hour: its parts lie one after another."""
    quarter_energy: int = 0
    quarter_known: bool = False
    peak: Odd | None = None
    by_day: list[tuple[int, int]] = field(default_factory=list)
    """(energy, closed milliseconds without a hole before them) per day."""
    odd: dict[str, list[Odd]] = field(default_factory=lambda: {"falling": [], "leaping": []})
    odd_count: dict[str, int] = field(default_factory=lambda: {"falling": 0, "leaping": 0})


def summarize(
    rows: Iterable[IntervalRow], span: Span, days: list[Span], limit_w: Fraction | None = None
) -> Summary:
    """The summary of rows in time order. `days` are those of `days_of`; above `limit_w` × time a rise is odd."""
    limit = None if limit_w is None else limit_w.as_integer_ratio()
    seen = _Pass(span, days, limit, at_ms=span.start_ms, read_ms=span.start_ms, covered_ms=span.start_ms)
    seen.by_day = [(0, 0)] * len(days)
    day = 0
    for row in rows:
        while row.start_ms >= days[day].end_ms:
            day += 1
        _take(seen, row, day)
    _end_gap(seen, span.end_ms)
    _end_quarter(seen)
    if seen.covered_ms < span.end_ms:
        seen.holes.append(Span(seen.covered_ms, span.end_ms))
    return _summary(seen)


def _take(seen: _Pass, row: IntervalRow, day: int) -> None:
    """One interval."""
    start, end, closed = row.start_ms, row.end_ms, row.closed
    energy = row.closing - row.opening
    if seen.first is None:
        seen.first = row
    seen.last = row
    seen.count += 1
    seen.energy += energy
    known, covered = seen.by_day[day]
    seen.by_day[day] = known + energy, covered + (end - start if closed else 0)
    if start != seen.at_ms or not closed:
        seen.whole = False
    seen.at_ms = end
    if closed:
        if start > seen.covered_ms:
            seen.holes.append(Span(seen.covered_ms, start))
        seen.covered_ms = end
        seen.measured += energy
    if row.quality >= _ESTIMATED:
        seen.estimated += energy
    if row.edge_read and closed and end % QUARTER_MS == 0:
        _read_at(seen, end)
    limit = seen.limit
    if energy < 0 or (limit is not None and energy * HOUR_MS * limit[1] > limit[0] * (end - start)):
        _keep_odd(seen, "falling" if energy < 0 else "leaping", Odd(start, end, energy))
    if start - start % QUARTER_MS != seen.quarter_ms:
        _end_quarter(seen)
        seen.quarter_ms, seen.quarter_energy, seen.quarter_known = start - start % QUARTER_MS, 0, True
    seen.quarter_energy += energy
    if not closed or row.quality >= _ESTIMATED:
        seen.quarter_known = False


def _read_at(seen: _Pass, end_ms: int) -> None:
    """A grid point with a read: counted once, and the gap before it is over."""
    if end_ms > seen.read_ms:
        seen.points += 1
        if end_ms - seen.read_ms > QUARTER_MS:
            _end_gap(seen, end_ms - QUARTER_MS)
        seen.read_ms = end_ms


def _end_gap(seen: _Pass, end_ms: int) -> None:
    longest = 0 if seen.gap is None else seen.gap.end_ms - seen.gap.start_ms
    if end_ms - seen.read_ms > longest:
        seen.gap = Span(seen.read_ms, end_ms)


def _keep_odd(seen: _Pass, kind: str, odd: Odd) -> None:
    seen.odd_count[kind] += 1
    if len(seen.odd[kind]) < KEPT:
        seen.odd[kind].append(odd)


def _end_quarter(seen: _Pass) -> None:
    if seen.quarter_known and (seen.peak is None or seen.quarter_energy > seen.peak.energy):
        seen.peak = Odd(seen.quarter_ms, seen.quarter_ms + QUARTER_MS, seen.quarter_energy)


def _summary(seen: _Pass) -> Summary:
    first, last = seen.first, seen.last
    return Summary(
        count=seen.count,
        start_ms=first.start_ms if first else seen.span.start_ms,
        end_ms=last.end_ms if last else seen.span.start_ms,
        opening=first.opening if first else 0,
        closing=last.closing if last else 0,
        energy=seen.energy,
        whole=seen.whole and seen.at_ms == seen.span.end_ms,
        estimated=seen.estimated,
        points_read=seen.points,
        points_expected=(seen.span.end_ms - seen.span.start_ms) // QUARTER_MS,
        days=tuple(_days(seen)),
        longest_gap=seen.gap,
        peak=seen.peak,
        falling=OddOnes(seen.odd_count["falling"], tuple(seen.odd["falling"])),
        leaping=OddOnes(seen.odd_count["leaping"], tuple(seen.odd["leaping"])),
        holes=tuple(seen.holes),
        measured=seen.measured,
    )


def _days(seen: _Pass) -> Iterator[DayEnergy]:
    first_ms = seen.first.start_ms if seen.first else seen.span.end_ms
    for day, (energy, covered) in zip(seen.days, seen.by_day, strict=True):
        whole = covered == day.end_ms - day.start_ms
        yield DayEnergy(day, energy, whole, day.start_ms <= first_ms < day.end_ms)
