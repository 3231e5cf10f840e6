"""Who asks: a user with a session cookie, or a machine with a key. What is random is stored as its SHA-256 only."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response

from api.keys import KEY_PREFIX, digest_of
from api.rights import Grant, Permission, Principal, Role
from api.settings import ApiSettings
from metering.intervals import HOUR_MS, MINUTE_MS
from storage.users import Grants, KeyRow, SessionRow, UserStore

COOKIE: Final = "__Host-tanyun"
"""The prefix makes browsers insist on Secure, on the path / and on this very host (RFC 6265bis, 4.1.3.2)."""
DEVICE_COOKIE: Final = "__Host-tanyun-device"
CSRF_HEADER: Final = "X-CSRF-Token"
SESSION_MS: Final = 12 * HOUR_MS
"""A working day; ours."""
IDLE_MS: Final = 2 * HOUR_MS
_TOUCH_MS: Final = MINUTE_MS
_DEVICE_S: Final = 365 * 86_400
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how that is known."""

    principal: Principal
    session: bytes | None = None
    """Digest of the session's token; None for a key."""
    csrf: str = ""

    def __repr__(self) -> str:
        """Without the token."""
        return f"Caller({self.principal.name!r})"


def csrf_of(token: str) -> str:
    """The token that a page shows to prove that it could read an answer of ours; follows from the session's token."""
    return hmac.new(token.encode(), b"tanyun csrf", hashlib.sha256).hexdigest()


def address_of(request: Request) -> str:
    """Where the request came from; a reverse proxy on this machine is believed (uvicorn's proxy headers)."""
    return request.client.host if request.client is not None else ""


def grants_of(rows: Grants) -> tuple[Grant, ...]:
    """Grants as stored; a role that this program does not know (any more) gives nothing."""
    known = {role.value for role in Role}
    return tuple(Grant(Role(role), tenant) for role, tenant in rows if role in known)


def caller_of(request: Request, settings: ApiSettings, now_ms: int) -> Caller | None:
    """Who asks; None when nobody that is known. A key that is given is judged alone, whatever the cookies say."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, text = authorization.partition(" ")
        return _by_key(settings, text.strip(), now_ms) if scheme.lower() == "bearer" else None
    token = request.cookies.get(COOKIE)
    return _by_session(settings, token, now_ms) if token else None


def session_lives(settings: ApiSettings, caller: Caller, now_ms: int) -> bool:
    """Whether a caller who came in earlier would still come in."""
    with UserStore(settings.users) as store:
        if caller.session is None:
            key = store.key(caller.principal.name.removeprefix("key:"))
            return key is not None and _opens(key, now_ms)
        row, user = store.session(caller.session), store.user(caller.principal.name)
    return row is not None and not _is_over(row, now_ms) and user is not None and not user.disabled


def is_forged(request: Request, caller: Caller) -> bool:
    """True for a change that a foreign page may have made the browser send: its cookie came along, the CSRF token did not."""
    if request.method in _SAFE or caller.session is None:
        return False
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    given = request.headers.get(CSRF_HEADER, "")
    return not hmac.compare_digest(given.encode(), caller.csrf.encode())


def begin_session(settings: ApiSettings, user: str, response: Response, now_ms: int) -> str:
    """Sign a user in: cookies into `response`; returns the CSRF token."""
    token, device = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with UserStore(settings.users) as store:
        store.end_sessions(created_before_ms=now_ms - SESSION_MS, seen_before_ms=now_ms - IDLE_MS)
        store.add_session(SessionRow(digest_of(token), user, now_ms, now_ms), digest_of(device))
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="strict")
    response.set_cookie(
        DEVICE_COOKIE, device, max_age=_DEVICE_S, path="/", secure=True, httponly=True, samesite="strict"
    )
    return csrf_of(token)


def _by_key(settings: ApiSettings, text: str, now_ms: int) -> Caller | None:
    prefix, _, rest = text.partition("_")
    if prefix != KEY_PREFIX or not text.isascii():
        return None
    with UserStore(settings.users) as store:
        row = store.key(rest.partition("_")[0])
    if row is None or not hmac.compare_digest(row.digest, digest_of(text)) or not _opens(row, now_ms):
        return None
    return Caller(key_principal(row))


def key_principal(row: KeyRow) -> Principal:
    """What a key may do."""
    known = {item.value for item in Permission}
    only = frozenset(Permission(name) for name in row.permissions if name in known)
    if row.permissions and not only:
        return Principal(f"key:{row.id}", label=row.label)
    return Principal(f"key:{row.id}", grants_of(row.grants), only, row.label)


def _by_session(settings: ApiSettings, token: str, now_ms: int) -> Caller | None:
    digest = digest_of(token)
    with UserStore(settings.users) as store:
        row = store.session(digest)
        if row is None or _is_over(row, now_ms):
            return None
        user = store.user(row.user)
        if user is None or user.disabled:
            return None
        if now_ms - row.seen_ms > _TOUCH_MS:
            store.touch_session(digest, now_ms)
    return Caller(Principal(user.name, grants_of(user.grants)), digest, csrf_of(token))


def _opens(row: KeyRow, now_ms: int) -> bool:
    return row.revoked_ms is None and now_ms < row.expires_ms


def _is_over(row: SessionRow, now_ms: int) -> bool:
    return now_ms - row.created_ms >= SESSION_MS or now_ms - row.seen_ms >= IDLE_MS
