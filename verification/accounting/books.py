"""What the registry of facts says of one scope's month."""

from dataclasses import dataclass
from datetime import date, timedelta

from metering.intervals import next_month
from storage.facts.kinds import (
    BenchmarkFact,
    BillFact,
    BudgetFact,
    CertificateFact,
    EnergyFact,
    EnterpriseFact,
    GreenFact,
    MeterFact,
    PlanFact,
    ProductFact,
    ProductionFact,
)
from storage.facts.state import Facts
from verification.lines import EnterpriseFacts


@dataclass(frozen=True, slots=True)
class Books:
    """The facts of a scope: of an enterprise its own, of the park those of all its enterprises."""

    facts: Facts
    scope: str
    enterprises: tuple[str, ...]
    """The scope itself, or all of the park."""
    month: str

    @property
    def first(self) -> date:
        """First day of the month."""
        return date.fromisoformat(f"{self.month}-01")

    @property
    def end(self) -> date:
        """First day after the month."""
        return date.fromisoformat(f"{next_month(self.month)}-01")

    @property
    def last(self) -> date:
        """Last day of the month: states are read as of it."""
        return self.end - timedelta(days=1)

    @property
    def year(self) -> int:
        """The calendar year."""
        return self.first.year

    def enterprise(self, enterprise: str | None = None) -> EnterpriseFact | None:
        """An enterprise's record, the scope's own by default."""
        return self.facts.in_force(EnterpriseFact, enterprise or self.scope, self.last)

    def energies(self) -> list[EnergyFact]:
        """Fuels and heat of the month."""
        found = (fact for e in self.enterprises for fact in self.facts.of(EnergyFact, e))
        return [fact for fact in found if fact.month == self.month]

    def production(self) -> list[ProductionFact]:
        """Output and value added of the month."""
        found = (fact for e in self.enterprises for fact in self.facts.of(ProductionFact, e))
        return [fact for fact in found if fact.month == self.month]

    def products(self) -> list[ProductFact]:
        """Products of the month."""
        found = (fact for e in self.enterprises for fact in self.facts.of(ProductFact, e))
        return [fact for fact in found if fact.month == self.month]

    def plan(self, enterprise: str) -> list[PlanFact]:
        """The control plan's parameters in force at the month's end."""
        known = {fact.key for fact in self.facts.of(PlanFact, enterprise)}
        states = (self.facts.in_force(PlanFact, enterprise, self.last, key) for key in sorted(known))
        return [state for state in states if state is not None]

    def meter(self, meter: str) -> MeterFact | None:
        """A meter's record at the month's end."""
        return self.facts.in_force(MeterFact, meter, self.last)

    def meter_states(self, meter: str) -> list[MeterFact]:
        """Every record of a meter that is in force on some day of the month."""
        return self.facts.through(MeterFact, meter, self.first, self.end)

    def bills(self) -> list[BillFact]:
        """Bills whose reading date lies within the month, its first day excluded and the next month's first included."""
        found = (fact for e in self.enterprises for fact in self.facts.of(BillFact, e))
        return [fact for fact in found if self.first < fact.end <= self.end]

    def green(self) -> list[GreenFact]:
        """Green power settled for the month."""
        found = (fact for e in self.enterprises for fact in self.facts.of(GreenFact, e))
        return [fact for fact in found if fact.month == self.month]

    def certificates(self) -> list[CertificateFact]:
        """Certificates claimed for the month."""
        found = (fact for e in self.enterprises for fact in self.facts.of(CertificateFact, e))
        return [fact for fact in found if fact.month == self.month]

    def budget(self) -> BudgetFact | None:
        """The year's budget of the scope."""
        return next((fact for fact in self.facts.of(BudgetFact, self.scope) if fact.year == self.year), None)

    def benchmark(self, scope: str, measure: str) -> BenchmarkFact | None:
        """A benchmark of an industry or a scope: this year's, else the newest before."""
        found = [
            f for f in self.facts.of(BenchmarkFact, scope) if f.measure == measure and f.year <= self.year
        ]
        return max(found, key=lambda fact: fact.year, default=None)


def enterprise_facts(books: Books) -> EnterpriseFacts:
    """What a report's cover says of the scope."""
    record = books.enterprise()
    if record is None:
        return EnterpriseFacts()
    names = EnterpriseFacts.__struct_fields__
    return EnterpriseFacts(**{name: getattr(record, name) for name in names})
