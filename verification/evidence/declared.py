"""Electricity by declared factors, again: the document's series laid over the replayed intervals."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from factors.series import Counted, Declared, Part
from metering.intervals import Span
from metering.quality import Quality
from verification.accounting.declared import TotalParts, lines_of
from verification.document import MonthDocument
from verification.evidence.births import Key
from verification.evidence.facts import ELECTRIC, Difference, Facts, unlike
from verification.evidence.track import Rows


class DeclaredRecount:
    """Feed it every replayed interval; then `differences`."""

    def __init__(self, document: MonthDocument, facts: Facts) -> None:
        self._document = document
        scope = document.scope
        self._formula = facts.formulas.get((scope.kind, scope.id), ()) if document.series else ()
        self._declared = Declared(document.series, Span(document.start_ms, document.end_ms))
        roles = {role for role, _sign in self._formula}
        self._counted = {
            (line.meter, line.reading_type): line.role
            for line in document.meters
            if line.role in roles and line.unit == ELECTRIC
        }
        self._rows: dict[Key, list[Counted]] = {key: [] for key in self._counted}
        self._shared: dict[Key, dict[int, Part]] = {}

    def add(self, key: Key, rows: Rows) -> None:
        """The replayed intervals of a total: quarter hours."""
        if (mine := self._rows.get(key)) is not None:
            mine += [Counted(r.start_ms, r.opening, r.closing, r.quality >= Quality.ESTIMATED) for r in rows]

    def parts(self, keys: Iterable[Key]) -> dict[Key, dict[int, Part]]:
        """What was fed of some totals."""
        return {key: self._parts(key) for key in keys if key in self._rows}

    def join(self, parts: Mapping[Key, dict[int, Part]]) -> None:
        """Take over what another process was fed."""
        self._shared |= parts

    def _parts(self, key: Key) -> dict[int, Part]:
        return self._shared[key] if key in self._shared else self._declared.parts(self._rows[key], key[0])

    def differences(self, energy_of: Callable[[Key], int | None]) -> Iterator[Difference]:
        """Every line of the document that does not follow. The function gives a total's month."""
        totals = [
            TotalParts(*key, role, sign, energy_of(key), self._parts(key), self._declared.factors)
            for role, sign in self._formula
            for key, own in self._counted.items()
            if own == role
        ]
        found = {line.id: line for line in lines_of(totals)}
        said = {line.id: line for line in self._document.declared}
        for name in dict.fromkeys([*said, *found]):
            yield from unlike(f"document.json declared[{name}]", said.get(name), found.get(name))
