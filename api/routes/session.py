"""Signing in and out, and one's own password."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api import passwords
from api.access import AccessDep, audit, public, require
from api.errors import Problem, invalid
from api.identity import (
    COOKIE,
    DEVICE_COOKIE,
    address_of,
    begin_session,
    grants_of,
)
from api.keys import digest_of
from api.rights import Permission, Principal
from api.second_factor import recovery_digest, step_of
from api.throttle import network_of
from metering.i18n import _
from storage.users import UserRow, UserStore

router = APIRouter(tags=["session"])

Name = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=passwords.LONGEST)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Login(_In):
    """Name and password, and of whoever has a second factor the code."""

    name: Name
    password: Password
    code: Annotated[SecretStr, Field(max_length=40)] = SecretStr("")
    """Six digits of the app, or a recovery code."""


class NewPassword(_In):
    """The password so far, and the one from now on."""

    old: Password
    new: Password


class FirstPassword(_In):
    """A one-time code of the administrator's, and the password from now on."""

    name: Name
    code: Annotated[SecretStr, Field(min_length=1, max_length=40)]
    password: Password


class PermissionOut(BaseModel):
    """What a permission is held for."""

    park: bool
    enterprises: list[str]


class SessionOut(BaseModel):
    """Who is signed in. `csrf` goes into the header X-CSRF-Token of every request that changes something."""

    name: str
    label: str
    roles: list[str]
    permissions: dict[str, PermissionOut]
    csrf: str


@router.post("/session", summary="Sign in", dependencies=[public()])
def begin(request: Request, response: Response, login: Login) -> SessionOut:
    """Sets the session's cookie. 401 for a wrong name or password alike; 429 after too many attempts.

    401 with the title *second factor* when name and password are right and the code is missing, wrong or used.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Problem(403, "forbidden", _("sign in on the page itself"))
    state, address = request.app.state, address_of(request)
    known = _is_known(request, login.name)
    _insist_on_patience(request, login.name, known=known)
    user = _checked(request, login)
    _check_second_factor(request, user, login.code.get_secret_value())
    state.guard.succeeded(login.name, address, known=known)
    csrf = begin_session(state.settings, user.name, response, state.clock())
    audit(request, user.name, "session.begin")
    return session_out(Principal(user.name, grants_of(user.grants)), csrf)


@router.get("/session", summary="Who am I?", dependencies=[require(Permission.SELF)])
def current(access: AccessDep) -> SessionOut:
    """Name, roles and permissions of the caller."""
    return session_out(access.principal, access.caller.csrf)


@router.delete("/session", summary="Sign out", status_code=204, dependencies=[require(Permission.SELF)])
def end(request: Request, response: Response, access: AccessDep) -> None:
    """Ends the session."""
    if access.caller.session is not None:
        with UserStore(request.app.state.settings.users) as store:
            store.end_session(access.caller.session)
        audit(request, access.principal.name, "session.end")
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


@router.post(
    "/session/password",
    summary="Change one's own password",
    status_code=204,
    dependencies=[require(Permission.SELF)],
)
def change_password(request: Request, access: AccessDep, change: NewPassword) -> None:
    """Needs the password so far; ends all other sessions of the user."""
    name, state = access.principal.name, request.app.state
    if access.caller.session is None:
        raise Problem(403, "forbidden", _("a machine's key has no password"))
    wait_s = state.guard.wait_s(name, address_of(request), known=True)
    if wait_s:
        raise HTTPException(429, _("too many attempts"), {"Retry-After": str(wait_s)})
    new = change.new.get_secret_value()
    mistake = passwords.password_mistake(new, name)
    with UserStore(state.settings.users) as store:
        user = store.user(name)
    if user is None or not passwords.matches(change.old.get_secret_value(), user.password):
        audit(request, name, "password.change", outcome="refused")
        raise Problem(403, "forbidden", _("the password so far is not right"))
    if mistake is not None:
        raise invalid("new", mistake)
    hashed = passwords.hash_password(new)
    with UserStore(state.settings.users) as store:
        store.set_password(name, hashed, keep_session=access.caller.session)
    audit(request, name, "password.change")


@router.post(
    "/session/code",
    summary="Make a password with a one-time code",
    status_code=204,
    dependencies=[public()],
)
def redeem(request: Request, first: FirstPassword) -> None:
    """Ends the user's sessions and the code. 401 for a code that is wrong, used or too old, and for an unknown name alike."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Problem(403, "forbidden", _("sign in on the page itself"))
    _insist_on_patience(request, first.name, known=False)
    password = first.password.get_secret_value()
    mistake = passwords.password_mistake(password, first.name)
    if mistake is not None:
        raise invalid("password", mistake)
    state, digest = request.app.state, recovery_digest(first.code.get_secret_value())
    with UserStore(state.settings.users) as store:
        welcome = store.is_welcome(first.name, digest, state.clock())
        hashed = passwords.hash_password(password) if welcome else ""
        if not welcome or not store.redeem_welcome(first.name, digest, hashed, state.clock()):
            audit(request, first.name, "session.code", outcome="refused", why="name or code")
            raise HTTPException(
                401,
                _("name or code is not right, or the code is used or too old"),
                {"WWW-Authenticate": "Bearer"},
            )
    state.guard.succeeded(first.name, address_of(request), known=False)
    audit(request, first.name, "session.code")


