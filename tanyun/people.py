"""Making users and keys on the server itself: what the command line and the demo share. Everything goes into the audit log."""

import getpass
import os
import pwd
import time
from collections.abc import Iterable
from pathlib import Path

from api.keys import make_key
from api.rights import PARK, Grant, Permission, Role, grant_mistakes
from api.second_factor import new_recovery_codes, new_secret, recovery_digest, uri
from metering.i18n import _
from metering.ids import is_valid_id
from metering.intervals import HOUR_MS
from metering.registry import Park
from storage.audit import AuditLog, Event
from storage.users import Grants, KeyRow, UserRow, UserStore
from tanyun.config import ServerConfig


class PeopleError(ValueError):
    """What was asked for cannot be (the administrator's mistake): the message says what to change."""


def now_ms() -> int:
    """UTC milliseconds now."""
    return time.time_ns() // 1_000_000


def operating_user() -> str:
    """Who types: the audit log's actor on the command line. Behind sudo it is whoever called sudo."""
    name = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    try:
        return f"cli:{name or pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"cli:{getpass.getuser()}"


def record(audit: Path, action: str, target: str, **detail: object) -> None:
    """Write down what was done on the command line."""
    with AuditLog(audit) as log:
        log.append(
            Event(actor=operating_user(), action=action, target=target, address="local", detail=detail),
            now_ms(),
        )


def grants_for(park: Park, roles: Iterable[str], enterprises: Iterable[str]) -> Grants:
    """Each role for each enterprise, or for the whole park when none is named. PeopleError with all mistakes."""
    tenants = tuple(enterprises) or (PARK,)
    grants = tuple(Grant(Role(role), tenant) for role in dict.fromkeys(roles) for tenant in tenants)
    mistakes = grant_mistakes(grants, frozenset(item.id for item in park.enterprises))
    if mistakes:
        raise PeopleError("\n".join(dict.fromkeys(mistakes)))
    return tuple((grant.role.value, grant.tenant) for grant in grants)


def add_user(
    config: ServerConfig, name: str, password: str | None, grants: Grants, subject: str | None = None
) -> None:
    """A new user. PeopleError when the name is taken or the password too weak."""
    if not is_valid_id(name):
        raise PeopleError(_("a user's name is 1 to 64 letters, digits, dots, dashes or underscores"))
    _judge(password, name)
    with UserStore(config.users) as store:
        if store.user(name) is not None:
            raise PeopleError(_("there is a user {name!r} already").format(name=name))
        hashed = _hash(password) if password is not None else None
        store.add_user(UserRow(name, hashed, subject, False, now_ms(), grants))
    record(config.audit, "user.add", name, grants=[list(grant) for grant in grants])


def set_password(config: ServerConfig, name: str, password: str) -> None:
    """Another password; ends the user's sessions."""
    _judge(password, name)
    with UserStore(config.users) as store:
        _must(store.set_password(name, _hash(password)), name)
    record(config.audit, "user.passwd", name)


def set_disabled(config: ServerConfig, name: str, *, disabled: bool) -> None:
    """Let a user in no more, at once, or again."""
    with UserStore(config.users) as store:
        _must(store.set_disabled(name, disabled=disabled), name)
    record(config.audit, "user.disable" if disabled else "user.enable", name)


def set_second_factor(config: ServerConfig, name: str, issuer: str) -> tuple[str, list[str]]:
    """A new second factor: what the app takes, and recovery codes, of which only digests are stored. Ends the user's sessions."""
    secret, codes = new_secret(), new_recovery_codes()
    with UserStore(config.users) as store:
        _must(store.set_second_factor(name, secret, map(recovery_digest, codes), now_ms()), name)
    record(config.audit, "user.second_factor", name)
    return uri(secret, name, issuer), codes


def drop_second_factor(config: ServerConfig, name: str) -> None:
    """The password alone opens again, where no role of the user demands more."""
    with UserStore(config.users) as store:
        if not store.drop_second_factor(name):
            raise PeopleError(_("{name!r} has no second factor").format(name=name))
    record(config.audit, "user.second_factor_off", name)


def set_grants(config: ServerConfig, name: str, grants: Grants) -> None:
    """Other roles, in place of all that the user has."""
    with UserStore(config.users) as store:
        _must(store.set_grants(name, grants), name)
    record(config.audit, "user.role", name, grants=[list(grant) for grant in grants])


def add_key(
    config: ServerConfig, label: str, grants: Grants, permissions: Iterable[str] = (), *, days: int = 365
) -> tuple[str, str]:
    """A new machine key: its id and its text, which is stored nowhere."""
    only = tuple(Permission(name).value for name in permissions)
    id_, text, digest = make_key()
    expires_ms = now_ms() + days * 24 * HOUR_MS
    with UserStore(config.users) as store:
        store.add_key(KeyRow(id_, label, digest, only, now_ms(), expires_ms, None, grants))
    granted = [list(grant) for grant in grants]
    record(config.audit, "key.add", id_, label=label, grants=granted, permissions=list(only), days=days)
    return id_, text


def revoke_key(config: ServerConfig, id_: str) -> None:
    """From now on the key opens nothing."""
    with UserStore(config.users) as store:
        if not store.revoke_key(id_, now_ms()):
            raise PeopleError(_("there is no key {id!r} that could be revoked").format(id=id_))
    record(config.audit, "key.revoke", id_)


def _hash(password: str) -> str:
    from api.passwords import hash_password  # noqa: PLC0415  a gateway has no argon2, and the same command line

    return hash_password(password)


def _judge(password: str | None, name: str) -> None:
    from api.passwords import password_mistake  # noqa: PLC0415

    mistake = password_mistake(password, name) if password is not None else None
    if mistake is not None:
        raise PeopleError(mistake)


def _must(found: bool, name: str) -> None:
    if not found:
        raise PeopleError(_("there is no user {name!r}").format(name=name))
