"""What the intervals of a total add up to, by month and by day."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from metering.intervals import QUARTER_MS, Span
from metering.quality import Quality
from verification.evidence.track import Column, Row, Rows


@dataclass(frozen=True, slots=True)
class Sums:
    """What the intervals of one total add up to."""

    first: Row | None
    last: Row | None
    energy: int
    estimated: int
    points: int
    whole: bool
    days: dict[int, tuple[int, int]]
    """Start of a local day → (base units, milliseconds) of its closed intervals."""
    runs: list[Span]
    """Stretches that closed intervals cover, one after another."""

    @classmethod
    def of(cls, rows: Rows, days: Sequence[Span]) -> Self:
        """Of intervals in time order."""
        energy, closed = rows.closing - rows.opening, rows.closed
        return cls(
            first=rows.at(0) if len(rows) else None,
            last=rows.at(-1) if len(rows) else None,
            energy=int(energy.sum()),
            estimated=int(energy[rows.quality >= Quality.ESTIMATED].sum()),
            points=int((rows.edge_read & closed).sum()),
            whole=bool(closed.all()),
            days=dict(_by_day(rows.start[closed], energy[closed], days)),
            runs=list(_runs(rows.start[closed])),
        )


def _by_day(start: Column, energy: Column, days: Sequence[Span]) -> Iterator[tuple[int, tuple[int, int]]]:
    cuts = np.searchsorted(start, [*(day.start_ms for day in days), days[-1].end_ms]).tolist()
    for day, (low, high) in zip(days, pairwise(cuts), strict=True):
        if low < high:
            yield day.start_ms, (int(energy[low:high].sum()), (high - low) * QUARTER_MS)


def _runs(start: Column) -> Iterator[Span]:
    first = np.flatnonzero(np.diff(start, prepend=-1) != QUARTER_MS).tolist()
    for low, high in pairwise([*first, len(start)]):
        yield Span(int(start[low]), int(start[high - 1]) + QUARTER_MS)
