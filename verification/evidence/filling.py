"""Substitutions again: what they amount to, and whether they stand for all that the frames leave open."""

from collections.abc import Iterable, Sequence

from metering.intervals import Span
from verification.accounting.substitutions import accepted_amount, fills
from verification.evidence.births import Key
from verification.substitution_line import SubstitutionLine


class Filling:
    """The month's substitutions by total."""

    def __init__(self, span: Span, written: Iterable[SubstitutionLine]) -> None:
        self._span = span
        self._written: dict[Key, list[SubstitutionLine]] = {}
        for line in written:
            self._written.setdefault((line.meter, line.reading_type), []).append(line)

    def substituted(self, key: Key) -> int:
        """Base units of the accepted ones."""
        return accepted_amount(self._written.get(key, ()))

    def fills(self, key: Key, holes: Sequence[Span], opened: bool, ended: bool) -> bool:
        """Whether they stand for every hole; `opened` and `ended`: readings enclose the month's edges."""
        if not fills(self._written.get(key, ()), holes):
            return False
        begins, ends = holes[0].start_ms == self._span.start_ms, holes[-1].end_ms == self._span.end_ms
        return (begins or opened) and (ends or ended)
