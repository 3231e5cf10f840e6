"""Events and the quarantine: what did not go as it should."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.models import EventOut, QuarantineOut, QuarantineRowOut
from api.sources import Sources, SourcesDep
from metering.intervals import iso
from storage.journal import JournalEvent
from storage.ledger import EventRow

router = APIRouter(tags=["events"])

AfterQuery = Annotated[int, Query(ge=0, description="Only rows with a greater id.")]
LimitQuery = Annotated[int, Query(ge=1, le=1000)]


@router.get("/events", summary="Events")
def events(
    sources: SourcesDep,
    source: Annotated[
        Literal["ledger", "journal"], Query(description="ledger: found by the stream; journal: by ingest.")
    ] = "ledger",
    meter: Annotated[str | None, Query(description="Only this meter (ledger).")] = None,
    after_id: AfterQuery = 0,
    limit: LimitQuery = 100,
) -> list[EventOut]:
    """Events in the order they were found."""
    if meter is not None:
        sources.meter(meter)
    if source == "journal":
        with sources.journal() as journal:
            return [_journal_event(sources, row) for row in journal.events(after_id, limit)]
    with sources.ledger() as ledger:
        return [_ledger_event(sources, row) for row in ledger.events(after_id, limit, meter)]


def _ledger_event(sources: Sources, row: EventRow) -> EventOut:
    return EventOut(
        id=row.id, source="ledger", t_ms=row.t_ms, t=iso(row.t_ms, sources.zone), meter=row.meter,
        reading_type=row.reading_type, kind=row.kind, detail=row.detail,
    )  # fmt: skip


def _journal_event(sources: Sources, row: JournalEvent) -> EventOut:
    return EventOut(
        id=row.id, source="journal", t_ms=row.t_ms, t=iso(row.t_ms, sources.zone), gateway=row.gateway,
        kind=row.kind, detail=row.detail,
    )  # fmt: skip


@router.get("/quarantine", summary="Quarantine")
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
