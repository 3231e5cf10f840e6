"""What one close, or one daily run, knows: registry, facts, factors, everything measured, and the months before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from factors.fuel import FuelTable
from factors.policy import (
    LatestPublished,
    MissingFactor,
    enterprise_policy,
    factor_for,
    market_policy,
    park_policy,
    resolve,
)
from factors.table import Factor, FactorTable
from metering.intervals import to_local
from metering.registry import Enterprise, Park
from metering.roles import Role
from storage.facts.formulas import formula_of
from storage.facts.state import Facts
from verification.accounting.books import Books
from verification.completeness import Boundary, MonthTotal
from verification.document import JournalEnd, MonthDocument, Scope, Use
from verification.lines import LedgerEnd, RegistryState
from verification.measure import Measured

Before = Callable[[str, str, str], tuple[MonthDocument, str] | None]
"""(month, scope kind, scope) → the newest closed document and its digest; None when it is not closed."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What one close, or one daily run, knows."""

    park: Park
    month: str
    measured: Measured
    table: FactorTable
    fuels: FuelTable
    facts: Facts
    registry: RegistryState
    closed_at_ms: int
    as_of_ms: int
    """Factors are those published by its local day."""
    journal: JournalEnd
    ledger: LedgerEnd
    before: Before

    @property
    def today(self) -> date:
        """The local day of the close."""
        return to_local(self.closed_at_ms, self.park.tz).date()

    @property
    def as_of(self) -> date:
        """The local day that notices count by."""
        return to_local(self.as_of_ms, self.park.tz).date()

    def factor(self, role: Role, use: Use) -> Factor | MissingFactor:
        """The factor of a role's energy, of those published by then."""
        return factor_for(self.table, role.value, self.policies()[use], self.month, self.as_of)

    def residual(self) -> Factor | MissingFactor:
        """The market-based method's factor."""
        return resolve(self.table, market_policy(), self.month, self.as_of)

    def policies(self) -> dict[Use, LatestPublished]:
        """Both ways to account, by their use: every document prints both."""
        return {"enterprise": enterprise_policy(), "park": park_policy(self.park.grid_scope)}

    def enterprises(self) -> Iterator[tuple[Boundary, Books]]:
        """Every enterprise with its own meters and books."""
        by_enterprise = self._totals_by_enterprise()
        for e in self.park.enterprises:
            books = Books(self.facts, e.id, (e.id,), self.month)
            boundary = Boundary(
                _scope(e, books),
                formula_of(self.facts, e.id, e.formula, self.month),
                tuple(by_enterprise.get(e.id, ())),
            )
            yield boundary, books

    def whole(self) -> tuple[Boundary, Books]:
        """The park with all meters and all books."""
        park = self.park
        scope = Scope(kind="park", id=park.id, name=park.name, name_en=park.name_en, credit_code="")
        books = Books(self.facts, park.id, tuple(e.id for e in park.enterprises), self.month)
        return Boundary(
            scope, formula_of(self.facts, park.id, park.formula, self.month), self.measured.totals
        ), books

    def _totals_by_enterprise(self) -> dict[str, list[MonthTotal]]:
        owner_of_site = {site.id: site.enterprise for site in self.park.sites}
        owner = {gateway.id: owner_of_site[gateway.site] for gateway in self.park.gateways}
        found: dict[str, list[MonthTotal]] = {}
        for total in self.measured.totals:
            found.setdefault(owner[total.meter.gateway], []).append(total)
        return found


def _scope(e: Enterprise, books: Books) -> Scope:
    record = books.enterprise()
    name = record.name if record else e.name
    code = record.credit_code if record else e.credit_code
    return Scope(kind="enterprise", id=e.id, name=name, name_en=e.name_en, credit_code=code)
