"""The ledger's intervals in a pack, held against replayed ones: whole columns at once, single rows only to name what differs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from metering.intervals import QUARTER_MS
from verification.evidence import tables
from verification.evidence.births import Key
from verification.evidence.track import LARGEST, Column, Rows

COMPARED = (
    "start_ms", "end_ms", "opening", "closing", "coverage_ms", "edge_read", "quality", "closed", "emission_ug"
)  # fmt: skip
_PLACES = tuple(map(tables.LEDGER_COLUMNS.index, COMPARED))
_FACTOR = tables.LEDGER_COLUMNS.index("factor_id")
_START, _CLOSING, _CLOSED = map(COMPARED.index, ("start_ms", "closing", "closed"))

Ratios = Mapping[str, tuple[int, int]]
"""Factor id → µg per base unit, numerator and denominator."""
Unlike = tuple[int, str, str, str]
"""Start of the interval, column, what the table says, what the frames say."""
Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """The intervals of one total as the table has them, in the order of COMPARED."""

    columns: tuple[Texts, ...]
    factors: Texts

    @classmethod
    def of(cls, lines: Sequence[str]) -> "Stored":
        """ValueError when a row has more or fewer cells than the table has columns."""
        columns = _cells(lines)
        return cls(tuple(columns[place] for place in _PLACES), columns[_FACTOR])

    def __len__(self) -> int:
        return len(self.factors)

    def stood(self) -> Iterator[tuple[int, int]]:
        """(time, position) at both ends of every interval."""
        for start, end, opening, closing, *_ in zip(*self.columns, strict=True):
            yield int(start), int(opening)
            yield int(end), int(closing)

    def unlike(self, found: Rows, ratios: Ratios, *, all_of_them: bool) -> Iterator[Unlike]:
        """Every cell that is not as replayed; or else only those of intervals that both have as closed."""
        replayed = _texts(found, self.factors, ratios)
        if replayed == self.columns:
            return
        for said, row in zip_longest(zip(*self.columns, strict=True), zip(*replayed, strict=True)):
            if said is None or row is None:
                one, (told, cell) = said or row, (cells[_CLOSING] if cells else "—" for cells in (said, row))
                yield int(one[_START]), "", told, cell
            elif all_of_them or (said[_CLOSED] == row[_CLOSED] == "1"):
                for name, told, cell in zip(COMPARED, said, row, strict=True):
                    if told != cell:
                        yield int(row[_START]), name, told, cell


NOTHING_STORED = Stored(((),) * len(COMPARED), ())


def read_stored(
    chunks: Iterable[bytes], keep: Callable[[str], bool] = lambda _meter: True
) -> Iterator[tuple[Key, Stored]]:
    """The totals of ledger.csv, in its order; ValueError when it is no such table. `keep` is asked of meters."""
    lines = tables.lines(chunks)
    head = next(tables.cells([next(lines, "")]), [])
    if tuple(head) != tables.LEDGER_COLUMNS:
        raise ValueError(f"columns {', '.join(head)}")
    line = next(lines, None)
    while line is not None:
        meter, kind = line.split(",", 2)[:2]
        mine, line = _of_total(f"{meter},{kind},", line, lines, wanted=keep(meter))
        if mine:
            yield (meter, kind), Stored.of(mine)


def _of_total(begin: str, line: str, lines: Iterator[str], *, wanted: bool) -> tuple[list[str], str | None]:
    """From a line on, those that begin like that, none unless wanted; and the first one that does not."""
    found = [line] if wanted else []
    for following in lines:
        if not following.startswith(begin):
            return found, following
        if wanted:
            found.append(following)
    return found, None


def _cells(lines: Sequence[str]) -> list[Texts]:
    """A text for each cell, by column. Where none is quoted, a comma and the end of a line are all that stands between two."""
    text, many = "".join(lines), len(tables.LEDGER_COLUMNS)
    plain = '"' not in text and text.count("\r") == text.count("\r\n") == len(lines)
    if plain and all(line.count(",") == many - 1 for line in lines):
        cells = text.replace("\r\n", ",").split(",")
        return [tuple(cells[column:-1:many]) for column in range(many)]
    return [column[1:] for column in zip(tables.LEDGER_COLUMNS, *tables.cells(lines), strict=True)]


def _texts(rows: Rows, factors: Texts, ratios: Ratios) -> tuple[Texts, ...]:
    """Intervals as the ledger's table should have them. Without a stored row there is no factor to look up."""
    figures = (rows.start, rows.start + QUARTER_MS, rows.opening, rows.closing, rows.coverage)
    marks = rows.edge_read.astype(np.int64), rows.quality, rows.closed.astype(np.int64)
    known = factors[: len(rows)] + ("",) * (len(rows) - len(factors))
    emissions = tuple(_emissions(rows, known, ratios))
    return *map(_text, (*figures, *marks)), emissions


def _text(column: Column) -> Texts:
    if len(column) and (column == column[0]).all():
        return (str(column[0]),) * len(column)
    return tuple(map(str, column.tolist()))


def _emissions(rows: Rows, factors: Texts, ratios: Ratios) -> Iterable[str]:
    """µg CO2; a factor that is not listed gives none."""
    if len(set(factors)) == 1:
        num, den = ratios.get(factors[0], (0, 0))
        if not den:
            return [""] * len(rows)
        if (
            int(np.abs(rows.closing).max()) * num < LARGEST
            and int(np.abs(rows.opening).max()) * num < LARGEST
        ):
            return map(str, (_part(rows.closing, num, den) - _part(rows.opening, num, den)).tolist())
    ends = zip(rows.opening.tolist(), rows.closing.tolist(), factors, strict=True)
    return (_emission(opening, closing, ratios.get(factor)) for opening, closing, factor in ends)


def _part(position: Column, num: int, den: int) -> Column:
    return position * num // den


def _emission(opening: int, closing: int, ratio: tuple[int, int] | None) -> str:
    return "" if ratio is None else str(closing * ratio[0] // ratio[1] - opening * ratio[0] // ratio[1])
