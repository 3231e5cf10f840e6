"""What a report's figures need beside frames: facts, fuel factors and coal coefficients as tables of the pack, and back again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from zoneinfo import ZoneInfo

import msgspec

from factors.coal import CoalCoefficient, load_coefficients
from factors.fuel import FuelFactor, FuelTable
from factors.series import series_of
from metering.intervals import Span
from metering.registry import Park
from storage.facts.fact import Fact
from storage.facts.fields import parse_formula
from storage.facts.kinds import (
    KINDS,
    BenchmarkFact,
    BillFact,
    CertificateFact,
    EnergyFact,
    EnterpriseFact,
    FormulaFact,
    GreenFact,
    MeterFact,
    PlanFact,
    ProductFact,
    ProductionFact,
)
from storage.facts.series import SeriesFact
from storage.facts.state import Facts
from storage.facts.substitution import ApprovalFact, SubstitutionFact
from storage.ledger import IntervalRow
from verification.accounting.books import Books
from verification.accounting.fuels import HEAT
from verification.document import MonthDocument
from verification.evidence import manifest as names
from verification.evidence import tables
from verification.evidence.births import Key
from verification.times import midnight_ms

_OF_MONTH = (ProductionFact, ProductFact, EnergyFact, GreenFact, CertificateFact)
_LASTING = (EnterpriseFact, FormulaFact, MeterFact, PlanFact, BenchmarkFact, SubstitutionFact, ApprovalFact)
_FUEL_COLUMNS, _COAL_COLUMNS = FuelFactor.__struct_fields__, CoalCoefficient.__struct_fields__
_ALWAYS = ("electricity", HEAT, "fresh_water")
"""Energies that meters may measure."""

Intervals = Callable[[str, str, Span], Sequence[IntervalRow]]
"""(meter, reading type, span) → the ledger's intervals as of the close."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The tables, read back."""

    books: Books
    fuels: FuelTable
    coal: Mapping[str, CoalCoefficient]
    before: Mapping[Key, Sequence[tuple[Span, int, int, bool]]]
    """Of bills: (interval, opening, closing, closed) of what the month's own frames do not reach."""


def books_of(facts: Facts, document: MonthDocument, enterprises: Iterable[str]) -> Books:
    """The scope's books: of an enterprise its own, of the park those of all enterprises."""
    scope = document.scope
    mine = (scope.id,) if scope.kind == "enterprise" else tuple(enterprises)
    return Books(facts, scope.id, mine, document.month)


def book_tables(
    books: Books, document: MonthDocument, park: Park, fuels: FuelTable, intervals: Intervals
) -> dict[str, Iterator[bytes]]:
    """The tables of a pack; those without a row are left out."""
    chosen = list(_chosen(books, document))
    found = {}
    for kind, facts in groupby(chosen, lambda fact: fact.KIND):
        found[f"{names.FACTS}{kind}.csv"] = _table(KINDS[kind], list(facts))
    named = _energies(chosen)
    burnt = [factor for (_set, fuel), factor in fuels.factors.items() if fuel in named]
    coal = [coefficient for energy, coefficient in load_coefficients().items() if energy in named]
    found[names.FUELS] = tables.csv_chunks(_FUEL_COLUMNS, map(msgspec.structs.astuple, burnt))
    found[names.COAL] = tables.csv_chunks(_COAL_COLUMNS, map(msgspec.structs.astuple, coal))
    rows = [row for key, span in _billed(books, document, park.tz) for row in intervals(*key, span)]
    if rows:
        found[names.BILL_LEDGER] = tables.csv_chunks(tables.LEDGER_COLUMNS, map(tables.ledger_cells, rows))
    return found


def _table(kind: type[Fact], facts: Iterable[Fact]) -> Iterator[bytes]:
    columns = tuple(kind.model_fields)
    return tables.csv_chunks(columns, ([_cell(fact, name) for name in columns] for fact in facts))


