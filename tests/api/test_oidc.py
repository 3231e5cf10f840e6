"""Signing in at a provider: against one that runs here and can be told to lie."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import SecretStr

from api.identity import COOKIE
from api.routes.sign_in_elsewhere import STATE_COOKIE
from api.settings import OidcSettings
from storage.audit import AuditLog
from storage.users import UserRow, UserStore

SECRET = "the client's secret"
BACK = "/api/v1/session/oidc/back"


class Provider:
    """An OpenID provider with one user, who always agrees. `lie` replaces claims of the next ID token."""

    def __init__(self) -> None:
        self.issuer, self.lie, self.asked = "", dict[str, Any](), dict[str, dict[str, str]]()
        self.app = FastAPI(openapi_url=None)
        self.app.get("/.well-known/openid-configuration")(self.configuration)
        self.app.post("/token")(self.token)

    def configuration(self) -> dict[str, str]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
        }

    def agree(self, url: str) -> dict[str, str]:
        """What the user's browser does there: comes back with a code."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["redirect_uri"] == f"https://park.example{BACK}"
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = f"code-{len(self.asked)}"
        self.asked[code] = query
        return {"state": query["state"], "code": code}

    async def token(self, request: Request) -> Any:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        query, hashed = self.asked.pop(form["code"]), hashlib.sha256(form["code_verifier"].encode()).digest()
        digest = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
        assert digest == query["code_challenge"]
        credentials = base64.b64encode(f"tanyun:{SECRET}".encode()).decode()
        assert request.headers["authorization"] == f"Basic {credentials}"
        claims = {
            "iss": self.issuer,
            "aud": "tanyun",
            "sub": "7",
            "exp": time.time() + 60,
            "nonce": query["nonce"],
        }
        payload = base64.urlsafe_b64encode(json.dumps(claims | self.lie).encode()).decode().rstrip("=")
        return {"id_token": f"e30.{payload}.e30", "token_type": "Bearer"}


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def http(provider: Provider, files: Any, serve: Any, serve_app: Any) -> Iterator[httpx.Client]:
    """A browser at a park whose users may sign in at the provider."""
    with ExitStack() as stack:
        provider.issuer = stack.enter_context(serve_app(provider.app))
        with UserStore(files.folder / "users.db") as store:
            store.add_user(UserRow("zhao", None, f"{provider.issuer}|7", False, 0, (("verifier", "*"),)))
        settings = OidcSettings(
            issuer=provider.issuer, name="Park SSO", client_id="tanyun", client_secret=SecretStr(SECRET),
            public_url="https://park.example",
        )  # fmt: skip
        url = stack.enter_context(serve(oidc=settings))
        yield stack.enter_context(httpx.Client(base_url=url))


def there(http: httpx.Client) -> tuple[str, str]:
    """Begin: where the browser is sent, and the state that it keeps in a cookie."""
    answer = http.get("/api/v1/session/oidc")
    http.cookies.clear()
    assert answer.status_code == 303
    line = answer.headers["set-cookie"]
    assert line.startswith(f"{STATE_COOKIE}=")
    assert {"HttpOnly", "Secure", "SameSite=lax"} <= {part.strip() for part in line.split(";")}
    return answer.headers["location"], line.partition("=")[2].partition(";")[0]


def back(http: httpx.Client, query: dict[str, str], kept: str) -> httpx.Response:
    answer = http.get(BACK, params=query, headers={"Cookie": f"{STATE_COOKIE}={kept}"})
    http.cookies.clear()
    return answer


def session_of(answer: httpx.Response) -> str | None:
    found = [line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{COOKIE}=")]
    return found[0].partition(";")[0] if found else None


def test_a_bound_user_comes_back_signed_in(http: httpx.Client, provider: Provider, files: Any) -> None:
    assert http.get("/api/v1/session/ways").json() == {"oidc": "Park SSO"}
    url, state = there(http)
    answer = back(http, provider.agree(url), state)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    me = http.get("/api/v1/session", headers={"Cookie": str(session_of(answer))}).json()
    assert (me["name"], me["roles"]) == ("zhao", ["verifier"])
    with AuditLog(files.folder / "audit.db", writable=False) as log:
        assert [entry.outcome for entry in log.entries(actor="zhao")] == ["ok"]


@pytest.mark.parametrize(
    "lie",
    [{"iss": "https://evil.example"}, {"aud": "another"}, {"aud": ["tanyun", "another"]}, {"exp": 1}, {"nonce": "old"},
     {"sub": "8"}, {"sub": ""}, {"sub": None}, {"exp": "tomorrow"}],
    ids=json.dumps,
)  # fmt: skip
def test_what_the_token_gets_wrong_signs_nobody_in(
    http: httpx.Client, provider: Provider, lie: dict[str, Any]
) -> None:
    url, state = there(http)
    provider.lie = lie
    try:
        answer = back(http, provider.agree(url), state)
    finally:
        provider.lie = {}
    assert answer.headers["location"] == "/login?failed=oidc"
    assert session_of(answer) is None


def test_an_answer_is_taken_once_and_in_the_browser_that_asked(
    http: httpx.Client, provider: Provider
) -> None:
    url, state = there(http)
    assert session_of(back(http, provider.agree(url), "another browser's")) is None
    url, state = there(http)
    query = provider.agree(url)
    assert session_of(back(http, query, state)) is not None
    assert session_of(back(http, query, state)) is None
    assert session_of(back(http, {}, "")) is None


def test_a_disabled_user_does_not_come_in_this_way_either(
    http: httpx.Client, provider: Provider, files: Any
) -> None:
    with UserStore(files.folder / "users.db") as store:
        store.set_disabled("zhao", disabled=True)
    url, state = there(http)
    assert session_of(back(http, provider.agree(url), state)) is None
    with UserStore(files.folder / "users.db") as store:
        store.set_disabled("zhao", disabled=False)


def test_a_user_of_the_provider_has_no_password_here(http: httpx.Client) -> None:
    for password in ("", "x", "None"):
        answer = http.post("/api/v1/session", json={"name": "zhao", "password": password})
        assert answer.status_code in {401, 422}


def test_without_a_provider_there_is_no_such_way(client: httpx.Client) -> None:
    assert client.get("/api/v1/session/ways").json() == {"oidc": None}
    assert client.get("/api/v1/session/oidc").status_code == 404


def test_the_secret_does_not_show_when_settings_are_printed() -> None:
    settings = OidcSettings(
        issuer="https://op.example",
        name="x",
        client_id="tanyun",
        client_secret=SecretStr(SECRET),
        public_url="https://p",
    )
    assert SECRET not in repr(settings)
