"""Signing in at an OpenID provider: there and back. Users are bound to a subject by `tanyun user add --subject`."""

import json
import logging
from typing import Annotated

import httpx
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from api.access import audit, public, slow_down
from api.errors import Problem
from api.identity import address_of, begin_session
from api.oidc import Oidc, OidcError
from api.throttle import network_of
from metering.i18n import _
from storage.users import UserStore

router = APIRouter(tags=["session"], prefix="/session", dependencies=[public()])
log = logging.getLogger(__name__)
STATE_COOKIE = "__Host-tanyun-oidc"
Text = Annotated[str, Query(max_length=2000)]


class WaysOut(BaseModel):
    """How one may sign in, besides name and password."""

    oidc: str | None


@router.get("/ways", summary="How may one sign in?")
def ways(request: Request) -> WaysOut:
    """The name of the OpenID provider, if there is one."""
    oidc = request.app.state.settings.oidc
    return WaysOut(oidc=oidc.name if oidc is not None else None)


@router.get(
    "/oidc", summary="Sign in at the OpenID provider", response_class=RedirectResponse, status_code=303
)
def begin(request: Request) -> RedirectResponse:
    """Sends the browser to the provider."""
    oidc = _oidc(request)
    slow_down(request.app.state.limits.elsewhere, network_of(address_of(request)))
    try:
        url, state = oidc.begin(_callback(request))
    except (OidcError, httpx.HTTPError, json.JSONDecodeError) as error:
        log.warning("oidc_unusable error=%s", error)
        return RedirectResponse("/login?failed=oidc", 303)
    answer = RedirectResponse(url, 303)
    # Lax: it has to come along when the provider sends the browser back.
    answer.set_cookie(STATE_COOKIE, state, max_age=600, path="/", secure=True, httponly=True, samesite="lax")
    return answer


@router.get("/oidc/back", summary="Back from the provider", response_class=RedirectResponse, status_code=303)
def back(request: Request, state: Text = "", code: Text = "") -> RedirectResponse:
    """Signs the user in who is bound to the provider's subject; everybody else is sent to the login page."""
    settings, clock = request.app.state.settings, request.app.state.clock
    slow_down(request.app.state.limits.elsewhere, network_of(address_of(request)))
    try:
        kept = request.cookies.get(STATE_COOKIE, "")
        subject = _oidc(request).finish(state, kept, code, _callback(request))
    except (OidcError, httpx.HTTPError, json.JSONDecodeError) as error:
        log.warning("oidc_refused error=%s", error)
        return _refused(request, "stranger", "the provider's answer")
    with UserStore(settings.users) as store:
        user = store.user_of_subject(subject)
    if user is None or user.disabled:
        return _refused(request, subject, "no user is bound to this subject")
    answer = RedirectResponse("/", 303)
    begin_session(settings, user.name, answer, clock())
    answer.delete_cookie(STATE_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    audit(request, user.name, "session.begin", by="oidc")
    return answer


def _refused(request: Request, who: str, why: str) -> RedirectResponse:
    audit(request, who, "session.begin", outcome="refused", by="oidc", why=why)
    return RedirectResponse("/login?failed=oidc", 303)


def _oidc(request: Request) -> Oidc:
    found = request.app.state.oidc
    if not isinstance(found, Oidc):
        raise Problem(404, "not found", _("no OpenID provider is configured here"))
    return found


def _callback(request: Request) -> str:
    """Where the provider sends the browser back to: as configured, never as a Host header says."""
    return f"{request.app.state.settings.oidc.public_url.rstrip('/')}/api/v1/session/oidc/back"
