"""Who may come in: users and machines' keys, for the administrator's page. The command line does the same (`tanyun user`, `tanyun key`)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from api.access import AccessDep, audit, require
from api.errors import Problem, invalid
from api.people import NobodyError, People, PeopleError, granted, loses_administration
from api.rights import Permission, Role
from api.sources import SourcesDep
from metering.i18n import _
from storage.users import Grants, UserStore

router = APIRouter(tags=["administration"], dependencies=[require(Permission.USERS_MANAGE, park=True)])
Name = Annotated[str, Field(min_length=1, max_length=64)]
NamePath = Annotated[str, Path(max_length=64, description="A user's name.")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GrantIn(_In):
    """A role for a tenant."""

    role: Role
    tenant: str = Field(max_length=64, description="An enterprise's id, or * for the whole park.")


GrantsIn = Annotated[tuple[GrantIn, ...], Field(max_length=200)]


class UserIn(_In):
    """A new user: one who makes a password with a one-time code, or, with `subject`, one who signs in at the OpenID provider."""

    name: Name
    grants: GrantsIn
    subject: Annotated[str, Field(min_length=1, max_length=600)] | None = None


class UserGrantsIn(_In):
    """All roles of a user, in place of those before."""

    grants: GrantsIn


class DisabledIn(_In):
    """Whether a user is kept out."""

    disabled: bool


class KeyIn(_In):
    """A new key of a machine."""

    label: Annotated[str, Field(min_length=1, max_length=100)]
    grants: GrantsIn
    permissions: Annotated[tuple[Permission, ...], Field(max_length=len(Permission))] = ()
    """Narrowed to these; all of its roles' when empty."""
    days: Annotated[int, Field(ge=1, le=3650)] = 365


class GrantOut(BaseModel):
    """A role for a tenant."""

    role: str
    tenant: str = Field(description="An enterprise's id, or * for the whole park.")


class UserOut(BaseModel):
    """A user."""

    name: str
    disabled: bool
    created_ms: int
    subject: str | None = Field(description="Who it is at the OpenID provider.")
    has_password: bool
    second_factor: bool
    code_ends_ms: int | None = Field(description="When a one-time code ends or ended that was not used.")
    grants: list[GrantOut]


class CodeOut(BaseModel):
    """What the user needs to make a password; told this once."""

    name: str
    code: str | None
    expires_ms: int | None


class SecondFactorOut(BaseModel):
    """What the user's app takes, and codes for the day on which the phone is lost; told this once."""

    uri: str
    recovery_codes: list[str]


class KeyOut(BaseModel):
    """A machine's key, without its secret."""

    id: str
    label: str
    permissions: list[str] = Field(description="Narrowed to these; all of its roles' when empty.")
    created_ms: int
    expires_ms: int
    revoked_ms: int | None
    grants: list[GrantOut]


class NewKeyOut(BaseModel):
    """A new key; its text is told this once."""

    id: str
    key: str


@router.get("/users", summary="Users")
def users(request: Request) -> list[UserOut]:
    """All users with their roles."""
    with UserStore(request.app.state.settings.users) as store:
        return [
            UserOut(
                name=row.name, disabled=row.disabled, created_ms=row.created_ms, subject=row.subject,
                has_password=row.password is not None, second_factor=store.second_factor(row.name) is not None,
                code_ends_ms=store.welcome_ends_ms(row.name), grants=_out(row.grants),
            )
            for row in store.users()
        ]  # fmt: skip


@router.post("/users", summary="Add a user", status_code=201)
def add_user(request: Request, sources: SourcesDep, access: AccessDep, new: UserIn) -> CodeOut:
    """Answers with a one-time code, unless the user signs in elsewhere."""
    with _acting(request, access) as people:
        people.add(new.name, _grants(new.grants, sources), subject=new.subject)
        code, expires_ms = people.invite(new.name) if new.subject is None else (None, None)
    return CodeOut(name=new.name, code=code, expires_ms=expires_ms)


