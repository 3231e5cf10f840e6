"""Declared factors of a month: which series hold, what they make of a total, and where nothing is declared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from factors.series import Counted, Declared, DeclaredFactor, Part, Series, series_of
from metering.intervals import Span
from metering.reading_types import READING_TYPES
from metering.registry import Enterprise, Meter, Park
from metering.roles import Role
from storage.facts.fields import parse_formula
from storage.facts.kinds import FormulaFact
from storage.facts.series import SeriesFact
from storage.facts.state import Facts
from storage.ledger import EventRow
from verification.intervals import newest

MISSING_EVENT = "declared_factor_missing"
ELECTRIC = "Wh"


@dataclass(frozen=True, slots=True)
class DeclaredParts:
    """A total's month by declared factor."""

    parts: Mapping[int, Part]
    factors: Sequence[DeclaredFactor]


class DeclaredMonth:
    """Every enterprise's declared factors over a span."""

    def __init__(self, park: Park, facts: Facts, span: Span) -> None:
        self._park, self._span = park, span
        self.series: dict[str, tuple[Series, ...]] = {
            e.id: series_of(facts.of(SeriesFact, e.id), span) for e in park.enterprises
        }
        """Enterprise → what it declared."""
        self._declared = {e: Declared(found, span) for e, found in self.series.items() if found}
        self._counted = {e.id: _roles(e, facts) for e in park.enterprises if e.id in self._declared}

    def of(self, meter: Meter, reading_type: str) -> Declared | None:
        """The factors of a total that its enterprise's formula may count; None when nothing is declared for that enterprise."""
        owner = self._park.enterprise_of(meter)
        found = self._declared.get(owner)
        counts = (
            meter.roles[reading_type] in self._counted.get(owner, ())
            and READING_TYPES[reading_type].unit == ELECTRIC
        )
        return found if counts else None

    def events(self) -> Iterator[EventRow]:
        """A stretch that no series covers stops the figure; each is an event of the total."""
        for meter in self._park.meters:
            for reading_type in meter.roles:
                found = self.of(meter, reading_type)
                for hole in () if found is None else found.holes(meter.id):
                    told = {"from_ms": hole.start_ms, "to_ms": hole.end_ms}
                    yield EventRow(0, hole.start_ms, meter.id, reading_type, MISSING_EVENT, told)


def parts_of(cells: Iterable[Sequence[int]], declared: Declared, meter: str) -> DeclaredParts:
    """A total's intervals, each as `storage.ledger.CELLS` in the order of time, part and revision, by declared factor."""
    rows = newest(cells)
    columns = (rows.start.tolist(), rows.opening.tolist(), rows.closing.tolist(), (rows.sure == 0).tolist())
    return DeclaredParts(declared.parts(map(Counted, *columns), meter), declared.factors)


def _roles(enterprise: Enterprise, facts: Facts) -> set[Role]:
    """Every role that a formula of the enterprise has counted at any time: which one holds is the account's to say."""
    formulas = (parse_formula(fact.formula) for fact in facts.of(FormulaFact, enterprise.id))
    return {term.role for term in enterprise.formula} | {
        role for formula in formulas for role, _sign in formula
    }
