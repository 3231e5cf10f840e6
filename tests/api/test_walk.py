"""Every route of the OpenAPI document × every role × own and foreign tenant. A new route is walked without being named here."""

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from api.rights import ENTERPRISE_ONLY, PARK_ONLY, RIGHTS, Permission, Role

EXPECTED = {
    "self": "installer operator enterprise verifier regulator administrator",
    "registry.view": "installer operator enterprise verifier regulator administrator",
    "registry.edit": "operator",
    "data.view": "installer operator enterprise verifier regulator administrator",
    "events.view": "installer operator verifier regulator administrator",
    "metrics.view": "operator administrator",
    "month.view": "operator enterprise verifier regulator",
    "month.prepare": "operator",
    "month.review": "verifier regulator",
    "month.submit": "operator",
    "finding.answer": "operator enterprise",
    "delivery.send": "operator",
    "audit.view": "regulator administrator",
    "users.manage": "administrator",
    "gateways.manage": "operator administrator",
}
"""Who may do what, written a second time: a slip in the table of rights is not repeated here."""
PUBLIC = {
    ("get", "/api/v1/health/live"),
    ("get", "/api/v1/health/ready"),
    ("post", "/api/v1/session"),
    ("post", "/api/v1/session/code"),
    ("get", "/api/v1/session/ways"),
    ("get", "/api/v1/session/oidc"),
    ("get", "/api/v1/session/oidc/back"),
    ("get", "/api/v1/ca"),
    ("post", "/api/v1/enrol"),
    ("get", "/api/v1/schemas/month"),
}
OWN = {
    "meter": "a-in", "enterprise": "ent-a", "gateway": "gw-a", "id": "ent-a", "scope": "ent-a", "kind": "enterprise",
    "month": "2026-10", "format": "json", "by": "enterprise", "digest": "0" * 64, "code": "0000-0000-0000-0000",
    "verdict": "approve", "cause": "0" * 16, "name": "nobody", "key": "none",
}  # fmt: skip
FOREIGN = OWN | {"meter": "b-in", "enterprise": "ent-b", "gateway": "gw-b", "id": "ent-b", "scope": "ent-b"}
NOWHERE = OWN | {"meter": "x-in", "enterprise": "ent-x", "gateway": "gw-x", "id": "ent-x", "scope": "ent-x"}
TENANT = ("meter", "enterprise", "gateway", "id", "scope")
"""Parameters that name something that belongs to somebody."""
NOT_READY = 503
"""Another role has not written its first data, or was not handed over: the same for everybody."""
PARK_ANSWERS = [
    ("/api/v1/emissions", {"by": "park"}),
    ("/api/v1/events", {"source": "journal"}),
]
"""What a route refuses to who may see single enterprises only, though it answers other questions of theirs."""
FOREIGN_WORDS = re.compile(
    "ent-[bc]|gw-[bc]|site-[bc]|b-in|b-kiln|b-mill|c-in|c-room|c-new|示范新材料|示范数据|Demo New Materials|Demo Data|二号厂区|数据楼"
)


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    needs: dict[str, Any] | None
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    secured: bool


@pytest.fixture(scope="module")
def operations(client: httpx.Client) -> list[Operation]:
    return list(walk(client.get("/api/v1/openapi.json").json()))


