"""Facts through the API: who may read and change what, and that a change is all or nothing and told."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx
import pytest

from storage.audit import AuditLog
from storage.daily_checks import DailyChecks, DailyRow
from tests.api.conftest import ParkFiles

OUTPUT = {
    "kind": "production",
    "enterprise": "ent-a",
    "month": "2026-10",
    "output_10k_cny": "10",
    "value_added_10k_cny": "2",
}
Asking = Callable[..., httpx.Client]
Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def own(new_park: Callable[[], ParkFiles]) -> ParkFiles:
    """The test's own park: its facts change."""
    return new_park()


@pytest.fixture
def ask(own: ParkFiles, serve: Serve) -> Iterator[Asking]:
    """A client with a new key for these roles."""
    with ExitStack() as stack:
        url = stack.enter_context(serve(own, daily_checks=own.folder / "checks.db"))

        def client(*grants: tuple[str, str]) -> httpx.Client:
            headers = {"Authorization": f"Bearer {own.key(*grants)}"}
            return stack.enter_context(httpx.Client(base_url=url, headers=headers))

        yield client


def put(client: httpx.Client, *facts: dict[str, Any], why: str = "form") -> Any:
    return client.put("/api/v1/facts", json={"why": why, "facts": list(facts)})


def test_what_was_set_is_read_back_and_told(ask: Asking, own: ParkFiles) -> None:
    operator = ask(("operator", "*"))
    assert put(operator, OUTPUT, why="told once").json()["revision"] == 1
    assert put(operator, OUTPUT).json()["revision"] == 1, "nothing new"
    (found,) = operator.get("/api/v1/facts/production").json()
    assert found["output_10k_cny"] == "10"
    with AuditLog(own.folder / "audit.db") as log:
        told = [e for e in log.entries(0, 1000) if e.action == "registry.production.set"]
    (entry,) = [e for e in told if json.loads(e.detail)["fact"]["why"] == "told once"]
    assert entry.target == "ent-a"


def test_one_mistake_stores_nothing_and_every_mistake_is_named(ask: Asking) -> None:
    operator = ask(("operator", "*"))
    answer = put(
        operator, OUTPUT, {**OUTPUT, "month": "x"}, {"kind": "nothing"}, {**OUTPUT, "enterprise": "ent-z"}
    )
    assert answer.status_code == 422
    for expected in ("facts[1].month", "facts[2].kind", "ent-z"):
        assert expected in answer.json()["detail"]
    assert operator.get("/api/v1/facts/production").json() == []


def test_an_operator_of_one_enterprise_changes_and_reads_only_its_facts(ask: Asking) -> None:
    everybody, own = ask(("operator", "*")), ask(("operator", "ent-b"))
    put(everybody, OUTPUT, {**OUTPUT, "enterprise": "ent-b"})
    assert [fact["enterprise"] for fact in own.get("/api/v1/facts/production").json()] == ["ent-b"]
    assert put(own, {**OUTPUT, "output_10k_cny": "1"}).status_code == 422, "ent-a does not exist for it"
    assert put(own, {"kind": "budget", "scope": "demo", "year": 2026, "carbon_t": "1"}).status_code == 403
    assert put(own, {"kind": "budget", "scope": "ent-b", "year": 2026, "carbon_t": "1"}).status_code == 200


@pytest.mark.parametrize("role", ["verifier", "regulator", "administrator", "installer"])
def test_others_may_look_but_not_change(ask: Asking, role: str) -> None:
    client = ask((role, "*"))
    assert client.get("/api/v1/facts/meter").status_code == 200
    assert put(client, OUTPUT).status_code == 403


def test_an_unknown_kind_is_not_found(ask: Asking) -> None:
    assert ask(("operator", "*")).get("/api/v1/facts/anything").status_code == 404


def row(scope_kind: str, scope_id: str, day: str) -> DailyRow:
    return DailyRow("2026-11", scope_kind, scope_id, day, 1, 2, "PASS", '[{"id": "V01"}]')


def test_the_newest_daily_run_is_served_to_those_who_may_see_the_scope(ask: Asking, own: ParkFiles) -> None:
    client, one = ask(("verifier", "*")), ask(("enterprise", "ent-a"))
    assert client.get("/api/v1/months/2026-11/daily-checks").json() == []
    with DailyChecks(own.folder / "checks.db") as store:
        store.put([row("park", "demo", "2026-11-19"), row("enterprise", "ent-a", "2026-11-19")])
        store.put([row("park", "demo", "2026-11-20"), row("enterprise", "ent-a", "2026-11-20")])
        assert [found.day for found in store.days("2026-11", "park", "demo")] == ["2026-11-19", "2026-11-20"]
        assert store.last_ms() == 1
    found = client.get("/api/v1/months/2026-11/daily-checks").json()
    assert [(item["scope_id"], item["day"]) for item in found] == [
        ("demo", "2026-11-20"),
        ("ent-a", "2026-11-20"),
    ]
    assert found[0]["checks"] == [{"id": "V01"}]
    assert [item["scope_id"] for item in one.get("/api/v1/months/2026-11/daily-checks").json()] == ["ent-a"]


def test_every_sum_follows_the_formula_of_the_registry_from_its_month_on(ask: Asking) -> None:
    """ent-a resells: from November on its registry takes it no longer off; live picture, sums and enterprise agree."""
    client = ask(("operator", "*"))
    days = {"by": "enterprise", "id": "ent-a", "from": "2026-11-01", "to": "2026-11-20", "size": "day"}

    def told() -> tuple[int, int, list[str]]:
        rows = client.get("/api/v1/emissions", params=days).json()
        live = next(e for e in client.get("/api/v1/live").json()["enterprises"] if e["id"] == "ent-a")
        (enterprise,) = [e for e in client.get("/api/v1/enterprises").json() if e["id"] == "ent-a"]
        energy = sum(int(row["energy_wh"]) for row in rows["rows"] if row["energy_wh"] is not None)
        assert [t["role"] for t in rows["formula"]] == [t["role"] for t in enterprise["formula"]]
        return energy, int(live["month"]["energy_wh"]), [t["role"] for t in enterprise["formula"]]

    before, live_before, _roles = told()
    given = {"kind": "formula", "scope": "ent-a", "formula": "grid_boundary", "valid_from": "2026-12-01"}
    assert put(client, given).status_code == 200
    assert told()[:2] == (before, live_before)  # another month's formula says nothing of this one
    assert put(client, {**given, "valid_from": "2026-11-01"}).status_code == 200
    after, live_after, roles = told()
    assert roles == ["grid_boundary"]
    resold = sum(
        int(row["energy_wh"])
        for row in client.get("/api/v1/emissions", params={**days, "by": "meter", "id": "a-resold"}).json()[
            "rows"
        ]
        if row["energy_wh"] is not None
    )
    assert (after - before, resold > 0) == (resold, True)
    assert live_after > live_before
