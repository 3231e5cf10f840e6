"""A month as the ledger has it, by total and by boundary, and its completeness: how many grid points were really read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from factors.coal import kgce
from metering.intervals import QUARTER_MS, Span
from metering.quality import Quality
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Term
from metering.roles import Role
from storage.ledger import IntervalRow, ProgressRow
from verification.balance import JournalMonth
from verification.document import Energy, ParentLine, Scope, count_text, exact_decimal

ELECTRIC = "Wh"
WH_PER_KWH = 1000
_PLACES = 10_000


@dataclass(frozen=True, slots=True)
class Completeness:
    """Grid points with a valid read within tolerance, of those the month has."""

    points_read: int
    points_expected: int

    @property
    def ratio(self) -> float:
        """Rounded down to 4 places: 1.0 means every point."""
        return self.points_read * _PLACES // self.points_expected / _PLACES


def completeness(rows: Iterable[IntervalRow], month: Span) -> Completeness:
    """An interval counts when a read lies at its end on the grid; an interpolated edge never does."""
    read = {row.end_ms for row in rows if row.edge_read and row.closed and row.end_ms % QUARTER_MS == 0}
    return Completeness(len(read), (month.end_ms - month.start_ms) // QUARTER_MS)


def tiles(rows: Iterable[IntervalRow], span: Span) -> bool:
    """True when closed intervals cover the span without a hole."""
    at = span.start_ms
    for row in rows:
        if row.start_ms != at or not row.closed:
            return False
        at = row.end_ms
    return at == span.end_ms


@dataclass(frozen=True, slots=True, eq=False)
class MonthTotal:
    """One total of one meter over a month: its stored intervals, its progress, and the journal's own account."""

    meter: Meter
    reading_type: str
    role: Role
    span: Span
    rows: tuple[IntervalRow, ...]
    progress: ProgressRow | None
    journal: JournalMonth

    @property
    def unit(self) -> str:
        """Base unit of its figures."""
        return READING_TYPES[self.reading_type].unit

    @property
    def electric(self) -> bool:
        """Whether it counts active energy: only that enters a formula."""
        return self.unit == ELECTRIC

    @property
    def behind(self) -> bool:
        """Not accounted up to the month's end yet."""
        return self.progress is None or self.progress.t_ms < self.span.end_ms

    @property
    def pending(self) -> bool:
        """A pending event holds back energy of this month; one that opened later does not."""
        return self.progress is not None and self.progress.pending and self.behind

    @property
    def stored(self) -> int | None:
        """Sum of the stored intervals, whole or not; None when there are none."""
        return sum(row.energy for row in self.rows) if self.rows else None

    @property
    def energy(self) -> int | None:
        """Base units of the month; None unless closed intervals cover all of it and readings enclose both edges.

        The intervals alone do not tell: a total first met within an interval opens it at what it showed then.
        """
        enclosed = self.journal.opening is not None and self.journal.closing is not None
        return self.stored if enclosed and tiles(self.rows, self.span) else None

    @property
    def estimated(self) -> int:
        """Energy whose shape over its intervals is estimated, or in question."""
        return sum(row.energy for row in self.rows if row.quality >= Quality.ESTIMATED)

    def energy_between(self, span: Span) -> int | None:
        """Base units of a part of the month whose edges lie on the grid; None unless it is covered."""
        if span == self.span:
            return self.energy
        rows = [row for row in self.rows if span.start_ms <= row.start_ms < span.end_ms]
        if self.journal.opening is None and rows[:1] == list(self.rows[:1]):
            return None
        return sum(row.energy for row in rows) if tiles(rows, span) else None


def total_of(values: Iterable[int | None]) -> int | None:
    """The sum, or None when one part of it is not determined."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


@dataclass(frozen=True, slots=True)
class Boundary:
    """A scope, its formula and the totals within it."""

    scope: Scope
    formula: tuple[Term, ...]
    totals: tuple[MonthTotal, ...]

    def of_role(self, role: Role) -> list[MonthTotal]:
        """The electric totals of a role."""
        return [total for total in self.totals if total.electric and total.role is role]

    def formula_energy(self, span: Span) -> int | None:
        """What the formula gives; None when nothing measures what it adds."""
        terms = [(term.sign, total) for term in self.formula for total in self.of_role(term.role)]
        if not any(sign > 0 for sign, _total in terms):
            return None
        parts = ((sign, total.energy_between(span)) for sign, total in terms)
        return total_of(None if energy is None else sign * energy for sign, energy in parts)


def role_energy(boundary: Boundary, role: Role) -> int | None:
    return total_of(total.energy for total in boundary.of_role(role))


def pv_self_use(boundary: Boundary) -> int | None:
    """PV generation − export; 0 where nothing generates."""
    if not boundary.of_role(Role.PV_GENERATION):
        return 0
    generation, export = (role_energy(boundary, role) for role in (Role.PV_GENERATION, Role.EXPORT))
    return None if generation is None or export is None else generation - export


def energy_lines(boundary: Boundary, span: Span, parents: Sequence[ParentLine]) -> Energy:
    """The energy of a scope: each kind by itself, none netted against another."""
    purchased = boundary.formula_energy(span)
    coal = None if purchased is None else exact_decimal(kgce("electricity", purchased))
    sub_meters = boundary.of_role(Role.SUB_METER)
    inner = {total.meter.id for total in sub_meters}
    outermost = [total for total in sub_meters if total.meter.parent not in inner]
    unmetered = [None if line.unmetered_wh is None else int(line.unmetered_wh) for line in parents]
    return Energy(
        purchased_wh=count_text(purchased),
        grid_import_wh=count_text(role_energy(boundary, Role.GRID_BOUNDARY)),
        resold_wh=count_text(role_energy(boundary, Role.RESOLD)),
        pv_generation_wh=count_text(role_energy(boundary, Role.PV_GENERATION)),
        export_wh=count_text(role_energy(boundary, Role.EXPORT)),
        pv_self_use_wh=count_text(pv_self_use(boundary)),
        sub_meter_wh=count_text(total_of(total.energy for total in outermost)),
        unmetered_wh=count_text(total_of(unmetered)) if parents else None,
        standard_coal_kgce=coal,
        standard_coal_kgce_per_kwh=exact_decimal(kgce("electricity", WH_PER_KWH)),
    )