def walk(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, item in methods.items():
            parameters = [p for p in item.get("parameters", ()) if p["in"] in {"path", "query"}]
            required = tuple(p["name"] for p in parameters if p.get("required"))
            names = tuple(p["name"] for p in parameters)
            yield Operation(
                method, path, item.get("x-permission"), names, required, bool(item.get("security"))
            )


def ask(http: httpx.Client, operation: Operation, values: dict[str, str], key: str | None) -> httpx.Response:
    """Ask with these values; a stream is closed after its first line."""
    in_path = re.findall(r"{(\w+)}", operation.path)
    unknown = [name for name in operation.required if name not in values]
    assert not unknown, f"{operation.path}: say in OWN, FOREIGN and NOWHERE what {unknown} are"
    path = operation.path.format(**{name: values[name] for name in in_path})
    asked = {*operation.required, *TENANT} & set(operation.parameters) - set(in_path)
    if "enterprise" in asked:
        asked -= {"gateway"}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body: dict[str, Any] = {"json": {}} if operation.method != "get" else {}
    query = {name: values[name] for name in asked}
    with http.stream(operation.method, path, params=query, headers=headers, **body) as answer:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            lines = answer.iter_lines()
            first = list(itertools.takewhile(lambda line: not line.startswith("data:"), lines))
            assert first
            return httpx.Response(answer.status_code)
        answer.read()
        return answer


def may(role: Role, operation: Operation, *, park: bool) -> bool:
    assert operation.needs is not None
    return role.value in EXPECTED[operation.needs["permission"]].split() and (
        park or not operation.needs["park"] or operation.needs["permission"] == "self"
    )


def test_the_table_of_rights_is_the_one_that_was_agreed() -> None:
    assert set(EXPECTED) == {permission.value for permission in Permission}
    for permission in Permission:
        holders = {role.value for role in Role if permission in RIGHTS[role]}
        assert holders == set(EXPECTED[permission.value].split()), permission


def test_only_these_routes_are_open_to_strangers(client: httpx.Client, operations: list[Operation]) -> None:
    assert {(o.method, o.path) for o in operations if o.needs is None} <= PUBLIC
    for operation in operations:
        assert operation.secured is (operation.needs is not None), operation
        answer = ask(client, operation, OWN, "nothing")
        if operation.needs is not None:
            assert answer.status_code == 401, operation


@pytest.mark.parametrize("role", [role for role in Role if role not in ENTERPRISE_ONLY])
def test_a_role_of_the_park_may_do_what_it_may_and_nothing_else(
    client: httpx.Client, files: Any, operations: list[Operation], role: Role
) -> None:
    key = files.key((role.value, "*"))
    for operation in operations:
        if operation.needs is None:
            continue
        status = ask(client, operation, OWN, key).status_code
        assert (status != 403) is may(role, operation, park=True) or is_about_oneself(operation), (
            operation,
            status,
        )
        assert status < 500 or status == NOT_READY


@pytest.mark.parametrize("role", [role for role in Role if role not in PARK_ONLY])
def test_a_role_of_one_enterprise_never_sees_or_touches_another(
    client: httpx.Client, files: Any, operations: list[Operation], role: Role
) -> None:
    key = files.key((role.value, "ent-a"))
    for operation in operations:
        if operation.needs is None:
            continue
        own = ask(client, operation, OWN, key)
        allowed = may(role, operation, park=False)
        assert (own.status_code != 403) is allowed or is_about_oneself(operation), (
            operation,
            own.status_code,
        )
        assert not FOREIGN_WORDS.search(own.text), operation
        if allowed and set(TENANT) & set(operation.parameters):
            foreign, nowhere = (ask(client, operation, values, key) for values in (FOREIGN, NOWHERE))
            assert foreign.status_code in {404, NOT_READY}, (operation, foreign.text)
            assert foreign.status_code == nowhere.status_code, (operation, nowhere.text)
            same = foreign.text.replace("-b", "-x").replace("b-in", "x-in")
            assert same == nowhere.text, "a foreign thing is told from one that does not exist"


def is_about_oneself(operation: Operation) -> bool:
    """A key has no password and no session: those routes may refuse it."""
    return operation.path.startswith("/api/v1/session")


@pytest.mark.parametrize(("path", "query"), PARK_ANSWERS)
def test_figures_of_the_park_are_for_roles_of_the_park(
    client: httpx.Client, files: Any, path: str, query: dict[str, str]
) -> None:
    for grant, status in ((("operator", "ent-a"), 403), (("operator", "*"), 200)):
        headers = {"Authorization": f"Bearer {files.key(grant)}"}
        assert client.get(path, params=query, headers=headers).status_code == status


def test_months_of_the_park_and_of_others_do_not_show(client: httpx.Client, files: Any) -> None:
    headers = {"Authorization": f"Bearer {files.key(('enterprise', 'ent-a'))}"}
    rows = client.get("/api/v1/months", headers=headers).json()
    assert {(row["scope_kind"], row["scope_id"]) for row in rows} == {("enterprise", "ent-a")}
    assert client.get("/api/v1/months/2026-10/park/demo", headers=headers).status_code == 404


def test_roles_add_up_each_for_its_own_tenant(client: httpx.Client, files: Any) -> None:
    key = files.key(("enterprise", "ent-a"), ("installer", "ent-b"))
    headers = {"Authorization": f"Bearer {key}"}
    meters = client.get("/api/v1/meters", headers=headers).json()
    assert {meter["enterprise"] for meter in meters} == {"ent-a", "ent-b"}
    rows = client.get("/api/v1/months", headers=headers).json()
    assert {row["scope_id"] for row in rows} == {"ent-a"}  # an installer sees no months
    events = client.get("/api/v1/events", headers=headers).json()
    assert events == []  # the one event is of ent-c


def test_the_stream_carries_the_callers_part_alone(client: httpx.Client, files: Any) -> None:
    headers = {"Authorization": f"Bearer {files.key(('enterprise', 'ent-a'))}"}
    with client.stream("GET", "/api/v1/stream", headers=headers) as answer:
        lines = answer.iter_lines()
        data = next(line for line in lines if line.startswith("data:"))
    assert '"park":null' in data
    assert "a-in" in data
    assert not FOREIGN_WORDS.search(data)
