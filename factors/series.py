"""Declared factor series: which factor every quarter hour takes, and what energy comes to with one part per factor.

A projection over the ledger's quarters, as the periods of the day are: the ledger keeps the official factor of its month, and a series
that is declared late, corrected or withdrawn touches no stored interval (docs/decisions/0028).
"""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from metering.intervals import QUARTER_MS, Span
from metering.series import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

UG_PER_WH_OF_KG_PER_KWH = 1_000_000
MISSING = -1
"""In place of a factor's number: nothing is declared for the quarter."""


class Choice(Protocol):
    """What an enterprise declared: a fact of the registry."""

    @property
    def enterprise(self) -> str: ...
    @property
    def meter(self) -> str: ...
    @property
    def basis(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def document_sha256(self) -> str: ...
    @property
    def by(self) -> str: ...
    @property
    def start(self) -> datetime: ...
    @property
    def span(self) -> Span: ...
    @property
    def step_ms(self) -> int: ...
    @property
    def values(self) -> str: ...


class Series(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A declared series as a month's document keeps it: everything that its figures follow from, and who answers for it."""

    id: str
    enterprise: str
    meter: str
    """Empty: all meters of the enterprise that have no series of their own."""
    basis: str
    """contract or grid_intensity."""
    label: str
    source: str
    document_sha256: str
    declared_by: str
    start_ms: int
    end_ms: int
    step_ms: int
    values: str
    """kgCO2/kWh as declared, one after another; `-` where the source has none."""


class DeclaredFactor(NamedTuple):
    """A value of a series. Exactly `num`/`den` µg per Wh; the mark is always *declared*."""

    series: str
    value_text: str
    """kgCO2/kWh."""
    num: int
    den: int

    @property
    def ratio(self) -> Fraction:
        """µg per Wh."""
        return Fraction(self.num, self.den)


class Counted(NamedTuple):
    """A stored interval of a total, or a part of one: at most a quarter hour long. Positions in Wh."""

    start_ms: int
    opening: int
    closing: int
    guessed: bool
    """Its shape is estimated, or in question: the energy may belong to a neighbour."""


class Part(msgspec.Struct, gc=False):
    """What one factor makes of a total's energy."""

    energy: int = 0
    emission_ug: int | None = 0
    """None where nothing is declared: no number, never zero."""
    estimated: int = 0
    """Of the energy, that of which the place in time is estimated."""


def series_of(facts: Iterable[Choice], span: Span) -> tuple[Series, ...]:
    """What facts of one enterprise declare of a time, in order; each whole, as it was declared."""
    found = [fact for fact in facts if fact.span.start_ms < span.end_ms and span.start_ms < fact.span.end_ms]
    return tuple(_series(fact) for fact in sorted(found, key=lambda fact: (fact.meter, fact.start)))


def _series(fact: Choice) -> Series:
    return Series(
        id=f"{fact.enterprise}/{fact.meter or '*'}/{fact.start:%Y-%m-%dT%H:%MZ}",
        enterprise=fact.enterprise, meter=fact.meter, basis=fact.basis, label=fact.label, source=fact.source,
        document_sha256=fact.document_sha256, declared_by=fact.by, start_ms=fact.span.start_ms, end_ms=fact.span.end_ms,
        step_ms=fact.step_ms, values=fact.values,
    )  # fmt: skip


class Declared:
    """The factors of a time, asked by meter and quarter hour. A meter with a series of its own takes nothing from its enterprise's."""

    def __init__(self, series: Sequence[Series], span: Span) -> None:
        self.span = span
        self.factors: list[DeclaredFactor] = []
        """By their numbers."""
        self._numbers: dict[tuple[str, str], int] = {}
        self._codes: dict[str, list[int]] = {}
        for one in series:
            self._lay(one)

    def __bool__(self) -> bool:
        return bool(self._codes)

    def _lay(self, series: Series) -> None:
        """Write a series over the quarters that it speaks of."""
        codes = self._codes.setdefault(
            series.meter, [MISSING] * ((self.span.end_ms - self.span.start_ms) // QUARTER_MS)
        )
        each = series.step_ms // QUARTER_MS
        first = (series.start_ms - self.span.start_ms) // QUARTER_MS
        for place, word in enumerate(series.values.split(" ")):
            low, high = max(first + place * each, 0), min(first + (place + 1) * each, len(codes))
            if low < high and word != UNKNOWN:
                codes[low:high] = [self._number(series.id, word)] * (high - low)

    def _number(self, series: str, word: str) -> int:
        key = series, word
        if key not in self._numbers:
            self._numbers[key] = len(self.factors)
            num, den = (Fraction(word) * UG_PER_WH_OF_KG_PER_KWH).as_integer_ratio()
            self.factors.append(DeclaredFactor(series, word, num, den))
        return self._numbers[key]

    def codes(self, meter: str) -> Sequence[int]:
        """The number of every quarter's factor, `MISSING` where there is none."""
        own = self._codes.get(meter) if meter in self._codes else self._codes.get("")
        return [MISSING] * ((self.span.end_ms - self.span.start_ms) // QUARTER_MS) if own is None else own

    def holes(self, meter: str) -> Iterator[Span]:
        """Stretches for which nothing is declared."""
        at = self.span.start_ms
        for code, run in groupby(self.codes(meter)):
            end = at + QUARTER_MS * sum(1 for _quarter in run)
            if code == MISSING:
                yield Span(at, end)
            at = end

    def parts(self, rows: Iterable[Counted], meter: str) -> dict[int, Part]:
        """A total's energy and emission by factor: one part each, in the order in which they are met.

        An interval's emission is ⌊closing · f⌋ − ⌊opening · f⌋ (µg, exact integers), as the ledger's own: the intervals under
        one factor telescope, and hours, days and months are sums of their quarters.
        """
        found: dict[int, Part] = {}
        codes, first = self.codes(meter), self.span.start_ms
        for row in rows:
            code = codes[(row.start_ms - first) // QUARTER_MS]
            part = found.setdefault(code, Part())
            energy = row.closing - row.opening
            part.energy += energy
            part.estimated += energy if row.guessed else 0
            part.emission_ug = (
                None if code == MISSING else self._emission(code, row) + (part.emission_ug or 0)
            )
        return found

    def _emission(self, code: int, row: Counted) -> int:
        _series, _text, num, den = self.factors[code]
        return row.closing * num // den - row.opening * num // den
