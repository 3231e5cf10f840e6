"""The life of the months: the board, one revision's acts, answering, handing over, approving, returning, submitting."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Access, AccessDep, audit, public, require, slow_down
from api.desk import Desk, Life, Refused
from api.errors import Problem, unknown
from api.rights import Permission
from api.routes.months import Kind, MonthPath, RevisionQuery, ScopePath
from api.sources import Sources, SourcesDep
from api.uploads import insist_on_room
from metering.i18n import _
from metering.intervals import to_local
from storage.lifecycle import OvertakenError, Subject

router = APIRouter(tags=["life of months"])
_PATH = "/months/{month}/{kind}/{scope}"
_SHOWN = 1000
CausePath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


class Decision(BaseModel):
    """Why, about which finding, and the file that goes with it (uploaded before)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str = Field(default="", max_length=2000)
    check: str = Field(default="", max_length=20)
    file_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    file_name: str = Field(default="", max_length=200)


def desk_of(request: Request) -> Desk:
    """The desk that the command line handed over; 503 where it did not."""
    desk: Desk | None = request.app.state.desk
    if desk is None:
        raise Problem(503, "not ready", _("this server was started without the desk of the months"))
    return desk


@router.get("/board", summary="Where every month stands", dependencies=[require(Permission.MONTH_VIEW)])
def board(request: Request, sources: SourcesDep) -> Response:
    """The newest revision of every month and scope: outcome, status, findings without an answer, the next deadline."""
    today = to_local(sources.clock(), sources.zone).date().isoformat()
    found = [s for s in desk_of(request).board(today) if sources.sees(s.scope_kind, s.scope_id)]
    return _json(found[:_SHOWN])


@router.get(
    f"{_PATH}/life", summary="What was done to a revision", dependencies=[require(Permission.MONTH_VIEW)]
)
def life(
    request: Request,
    sources: SourcesDep,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    revision: RevisionQuery = None,
) -> Response:
    """Status, acts, and what keeps it from *verified*."""
    return _json(_found(request, sources, month, kind, scope, revision)[1])


@router.get(
    f"{_PATH}/differences",
    summary="Differences between two revisions",
    dependencies=[require(Permission.MONTH_VIEW)],
)
def differences(
    request: Request,
    sources: SourcesDep,
    *,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    revision: RevisionQuery = None,
    against: RevisionQuery = None,
) -> Response:
    """Every figure that differs, in words, with unit and difference; `against` is the revision before by default."""
    subject, _life = _found(request, sources, month, kind, scope, revision)
    other = max(subject.revision - 1, 1) if against is None else against
    found = desk_of(request).differences(subject, other)
    if found is None:
        raise unknown("against", f"r{other}", "revision")
    return _json(found)


