"""Closing a month: measure, build one document per enterprise and one for the park, keep them as frozen revisions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from factors.policy import LatestPublished, MissingFactor, enterprise_policy, factor_for, park_policy
from factors.table import Factor, FactorTable
from metering.i18n import _
from metering.intervals import Span, iso, local_day, local_month, to_local
from metering.registry import Enterprise, Park, Term
from metering.roles import ROLE_LABELS, Role
from storage.journal import JournalReader
from storage.ledger import EventRow, LedgerReader
from storage.months import MonthRow, MonthStore, digest_of
from verification import checks
from verification.accounting.electricity import emission, emission_line, factor_line
from verification.balance import balance_line, read_month
from verification.completeness import Boundary, MonthTotal, completeness, energy_lines, pv_self_use
from verification.document import (
    SCHEMA,
    Change,
    CheckLine,
    DayLine,
    EmissionLine,
    EnterpriseLine,
    FactorLine,
    FormulaTerm,
    JournalEnd,
    MeterLine,
    MonthDocument,
    ParentLine,
    ParkHead,
    Scope,
    Use,
    canonical,
    count_text,
    differences,
    parse,
    ratio_text,
)

_NAMED_AT_MOST = 5
_PAGE = 1000


class MonthNotReadyError(Exception):
    """Some totals are not accounted up to the month's end (wait, or close it as incomplete)."""

    def __init__(self, month: str, behind: list[str]) -> None:
        super().__init__(
            _("{month} cannot be closed yet, these meters are behind its end: {meters}").format(
                month=month, meters="; ".join(behind)
            )
        )
        self.behind = behind


class MonthClosedError(Exception):
    """The month is closed and its figures would change (the operator must give a reason)."""

    def __init__(self, month: str, changes: dict[str, tuple[Change, ...]]) -> None:
        named = [f"{scope}: {_named(found)}" for scope, found in changes.items()]
        super().__init__(
            _("{month} is closed and other figures need a reason: {changes}").format(
                month=month, changes="; ".join(named)
            )
        )
        self.changes = changes


def close_month(
    park: Park,
    month: str,
    ledger: LedgerReader,
    journal: JournalReader,
    months: MonthStore,
    table: FactorTable,
    closed_at_ms: int,
    reason: str | None = None,
    *,
    allow_incomplete: bool = False,
    factors_as_of_ms: int | None = None,
) -> list[MonthRow]:
    """Close a month for every enterprise and the park; the revisions that hold now, the park's last.

    The same figures give the stored revision again. Factors are those published by the local day of `factors_as_of_ms`,
    by default that of `closed_at_ms`: a frozen month takes a newer notice by decision only.

    Raises:
        MonthNotReadyError: a total is behind the month's end and `allow_incomplete` is not set.
        MonthClosedError: the figures differ from the stored revision and there is no reason.
    """
    span = local_month(month, park.tz)
    totals = measure(park, span, ledger, journal)
    behind = [f"{t.meter.id} {t.reading_type} ({_until(t, park)})" for t in totals if t.behind]
    if behind and not allow_incomplete:
        raise MonthNotReadyError(month, behind)
    as_of_ms = closed_at_ms if factors_as_of_ms is None else factors_as_of_ms
    closing = Closing(
        park,
        month,
        span,
        table,
        closed_at_ms,
        as_of_ms,
        _journal_end(journal),
        totals,
        tuple(_events(ledger, span)),
    )
    enterprises = [_document(closing, boundary) for boundary in closing.enterprises()]
    park_itself = _document(closing, closing.whole(), [_enterprise_line(doc) for doc in enterprises])
    return _keep([*enterprises, park_itself], closed_at_ms, months, reason)


def measure(park: Park, span: Span, ledger: LedgerReader, journal: JournalReader) -> tuple[MonthTotal, ...]:
    """Every total that has a role, with what ledger and journal say about its month."""
    progress = {(row.meter, row.reading_type): row for row in ledger.progress()}
    return tuple(
        MonthTotal(
            meter=meter,
            reading_type=reading_type,
            role=role,
            span=span,
            rows=tuple(ledger.intervals(meter.id, reading_type, span.start_ms, span.end_ms)),
            progress=progress.get((meter.id, reading_type)),
            journal=read_month(journal, meter, reading_type, span),
        )
        for meter in park.meters
        for reading_type, role in meter.roles.items()
    )


