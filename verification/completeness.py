"""A month as the ledger has it, by total and by boundary."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from factors.coal import kgce
from metering.intervals import Span
from metering.reading_types import INTEGRATED, READING_TYPES
from metering.registry import Meter, Term
from metering.roles import Role
from storage.ledger import ProgressRow
from verification.balance import JournalMonth
from verification.declared import DeclaredParts
from verification.document import Energy, ParentLine, Scope, count_text, exact_decimal
from verification.intervals import Summary

ELECTRIC = "Wh"
WH_PER_KWH = 1000


@dataclass(frozen=True, slots=True, eq=False)
class MonthTotal:
    """One total of one meter over a month: its stored intervals, its progress, and the journal's own account."""

    meter: Meter
    reading_type: str
    role: Role
    span: Span
    summary: Summary
    progress: ProgressRow | None
    journal: JournalMonth
    declared: DeclaredParts | None = None
    """By declared factor; None where its enterprise declared none."""
    limit_w: Fraction | None = None
    """Above it × time an interval is implausible; None when no rated power is known."""
    substituted: int = 0
    """Base units of accepted substitutions (数据替代). They lie in holes of the intervals, so a whole month has none."""
    recounted: int | None = None
    """What the journal alone says of the measured stretches; only where substitutions fill every other one."""

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
        return self.summary.energy if self.summary.count else None

    @property
    def energy(self) -> int | None:
        """Base units of the month; None unless closed intervals cover all of it and readings enclose both edges.

        The intervals alone do not tell: a total first met within an interval opens it at what it showed then.
        """
        return self.stored if self.journal.energy is not None and self.summary.whole else None

    @property
    def holes(self) -> Sequence[Span]:
        """What substitutions may stand for."""
        return self.journal.unmeasured(self.summary.holes)

    @property
    def measured(self) -> int:
        """What the meter says beside accepted substitutions: the closed intervals; of powers, all that was integrated."""
        return self.summary.energy if self.integrated else self.summary.measured

    @property
    def integrated(self) -> bool:
        """Whether it is made of powers."""
        return self.reading_type in INTEGRATED.values()

    @property
    def counted(self) -> int | None:
        """Sum of the intervals that the balance is about: where substitutions stand for the rest, what is measured beside them."""
        return self.measured if self.filled else self.stored

    @property
    def filled(self) -> bool:
        """Accepted substitutions stand for all that was not measured."""
        return self.energy is None and self.recounted is not None

    @property
    def reported(self) -> int | None:
        """Measured + substituted; None unless they cover the month together."""
        return self.measured + self.substituted if self.filled else self.energy

    @property
    def estimated(self) -> int:
        """Energy whose shape over its intervals is estimated, or in question."""
        return self.summary.estimated

    @property
    def share_read(self) -> Fraction:
        """Grid points read ÷ expected."""
        return Fraction(self.summary.points_read, self.summary.points_expected)

    def energy_of_day(self, day: int) -> int | None:
        """Base units of one local day of the span; None unless it is covered."""
        found = self.summary.days[day]
        opened_within = self.journal.opening is None and found.first
        known = found.whole and not opened_within and not self.journal.lacks(found.span)
        return found.energy if known else None


def total_of(values: Iterable[int | None]) -> int | None:
    """The sum, or None when one part of it is not determined."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


Of = Callable[[MonthTotal], int | None]


def as_measured(total: MonthTotal) -> int | None:
    """What the meter says of its month."""
    return total.energy


def as_reported(total: MonthTotal) -> int | None:
    """With what was substituted."""
    return total.reported


def as_substituted(total: MonthTotal) -> int:
    """What was substituted alone."""
    return total.substituted


@dataclass(frozen=True, slots=True)
class Boundary:
    """A scope, its formula and the totals within it."""

    scope: Scope
    formula: tuple[Term, ...]
    totals: tuple[MonthTotal, ...]

    def of_role(self, role: Role) -> list[MonthTotal]:
        """The electric totals of a role."""
        return [total for total in self.totals if total.electric and total.role is role]

    def formula_energy(self, of: Of = as_measured) -> int | None:
        """What the formula gives; None when nothing measures what it adds."""
        terms = [(term.sign, total) for term in self.formula for total in self.of_role(term.role)]
        if not any(sign > 0 for sign, _total in terms):
            return None
        parts = ((sign, of(total)) for sign, total in terms)
        return total_of(None if energy is None else sign * energy for sign, energy in parts)

    def formula_of_day(self, day: int) -> int | None:
        """What it gives for one local day."""
        return self.formula_energy(lambda total: total.energy_of_day(day))


def role_energy(boundary: Boundary, role: Role, of: Of = as_measured) -> int | None:
    """The totals of a role together."""
    return total_of(of(total) for total in boundary.of_role(role))


def pv_self_use(boundary: Boundary, of: Of = as_measured) -> int | None:
    """PV generation − export; 0 where nothing generates."""
    if not boundary.of_role(Role.PV_GENERATION):
        return 0
    generation, export = (role_energy(boundary, role, of) for role in (Role.PV_GENERATION, Role.EXPORT))
    return None if generation is None or export is None else generation - export


def energy_lines(boundary: Boundary, parents: Sequence[ParentLine], of: Of = as_measured) -> Energy:
    """The energy of a scope: each kind by itself, none netted against another."""
    purchased = boundary.formula_energy(of)
    coal = None if purchased is None else exact_decimal(kgce("electricity", purchased))
    sub_meters = boundary.of_role(Role.SUB_METER)
    inner = {total.meter.id for total in sub_meters}
    outermost = [total for total in sub_meters if total.meter.parent not in inner]
    unmetered = [None if line.unmetered_wh is None else int(line.unmetered_wh) for line in parents]
    return Energy(
        purchased_wh=count_text(purchased),
        grid_import_wh=count_text(role_energy(boundary, Role.GRID_BOUNDARY, of)),
        resold_wh=count_text(role_energy(boundary, Role.RESOLD, of)),
        pv_generation_wh=count_text(role_energy(boundary, Role.PV_GENERATION, of)),
        export_wh=count_text(role_energy(boundary, Role.EXPORT, of)),
        pv_self_use_wh=count_text(pv_self_use(boundary, of)),
        sub_meter_wh=count_text(total_of(of(total) for total in outermost)),
        unmetered_wh=count_text(total_of(unmetered)) if parents else None,
        standard_coal_kgce=coal,
        standard_coal_kgce_per_kwh=exact_decimal(kgce("electricity", WH_PER_KWH)),
    )
