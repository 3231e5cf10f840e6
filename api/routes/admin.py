"""Who did what: to look at."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from api.access import require
from api.rights import Permission
from api.routes.events import AfterQuery, LimitQuery
from api.sources import SourcesDep
from metering.intervals import iso
from storage.audit import AuditLog, Entry

router = APIRouter(tags=["administration"])


class AuditEntryOut(BaseModel):
    """Something that somebody did, or tried."""

    id: int
    t_ms: int
    t: str
    actor: str
    action: str
    target: str
    outcome: str
    address: str
    detail: Any
    hash: str = Field(description="SHA-256, hex, over the hash before it and this entry.")


@router.get("/audit", summary="The audit log", dependencies=[require(Permission.AUDIT_VIEW, park=True)])
def audit_log(
    request: Request,
    sources: SourcesDep,
    after_id: AfterQuery = 0,
    limit: LimitQuery = 100,
    actor: Annotated[str | None, Query(max_length=200, description="Only what this one did.")] = None,
    action: Annotated[str | None, Query(max_length=200, description="Only this.")] = None,
) -> list[AuditEntryOut]:
    """What was done and tried, in order. Nobody can change it here; `tanyun audit verify` checks the chain."""
    with AuditLog(request.app.state.settings.audit) as log:
        found = log.entries(after_id, limit, actor=actor, action=action)
    return [_entry(entry, iso(entry.t_ms, sources.zone)) for entry in found]


def _entry(entry: Entry, t: str) -> AuditEntryOut:
    return AuditEntryOut(
        id=entry.id, t_ms=entry.t_ms, t=t, actor=entry.actor, action=entry.action, target=entry.target,
        outcome=entry.outcome, address=entry.address, detail=json.loads(entry.detail), hash=entry.hash.hex(),
    )  # fmt: skip
