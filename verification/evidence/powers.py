"""One total that is integrated from power, over a month: its powers kept until all are there, then drawn as intervals."""

from collections.abc import Iterable, Iterator

import numpy as np

from metering.intervals import QUARTER_MS, Span
from metering.quality import Quality
from verification.evidence.integral import Integral, Power
from verification.evidence.judge import Begins, Dated
from verification.evidence.total import Told, Total, nearest
from verification.evidence.track import EDGE_TOLERANCE_MS, NO_ROWS, QUESTIONABLE, Row, Rows

DERIVED = Quality.DERIVED.value


class PowerTotal(Total):
    """Feed it powers in any order; tell it where the ledger stood; ask its rows, then what else it has to tell."""

    def __init__(self, span: Span, dated: Dated, begins: Begins | None) -> None:
        super().__init__(span, dated, begins)
        # The power that the month begins with is needed itself: energy lies between it and the next one.
        self._from = (begins.t, begins.register - 1) if begins is not None else (-1, 0)
        self._stood: tuple[tuple[int, int], ...] = ()

    def anchor(self, stood: Iterable[tuple[int, int]]) -> None:
        """(time, position) of the ledger."""
        self._stood = tuple(stood)

    def rows(self) -> Rows:
        """The intervals of the month, the running one last; none where nothing is known."""
        integral = Integral(self._dated)
        integral.take(self._entries())
        integral.anchor(self._stood)
        self._told = _told(integral, self._span)
        if not integral.points:
            return NO_ROWS
        found = [row for row in _drawn(integral) if self._span.start_ms <= row.start_ms < self._span.end_ms]
        if not found:
            return NO_ROWS
        start, opening, closing, covered, read, quality, closed = map(np.array, zip(*found, strict=True))
        return Rows(start, opening, closing, covered, read, quality, closed)


def _told(integral: Integral, span: Span) -> Told:
    gaps = tuple(Span(*gap) for gap in integral.gaps(*span))
    near = nearest(integral.heard, span)
    opened = near[0] is not None and near[1] is not None
    closed = near[2] is not None and near[3] is not None and not gaps
    return Told(
        tuple(integral.events),
        near,
        integral.at(span.start_ms) if opened else None,
        integral.at(span.end_ms) if closed else None,
        gaps,
    )


class _Cell:
    """What is known of a quarter hour."""

    def __init__(self) -> None:
        self.covered, self.quality, self.read = 0, DERIVED, False

    def doubt(self) -> None:
        self.quality = QUESTIONABLE


def _drawn(integral: Integral) -> Iterator[Row]:
    """Every quarter hour with a power inside it, or between two powers that are integrated."""
    last = integral.points[-1].t
    cells = _cells(integral)
    for mark in integral.conflicts:
        if mark - mark % QUARTER_MS in cells:
            cells[mark - mark % QUARTER_MS].doubt()
    for start in sorted(cells):
        cell, end = cells[start], start + QUARTER_MS
        ends = integral.at(start), integral.at(end)
        yield Row(start, *ends, cell.covered, cell.read, cell.quality, end <= last)


def _cells(integral: Integral) -> dict[int, _Cell]:
    cells: dict[int, _Cell] = {}
    for point in integral.points:
        if point.t % QUARTER_MS:
            cells.setdefault(point.t - point.t % QUARTER_MS, _Cell())
    for a, b in zip(integral.points, integral.points[1:], strict=False):
        joined = integral.joined(a, b)
        for start in range(a.t - a.t % QUARTER_MS, b.t, QUARTER_MS):
            cell = cells.setdefault(start, _Cell()) if joined else cells.get(start)
            if cell is not None:
                _add(cell, start, a, b, joined=joined)
    return cells


def _add(cell: _Cell, start: int, a: Power, b: Power, *, joined: bool) -> None:
    """The way between two powers, as far as it leads through a quarter hour."""
    end = start + QUARTER_MS
    if joined:
        cell.covered += min(b.t, end) - max(a.t, start)
    if b.skipped or not joined:
        cell.doubt()
    if a.t < end <= b.t:
        cell.read = min(end - a.t, b.t - end) <= EDGE_TOLERANCE_MS