def session_out(principal: Principal, csrf: str) -> SessionOut:
    """A principal as the API tells it."""
    held = principal.permissions().items()
    return SessionOut(
        name=principal.name,
        label=principal.label,
        roles=sorted({grant.role.value for grant in principal.grants}),
        permissions={
            name: PermissionOut(park=scope.park, enterprises=sorted(scope.enterprises))
            for name, scope in held
        },
        csrf=csrf,
    )


def _insist_on_patience(request: Request, name: str, *, known: bool) -> None:
    """429 for who has guessed too often."""
    state, address = request.app.state, address_of(request)
    wait_s = state.guard.wait_s(name, address, known=known)
    if wait_s:
        if not state.limits.noted.take(network_of(address)):
            audit(request, name, "session.begin", outcome="refused", why="too many attempts")
        text = _("too many attempts: try again in {seconds} s").format(seconds=wait_s)
        raise HTTPException(429, text, {"Retry-After": str(wait_s)})


def _is_known(request: Request, name: str) -> bool:
    """Whether the request comes from a browser in which that user has signed in before."""
    device = request.cookies.get(DEVICE_COOKIE)
    if not device:
        return False
    with UserStore(request.app.state.settings.users) as store:
        return store.knows_device(digest_of(device), name)


def _checked(request: Request, login: Login) -> UserRow:
    """The user, or 401: with the same words and after the same time for all reasons."""
    settings, password = request.app.state.settings, login.password.get_secret_value()
    with UserStore(settings.users) as store:
        user = store.user(login.name)
    if not passwords.matches(password, user.password if user is not None else None):
        user = None
    if user is None or user.password is None or user.disabled:
        audit(request, login.name, "session.begin", outcome="refused", why="name or password")
        raise HTTPException(401, _("name or password is not right"), {"WWW-Authenticate": "Bearer"})
    if passwords.is_outdated(user.password):
        with UserStore(settings.users) as store:
            store.rehash(user.name, user.password, passwords.hash_password(password))
    return user


def _check_second_factor(request: Request, user: UserRow, code: str) -> None:
    """401 unless the user has none and needs none, or the code is right."""
    state = request.app.state
    with UserStore(state.settings.users) as store:
        secret = store.second_factor(user.name)
        if secret is None:
            if not {role for role, _tenant in user.grants} & set(state.settings.second_factor_roles):
                return
            why, text = (
                "no second factor",
                _("this role needs a second factor: ask the administrator for one"),
            )
        else:
            step = step_of(secret, code, state.clock())
            if step is not None and store.use_step(user.name, step):
                return
            left = store.use_recovery_code(user.name, recovery_digest(code)) if step is None else None
            if left is not None:
                audit(request, user.name, "session.recovery_code", left=left)
                return
            why, text = "second factor", _("give the code that the app shows now, or a recovery code")
    audit(request, user.name, "session.begin", outcome="refused", why=why)
    raise Problem(401, "second factor", text, "code")
