"""A new gateway fetches its credentials with a one-time code. Open to strangers: the code is what lets in, once."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from api.access import audit, public, slow_down
from api.enrolment import SealError, lookup_digest, unseal
from api.errors import Problem
from api.identity import address_of
from api.throttle import network_of
from metering.i18n import _
from storage.users import UserStore

router = APIRouter(tags=["gateways"], dependencies=[public()])
Secret = Annotated[
    str, Field(pattern=r"^[0-9a-f]{32}$", repr=False, description="The secret part of the code, hex.")
]


class EnrolIn(BaseModel):
    """What the gateway shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret: Secret


class EnrolOut(BaseModel):
    """What it gets."""

    gateway: str
    files: dict[str, str]


@router.get("/ca", summary="The private CA's certificate", response_class=PlainTextResponse)
def ca(request: Request) -> PlainTextResponse:
    """In PEM. A gateway compares it with its code before it believes any of it."""
    file = request.app.state.settings.ca
    if file is None or not file.is_file():
        raise Problem(404, "not found", _("no CA is configured here: api.ca_file"))
    return PlainTextResponse(file.read_text(encoding="ascii"), media_type="application/x-pem-file")


@router.post("/enrol", summary="Fetch a gateway's credentials")
def enrol(request: Request, wanted: EnrolIn) -> EnrolOut:
    """Hands out what was sealed for this code and forgets it. 404 for a code that is unknown, used or too old."""
    state = request.app.state
    slow_down(state.limits.enrolments, network_of(address_of(request)))
    secret = bytes.fromhex(wanted.secret)
    with UserStore(state.settings.users) as store:
        found = store.redeem(lookup_digest(secret), state.clock())
    try:
        credentials = unseal(found[1], secret) if found is not None else None
    except SealError:
        credentials = None
    if credentials is None:
        audit(request, "stranger", "gateway.enrol", outcome="refused")
        raise Problem(
            404, "not found", _("this code is unknown, used or too old: make another on the server")
        )
    audit(request, f"gateway:{credentials.gateway}", "gateway.enrol", credentials.gateway)
    return EnrolOut(gateway=credentials.gateway, files=dict(credentials.files))
