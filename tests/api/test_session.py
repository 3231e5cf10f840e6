"""Signing in: sessions, forged requests, guesses, keys, and what the audit log keeps of it."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.identity import COOKIE, CSRF_HEADER, DEVICE_COOKIE, IDLE_MS, SESSION_MS
from api.passwords import password_mistake
from api.throttle import LoginGuard
from storage.audit import AuditLog
from storage.users import UserStore

PASSWORD = "a long enough phrase"
SESSION = "/api/v1/session"


class Browser:
    """A caller who keeps cookies; over plain HTTP here, where a cookie jar would hold Secure ones back."""

    def __init__(self, url: str) -> None:
        self.http, self.cookies, self.csrf = httpx.Client(base_url=url), dict[str, str](), ""

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} | more.pop("headers", {})
        answer = self.http.request(method, path, headers=headers, **more)
        self.http.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        answer = self.ask("POST", SESSION, json={"name": name, "password": password})
        self.csrf = answer.json().get("csrf", "")
        return answer


@pytest.fixture
def park(new_park: Any) -> Any:
    found = new_park()
    found.user("ann", ("operator", "*"))
    return found


@pytest.fixture
def browser(park: Any, serve: Any) -> Iterator[Browser]:
    with serve(park=park) as url:
        found = Browser(url)
        yield found
        found.http.close()


def audited(park: Any) -> list[tuple[str, str, str]]:
    with AuditLog(park.folder / "audit.db", writable=False) as log:
        assert log.verify() > 0
        return [(entry.actor, entry.action, entry.outcome) for entry in log.entries()]


def test_a_user_signs_in_sees_data_and_signs_out(browser: Browser, park: Any) -> None:
    answer = browser.sign_in("ann")
    assert answer.status_code == 200
    assert answer.json()["roles"] == ["operator"]
    assert browser.ask("GET", "/api/v1/park").status_code == 200
    assert browser.ask("GET", SESSION).json()["csrf"] == browser.csrf
    kept = dict(browser.cookies)
    assert browser.ask("DELETE", SESSION, headers={CSRF_HEADER: browser.csrf}).status_code == 204
    browser.cookies = kept  # a stolen cookie is worth nothing after signing out
    assert browser.ask("GET", "/api/v1/park").status_code == 401
    assert audited(park) == [("ann", "session.begin", "ok"), ("ann", "session.end", "ok")]


def test_cookies_are_for_this_host_over_tls_and_out_of_reach_of_scripts(browser: Browser) -> None:
    lines = browser.sign_in("ann").headers.get_list("set-cookie")
    assert {line.partition("=")[0] for line in lines} == {COOKIE, DEVICE_COOKIE}
    for line in lines:
        attributes = {part.strip().lower() for part in line.split(";")[1:]}
        assert {"httponly", "secure", "path=/", "samesite=strict"} <= attributes
        assert not any(part.startswith("domain") for part in attributes)


def test_the_database_holds_nothing_that_opens(browser: Browser, park: Any) -> None:
    browser.sign_in("ann")
    key = park.key(("operator", "*"))
    stored = b"".join(file.read_bytes() for file in park.folder.glob("users.db*"))
    for secret in (*browser.cookies.values(), browser.csrf, key, PASSWORD):
        assert secret.encode() not in stored


@pytest.mark.parametrize("headers", [{}, {CSRF_HEADER: "wrong"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_forged_request_changes_nothing(browser: Browser, park: Any, headers: dict[str, str]) -> None:
    browser.sign_in("ann")
    if "Sec-Fetch-Site" in headers:
        headers = headers | {CSRF_HEADER: browser.csrf}
    assert browser.ask("DELETE", SESSION, headers=headers).status_code == 403
    assert browser.ask("GET", "/api/v1/park").status_code == 200
    assert ("ann", "request.refused", "refused") in audited(park)


def test_another_site_cannot_sign_somebody_in(browser: Browser) -> None:
    login = {"name": "ann", "password": PASSWORD}
    answer = browser.ask("POST", SESSION, json=login, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    form = browser.ask("POST", SESSION, data=login)  # what a plain form could send
    assert form.status_code == 422
    assert COOKIE not in browser.cookies


def test_wrong_name_and_wrong_password_are_told_apart_by_nobody(browser: Browser, park: Any) -> None:
    park.user("gone", ("operator", "*"))
    with UserStore(park.folder / "users.db") as store:
        store.set_disabled("gone", disabled=True)
    answers = [
        browser.sign_in(*login) for login in (("ann", "wrong"), ("nobody", PASSWORD), ("gone", PASSWORD))
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert [row[2] for row in audited(park)] == ["refused"] * 3


def test_guessing_is_slowed_down_and_a_known_device_is_not_locked_out(browser: Browser) -> None:
    browser.sign_in("ann")
    stranger = Browser(str(browser.http.base_url))
    statuses = [stranger.sign_in("ann", "wrong").status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert int(stranger.sign_in("ann").headers["retry-after"]) <= 60  # nor is the right password looked at
    assert browser.sign_in("ann").status_code == 200
    stranger.http.close()


def test_whoever_guesses_a_name_from_everywhere_delays_strangers_for_half_a_minute_at_most() -> None:
    now = [0.0]
    guard = LoginGuard(lambda: now[0])
    for attempt in range(1000):
        guard.wait_s("ann", f"10.0.{attempt // 256}.{attempt % 256}", known=False)
    assert 0 < guard.wait_s("ann", "192.0.2.1", known=False) <= 30
    assert guard.wait_s("ann", "192.0.2.1", known=True) == 0
    now[0] += 31
    assert guard.wait_s("ann", "192.0.2.2", known=False) == 0


def test_one_guesser_cannot_keep_strangers_out() -> None:
    guard = LoginGuard(lambda: 0.0)
    for _attempt in range(1000):
        guard.wait_s("ann", "192.0.2.1", known=False)
    assert guard.wait_s("ann", "192.0.2.2", known=False) == 0


def test_one_network_cannot_try_many_names() -> None:
    guard = LoginGuard(lambda: 0.0)
    waits = [guard.wait_s(f"user{i}", f"2001:db8::{i:x}", known=False) for i in range(30)]
    assert [wait > 0 for wait in waits] == [False] * 20 + [True] * 10


@pytest.mark.parametrize(
    ("wait_ms", "steps", "last"),
    [(IDLE_MS - 1, 1, 200), (IDLE_MS, 1, 401), (IDLE_MS // 2, 2 * SESSION_MS // IDLE_MS, 401)],
)
def test_a_session_ends_when_idle_and_when_old(
    park: Any, serve: Any, now_ms: int, wait_ms: int, steps: int, last: int
) -> None:
    clock = [now_ms]
    with serve(park=park, clock=lambda: clock[0]) as url:
        browser = Browser(url)
        browser.sign_in("ann")
        seen = []
        for _step in range(steps):
            clock[0] += wait_ms
            seen.append(browser.ask("GET", "/api/v1/park").status_code)
        browser.http.close()
    assert seen == [200] * (steps - 1) + [last]


def test_disabling_a_user_ends_the_sessions_at_once(browser: Browser, park: Any) -> None:
    browser.sign_in("ann")
    with UserStore(park.folder / "users.db") as store:
        store.set_disabled("ann", disabled=True)
    assert browser.ask("GET", "/api/v1/park").status_code == 401


def test_an_open_stream_ends_with_its_session(browser: Browser, park: Any) -> None:
    browser.sign_in("ann")
    cookie = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    with browser.http.stream("GET", "/api/v1/stream", headers=cookie, timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry")
        with UserStore(park.folder / "users.db") as store:
            store.set_disabled("ann", disabled=True)
        park.add_power("b-in", 1234567.0)
        assert "1234567" not in "".join(lines)  # and the stream ends by itself


def test_a_changed_password_ends_all_other_sessions(browser: Browser) -> None:
    browser.sign_in("ann")
    other = dict(browser.cookies)
    browser.sign_in("ann")
    change = {"old": PASSWORD, "new": "quite another phrase"}
    headers = {CSRF_HEADER: browser.csrf}
    wrong = browser.ask("POST", f"{SESSION}/password", json=change | {"old": "no"}, headers=headers)
    weak = browser.ask("POST", f"{SESSION}/password", json=change | {"new": "short"}, headers=headers)
    assert (wrong.status_code, weak.status_code) == (403, 422)
    assert browser.ask("POST", f"{SESSION}/password", json=change, headers=headers).status_code == 204
    assert browser.ask("GET", "/api/v1/park").status_code == 200
    browser.cookies = other
    assert browser.ask("GET", "/api/v1/park").status_code == 401
    assert browser.sign_in("ann").status_code == 401
    assert browser.sign_in("ann", "quite another phrase").status_code == 200


def test_a_key_ends_when_it_expires_or_is_revoked_and_cannot_be_widened(
    browser: Browser, park: Any, now_ms: int
) -> None:
    def status(key: str, path: str = "/api/v1/park") -> int:
        return browser.http.get(path, headers={"Authorization": f"Bearer {key}"}).status_code

    good, old = park.key(("operator", "*")), park.key(("operator", "*"), expires_ms=now_ms)
    assert (status(good), status(old)) == (200, 401)
    with UserStore(park.folder / "users.db") as store:
        assert store.revoke_key(good.split("_")[1], now_ms)
    assert status(good) == 401
    assert status(park.key(("no such role", "*"))) == 403
    assert status(park.key(("administrator", "*")), "/api/v1/months") == 403


def test_the_audit_log_tells_failed_logins_and_cannot_be_changed_by_any_route(
    browser: Browser, park: Any
) -> None:
    browser.sign_in("ann", "wrong")
    park.user("root", ("administrator", "*"))
    browser.sign_in("root")
    rows = browser.ask("GET", "/api/v1/audit").json()
    assert [(row["actor"], row["outcome"]) for row in rows] == [("ann", "refused"), ("root", "ok")]
    headers = {CSRF_HEADER: browser.csrf}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert browser.ask(method, "/api/v1/audit", json={}, headers=headers).status_code == 405
    assert PASSWORD not in json.dumps(rows)


def test_who_takes_a_report_stands_in_the_audit_log(browser: Browser, park: Any) -> None:
    browser.sign_in("ann")
    assert browser.ask("GET", "/api/v1/reports/2026-10/enterprise/ent-a/pdf").status_code == 200
    assert ("ann", "report.export", "ok") in audited(park)


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("short", False),
        ("x" * 300, False),
        ("annannannann-1", False),
        ("abababababab", False),
        (PASSWORD, True),
    ],
)
def test_weak_passwords_are_refused(password: str, good: bool) -> None:
    assert (password_mistake(password, "ann") is None) is good


def test_a_flood_of_refusals_does_not_fill_the_audit_log(browser: Browser, park: Any) -> None:
    """Each entry is a synced row on the disk that the readings need."""
    for _ in range(150):
        browser.sign_in("ann", "wrong wrong wrong")
    key = park.key(("installer", "*"))
    for _ in range(150):
        answer = browser.ask("GET", "/api/v1/audit", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 403
    with AuditLog(park.folder / "audit.db", writable=False) as log:
        counts = Counter((entry.action, entry.outcome) for entry in log.entries(limit=1000))
    assert 100 < counts["session.begin", "refused"] < 120
    assert 100 <= counts["request.refused", "refused"] < 115
