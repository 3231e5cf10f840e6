"""Users and keys through the API: what an administrator does, what he is kept from, and what a one-time code opens, once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from api.people import CODE_MS
from api.rights import Role
from storage.users import UserStore
from tests.api.conftest import NOW_MS, ParkFiles
from tests.api.test_session import Browser, audited

USERS = "/api/v1/users"
CODE = "/api/v1/session/code"
NEW = "a new and longer phrase"
Browse = Callable[[], Browser]
OF_A = [{"role": "enterprise", "tenant": "ent-a"}]


@pytest.fixture
def now() -> list[int]:
    return [NOW_MS]


@pytest.fixture
def park(new_park: Any) -> Any:
    found = new_park()
    found.user("ann", ("administrator", "*"))
    return found


@pytest.fixture
def url(park: ParkFiles, serve: Any, now: list[int]) -> Iterator[str]:
    with serve(park=park, clock=lambda: now[0]) as found:
        yield found


@pytest.fixture
def browse(url: str) -> Iterator[Callable[[], Browser]]:
    """Opens browsers, and closes them."""
    with ExitStack() as stack:

        def opened() -> Browser:
            browser = Browser(url)
            stack.callback(browser.http.close)
            return browser

        yield opened


@pytest.fixture
def ann(browse: Callable[[], Browser]) -> Browser:
    browser = browse()
    assert browser.sign_in("ann").status_code == 200
    return browser


def do(browser: Browser, method: str, path: str, body: Any = None) -> httpx.Response:
    more = {} if body is None else {"json": body}
    return browser.ask(method, path, headers={"X-CSRF-Token": browser.csrf}, **more)


def redeem(url: str, name: str, code: str, password: str = NEW) -> int:
    return httpx.post(url + CODE, json={"name": name, "code": code, "password": password}).status_code


def test_a_new_user_makes_a_password_with_the_code_once_and_comes_in(
    ann: Browser, url: str, park: Any, browse: Browse
) -> None:
    made = do(ann, "POST", USERS, {"name": "li", "grants": OF_A}).json()
    li = browse()
    assert li.sign_in("li", NEW).status_code == 401
    assert redeem(url, "li", made["code"], "short") == 422
    assert redeem(url, "li", made["code"].upper().replace("-", " ")) == 204
    assert redeem(url, "li", made["code"]) == 401
    assert li.sign_in("li", NEW).json()["roles"] == ["enterprise"]
    (row,) = [row for row in ann.ask("GET", USERS).json() if row["name"] == "li"]
    assert (row["has_password"], row["code_ends_ms"], row["second_factor"]) == (True, None, False)
    assert {
        ("ann", "user.add", "ok"),
        ("li", "session.code", "refused"),
        ("li", "session.code", "ok"),
    } <= set(audited(park))
    assert not any(made["code"].encode() in file.read_bytes() for file in park.folder.glob("*.db*"))


def test_a_code_ends_with_its_time_with_the_next_and_with_its_user(
    ann: Browser, url: str, now: list[int]
) -> None:
    do(ann, "POST", USERS, {"name": "li", "grants": OF_A})
    path = f"{USERS}/li"
    first, second = (do(ann, "POST", f"{path}/code").json()["code"] for _ in range(2))
    assert redeem(url, "li", first) == 401
    assert redeem(url, "ann", second) == 401
    now[0] += CODE_MS
    assert redeem(url, "li", second) == 401
    ann.sign_in("ann")
    third = do(ann, "POST", f"{path}/code").json()["code"]
    for disabled in (True, False):
        assert do(ann, "PUT", f"{path}/disabled", {"disabled": disabled}).status_code == 204
    assert redeem(url, "li", third) == 401


def test_a_code_ends_what_was_open_and_asks_the_second_factor_of_the_next_sign_in(
    ann: Browser, url: str, park: Any, browse: Browse
) -> None:
    park.user("li", ("operator", "*"))
    li = browse()
    li.sign_in("li")
    made = do(ann, "POST", f"{USERS}/li/code").json()
    assert (
        li.ask("GET", "/api/v1/session").status_code == 200
    )  # who knows the password goes on until the code is used
    assert redeem(url, "li", made["code"]) == 204
    assert li.ask("GET", "/api/v1/session").status_code == 401
    factor = do(ann, "POST", f"{USERS}/li/second-factor").json()
    assert len(factor["recovery_codes"]) == 8
    again = do(ann, "POST", f"{USERS}/li/code").json()
    assert redeem(url, "li", again["code"]) == 204
    assert li.sign_in("li", NEW).json()["title"] == "second factor"
    assert do(ann, "DELETE", f"{USERS}/li/second-factor").status_code == 204
    assert li.sign_in("li", NEW).status_code == 200
    assert do(ann, "DELETE", f"{USERS}/li/second-factor").status_code == 404


def test_guessing_codes_is_slowed_down_like_guessing_passwords(ann: Browser, url: str) -> None:
    do(ann, "POST", USERS, {"name": "li", "grants": OF_A})
    assert [redeem(url, "li", f"aaaa-aaaa-aaaa-aaa{i}") for i in range(6)] == [401] * 5 + [429]


def test_whoever_signs_in_elsewhere_gets_no_code(ann: Browser) -> None:
    new = {"name": "zhao", "grants": OF_A, "subject": "https://op|7"}
    assert do(ann, "POST", USERS, new).json()["code"] is None
    assert do(ann, "POST", f"{USERS}/zhao/code").status_code == 422
    assert do(ann, "POST", USERS, new | {"name": "qian"}).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"name": "ann", "grants": []},
        {"name": "li/..", "grants": []},
        {"name": "li", "grants": [{"role": "administrator", "tenant": "ent-a"}]},
        {"name": "li", "grants": [{"role": "enterprise", "tenant": "*"}]},
        {"name": "li", "grants": [{"role": "operator", "tenant": "ent-x"}]},
        {"name": "li", "grants": [{"role": "root", "tenant": "*"}]},
        {"name": "li", "grants": [], "password": NEW},
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(ann: Browser, park: Any, body: dict[str, Any]) -> None:
    assert do(ann, "POST", USERS, body).status_code == 422
    with UserStore(park.folder / "users.db") as store:
        assert [row.name for row in store.users()] == ["ann"]


def test_nobody_locks_himself_out(ann: Browser) -> None:
    assert do(ann, "PUT", f"{USERS}/ann/disabled", {"disabled": True}).status_code == 409
    assert (
        do(ann, "PUT", f"{USERS}/ann/grants", {"grants": [{"role": "operator", "tenant": "*"}]}).status_code
        == 409
    )
    more = [{"role": role, "tenant": "*"} for role in ("operator", "administrator")]
    assert do(ann, "PUT", f"{USERS}/ann/grants", {"grants": more}).status_code == 204
    assert ann.ask("GET", "/api/v1/session").json()["roles"] == ["administrator", "operator"]


def test_roles_and_being_kept_out_hold_from_the_next_request_on(
    ann: Browser, park: Any, browse: Browse
) -> None:
    park.user("li", ("operator", "*"))
    li = browse()
    li.sign_in("li")
    assert do(ann, "PUT", f"{USERS}/li/grants", {"grants": OF_A}).status_code == 204
    assert [item["id"] for item in li.ask("GET", "/api/v1/enterprises").json()] == ["ent-a"]
    assert do(ann, "PUT", f"{USERS}/li/disabled", {"disabled": True}).status_code == 204
    assert li.ask("GET", "/api/v1/session").status_code == 401
    assert do(ann, "PUT", f"{USERS}/nobody/disabled", {"disabled": True}).status_code == 404


def test_a_key_is_told_once_narrowed_and_revoked(ann: Browser, url: str) -> None:
    body = {
        "label": "scada",
        "grants": [{"role": "operator", "tenant": "*"}],
        "permissions": ["data.view"],
        "days": 1,
    }
    made = do(ann, "POST", "/api/v1/keys", body).json()
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {made['key']}"}) as machine:
        assert machine.get("/api/v1/live").status_code == 200
        assert machine.get("/api/v1/months").status_code == 403
        assert made["key"] not in ann.ask("GET", "/api/v1/keys").text
        assert do(ann, "DELETE", f"/api/v1/keys/{made['id']}").status_code == 204
        assert machine.get("/api/v1/live").status_code == 401
    assert do(ann, "DELETE", f"/api/v1/keys/{made['id']}").status_code == 404


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMINISTRATOR])
def test_nobody_else_changes_people(park: Any, browse: Browse, role: Role) -> None:
    park.user("eve", (role.value, "ent-a" if role is Role.ENTERPRISE else "*"))
    eve = browse()
    eve.sign_in("eve")
    for method, path, body in (
        ("POST", USERS, {"name": "x", "grants": []}),
        ("PUT", f"{USERS}/eve/grants", {"grants": [{"role": "administrator", "tenant": "*"}]}),
        ("POST", f"{USERS}/ann/code", None),
        ("POST", "/api/v1/keys", {"label": "x", "grants": []}),
    ):
        assert do(eve, method, path, body).status_code == 403


def test_a_foreign_page_changes_nobody(ann: Browser) -> None:
    ann.csrf = "guessed"
    assert do(ann, "POST", USERS, {"name": "x", "grants": []}).status_code == 403
    assert do(ann, "PUT", f"{USERS}/ann/disabled", {"disabled": True}).status_code == 403
