"""The one place where a request is let in: every route declares `require(PERMISSION)` or `public()`, or the API does not start.

    @router.get("/meters", dependencies=[require(Permission.DATA_VIEW)])

A route then reads the park through `SourcesDep`, which holds only what the caller may see for that permission: whatever
belongs to others is answered with 404, as if it did not exist. `AccessDep` tells who asks.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from api.errors import Problem
from api.identity import COOKIE, Caller, address_of, caller_of, is_forged
from api.rights import Permission, Principal, Scope
from api.settings import ApiSettings
from api.throttle import Buckets, network_of
from metering.i18n import _
from storage.audit import AuditLog, Event

_BEARER: Final = HTTPBearer(auto_error=False, description="A machine's key (`tanyun key add`).")
_COOKIE: Final = APIKeyCookie(name=COOKIE, auto_error=False, description="A user's session (POST /session).")
EXTENSION: Final = "x-permission"
"""Where the OpenAPI document says what a route asks for; a public one has none."""


class Access:
    """What a request was let in with: who asks, and for which enterprises the permission of this route is held."""

    __slots__ = ("caller", "permission", "scope")

    def __init__(self, caller: Caller, permission: Permission, scope: Scope) -> None:
        self.caller, self.permission, self.scope = caller, permission, scope

    @property
    def principal(self) -> Principal:
        return self.caller.principal


class Limits:
    """How many requests a caller may make; in memory of the one API process."""

    def __init__(self, settings: ApiSettings) -> None:
        self.requests = Buckets(settings.burst, settings.requests_per_s)
        self.strangers = Buckets(settings.burst, settings.requests_per_s)
        self.enrolments = Buckets(10, 1 / 6)
        self.elsewhere = Buckets(30, 1)
        self.noted = Buckets(100, 1 / 10)
        """Refusals that are written down, each a synced row: those of a flood are not."""


class Require:
    """The dependency that lets in or refuses. 401: unknown; 403: not allowed; 429: too often."""

    def __init__(self, permission: Permission, *, park: bool) -> None:
        self.permission, self.park = permission, park

    def __call__(
        self,
        request: Request,
        _bearer: Annotated[object, Depends(_BEARER)] = None,
        _cookie: Annotated[object, Depends(_COOKIE)] = None,
    ) -> None:
        state = request.app.state
        caller = caller_of(request, state.settings, state.clock())
        if caller is None:
            slow_down(state.limits.strangers, network_of(address_of(request)))
            raise HTTPException(401, _("sign in, or give a valid key"), {"WWW-Authenticate": "Bearer"})
        slow_down(state.limits.requests, caller.principal.name)
        if is_forged(request, caller):
            self._refuse(request, caller, "csrf")
        scope = caller.principal.scope(self.permission)
        if not scope or (self.park and not scope.park):
            self._refuse(request, caller, self.permission.value)
        request.state.access = Access(caller, self.permission, scope)

    def _refuse(self, request: Request, caller: Caller, why: str) -> None:
        path, name = request.url.path, caller.principal.name
        if not request.app.state.limits.noted.take(name):
            audit(request, name, "request.refused", path, "refused", method=request.method, needs=why)
        if why == "csrf":
            raise Problem(403, "forbidden", _("the CSRF token is missing or wrong: load the page again"))
        text = _("{name} does not have the permission {permission} for this")
        raise Problem(403, "forbidden", text.format(name=caller.principal.name, permission=why))


class Public:
    """Marks a route that everybody may use."""

    def __call__(self) -> None:
        """Nothing is asked."""


def require(permission: Permission, *, park: bool = False) -> Any:
    """For `dependencies=[...]`: the permission a route needs; with `park` it must be held for the whole park."""
    return Depends(Require(permission, park=park))


def public() -> Any:
    """For `dependencies=[...]`: everybody may."""
    return Depends(Public())


def _access(request: Request) -> Access:
    access = getattr(request.state, "access", None)
    if not isinstance(access, Access):
        raise TypeError(f"{request.url.path} uses what only a route with require() has")
    return access


AccessDep = Annotated[Access, Depends(_access)]


def audit(
    request: Request, actor: str, action: str, target: str = "", outcome: str = "ok", **detail: object
) -> None:
    """Write into the audit log what a request did. Never pass a secret."""
    state = request.app.state
    event = Event(
        actor=actor, action=action, target=target, outcome=outcome, address=address_of(request), detail=detail
    )
    with AuditLog(state.settings.audit) as log:
        log.append(event, state.clock())


def rule_of(route: APIRoute) -> Require | Public | None:
    """What a route has declared; ValueError when it has declared two things."""
    rules = [call for call in _calls(route.dependant) if isinstance(call, (Require, Public))]
    if len(rules) > 1:
        raise ValueError(f"{route.path} declares {len(rules)} rules")
    return rules[0] if rules else None


def insist_on_rules(app: FastAPI) -> None:
    """Every route has a rule, and the OpenAPI document says it; TypeError names those that have none."""
    routes = list(_routes(app.routes))
    without = [route.path for route in routes if rule_of(route) is None]
    if without:
        raise TypeError(f"without require() or public(): {', '.join(without)}")
    for route in routes:
        rule = rule_of(route)
        if isinstance(rule, Require):
            needs = {"permission": rule.permission.value, "park": rule.park}
            route.openapi_extra = {**(route.openapi_extra or {}), EXTENSION: needs}


def _routes(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """All routes, those of included routers too (newer FastAPIs keep these as they are); TypeError for a kind we do not know."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if isinstance(route, APIRoute):
            yield route
        elif included is not None:
            yield from _routes(included.routes)
        elif not (isinstance(route, Mount) and isinstance(route.app, StaticFiles)):
            raise TypeError(f"{route} is no kind of route whose rule is known")


def _calls(dependant: Dependant) -> Iterator[object]:
    for item in dependant.dependencies:
        yield item.call
        yield from _calls(item)


def slow_down(buckets: Buckets, key: str) -> None:
    """429 when there has been too much of it."""
    wait_s = buckets.take(key)
    if wait_s > 0:
        raise HTTPException(429, _("too many requests: slow down"), {"Retry-After": str(math.ceil(wait_s))})
