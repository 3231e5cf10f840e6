"""Signing in elsewhere: OpenID Connect, authorization code flow with PKCE (RFC 7636), as a confidential client.

The ID token comes straight from the provider's token endpoint over TLS, and its signature is checked besides with the keys that
the provider publishes at that moment: a key that was rotated is found, one that was withdrawn is not. Nothing that a browser
carried is believed.
"""

import base64
import hashlib
import hmac
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeGuard
from urllib.parse import urlencode

import httpx

from api.id_token import TokenError, claims_of
from api.settings import OidcSettings

ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
PENDING_S: Final = 600.0
_KEPT: Final = 10_000
_SKEW_S: Final = 120
_TIMEOUT_S: Final = 10.0


class OidcError(Exception):
    """The provider's answer cannot be taken; for the log, not for the stranger."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that has begun: what has to come back."""

    verifier: str
    nonce: str
    until_s: float

    def __repr__(self) -> str:
        """Without the secrets."""
        return "Attempt()"


class Oidc:
    """One provider. Attempts are kept in memory: a restart in between means to begin again."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, Attempt] = OrderedDict()

    def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Where to send the browser, and the state that it has to bring back. OidcError, httpx.HTTPError."""
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        with self._lock:
            self._attempts[state] = Attempt(verifier, nonce, self._clock() + PENDING_S)
            while len(self._attempts) > _KEPT:
                self._attempts.popitem(last=False)
        query = {
            "response_type": "code", "client_id": self._settings.client_id, "redirect_uri": redirect_uri,
            "scope": "openid", "state": state, "nonce": nonce, "code_challenge": challenge,
            "code_challenge_method": "S256",
        }  # fmt: skip
        with self._client() as http:
            return f"{self._endpoints(http)['authorization_endpoint']}?{urlencode(query)}", state

    def finish(self, state: str, kept_state: str, code: str, redirect_uri: str) -> str:
        """The subject (`issuer|sub`) of whoever came back. OidcError, httpx.HTTPError."""
        with self._lock:
            attempt = self._attempts.pop(state, None)
        if attempt is None or attempt.until_s < self._clock():
            raise OidcError("no such attempt, or too long ago")
        if not hmac.compare_digest(state.encode(), kept_state.encode()):
            raise OidcError("begun in another browser")
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        }  # fmt: skip
        auth = httpx.BasicAuth(self._settings.client_id, self._settings.client_secret.get_secret_value())
        with self._client() as http:
            endpoints = self._endpoints(http)
            answer = http.post(endpoints["token_endpoint"], data=form, auth=auth)
            answer.raise_for_status()
            keys = http.get(endpoints["jwks_uri"])
            keys.raise_for_status()
            return self._subject(_claims(answer.json(), keys.json()), attempt.nonce)

    def _subject(self, claims: dict[str, Any], nonce: str) -> str:
        settings, now_s, audience = self._settings, self._clock(), claims.get("aud")
        ours = audience in (settings.client_id, [settings.client_id])
        expires, issued, sub = claims.get("exp"), claims.get("iat", now_s), claims.get("sub")
        checks = {
            "iss": claims.get("iss") == settings.issuer,
            "aud": ours,
            "azp": claims.get("azp", settings.client_id) == settings.client_id,
            "exp": _is_number(expires) and expires > now_s - _SKEW_S,
            "iat": _is_number(issued) and issued < now_s + _SKEW_S,
            "nonce": hmac.compare_digest(repr(claims.get("nonce")).encode(), repr(nonce).encode()),
            "sub": isinstance(sub, str) and 0 < len(sub) <= 255 and sub.isascii(),  # noqa: PLR2004  Core 2
        }
        wrong = [name for name, good in checks.items() if not good]
        if wrong:
            raise OidcError(f"the ID token's {', '.join(wrong)} is not right")
        return f"{settings.issuer}|{sub}"

    def _endpoints(self, http: httpx.Client) -> dict[str, str]:
        issuer = self._settings.issuer
        answer = http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict) or found.get("issuer") != issuer:
            raise OidcError("the provider calls itself something else")
        endpoints = {name: str(found.get(name, "")) for name in ENDPOINTS}
        if not all(url.startswith(self._settings.scheme) for url in endpoints.values()):
            raise OidcError("an endpoint of the provider is not https")
        return endpoints

    def _client(self) -> httpx.Client:
        ca = str(self._settings.ca_file) if self._settings.ca_file is not None else True
        return httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, verify=ca)


def _claims(answer: Any, keys: Any) -> dict[str, Any]:
    """The claims of the ID token in a token endpoint's answer. OidcError."""
    if (
        not isinstance(answer, dict)
        or not isinstance(answer.get("id_token"), str)
        or not isinstance(keys, dict)
    ):
        raise OidcError("there is no ID token in the answer, or there are no keys")
    try:
        return claims_of(answer["id_token"], keys)
    except TokenError as error:
        raise OidcError(str(error)) from error


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
