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
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi import FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from api.id_token import TokenError, claims_of
from api.identity import COOKIE
from api.oidc import Oidc, OidcError
from api.routes.sign_in_elsewhere import STATE_COOKIE
from api.settings import OidcSettings
from storage.audit import AuditLog
from storage.users import UserRow, UserStore

SECRET = "the client's secret"
BACK = "/api/v1/session/oidc/back"


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = Ed25519PrivateKey.generate()


def coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value: int) -> str:
    return coded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def jwk(key: Key, **more: str) -> dict[str, str]:
    """A public key as a provider publishes it."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **more}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        x, y = (coded(value.to_bytes(32, "big")) for value in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, **more}
    return {"kty": "OKP", "crv": "Ed25519", "x": coded(key.public_key().public_bytes_raw()), **more}


def signed(claims: object, key: Key, header: dict[str, Any]) -> str:
    """A token as `key` signs it; `header` may say something else."""
    kinds: dict[type, str] = {
        rsa.RSAPrivateKey: "RS256",
        ec.EllipticCurvePrivateKey: "ES256",
        Ed25519PrivateKey: "EdDSA",
    }
    [algorithm] = [name for kind, name in kinds.items() if isinstance(key, kind)]
    body = ".".join(coded(json.dumps(part).encode()) for part in ({"alg": algorithm} | header, claims))
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(body.encode(), padding.PKCS1v15(), SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(body.encode(), ec.ECDSA(SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        signature = key.sign(body.encode())
    return f"{body}.{coded(signature)}"


class Provider:
    """An OpenID provider with one user, who always agrees. `lie` replaces claims of the next ID token."""

    def __init__(self) -> None:
        self.issuer, self.lie, self.asked = "", dict[str, Any](), dict[str, dict[str, str]]()
        self.app = FastAPI(openapi_url=None)
        self.app.get("/.well-known/openid-configuration")(self.configuration)
        self.app.post("/token")(self.token)
        self.app.get("/jwks")(self.jwks)
        self.signs, self.publishes = RSA, [jwk(RSA)]
        self.header: dict[str, Any] = {}
        """Beside what follows from the key."""

    def configuration(self) -> dict[str, str]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }

    def jwks(self) -> dict[str, Any]:
        return {"keys": self.publishes}

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
        return {"id_token": signed(claims | self.lie, self.signs, self.header), "token_type": "Bearer"}


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
        url = stack.enter_context(serve(oidc=settings_at(provider.issuer)))
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
     {"sub": "8"}, {"sub": ""}, {"sub": None}, {"exp": "tomorrow"}, {"exp": True}, {"exp": float("nan")}, {"exp": float("inf")},
     {"sub": "\ud800"}, {"sub": "x" * 256}, {"nonce": "\ud800"}, {"nonce": None}, {"azp": "another"}, {"iat": time.time() + 9999}],
    ids=json.dumps,
)  # fmt: skip
def test_what_the_token_gets_wrong_signs_nobody_in(
    http: httpx.Client, provider: Provider, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any]
) -> None:
    assert http.get("/api/v1/session/ways").status_code == 200  # the provider runs
    assert tried(provider)
    monkeypatch.setattr(provider, "lie", lie)
    assert not tried(provider)


def test_a_lie_is_told_as_a_failed_sign_in(
    http: httpx.Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "lie", {"sub": "\ud800", "nonce": "\ud800"})
    url, state = there(http)
    answer = back(http, provider.agree(url), state)
    assert answer.headers["location"] == "/login?failed=oidc"
    assert session_of(answer) is None


def settings_at(issuer: str) -> OidcSettings:
    return OidcSettings(
        issuer=issuer, name="Park SSO", client_id="tanyun", client_secret=SecretStr(SECRET),
        public_url="https://park.example",
    )  # fmt: skip


def tried(provider: Provider) -> bool:
    """Whether the user comes in; without our own routes, which slow down who tries so often."""
    oidc, callback = Oidc(settings_at(provider.issuer)), f"https://park.example{BACK}"
    url, state = oidc.begin(callback)
    try:
        return oidc.finish(state, state, provider.agree(url)["code"], callback) == f"{provider.issuer}|7"
    except OidcError:
        return False


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize("key", [RSA, EC, ED], ids=["RS256", "ES256", "EdDSA"])
def test_a_key_is_rotated_while_we_run_and_the_withdrawn_one_opens_no_more(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, key: Key
) -> None:
    fresh = rsa.generate_private_key(65537, 2048)
    monkeypatch.setattr(provider, "signs", key)
    for published, comes_in in (
        ([jwk(key)], True),
        ([jwk(fresh), jwk(key)], True),
        ([jwk(fresh)], False),
        ([], False),
    ):
        monkeypatch.setattr(provider, "publishes", published)
        assert tried(provider) is comes_in, published


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ({"alg": "none"}, jwk(RSA)), ({"alg": "HS256"}, jwk(RSA)), ({"alg": "RS256"}, jwk(EC)), ({"alg": None}, jwk(RSA)),
        ({"alg": ["RS256"]}, jwk(RSA)), ({"crit": ["exp"]}, jwk(RSA)), ({"kid": "old"}, jwk(RSA, kid="new")), ({}, jwk(RSA, use="enc")),
        ({}, jwk(RSA, alg="PS256")), ({}, jwk(rsa.generate_private_key(65537, 2048))), ({}, jwk(RSA) | {"n": "!"}),
        ({}, jwk(RSA) | {"n": ""}),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("http")
def test_a_token_that_chooses_how_it_is_checked_signs_nobody_in(
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    header: dict[str, Any],
    key: dict[str, str],
) -> None:
    monkeypatch.setattr(provider, "header", header)
    monkeypatch.setattr(provider, "publishes", [key])
    assert not tried(provider)


def test_a_key_that_is_too_small_signs_nothing() -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505  that is what is tried
    with pytest.raises(TokenError, match="no key"):
        claims_of(signed({}, small, {}), {"keys": [jwk(small)]})


TOKENS = st.text(max_size=60) | st.builds("{}.{}.{}".format, *[st.text("abAB01-_=", max_size=20)] * 3)
NAMES = st.sampled_from(["keys", "kty", "n", "e", "x"])
KEYS = st.recursive(
    st.none() | st.text(max_size=5), lambda inner: st.dictionaries(NAMES, inner | st.lists(inner))
)


@given(TOKENS, KEYS)
@settings(max_examples=300, deadline=None)
def test_no_token_and_no_keys_do_anything_but_fail(token: str, keys: Any) -> None:
    with pytest.raises(TokenError):
        claims_of(token, keys if isinstance(keys, dict) else {"keys": [keys]})


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_one_changed_byte_and_the_signature_does_not_hold(at: int, change: int) -> None:
    token = bytearray(signed({"sub": "7"}, ED, {}).encode())
    token[at % len(token)] ^= change
    try:
        claims_of(token.decode("latin-1"), {"keys": [jwk(ED)]})
    except TokenError:
        return
    # The last character of a part has spare bits, which say nothing.
    assert at % len(token) == len(token) - 1


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