@router.put("/users/{name}/grants", summary="Set a user's roles", status_code=204)
def set_grants(
    request: Request, sources: SourcesDep, access: AccessDep, name: NamePath, wanted: UserGrantsIn
) -> None:
    """In place of all roles before; at once. Nobody takes the administration from himself."""
    with _acting(request, access) as people:
        grants = _grants(wanted.grants, sources)
        if name == access.principal.name and loses_administration(grants):
            raise _not_oneself()
        people.set_grants(name, grants)


@router.put("/users/{name}/disabled", summary="Keep a user out, or let him in again", status_code=204)
def set_disabled(request: Request, access: AccessDep, name: NamePath, wanted: DisabledIn) -> None:
    """Ends the user's sessions and an unused code. Nobody keeps himself out."""
    with _acting(request, access) as people:
        if name == access.principal.name and wanted.disabled:
            raise _not_oneself()
        people.set_disabled(name, disabled=wanted.disabled)


@router.post("/users/{name}/code", summary="A one-time code for a new password")
def make_code(request: Request, access: AccessDep, name: NamePath) -> CodeOut:
    """For who forgot the password, or never had one. A code before this one ends; the password so far does not."""
    with _acting(request, access) as people:
        code, expires_ms = people.invite(name)
    return CodeOut(name=name, code=code, expires_ms=expires_ms)


@router.post("/users/{name}/second-factor", summary="Give a new second factor")
def give_second_factor(
    request: Request, sources: SourcesDep, access: AccessDep, name: NamePath
) -> SecondFactorOut:
    """In place of any before; ends the user's sessions."""
    with _acting(request, access) as people:
        uri, codes = people.set_second_factor(name, f"tanyun {sources.park.id}")
    return SecondFactorOut(uri=uri, recovery_codes=codes)


@router.delete("/users/{name}/second-factor", summary="Take the second factor away", status_code=204)
def drop_second_factor(request: Request, access: AccessDep, name: NamePath) -> None:
    """The password alone opens again, where no role demands more."""
    with _acting(request, access) as people:
        people.drop_second_factor(name)


@router.get("/keys", summary="Keys of machines")
def keys(request: Request) -> list[KeyOut]:
    """All keys, without what opens."""
    with UserStore(request.app.state.settings.users) as store:
        rows = store.keys()
    return [
        KeyOut(
            id=row.id, label=row.label, permissions=list(row.permissions), created_ms=row.created_ms,
            expires_ms=row.expires_ms, revoked_ms=row.revoked_ms, grants=_out(row.grants),
        )
        for row in rows
    ]  # fmt: skip


@router.post("/keys", summary="Make a key", status_code=201)
def add_key(request: Request, sources: SourcesDep, access: AccessDep, new: KeyIn) -> NewKeyOut:
    """Answers with its text, which is stored nowhere."""
    with _acting(request, access) as people:
        id_, text = people.add_key(
            new.label, _grants(new.grants, sources), [item.value for item in new.permissions], days=new.days
        )
    return NewKeyOut(id=id_, key=text)


@router.delete("/keys/{key}", summary="Revoke a key", status_code=204)
def revoke_key(
    request: Request, access: AccessDep, key: Annotated[str, Path(max_length=64, description="A key's id.")]
) -> None:
    """It opens nothing any more, at once."""
    with _acting(request, access) as people:
        people.revoke_key(key)


@contextmanager
def _acting(request: Request, access: AccessDep) -> Iterator[People]:
    """The file of users for this caller; what he asks for and cannot be is his fault."""
    state = request.app.state
    try:
        note = partial(audit, request, access.principal.name)
        yield People(state.settings.users, note, state.clock())
    except NobodyError as error:
        raise Problem(404, "not found", str(error)) from error
    except PeopleError as error:
        raise invalid("grants", str(error)) from error


def _grants(given: Iterable[GrantIn], sources: SourcesDep) -> Grants:
    pairs = ((grant.role.value, grant.tenant) for grant in given)
    return granted(pairs, (item.id for item in sources.park.enterprises))


def _out(rows: Iterable[tuple[str, str]]) -> list[GrantOut]:
    return [GrantOut(role=role, tenant=tenant) for role, tenant in rows]


def _not_oneself() -> Problem:
    return Problem(
        409,
        "not oneself",
        _("another administrator has to do that: whoever locks himself out cannot undo it"),
    )
