"""Events and the quarantine: what did not go as it should."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.access import require
from api.models import EventOut, QuarantineOut, QuarantineRowOut
from api.rights import Permission
from api.sources import Sources, SourcesDep
from metering.intervals import iso
from storage.journal import JournalEvent
from storage.ledger import EventRow, LedgerReader

router = APIRouter(tags=["events"])

LARGEST = 2**63 - 1
"""What SQLite can compare with."""
AfterQuery = Annotated[int, Query(ge=0, le=LARGEST, description="Only rows with a greater id.")]
LimitQuery = Annotated[int, Query(ge=1, le=1000)]


@router.get("/events", summary="Events", dependencies=[require(Permission.EVENTS_VIEW)])
def events(
    sources: SourcesDep,
    source: Annotated[
        Literal["ledger", "journal"], Query(description="ledger: found by the stream; journal: by ingest.")
    ] = "ledger",
    meter: Annotated[str | None, Query(description="Only this meter (ledger).")] = None,
    after_id: AfterQuery = 0,
    limit: LimitQuery = 100,
) -> list[EventOut]:
    """Events in the order they were found. Those of ingest concern the whole park."""
    if meter is not None:
        sources.meter(meter)
    if source == "journal":
        sources.whole_park()
        with sources.journal() as journal:
            return [_journal_event(sources, row) for row in journal.events(after_id, limit)]
    with sources.ledger() as ledger:
        return [_ledger_event(sources, row) for row in _seen(sources, ledger, meter, after_id, limit)]


def _seen(
    sources: Sources, ledger: LedgerReader, meter: str | None, after_id: int, limit: int
) -> list[EventRow]:
    """The caller's part of the events: of all meters, or those of each meter that may be seen, in order."""
    if meter is not None or sources.scope.park:
        return ledger.events(after_id, limit, meter)
    rows = [row for item in sources.park.meters for row in ledger.events(after_id, limit, item.id)]
    return sorted(rows, key=lambda row: row.id)[:limit]


def _ledger_event(sources: Sources, row: EventRow) -> EventOut:
    return EventOut(
        id=row.id, source="ledger", t_ms=row.t_ms, t=iso(row.t_ms, sources.zone), meter=row.meter,
        reading_type=row.reading_type, kind=row.kind, detail=row.detail,
    )  # fmt: skip


def _journal_event(sources: Sources, row: JournalEvent) -> EventOut:
    return EventOut(
        id=row.id, source="journal", t_ms=row.t_ms, t=iso(row.t_ms, sources.zone), gateway=row.gateway,
        meter=row.detail.get("meter"), kind=row.kind, detail=row.detail,
    )  # fmt: skip


@router.get("/quarantine", summary="Quarantine", dependencies=[require(Permission.EVENTS_VIEW, park=True)])
def quarantine(sources: SourcesDep, after_id: AfterQuery = 0, limit: LimitQuery = 100) -> QuarantineOut:
    """Refused messages with reason and payload: counts of all, and rows oldest first."""
    with sources.journal() as journal:
        counts, rows = journal.quarantine_counts(), journal.quarantine(after_id, limit)
    return QuarantineOut(
        counts=counts,
        rows=[
            QuarantineRowOut(
                id=row.id, received_ms=row.received_ms, received=iso(row.received_ms, sources.zone),
                topic=row.topic, gateway=row.gateway, reason=row.reason, detail=row.detail, size=row.size,
                payload_hex=row.payload.hex(),
            )
            for row in rows
        ],
    )  # fmt: skip
