"""Every route that changes something leaves a row in the audit log that names who did it: walked from the OpenAPI document.

A new route that changes something fails here until it is shown what a success of it looks like.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from api.desk import Desk, Life
from api.enrolment import Credentials, lookup_digest, seal
from api.exchanges import ExchangeForm
from api.keys import make_key
from api.second_factor import recovery_digest
from storage.audit import AuditLog, Entry
from storage.lifecycle import Act, Subject
from storage.users import KeyRow, UserStore
from tests.api.conftest import NOW_MS, PASSWORD, ParkFiles
from tests.api.test_session import Browser

OUTPUT = {
    "kind": "production",
    "enterprise": "ent-a",
    "month": "2026-10",
    "output_10k_cny": "10",
    "value_added_10k_cny": "2",
}
ROLES = ("operator", "verifier", "administrator")
NEW_PASSWORD = "another long enough phrase"
CODE = "abcd-efgh-ijkl-mnop"
ENROLMENT = bytes(range(16))


class WillingDesk:
    """Does everything it is asked to. What is tried here is what the routes write down of it."""

    def life(self, _subject: Subject) -> Life:
        return Life(
            status="provisional", code="", acts=(), unanswered=(), obstacles=(), actions=(), preparers=()
        )

    def act(self, _subject: Subject, _action: str, **_said: str) -> Mapping[str, str]:
        return {}

    def restatement(self, _cause: str) -> list[Subject]:
        return [Subject("2026-10", "enterprise", "ent-a", 1)]

    def approve_restatement(self, _cause: str, **_who: str) -> list[Act]:
        return []

    def keep(self, _data: bytes) -> str:
        return "ab" * 32


class WillingExchanges:
    """The same for exchanged meters."""

    def declare(self, meter: str, _form: ExchangeForm) -> Mapping[str, Any]:
        return {"at": "2026-11-01T00:00", "meter": meter}


class Change(NamedTuple):
    """What a success of a route looks like."""

    method: str
    path: str
    """As in the OpenAPI document."""
    values: Mapping[str, str] = {}
    body: Any = None
    by: str = "ann"
    """Whom the audit log has to name."""


MONTH = {"month": "2026-10", "kind": "enterprise", "scope": "ent-a"}
MONTHS = "/months/{month}/{kind}/{scope}"
GRANTS = [{"role": "verifier", "tenant": "*"}]
CHANGES = [
    Change("put", "/facts", body={"why": "told", "facts": [OUTPUT]}),
    Change("post", "/forms/{month}/{scope}", MONTH, {"output_10k_cny": "11", "value_added_10k_cny": "2"}),
    Change("post", "/uploads/files", body=b"%PDF-1.7"),
    Change("post", "/meters/{meter}/exchange", {"meter": "a-in"}, {}),
    *(Change("post", f"{MONTHS}/{what}", MONTH, {"reason": "because"}) for what in ("answer", "attach", "send", "submit")),
    Change("post", f"{MONTHS}/review/{{verdict}}", MONTH | {"verdict": "approve"}, {"reason": "fine"}),
    Change("post", "/restatements/{cause}/approve", {"cause": "0" * 16}),
    Change("post", "/users", body={"name": "li", "grants": GRANTS}),
    Change("put", "/users/{name}/grants", {"name": "li"}, {"grants": []}),
    Change("post", "/users/{name}/code", {"name": "li"}),
    Change("post", "/users/{name}/second-factor", {"name": "li"}),
    Change("delete", "/users/{name}/second-factor", {"name": "li"}),
    Change("put", "/users/{name}/disabled", {"name": "li"}, {"disabled": True}),
    Change("post", "/keys", body={"label": "scada", "grants": GRANTS, "days": 1}),
    Change("delete", "/keys/{key}", {"key": "0badcafe"}),
    Change("post", "/enrol", body={"secret": ENROLMENT.hex()}, by="gateway:gw-a"),
    Change("post", "/session/code", body={"name": "wang", "code": CODE, "password": NEW_PASSWORD}, by="wang"),
    Change("post", "/session", body={"name": "wang", "password": NEW_PASSWORD}, by="wang"),
    Change("post", "/session/password", body={"old": PASSWORD, "new": NEW_PASSWORD}),
    Change("delete", "/session"),
]  # fmt: skip
"""In an order in which each can succeed."""


@pytest.fixture
def park(new_park: Callable[[], ParkFiles]) -> ParkFiles:
    found = new_park()
    found.user("ann", *((role, "*") for role in ROLES), ("enterprise", "ent-a"))
    found.user("wang", ("verifier", "*"))
    with UserStore(found.folder / "users.db") as store:
        _id, _text, digest = make_key("0badcafe")
        store.add_key(KeyRow("0badcafe", "old", digest, (), NOW_MS, NOW_MS + 1, None, ()))
        store.set_welcome("wang", recovery_digest(CODE), NOW_MS + 1)
        sealed = seal(Credentials("gw-a", {"password": "hidden"}), ENROLMENT)
        store.invite("gw-a", lookup_digest(ENROLMENT), sealed, NOW_MS + 1)
    return found


@pytest.fixture
def ann(park: ParkFiles, serve: Any) -> Iterator[Browser]:
    with ExitStack() as stack:
        url = stack.enter_context(serve(park=park, desk=WillingDesk(), exchanges=WillingExchanges()))
        browser = Browser(url)
        stack.callback(browser.http.close)
        assert browser.sign_in("ann").status_code == 200
        yield browser


def audited(folder: Path) -> list[Entry]:
    with AuditLog(folder / "audit.db", writable=False) as log:
        return log.entries(0, 100_000)


def send(browser: Browser, change: Change) -> httpx.Response:
    path = "/api/v1" + change.path.format(**change.values)
    body: dict[str, Any] = (
        {"content": change.body} if isinstance(change.body, bytes) else {"json": change.body}
    )
    cookies = dict(browser.cookies)
    answer = browser.ask(change.method.upper(), path, headers={"X-CSRF-Token": browser.csrf}, **body)
    if change.by != "ann":
        browser.cookies = cookies
    return answer


def test_every_change_through_the_api_is_in_the_audit_log_with_who_made_it(
    park: ParkFiles, ann: Browser
) -> None:
    document = ann.ask("GET", "/api/v1/openapi.json").json()
    changing = {
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if method in {"post", "put", "patch", "delete"}
    }
    shown = {(change.method, f"/api/v1{change.path}") for change in CHANGES}
    assert shown == changing, "say here what a success of each changing route looks like"
    for change in CHANGES:
        before = len(audited(park.folder))
        answer = send(ann, change)
        assert answer.is_success, (change, answer.text)
        rows = audited(park.folder)[before:]
        assert [row for row in rows if row.outcome == "ok" and row.actor == change.by], (change, rows)


def test_what_the_audit_log_tells_of_people_holds_no_secret(park: ParkFiles, ann: Browser) -> None:
    told = []
    for change in CHANGES:
        answer = send(ann, change)
        if change.path.startswith(("/users", "/keys")) and answer.content:
            made = answer.json()
            told += [made[name] for name in ("code", "key", "uri") if made.get(name)]
            told += made.get("recovery_codes", [])
    assert len(told) == 12
    text = json.dumps([row.detail for row in audited(park.folder)])
    assert not [secret for secret in (*told, PASSWORD, NEW_PASSWORD, CODE) if secret in text]


def test_a_willing_desk_is_asked_as_the_real_one_is() -> None:
    """The stand-in has no method that the protocol does not have."""
    ours = {name for name in vars(WillingDesk) if not name.startswith("_")}
    assert ours <= set(dir(Desk))