@router.get(
    f"{_PATH}/files/{{digest}}", summary="An attached file", dependencies=[require(Permission.MONTH_VIEW)]
)
def attached(
    request: Request,
    sources: SourcesDep,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    digest: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    revision: RevisionQuery = None,
) -> Response:
    """A file that one of the revision's acts carries, as a download."""
    _subject, found = _found(request, sources, month, kind, scope, revision)
    data = desk_of(request).attachment(digest) if any(a.file_sha256 == digest for a in found.acts) else None
    if data is None:
        raise unknown("digest", digest, "attached file")
    headers = {"Content-Disposition": f'attachment; filename="{digest[:16]}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.post(f"{_PATH}/answer", summary="Answer a finding", dependencies=[require(Permission.FINDING_ANSWER)])
def answer(
    request: Request,
    sources: SourcesDep,
    access: AccessDep,
    *,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    decision: Decision,
) -> Response:
    """An explanation, with evidence or a correction as a file."""
    return _do(request, sources, access, "answer", (month, kind, scope), decision)


@router.post(
    f"{_PATH}/attach", summary="Attach the stamped scan", dependencies=[require(Permission.FINDING_ANSWER)]
)
def attach(
    request: Request,
    sources: SourcesDep,
    access: AccessDep,
    *,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    decision: Decision,
) -> Response:
    """The scan of the sealed report of a verified month."""
    return _do(request, sources, access, "attach", (month, kind, scope), decision)


@router.post(
    f"{_PATH}/send", summary="Hand over for review", dependencies=[require(Permission.MONTH_PREPARE)]
)
def send(
    request: Request,
    sources: SourcesDep,
    access: AccessDep,
    *,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    decision: Decision,
) -> Response:
    """From then on it can be approved or returned."""
    return _do(request, sources, access, "send", (month, kind, scope), decision)


@router.post(f"{_PATH}/submit", summary="Mark as submitted", dependencies=[require(Permission.MONTH_SUBMIT)])
def submit(
    request: Request,
    sources: SourcesDep,
    access: AccessDep,
    *,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    decision: Decision,
) -> Response:
    """A verified month went to the authority."""
    return _do(request, sources, access, "submit", (month, kind, scope), decision)


@router.post(
    f"{_PATH}/review/{{verdict}}",
    summary="Approve or return",
    dependencies=[require(Permission.MONTH_REVIEW)],
)
def review(
    request: Request,
    sources: SourcesDep,
    access: AccessDep,
    *,
    month: MonthPath,
    kind: Kind,
    scope: ScopePath,
    verdict: Literal["approve", "return"],
    decision: Decision,
) -> Response:
    """Four eyes: whoever prepared the month cannot approve it. 409 with every reason that stands in the way."""
    return _do(request, sources, access, verdict, (month, kind, scope), decision)


@router.get("/codes/{code}", summary="Find a printed report", dependencies=[require(Permission.MONTH_VIEW)])
def by_code(
    request: Request, sources: SourcesDep, code: Annotated[str, Path(pattern=r"^[0-9A-Za-z-]{16,19}$")]
) -> Response:
    """The revision whose report carries this verification code."""
    found = desk_of(request).by_code(code)
    if found is None or not sources.sees(found.scope_kind, found.scope_id):
        raise unknown("code", code, "report with the code")
    return _json(found._asdict())


@router.post("/uploads/files", summary="Upload a file", dependencies=[require(Permission.FINDING_ANSWER)])
async def upload(
    request: Request, access: AccessDep, name: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """The request's body is the file: PDF, PNG, JPEG or XLSX. It is kept under its SHA-256, to be named by an act of yours."""
    state, who = request.app.state, access.principal.name
    slow_down(state.uploads.budget, who)
    insist_on_room(state.settings.users.parent)
    data = await request.body()
    try:
        digest = await run_in_threadpool(desk_of(request).keep, data)
    except ValueError as error:
        raise Problem(422, "unusable file", str(error), "body") from error
    state.uploads.note(who, digest)
    await run_in_threadpool(audit, request, who, "file.upload", digest, size=len(data), name=name)
    return _json({"sha256": digest, "size": len(data), "name": name})


@router.get(
    "/restatements/{cause}",
    summary="The months of a restatement",
    dependencies=[require(Permission.MONTH_VIEW)],
)
def restatement(request: Request, sources: SourcesDep, cause: CausePath) -> Response:
    """Every revision that was handed over under one cause."""
    return _json([subject._asdict() for subject in _restated(request, sources, cause)])


@router.post(
    "/restatements/{cause}/approve",
    summary="Approve a restatement",
    dependencies=[require(Permission.MONTH_REVIEW)],
)
def approve_restatement(
    request: Request, sources: SourcesDep, access: AccessDep, cause: CausePath
) -> Response:
    """All of its months or none, by somebody who prepared none of them. 409 with every reason that stands in the way."""
    subjects, who = _restated(request, sources, cause), access.principal.name
    target = f"restatement {cause}"
    try:
        done = desk_of(request).approve_restatement(cause, actor=who, role=access.permission.value)
    except Refused as error:
        audit(request, who, "month.approve", target, outcome="refused", reasons=list(error.reasons))
        raise Problem(409, "not possible now", "; ".join(error.reasons)) from error
    except OvertakenError as error:
        raise Problem(409, "overtaken", str(error)) from error
    audit(request, who, "month.approve", target, outcome="ok", months=[s.month for s in subjects])
    return _json(done)


def _restated(request: Request, sources: Sources, cause: str) -> list[Subject]:
    """404 where one of its months is not the caller's: it is approved as a whole."""
    found = desk_of(request).restatement(cause)
    if not found or not all(sources.sees(subject.scope_kind, subject.scope_id) for subject in found):
        raise unknown("cause", cause, "restatement")
    return found


@router.get("/schemas/month", summary="JSON Schema of a month's report", dependencies=[public()])
def month_schema(request: Request) -> Response:
    """The published schema of the JSON report (JSON Schema 2020-12); open to everybody, because it says nothing of anybody."""
    return Response(
        msgspec.json.encode(desk_of(request).document_schema()), media_type="application/schema+json"
    )


def _found(
    request: Request, sources: Sources, month: str, kind: str, scope: str, revision: int | None
) -> tuple[Subject, Life]:
    """A revision, the newest by default; 404 for what is not there or not the caller's."""
    row = None
    if sources.sees(kind, scope):
        with sources.months() as store:
            row = store.get(month, kind, scope, revision) if store is not None else None
    subject = Subject(month, kind, scope, row.revision) if row is not None else None
    found = desk_of(request).life(subject) if subject is not None else None
    if subject is None or found is None:
        raise unknown("month", f"{month} {kind} {scope}", "closed month")
    return subject, found


def _do(
    request: Request,
    sources: Sources,
    access: Access,
    action: str,
    which: tuple[str, str, str],
    decision: Decision,
) -> Response:
    subject, found = _found(request, sources, *which, None)
    who, target = access.principal.name, f"{subject.month}/{subject.scope_kind}/{subject.scope_id}"
    _insist_on_upload(request, who, decision.file_sha256, found)
    try:
        done = desk_of(request).act(
            subject, action, actor=who, role=access.permission.value, **decision.model_dump()
        )
    except Refused as error:
        audit(
            request,
            who,
            f"month.{action}",
            target,
            outcome="refused",
            revision=subject.revision,
            reasons=list(error.reasons),
        )
        raise Problem(409, "not possible now", "; ".join(error.reasons)) from error
    except OvertakenError as error:
        raise Problem(409, "overtaken", str(error)) from error
    audit(
        request, who, f"month.{action}", target, outcome="ok", revision=subject.revision, check=decision.check
    )
    return _json(done)


def _insist_on_upload(request: Request, who: str, digest: str, found: Life) -> None:
    """422 for a file that the actor has not uploaded: an act gives its file to everybody who sees the month."""
    here = {done.file_sha256 for done in found.acts}
    if digest and digest not in here and not request.app.state.uploads.has(who, digest):
        text = _("there is no file {digest} that you have uploaded: upload it first")
        raise Problem(422, "unknown file", text.format(digest=digest[:16]), "file_sha256")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
