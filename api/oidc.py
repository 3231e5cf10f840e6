"""Signing in elsewhere: OpenID Connect, authorization code flow with PKCE (RFC 7636), as a confidential client.

The ID token comes straight from the provider's token endpoint over TLS, which may stand in for checking its signature
(OpenID Connect Core 3.1.3.7, 6): so no keys are fetched, and nothing that a browser carried is believed.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from api.settings import OidcSettings

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
            answer = http.post(self._endpoints(http)["token_endpoint"], data=form, auth=auth)
            answer.raise_for_status()
            return self._subject(claims_of(answer.json()), attempt.nonce)

    def _subject(self, claims: dict[str, Any], nonce: str) -> str:
        settings, now_s, audience = self._settings, self._clock(), claims.get("aud")
        ours = audience in (settings.client_id, [settings.client_id])
        expires = claims.get("exp")
        checks = {
            "iss": claims.get("iss") == settings.issuer,
            "aud": ours,
            "exp": isinstance(expires, (int, float)) and expires > now_s - _SKEW_S,
            "nonce": hmac.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()),
            "sub": isinstance(claims.get("sub"), str) and 0 < len(claims["sub"]) <= 255,  # noqa: PLR2004  Core 2
        }
        wrong = [name for name, good in checks.items() if not good]
        if wrong:
            raise OidcError(f"the ID token's {', '.join(wrong)} is not right")
        return f"{settings.issuer}|{claims['sub']}"

    def _endpoints(self, http: httpx.Client) -> dict[str, str]:
        issuer = self._settings.issuer
        answer = http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict) or found.get("issuer") != issuer:
            raise OidcError("the provider calls itself something else")
        endpoints = {name: str(found.get(name, "")) for name in ("authorization_endpoint", "token_endpoint")}
        if not all(url.startswith(self._settings.scheme) for url in endpoints.values()):
            raise OidcError("an endpoint of the provider is not https")
        return endpoints

    def _client(self) -> httpx.Client:
        ca = str(self._settings.ca_file) if self._settings.ca_file is not None else True
        return httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, verify=ca)


def claims_of(answer: Any) -> dict[str, Any]:
    """The claims of the ID token in a token endpoint's answer. OidcError."""
    try:
        payload = str(answer["id_token"]).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise OidcError("there is no ID token in the answer") from error
    if not isinstance(claims, dict):
        raise OidcError("the ID token's claims are no object")
    return claims
