"""A scope's document from what was measured, what the registry says, and the factors of the month."""

from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from factors.table import Factor
from metering.dated import DeclaredTotal, declared_total
from metering.intervals import iso, to_local
from metering.registry import Term
from metering.roles import ROLE_LABELS, Role
from verification.accounting.books import Books, enterprise_facts
from verification.accounting.electricity import emission, emission_line, factor_line
from verification.accounting.reported import PURCHASED
from verification.balance import balance_line
from verification.checks.case import outcome_of
from verification.closing import Closing
from verification.completeness import Boundary, MonthTotal, as_reported
from verification.document import (
    SCHEMA,
    Balance,
    DayLine,
    EmissionLine,
    EnterpriseLine,
    FactorLine,
    FormulaTerm,
    MeterLine,
    MonthDocument,
    ParkHead,
    Use,
    count_text,
    ratio_text,
)
from verification.intervals import days_of
from verification.lines import DatedLine, ExchangeLine, RatioLine
from verification.sections import Sections


def documents(closing: Closing) -> list[MonthDocument]:
    """Every enterprise's document and then the park's, each as a first revision."""
    found = [document(closing, boundary, books) for boundary, books in closing.enterprises()]
    return [*found, document(closing, *closing.whole(), [_enterprise_line(doc) for doc in found])]


def document(
    closing: Closing, boundary: Boundary, books: Books, enterprises: Sequence[EnterpriseLine] = ()
) -> MonthDocument:
    """The document of a scope, as its first revision."""
    park, span = closing.park, closing.measured.span
    emissions, factors = _emissions(closing, boundary), _factors(closing, boundary)
    part = Sections(closing, boundary, books, emissions, factors)
    return MonthDocument(
        schema=SCHEMA,
        scope=boundary.scope,
        park=ParkHead(id=park.id, name=park.name, name_en=park.name_en, grid_scope=park.grid_scope),
        month=closing.month,
        zone=park.zone,
        start=iso(span.start_ms, park.tz),
        end=iso(span.end_ms, park.tz),
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        revision=1,
        reason=None,
        closed_at=iso(closing.closed_at_ms, park.tz),
        journal=closing.journal,
        outcome=outcome_of(part.checks),
        formula=tuple(_term(term) for term in boundary.formula),
        factors=factors,
        emissions=emissions,
        daily=tuple(_daily(closing, boundary)),
        meters=tuple(_meter(closing, boundary, total) for total in boundary.totals),
        enterprises=tuple(enterprises),
        facts=enterprise_facts(books),
        registry=closing.registry,
        ledger=closing.ledger,
        **part.lines(),
    )


def _term(term: Term) -> FormulaTerm:
    zh, en = ROLE_LABELS[term.role]
    return FormulaTerm(role=term.role.value, sign=term.sign, label_zh=zh, label_en=en)


def _emissions(closing: Closing, boundary: Boundary) -> tuple[EmissionLine, ...]:
    energy = boundary.formula_energy(as_reported)
    return tuple(
        emission_line(
            use, use == boundary.scope.kind, policy, closing.factor(Role.GRID_BOUNDARY, use), energy
        )
        for use, policy in closing.policies().items()
    )


def _factors(closing: Closing, boundary: Boundary) -> tuple[FactorLine, ...]:
    """Both grid factors, and those that the PV and export meters of the scope take."""
    wanted: list[tuple[Use, Role, Use]] = [(use, Role.GRID_BOUNDARY, use) for use in closing.policies()]
    if boundary.of_role(Role.PV_GENERATION):
        wanted.append(("pv_generation", Role.PV_GENERATION, boundary.scope.kind))
    if boundary.of_role(Role.EXPORT):
        wanted.append(("export", Role.EXPORT, boundary.scope.kind))
    found = ((use, closing.factor(role, by)) for use, role, by in wanted)
    return tuple(factor_line(use, factor) for use, factor in found if isinstance(factor, Factor))


def _daily(closing: Closing, boundary: Boundary) -> Iterator[DayLine]:
    """The formula by local day; emissions are differences of floored cumulative products, so that they add up."""
    factor = closing.factor(Role.GRID_BOUNDARY, boundary.scope.kind)
    running = 0
    for number, day in enumerate(_days(closing)):
        energy = boundary.formula_of_day(number)
        before, after = emission(running, factor), emission(running + (energy or 0), factor)
        known = energy is not None and before is not None and after is not None
        yield DayLine(
            day=day,
            energy_wh=count_text(energy),
            emission_ug=str((after or 0) - (before or 0)) if known else None,
        )
        running += energy or 0


def _days(closing: Closing) -> list[str]:
    zone = closing.park.tz
    return [to_local(day.start_ms, zone).date().isoformat() for day in days_of(closing.measured.span, zone)]


def _meter(closing: Closing, boundary: Boundary, total: MonthTotal) -> MeterLine:
    meter, zone, seen = total.meter, closing.park.tz, total.summary
    factor = closing.factor(total.role, boundary.scope.kind) if total.electric else None
    known = factor if isinstance(factor, Factor) else None
    zh, en = ROLE_LABELS[total.role]
    return MeterLine(
        meter=meter.id,
        name=meter.name,
        gateway=meter.gateway,
        profile=meter.profile,
        reading_type=total.reading_type,
        role=total.role.value,
        role_zh=zh,
        role_en=en,
        unit=total.unit,
        ct=str(meter.ct),
        pt=str(meter.pt),
        opening_wh=str(seen.opening) if seen.count else None,
        closing_wh=str(seen.closing) if seen.count else None,
        opening_at=iso(seen.start_ms, zone) if seen.count else None,
        closing_at=iso(seen.end_ms, zone) if seen.count else None,
        energy_wh=count_text(total.energy),
        emission_ug=count_text(emission(total.energy, known)) if known else None,
        factor_ug_per_wh=ratio_text(known.ratio) if known else None,
        factor_id=known.id if known else None,
        completeness=seen.completeness,
        points_read=seen.points_read,
        points_expected=seen.points_expected,
        estimated_wh=str(total.estimated),
        pending=total.pending,
        balance=_balance(total, zone),
        dated=_dated(declared_total(meter, total.reading_type, zone)),
    )


def _balance(total: MonthTotal, zone: ZoneInfo) -> Balance:
    """Of what was measured, whatever was substituted."""
    return balance_line(total.journal, total.counted, zone, total.recounted)


def _dated(declared: DeclaredTotal) -> DatedLine:
    return DatedLine(
        ratios=tuple(RatioLine(since_ms=s.since_ms, ratio=ratio_text(s.ratio)) for s in declared.segments),
        exchanges=tuple(
            ExchangeLine(at_ms=s.at_ms, closing=ratio_text(s.closing), opening=ratio_text(s.opening))
            for s in declared.swaps
        ),
    )


def _enterprise_line(doc: MonthDocument) -> EnterpriseLine:
    by_use = {line.use: line.emission_ug for line in doc.emissions}
    bought = next(line for line in doc.reported if line.id == PURCHASED)
    return EnterpriseLine(
        id=doc.scope.id,
        name=doc.scope.name,
        purchased_wh=doc.energy.purchased_wh,
        substituted_wh=bought.substituted,
        reported_wh=bought.reported,
        emission_ug=by_use["enterprise"],
        provincial_emission_ug=by_use["park"],
        outcome=doc.outcome,
    )
