"""Closed months: what was found, the document itself, its revisions, and the printed reports."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, Response

from api.access import AccessDep, audit, require
from api.errors import Problem, unknown
from api.models import MonthOut, ReportLink
from api.rights import Permission
from api.sources import Sources, SourcesDep
from metering.i18n import _
from metering.ids import ID_PATTERN
from metering.intervals import iso
from storage.months import MonthRow, report_stem

router = APIRouter(tags=["months"])
_VIEW = require(Permission.MONTH_VIEW)

Kind = Literal["enterprise", "park"]
Format = Literal["pdf", "xlsx", "json", "csv"]
MEDIA_TYPES: dict[Format, str] = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
    "csv": "application/zip",
}
EXTENSIONS: dict[Format, str] = {"pdf": "pdf", "xlsx": "xlsx", "json": "json", "csv": "csv.zip"}
MonthPath = Annotated[str, Path(pattern=r"^\d{4}-(0[1-9]|1[0-2])$", description="YYYY-MM.")]
MonthQuery = Annotated[str | None, Query(pattern=r"^\d{4}-(0[1-9]|1[0-2])$", description="Only this month.")]
ScopePath = Annotated[str, Path(pattern=ID_PATTERN, description="Enterprise or park id.")]
RevisionQuery = Annotated[int | None, Query(ge=1, le=1_000_000, description="Default: the newest.")]


@router.get("/months", summary="Closed months", dependencies=[_VIEW])
def months(sources: SourcesDep, month: MonthQuery = None) -> list[MonthOut]:
    """The newest revision of every closed month and scope, newest month first."""
    with sources.months() as store:
        found = store.list(month) if store is not None else []
    rows = [row for row in found if sources.sees(row.scope_kind, row.scope_id)]
    newest = {
        (row.month, row.scope_kind, row.scope_id): row for row in sorted(rows, key=lambda row: row.revision)
    }
    order = {(row.month, row.scope_kind, row.scope_id): None for row in rows}
    return [_out(sources, newest[key]) for key in order]


@router.get(
    "/months/{month}/{kind}/{scope}",
    summary="One month document",
    dependencies=[_VIEW],
    response_class=Response,
    responses={
        200: {"content": {"application/json": {}}, "description": "The document, byte for byte as closed."}
    },
)
def month_document(
    sources: SourcesDep, month: MonthPath, kind: Kind, scope: ScopePath, revision: RevisionQuery = None
) -> Response:
    """The document of a closed month exactly as stored; its SHA-256 is the ETag."""
    row = _row(sources, month, kind, scope, revision)
    return Response(row.document, media_type="application/json", headers={"ETag": f'"{row.digest}"'})


@router.get("/months/{month}/{kind}/{scope}/revisions", summary="Revisions of a month", dependencies=[_VIEW])
def revisions(sources: SourcesDep, month: MonthPath, kind: Kind, scope: ScopePath) -> list[MonthOut]:
    """All revisions, oldest first, with the reason of each later one."""
    _row(sources, month, kind, scope, None)
    with sources.months() as store:
        rows: Iterable[MonthRow] = store.list(month) if store is not None else []
    found = [row for row in rows if (row.scope_kind, row.scope_id) == (kind, scope)]
    return [_out(sources, row) for row in sorted(found, key=lambda row: row.revision)]


@router.get(
    "/reports/{month}/{kind}/{scope}/{format}",
    summary="Download a report",
    dependencies=[_VIEW],
    response_class=FileResponse,
    responses={200: {"content": {key: {} for key in MEDIA_TYPES.values()}, "description": "The report."}},
)
def report(
    request: Request,
    sources: SourcesDep,
    access: AccessDep,
    *,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    format: Format,
    revision: RevisionQuery = None,
) -> FileResponse:
    """The printed report of a closed month. Who took it stands in the audit log."""
    row = _row(sources, month, kind, scope, revision)
    path = sources.settings.reports / report_name(row, format)
    if not path.is_file():
        detail = _("report {name} has not been printed: run `tanyun report`").format(name=path.name)
        raise Problem(404, "not found", detail, "format")
    audit(request, access.principal.name, "report.export", path.name, digest=row.digest)
    return FileResponse(path, media_type=MEDIA_TYPES[format], filename=path.name)


def report_name(row: MonthRow, format: Format) -> str:
    """File name of a report in the reports folder."""
    return f"{report_stem(row)}.{EXTENSIONS[format]}"


def _row(sources: Sources, month: str, kind: str, scope: str, revision: int | None) -> MonthRow:
    with sources.months() as store:
        seen = store is not None and sources.sees(kind, scope)
        row = store.get(month, kind, scope, revision) if store is not None and seen else None
    if row is None:
        which = f"{month} {kind} {scope}" + (f" r{revision}" if revision is not None else "")
        raise unknown("month", which, "closed month")
    return row


def _out(sources: Sources, row: MonthRow) -> MonthOut:
    document: dict[str, Any] = json.loads(row.document)
    scope, checks = document.get("scope", {}), document.get("checks", [])
    substituted, reported = _reported(document)
    return MonthOut(
        month=row.month, scope_kind=row.scope_kind, scope_id=row.scope_id, name=scope.get("name", row.scope_id),
        name_en=scope.get("name_en", ""), revision=row.revision, outcome=row.outcome, reason=row.reason,
        closed_at=iso(row.closed_at_ms, sources.zone), closed_at_ms=row.closed_at_ms, digest=row.digest,
        purchased_wh=document.get("energy", {}).get("purchased_wh"), substituted_wh=substituted,
        reported_wh=reported, emissions=document.get("emissions", []),
        findings=sum(check.get("outcome") != "PASS" for check in checks), reports=_links(sources, row),
    )  # fmt: skip


def _reported(document: dict[str, Any]) -> tuple[str, str | None]:
    """What was substituted of the purchased electricity, and what is reported with it; months of older releases have none."""
    line = next((line for line in document.get("reported", []) if line["id"] == "purchased_wh"), None)
    if line is None:
        return "0", document.get("energy", {}).get("purchased_wh")
    return line["substituted"], line["reported"]


def _links(sources: Sources, row: MonthRow) -> list[ReportLink]:
    base = f"/api/v1/reports/{row.month}/{row.scope_kind}/{row.scope_id}"
    return [
        ReportLink(format=kind, href=f"{base}/{kind}?revision={row.revision}")
        for kind in get_args(Format)
        if (sources.settings.reports / report_name(row, kind)).is_file()
    ]
