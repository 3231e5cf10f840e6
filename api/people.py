"""What an administrator does to users and keys, the same on the page and on the command line.

Every change is noted, and the note is the audit log's row: nothing here changes `users.db` without one. No HTTP in here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from api.keys import make_key
from api.rights import PARK, Grant, Permission, Role, grant_mistakes
from api.second_factor import new_code, new_recovery_codes, new_secret, recovery_digest, uri
from metering.i18n import _
from metering.ids import is_valid_id
from metering.intervals import HOUR_MS
from storage.users import Grants, KeyRow, UserRow, UserStore

CODE_MS: Final = 72 * HOUR_MS
"""How long a one-time code opens: over a weekend; ours."""


class PeopleError(ValueError):
    """What was asked for cannot be (the administrator's mistake): the message says what to change."""


class NobodyError(PeopleError):
    """There is no such user, or no such key."""


class Note(Protocol):
    """Writes into the audit log what was done, to whom."""

    def __call__(self, action: str, target: str, **detail: object) -> None:
        """One row; never a secret."""
        ...


class People:
    """The file of users, for one who may change it."""

    def __init__(self, users: Path, note: Note, now_ms: int) -> None:
        self._users, self._note, self._now_ms = users, note, now_ms

    def add(self, name: str, grants: Grants, password: str | None = None, subject: str | None = None) -> None:
        """A new user. PeopleError when the name or the subject is taken, or the password too weak."""
        if not is_valid_id(name):
            raise PeopleError(_("a user's name is 1 to 64 letters, digits, dots, dashes or underscores"))
        hashed = _hashed(password, name) if password is not None else None
        with UserStore(self._users) as store:
            if store.user(name) is not None:
                raise PeopleError(_("there is a user {name!r} already").format(name=name))
            if subject is not None and store.user_of_subject(subject) is not None:
                raise PeopleError(
                    _("another user is bound to the subject {subject!r}").format(subject=subject)
                )
            store.add_user(UserRow(name, hashed, subject, False, self._now_ms, grants))
        self._note("user.add", name, grants=[list(grant) for grant in grants])

    def invite(self, name: str) -> tuple[str, int]:
        """A one-time code with which the user makes a password of his own, and when it ends, in ms. One before it ends now."""
        code, expires_ms = new_code(), self._now_ms + CODE_MS
        with UserStore(self._users) as store:
            row = store.user(name)
            _must(row is not None, name)
            if row is not None and row.subject is not None:
                raise PeopleError(_("{name!r} signs in elsewhere and has no password here").format(name=name))
            store.set_welcome(name, recovery_digest(code), expires_ms)
        self._note("user.code", name, expires_ms=expires_ms)
        return code, expires_ms

    def set_password(self, name: str, password: str) -> None:
        """Another password; ends the user's sessions."""
        hashed = _hashed(password, name)
        with UserStore(self._users) as store:
            _must(store.set_password(name, hashed), name)
        self._note("user.passwd", name)

    def set_disabled(self, name: str, *, disabled: bool) -> None:
        """Let a user in no more, at once, or again."""
        with UserStore(self._users) as store:
            _must(store.set_disabled(name, disabled=disabled), name)
        self._note("user.disable" if disabled else "user.enable", name)

    def set_grants(self, name: str, grants: Grants) -> None:
        """Other roles, in place of all that the user has."""
        with UserStore(self._users) as store:
            _must(store.set_grants(name, grants), name)
        self._note("user.role", name, grants=[list(grant) for grant in grants])

    def set_second_factor(self, name: str, issuer: str) -> tuple[str, list[str]]:
        """A new second factor: what the app takes, and recovery codes, of which only digests are stored. Ends the user's sessions."""
        secret, codes = new_secret(), new_recovery_codes()
        with UserStore(self._users) as store:
            _must(store.set_second_factor(name, secret, map(recovery_digest, codes), self._now_ms), name)
        self._note("user.second_factor", name)
        return uri(secret, name, issuer), codes

    def drop_second_factor(self, name: str) -> None:
        """The password alone opens again, where no role of the user demands more."""
        with UserStore(self._users) as store:
            if not store.drop_second_factor(name):
                raise NobodyError(_("{name!r} has no second factor").format(name=name))
        self._note("user.second_factor_off", name)

    def add_key(
        self, label: str, grants: Grants, permissions: Iterable[str] = (), *, days: int = 365
    ) -> tuple[str, str]:
        """A new machine key: its id and its text, which is stored nowhere."""
        only = tuple(Permission(name).value for name in permissions)
        id_, text, digest = make_key()
        expires_ms = self._now_ms + days * 24 * HOUR_MS
        with UserStore(self._users) as store:
            store.add_key(KeyRow(id_, label, digest, only, self._now_ms, expires_ms, None, grants))
        granted = [list(grant) for grant in grants]
        self._note("key.add", id_, label=label, grants=granted, permissions=list(only), days=days)
        return id_, text

    def revoke_key(self, id_: str) -> None:
        """From now on the key opens nothing."""
        with UserStore(self._users) as store:
            if not store.revoke_key(id_, self._now_ms):
                raise NobodyError(_("there is no key {id!r} that could be revoked").format(id=id_))
        self._note("key.revoke", id_)


def granted(pairs: Iterable[tuple[str, str]], enterprises: Iterable[str]) -> Grants:
    """(role, tenant) pairs as they are stored, each once. PeopleError with all mistakes."""
    grants = tuple(Grant(Role(role), tenant) for role, tenant in dict.fromkeys(pairs))
    mistakes = grant_mistakes(grants, frozenset(enterprises))
    if mistakes:
        raise PeopleError("\n".join(dict.fromkeys(mistakes)))
    return tuple((grant.role.value, grant.tenant) for grant in grants)


def loses_administration(grants: Grants) -> bool:
    """Whether somebody with these roles could no longer let people in."""
    return (Role.ADMINISTRATOR.value, PARK) not in grants


def _hashed(password: str, name: str) -> str:
    from api.passwords import (  # noqa: PLC0415  a gateway has no argon2, and the same command line
        hash_password,
        password_mistake,
    )

    mistake = password_mistake(password, name)
    if mistake is not None:
        raise PeopleError(mistake)
    return hash_password(password)


def _must(found: bool, name: str) -> None:
    if not found:
        raise NobodyError(_("there is no user {name!r}").format(name=name))
