"""Electricity by declared factors through the API: one part per factor, exact, own enterprises only."""

from collections.abc import Callable
from typing import Any

import httpx

from metering.intervals import HOUR_MS, QUARTER_MS, local_month
from tests.api.conftest import ParkFiles

Clients = tuple[ParkFiles, Callable[..., httpx.Client]]
DAYS = {"from": "2026-11-01", "to": "2026-11-03"}
TWO_DAYS = {
    "kind": "factor_series", "enterprise": "ent-a", "basis": "grid_intensity", "source": "电网公司", "step_minutes": 30,
    "start": "2026-11-01T00:00:00+08:00", "end": "2026-11-03T00:00:00+08:00", "values": " ".join(["0.3 0.7"] * 48),
}  # fmt: skip


def _ask(http: httpx.Client, **params: str) -> Any:
    answer = http.get("/declared", params={**DAYS, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _by_factor(row: Any) -> dict[str, tuple[int, int | None]]:
    return {
        part["factor_kg_per_kwh"]: (
            int(part["energy_wh"]),
            None if part["emission_ug"] is None else int(part["emission_ug"]),
        )
        for part in row["parts"]
    }


def test_an_hour_has_one_part_per_factor_and_a_day_the_sums_of_its_hours(clients: Clients) -> None:
    park, client = clients
    operator = client(("operator", "*"))
    assert operator.put("/facts", json={"why": "x", "facts": [TWO_DAYS]}).status_code == 200
    hours = _ask(operator, by="meter", id="a-in", size="hour")["rows"]
    start = local_month("2026-11", park.park.tz).start_ms
    for number, row in enumerate(hours):
        at = start + number * HOUR_MS
        halves = [
            park.energy_wh(
                "a-in", "energy_import_total", at + half * 2 * QUARTER_MS, at + (half + 1) * 2 * QUARTER_MS
            )
            for half in (0, 1)
        ]
        assert _by_factor(row) == {
            "0.3": (halves[0], halves[0] * 300_000),
            "0.7": (halves[1], halves[1] * 700_000),
        }
    days = _ask(operator, by="meter", id="a-in", size="day")["rows"]
    assert (len(days), len(hours)) == (2, 48)
    for key in ("energy_wh", "emission_ug"):
        assert [int(day[key]) for day in days] == [
            sum(int(h[key]) for h in hours[at : at + 24]) for at in (0, 24)
        ]
    quarters = _ask(operator, by="meter", id="a-in", size="15min")["rows"]
    assert {len(row["parts"]) for row in quarters} == {1}


def test_an_enterprise_follows_its_formula_and_a_hole_stops_the_sum(clients: Clients) -> None:
    park, client = clients
    operator = client(("operator", "*"))
    words = TWO_DAYS["values"].replace("0.7", "0.3").split(" ")  # type: ignore[attr-defined]
    words[5] = "-"
    operator.put("/facts", json={"why": "x", "facts": [{**TWO_DAYS, "values": " ".join(words)}]})
    found = _ask(operator, by="enterprise", id="ent-a", size="day")
    first, second = found["rows"]
    start = local_month("2026-11", park.park.tz).start_ms
    net = [
        park.energy_wh("a-in", "energy_import_total", *span)
        - park.energy_wh("a-resold", "energy_import_total", *span)
        for span in ((start, start + 24 * HOUR_MS), (start + 24 * HOUR_MS, start + 48 * HOUR_MS))
    ]
    assert (int(second["energy_wh"]), int(second["emission_ug"])) == (net[1], net[1] * 300_000)
    assert (int(first["energy_wh"]), first["emission_ug"]) == (net[0], None)
    assert _by_factor(first)[""][1] is None
    assert [one["verified"] for one in found["series"]] == ["declared"]
    assert found["series"][0]["declared_by"] != ""


def test_without_a_series_there_is_energy_and_no_emission(clients: Clients) -> None:
    _park, client = clients
    found = _ask(client(("operator", "*")), by="enterprise", id="ent-b", size="month")
    assert (found["series"], found["rows"][0]["emission_ug"]) == ([], None)
    assert [part["series"] for part in found["rows"][0]["parts"]] == [""]


def test_another_enterprises_series_is_not_to_be_seen(clients: Clients) -> None:
    _park, client = clients
    client(("operator", "*")).put("/facts", json={"why": "x", "facts": [TWO_DAYS]})
    other = client(("enterprise", "ent-b"))
    for by, name in (("enterprise", "ent-a"), ("meter", "a-in")):
        assert other.get("/declared", params={"by": by, "id": name, **DAYS}).status_code == 404
