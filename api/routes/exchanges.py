"""Exchanged meters (换表待确认): which wait for their declaration, and the form that completes one, also long afterwards."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from api.access import AccessDep, audit, require
from api.desk import Refused
from api.errors import Problem
from api.exchanges import ExchangeForm, Exchanges
from api.rights import Permission
from api.sources import SourcesDep
from metering.i18n import _

router = APIRouter(tags=["exchanged meters"])
MeterPath = Annotated[str, Path(max_length=64)]


def _exchanges(request: Request) -> Exchanges:
    """503 where the command line handed none over."""
    found: Exchanges | None = request.app.state.exchanges
    if found is None:
        raise Problem(503, "not ready", _("this server was started without the desk of the months"))
    return found


@router.get(
    "/exchanges/pending",
    summary="Meters whose exchange is to be declared",
    dependencies=[require(Permission.MONTH_VIEW)],
)
def pending(request: Request, sources: SourcesDep) -> Response:
    """Totals that fell or jumped without an explanation, and meters that answer with another serial number (换表待确认)."""
    mine = {meter.id for meter in sources.park.meters}
    found = [item for item in _exchanges(request).pending() if item.meter in mine]
    return Response(msgspec.json.encode(found), media_type="application/json")


@router.post(
    "/meters/{meter}/exchange",
    summary="Declare an exchange",
    dependencies=[require(Permission.FINDING_ANSWER)],
)
def declare(
    request: Request, sources: SourcesDep, access: AccessDep, *, meter: MeterPath, form: ExchangeForm
) -> dict[str, str]:
    """Back-dated: when, both displays, the new serial number, the photo. Only for a meter that waits; 409 with every reason.

    It goes into the registry's file; `tanyun serve` then starts its roles again, which compute from that moment on. Nothing that is
    closed changes.
    """
    known, who = sources.meter(meter), access.principal.name
    try:
        told = _exchanges(request).declare(known.id, form)
    except Refused as error:
        audit(request, who, "meter.exchange", meter, outcome="refused", reasons=list(error.reasons))
        raise Problem(409, "not possible now", "; ".join(error.reasons)) from error
    said = {name: str(value) for name, value in told.items()}
    audit(request, who, "meter.exchange", meter, outcome="ok", photo_sha256=form.photo_sha256, **said)
    return {"meter": meter, "at": said["at"]}