def _until(total: MonthTotal, park: Park) -> str:
    return _("never read") if total.progress is None else iso(total.progress.t_ms, park.tz)


def _events(ledger: LedgerReader, span: Span) -> Iterator[EventRow]:
    after = 0
    while page := ledger.events(after, _PAGE):
        yield from (event for event in page if span.start_ms <= event.t_ms < span.end_ms)
        after = page[-1].id


def _keep(
    fresh: list[MonthDocument], closed_at_ms: int, months: MonthStore, reason: str | None
) -> list[MonthRow]:
    """Store what is new, all or none; what is stored with the same figures stays as it is."""
    stored = [months.get(doc.month, doc.scope.kind, doc.scope.id) for doc in fresh]
    changes = [
        differences(parse(old.document), doc) if old else () for old, doc in zip(stored, fresh, strict=True)
    ]
    if any(changes) and not reason:
        named = {f"{d.scope.kind} {d.scope.id}": c for d, c in zip(fresh, changes, strict=True) if c}
        raise MonthClosedError(fresh[0].month, named)
    rows = [
        old if old is not None and not found else _row(doc, old, found, reason, closed_at_ms)
        for doc, old, found in zip(fresh, stored, changes, strict=True)
    ]
    months.add([row for row, old in zip(rows, stored, strict=True) if row is not old])
    return rows


def _row(
    fresh: MonthDocument,
    old: MonthRow | None,
    changes: tuple[Change, ...],
    reason: str | None,
    closed_at_ms: int,
) -> MonthRow:
    revision = old.revision + 1 if old else 1
    why = reason if old else None
    final = msgspec.structs.replace(fresh, revision=revision, reason=why, changes=changes)
    document = canonical(final)
    scope = final.scope
    return MonthRow(
        month=final.month,
        scope_kind=scope.kind,
        scope_id=scope.id,
        revision=revision,
        outcome=final.outcome,
        closed_at_ms=closed_at_ms,
        reason=why,
        document=document,
        digest=digest_of(document),
    )


def _named(changes: tuple[Change, ...]) -> str:
    shown = [f"{c.path}: {c.old or '—'} → {c.new or '—'}" for c in changes[:_NAMED_AT_MOST]]
    more = len(changes) - len(shown)
    return ", ".join([*shown, *([_("and {count} more").format(count=more)] if more else [])])


@dataclass(frozen=True, slots=True)
class Closing:
    """What one close knows: registry, month, factors and everything measured."""

    park: Park
    month: str
    span: Span
    table: FactorTable
    closed_at_ms: int
    as_of_ms: int
    """Factors are those published by its local day."""
    journal: JournalEnd
    totals: tuple[MonthTotal, ...]
    events: tuple[EventRow, ...]

    def factor(self, role: Role, use: Use) -> Factor | MissingFactor:
        """The factor of a role's energy, of those published by the local day of `as_of_ms`."""
        as_of = to_local(self.as_of_ms, self.park.tz).date()
        return factor_for(self.table, role.value, self.policies()[use], self.month, as_of)

    def policies(self) -> dict[Use, LatestPublished]:
        """Both ways to account, by their use: every document prints both."""
        return {"enterprise": enterprise_policy(), "park": park_policy(self.park.grid_scope)}

    def enterprises(self) -> list[Boundary]:
        """Every enterprise with its own meters."""
        return [Boundary(_scope(e), e.formula, self._totals_of(e)) for e in self.park.enterprises]

    def whole(self) -> Boundary:
        """The park with all meters."""
        park = self.park
        scope = Scope(kind="park", id=park.id, name=park.name, name_en=park.name_en, credit_code="")
        return Boundary(scope, park.formula, self.totals)

    def _totals_of(self, enterprise: Enterprise) -> tuple[MonthTotal, ...]:
        mine = {meter.id for meter in self.park.meters_of(enterprise.id)}
        return tuple(total for total in self.totals if total.meter.id in mine)


def _scope(e: Enterprise) -> Scope:
    return Scope(kind="enterprise", id=e.id, name=e.name, name_en=e.name_en, credit_code=e.credit_code)


