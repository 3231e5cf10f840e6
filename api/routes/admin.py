"""Who may come in, and who did what: to look at. Changes are made on the server's command line (`tanyun user`, `tanyun key`)."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from api.access import require
from api.rights import Permission
from api.routes.events import AfterQuery, LimitQuery
from api.sources import SourcesDep
from metering.intervals import iso
from storage.audit import AuditLog, Entry
from storage.users import UserStore

router = APIRouter(tags=["administration"])


class GrantOut(BaseModel):
    """A role for a tenant."""

    role: str
    tenant: str = Field(description="An enterprise's id, or * for the whole park.")


class UserOut(BaseModel):
    """A user."""

    name: str
    disabled: bool
    created_ms: int
    grants: list[GrantOut]


class KeyOut(BaseModel):
    """A machine's key, without its secret."""

    id: str
    label: str
    permissions: list[str] = Field(description="Narrowed to these; all of its roles' when empty.")
    created_ms: int
    expires_ms: int
    revoked_ms: int | None
    grants: list[GrantOut]


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


@router.get("/users", summary="Users", dependencies=[require(Permission.USERS_MANAGE, park=True)])
def users(request: Request) -> list[UserOut]:
    """All users with their roles."""
    with UserStore(request.app.state.settings.users) as store:
        rows = store.users()
    return [
        UserOut(name=row.name, disabled=row.disabled, created_ms=row.created_ms, grants=_grants(row.grants))
        for row in rows
    ]


@router.get("/keys", summary="Keys of machines", dependencies=[require(Permission.USERS_MANAGE, park=True)])
def keys(request: Request) -> list[KeyOut]:
    """All keys, without what opens."""
    with UserStore(request.app.state.settings.users) as store:
        rows = store.keys()
    return [
        KeyOut(
            id=row.id, label=row.label, permissions=list(row.permissions), created_ms=row.created_ms,
            expires_ms=row.expires_ms, revoked_ms=row.revoked_ms, grants=_grants(row.grants),
        )
        for row in rows
    ]  # fmt: skip


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


def _grants(rows: Iterable[tuple[str, str]]) -> list[GrantOut]:
    return [GrantOut(role=role, tenant=tenant) for role, tenant in rows]
