"""Energy by time-of-use period, again: the document's calendars laid over the replayed intervals."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from zoneinfo import ZoneInfo

import numpy as np

from metering.intervals import QUARTER_MS, Span, iso
from metering.periods import CODES
from metering.quality import Quality
from metering.tariff import stretches
from verification.accounting.periods import TotalPeriods, lines_of
from verification.document import MonthDocument
from verification.evidence import manifest as names
from verification.evidence.births import Key
from verification.evidence.facts import ELECTRIC, Difference, Facts, unlike
from verification.evidence.track import Column, Rows
from verification.intervals import Odd, PeriodSum
from verification.tariffs import Calendars

COLUMNS = ("enterprise", "meter", "start_ms", "end_ms", "start", "period")
"""Without a meter: all meters of the enterprise that have no rows of their own. Without a period: no calendar."""


def rows(document: MonthDocument) -> Iterator[tuple[str | int, ...]]:
    """The month's stretches of every calendar, for a spreadsheet beside ledger.csv."""
    calendars, span, zone = _calendars(document)
    for enterprise, meter in sorted({(line.enterprise, line.meter) for line in document.tariffs}):
        for start, end, code in stretches(span, calendars.codes(enterprise, meter) or b""):
            yield enterprise, meter, start, end, iso(start, zone), CODES[code] or ""


def unlike_rows(document: MonthDocument, told: Iterable[Mapping[str, str]]) -> Iterator[Difference]:
    """The pack's stretches against those that the document's calendars give."""
    for number, (said, found) in enumerate(zip_longest(told, rows(document)), 2):
        here = None if said is None else tuple(said.get(name, "") for name in COLUMNS)
        yield from unlike(
            f"{names.TARIFFS}:{number}", here, None if found is None else tuple(map(str, found))
        )


def _calendars(document: MonthDocument) -> tuple[Calendars, Span, ZoneInfo]:
    span, zone = Span(document.start_ms, document.end_ms), ZoneInfo(document.zone)
    return Calendars(document.tariffs, span, zone), span, zone


def _peak(start: Column, energy: Column) -> Odd | None:
    """The first of the largest."""
    if not len(start):
        return None
    best = int(np.argmax(energy))
    return Odd(int(start[best]), int(start[best]) + QUARTER_MS, int(energy[best]))


class PeriodRecount:
    """Feed it every replayed interval; then `differences`."""

    def __init__(self, document: MonthDocument, facts: Facts) -> None:
        self._document, self._facts = document, facts
        self._calendars, self._span, self._zone = _calendars(document)
        scope = document.scope
        self._formula = facts.formulas.get((scope.kind, scope.id), ())
        roles = {role for role, _sign in self._formula}
        self._counted = {
            (line.meter, line.reading_type): line.role
            for line in document.meters
            if line.role in roles and line.unit == ELECTRIC
        }
        self._codes = {key: self._codes_of(key[0]) for key in self._counted}
        self._parts: dict[Key, dict[int, PeriodSum]] = {
            key: {code: PeriodSum() for code in sorted(set(codes))}
            for key, codes in self._codes.items()
            if codes is not None
        }

    def _codes_of(self, meter: str) -> bytes | None:
        facts = self._facts.meters.get(meter)
        return None if facts is None else self._calendars.codes(facts.enterprise, meter)

    def add(self, key: Key, rows: Rows) -> None:
        """The replayed intervals of a total: quarter hours."""
        codes = self._codes.get(key)
        if codes is None:
            return
        of = np.frombuffer(codes, np.uint8)[(rows.start - self._span.start_ms) // QUARTER_MS]
        energy, guessed = rows.closing - rows.opening, rows.quality >= Quality.ESTIMATED
        for code in self._parts[key]:
            known = np.flatnonzero((of == code) & rows.closed & ~guessed)
            self._parts[key][code] = PeriodSum(
                int(energy[of == code].sum()),
                int(energy[(of == code) & guessed].sum()),
                _peak(rows.start[known], energy[known]),
            )

    def parts(self, keys: Iterable[Key]) -> dict[Key, dict[int, PeriodSum]]:
        """What was fed of some totals."""
        return {key: self._parts[key] for key in keys if key in self._parts}

    def join(self, parts: Mapping[Key, dict[int, PeriodSum]]) -> None:
        """Take over what another process was fed."""
        self._parts |= parts

    def differences(
        self, energy_of: Callable[[Key], int | None], estimated_of: Callable[[Key], int]
    ) -> Iterator[Difference]:
        """Every line of the document that does not follow. The functions give a total's month."""
        found = {line.id: line for line in lines_of(list(self._totals(energy_of, estimated_of)), self._zone)}
        said = {line.id: line for line in self._document.periods}
        for name in dict.fromkeys([*said, *found]):
            yield from unlike(f"document.json periods[{name}]", said.get(name), found.get(name))

    def _totals(
        self, energy_of: Callable[[Key], int | None], estimated_of: Callable[[Key], int]
    ) -> Iterator[TotalPeriods]:
        for role, sign in self._formula:
            for key, own in self._counted.items():
                if own == role:
                    yield TotalPeriods(
                        *key, role, sign, energy_of(key), estimated_of(key), self._parts.get(key)
                    )