def _journal_end(journal: JournalReader) -> JournalEnd:
    head = journal.head()
    return JournalEnd(
        id=head.journal_id, segment=head.offset.segment, index=head.offset.index, chain=head.chain.hex()
    )


def _document(
    closing: Closing, boundary: Boundary, enterprises: Sequence[EnterpriseLine] = ()
) -> MonthDocument:
    """The document of a scope, as its first revision."""
    park, span = closing.park, closing.span
    parents = checks.parent_lines(boundary.totals, closing.totals)
    energy = energy_lines(boundary, span, parents)
    emissions = _emissions(closing, boundary)
    factors = _factors(closing, boundary)
    found = _checks(closing, boundary, parents, emissions, factors)
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
        outcome=checks.outcome_of(found),
        formula=tuple(_term(term) for term in boundary.formula),
        factors=factors,
        energy=energy,
        emissions=emissions,
        daily=tuple(_daily(closing, boundary)),
        meters=tuple(_meter(closing, boundary, total) for total in boundary.totals),
        parents=parents,
        enterprises=tuple(enterprises),
        checks=found,
    )


def _term(term: Term) -> FormulaTerm:
    zh, en = ROLE_LABELS[term.role]
    return FormulaTerm(role=term.role.value, sign=term.sign, label_zh=zh, label_en=en)


def _checks(
    closing: Closing,
    boundary: Boundary,
    parents: tuple[ParentLine, ...],
    emissions: tuple[EmissionLine, ...],
    factors: tuple[FactorLine, ...],
) -> tuple[CheckLine, ...]:
    totals = boundary.totals
    mine = {total.meter.id for total in totals}
    exceeds = (pv_self_use(boundary) or 0) < 0
    return (
        checks.check_completeness(totals),
        checks.check_edges(totals),
        checks.check_monotonic(totals, [event for event in closing.events if event.meter in mine]),
        checks.check_parents(parents, export_exceeds_generation=exceeds),
        checks.check_factors(emissions, factors),
        checks.check_recomputed(totals),
    )


def _emissions(closing: Closing, boundary: Boundary) -> tuple[EmissionLine, ...]:
    energy = boundary.formula_energy(closing.span)
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
    zone, at, running = closing.park.tz, closing.span.start_ms, 0
    while at < closing.span.end_ms:
        day = local_day(at, zone)
        energy = boundary.formula_energy(day)
        before, after = emission(running, factor), emission(running + (energy or 0), factor)
        known = energy is not None and before is not None and after is not None
        yield DayLine(
            day=to_local(at, zone).date().isoformat(),
            energy_wh=count_text(energy),
            emission_ug=str((after or 0) - (before or 0)) if known else None,
        )
        running += energy or 0
        at = day.end_ms


def _meter(closing: Closing, boundary: Boundary, total: MonthTotal) -> MeterLine:
    meter, zone = total.meter, closing.park.tz
    factor = closing.factor(total.role, boundary.scope.kind) if total.electric else None
    known = factor if isinstance(factor, Factor) else None
    points = completeness(total.rows, total.span)
    first, last = (total.rows[0], total.rows[-1]) if total.rows else (None, None)
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
        opening_wh=str(first.opening) if first else None,
        closing_wh=str(last.closing) if last else None,
        opening_at=iso(first.start_ms, zone) if first else None,
        closing_at=iso(last.end_ms, zone) if last else None,
        energy_wh=count_text(total.energy),
        emission_ug=count_text(emission(total.energy, known)) if known else None,
        factor_ug_per_wh=ratio_text(known.ratio) if known else None,
        factor_id=known.id if known else None,
        completeness=points.ratio,
        points_read=points.points_read,
        points_expected=points.points_expected,
        estimated_wh=str(total.estimated),
        pending=total.pending,
        balance=balance_line(total.journal, total.stored, zone),
    )


def _enterprise_line(document: MonthDocument) -> EnterpriseLine:
    by_use = {line.use: line.emission_ug for line in document.emissions}
    return EnterpriseLine(
        id=document.scope.id,
        name=document.scope.name,
        purchased_wh=document.energy.purchased_wh,
        emission_ug=by_use["enterprise"],
        provincial_emission_ug=by_use["park"],
        outcome=document.outcome,
    )
