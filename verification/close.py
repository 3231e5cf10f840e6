"""Closing a month: measure, build one document per enterprise and one for the park, keep them as frozen revisions."""

from dataclasses import dataclass

import msgspec

from factors.fuel import FuelTable
from factors.table import FactorTable
from metering.i18n import _
from metering.intervals import Span, iso, local_day, local_month, quarter_start
from metering.registry import Park
from storage.facts.state import Facts
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from storage.months import MonthRow, MonthStore, digest_of
from verification.changes import differences
from verification.closing import Before, Closing
from verification.completeness import MonthTotal
from verification.compose import documents
from verification.document import Change, JournalEnd, MonthDocument, canonical, parse
from verification.lines import LedgerEnd, RegistryState
from verification.measure import measure

_NAMED_AT_MOST = 5


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


class MonthNotBegunError(Exception):
    """Nothing of the month is over yet (wait)."""

    def __init__(self, month: str) -> None:
        super().__init__(_("{month} has not begun: there is nothing to check").format(month=month))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a month comes from."""

    park: Park
    ledger: LedgerReader
    journal: JournalReader
    months: MonthStore
    table: FactorTable
    fuels: FuelTable
    facts: Facts
    registry: RegistryState


def close_month(
    sources: Sources,
    month: str,
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
    span = local_month(month, sources.park.tz)
    closing = closing_of(sources, month, span, closed_at_ms, factors_as_of_ms)
    behind = [
        f"{t.meter.id} {t.reading_type} ({_until(t, sources.park)})"
        for t in closing.measured.totals
        if t.behind and not t.filled
    ]
    if behind and not allow_incomplete:
        raise MonthNotReadyError(month, behind)
    return _keep(documents(closing), closed_at_ms, sources.months, reason)


def check_month(sources: Sources, month: str, now_ms: int) -> list[MonthDocument]:
    """The documents of a month as far as it has come, with every check; nothing is stored.

    An open month is judged up to the last local midnight, on its first day up to the last quarter hour.

    Raises:
        MonthNotBegunError: not a quarter hour of it is over.
    """
    zone = sources.park.tz
    whole = local_month(month, zone)
    midnight = local_day(now_ms, zone).start_ms
    until = midnight if midnight > whole.start_ms else quarter_start(now_ms)
    if until <= whole.start_ms:
        raise MonthNotBegunError(month)
    return documents(closing_of(sources, month, Span(whole.start_ms, min(until, whole.end_ms)), now_ms))


def closing_of(
    sources: Sources, month: str, span: Span, at_ms: int, factors_as_of_ms: int | None = None
) -> Closing:
    """Everything measured over a span of the month, and what it is judged with."""
    ledger = LedgerEnd(
        id=sources.ledger.ledger_id(),
        change_seq=sources.ledger.change_seq(),
        last_event=sources.ledger.last_event(),
    )
    return Closing(
        park=sources.park,
        month=month,
        measured=measure(sources.park, span, sources.ledger, sources.journal, sources.facts),
        table=sources.table,
        fuels=sources.fuels,
        facts=sources.facts,
        registry=sources.registry,
        closed_at_ms=at_ms,
        as_of_ms=at_ms if factors_as_of_ms is None else factors_as_of_ms,
        journal=_journal_end(sources.journal),
        ledger=ledger,
        before=_closed_months(sources.months),
    )


def _closed_months(months: MonthStore) -> Before:
    """Looks closed months up, each once."""
    known: dict[tuple[str, str, str], tuple[MonthDocument, str] | None] = {}
    newest = months.newest()

    def closed(month: str, kind: str, scope: str) -> tuple[MonthDocument, str] | None:
        key = month, kind, scope
        if key not in newest:
            return None
        if key not in known:
            row = months.get(month, kind, scope)
            known[key] = None if row is None else (parse(row.document), row.digest)
        return known[key]

    return closed


def _journal_end(journal: JournalReader) -> JournalEnd:
    head = journal.head()
    return JournalEnd(
        id=head.journal_id, segment=head.offset.segment, index=head.offset.index, chain=head.chain.hex()
    )


def _until(total: MonthTotal, park: Park) -> str:
    return _("never read") if total.progress is None else iso(total.progress.t_ms, park.tz)


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