def _chosen(books: Books, document: MonthDocument) -> Iterator[Fact]:
    """Facts of the scope that its month was made from, by kind, else in their own order: lines follow it."""
    records = [books.enterprise(name) for name in books.enterprises]
    subjects = {books.scope, *books.enterprises, *(line.meter for line in document.meters)}
    subjects |= {record.industry for record in records if record is not None}
    bills, month = books.bills(), Span(document.start_ms, document.end_ms)
    for kind in KINDS.values():
        for fact in books.facts.of(kind):
            of_month = isinstance(fact, _OF_MONTH) and fact.month == books.month
            declared = isinstance(fact, SeriesFact) and bool(series_of([fact], month))
            if fact.subject in subjects and (
                of_month or declared or isinstance(fact, _LASTING) or fact in bills
            ):
                yield fact


def _cell(fact: Fact, name: str) -> tables.Cell:
    value = getattr(fact, name)
    return value.isoformat() if isinstance(value, date) else None if value is None else str(value)


def _energies(facts: Iterable[Fact]) -> set[str]:
    """Energies that the facts name: reported, planned, or measured by a meter."""
    named = {fact.energy for fact in facts if isinstance(fact, EnergyFact | MeterFact)}
    return {*_ALWAYS, *named, *(fact.parameter for fact in facts if isinstance(fact, PlanFact))}


def _billed(books: Books, document: MonthDocument, zone: ZoneInfo) -> Iterator[tuple[Key, Span]]:
    """What bills cover outside the month, or on a total that has no line, each total once."""
    listed = {(line.meter, line.reading_type) for line in document.meters}
    spans: dict[Key, Span] = {}
    for bill in books.bills():
        key, own = (bill.meter, bill.reading_type), span_of(bill, zone)
        end = min(own.end_ms, document.start_ms) if key in listed else own.end_ms
        known = spans.get(key, Span(own.start_ms, end))
        spans[key] = Span(min(known.start_ms, own.start_ms), max(known.end_ms, end))
    yield from ((key, span) for key, span in spans.items() if span.start_ms < span.end_ms)


def span_of(bill: BillFact, zone: ZoneInfo) -> Span:
    """A bill's own dates."""
    return Span(midnight_ms(bill.start, zone), midnight_ms(bill.end, zone))


def read_books(
    read: Callable[[str], tables.Rows],
    files: Iterable[str],
    document: MonthDocument,
    enterprises: Iterable[str],
) -> Packed:
    """The tables of a pack, back. ValueError, KeyError or TypeError when they are none."""
    facts: list[Fact] = []
    for name in sorted(files):
        if name.startswith(names.FACTS):
            kind = KINDS[name.removeprefix(names.FACTS).removesuffix(".csv")]
            facts += (kind.model_validate({k: v for k, v in row.items() if v}) for row in read(name))
    burnt = [msgspec.convert(row, FuelFactor) for row in read(names.FUELS)]
    coal = [
        msgspec.convert({**row, "medium": row["medium"] == "True"}, CoalCoefficient)
        for row in read(names.COAL)
    ]
    rows = read(names.BILL_LEDGER) if names.BILL_LEDGER in files else ()
    return Packed(
        books_of(Facts(tuple(facts)), document, enterprises),
        FuelTable({(factor.factor_set, factor.fuel): factor for factor in burnt}),
        {coefficient.energy: coefficient for coefficient in coal},
        _read_intervals(rows),
    )


def _read_intervals(rows: tables.Rows) -> dict[Key, list[tuple[Span, int, int, bool]]]:
    found: dict[Key, list[tuple[Span, int, int, bool]]] = {}
    for row in rows:
        span = Span(int(row["start_ms"]), int(row["end_ms"]))
        line = span, int(row["opening"]), int(row["closing"]), row["closed"] == "1"
        found.setdefault((row["meter"], row["reading_type"]), []).append(line)
    return found


def formula_of(books: Books, scope: str) -> tuple[tuple[str, int], ...] | None:
    """The registry's formula of a scope at the month's end; None where that of the park's file holds."""
    fact = books.facts.in_force(FormulaFact, scope, books.last)
    return None if fact is None else tuple((role.value, sign) for role, sign in parse_formula(fact.formula))
