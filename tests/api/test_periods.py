"""Energy by time-of-use period through the API: exact, by the calendars in the registry, own enterprises only."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from metering.intervals import QUARTER_MS, local_month
from tests.api.conftest import ParkFiles

DAYS = {"from": "2026-11-01", "to": "2026-11-15"}
OWN = {
    "kind": "tariff", "enterprise": "ent-a", "notice": "合同 1", "valid_from": "2026-11-06",
    "periods": "1-12 workday: peak 08:00-20:00; valley 20:00-08:00 | 1-12 weekend, holiday: deep 00:00-24:00",
}  # fmt: skip
OFFICIAL = {"kind": "tariff", "enterprise": "ent-b", "calendar": "cn-ah-2025-302", "valid_from": "2025-07-01"}


def _period(t_ms: int) -> str:
    """The own calendar of ent-a, written out by hand for November 2026, which has no holidays."""
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms, hours=8)
    if local.day < 6:
        return ""
    if local.weekday() >= 5:
        return "deep"
    return "peak" if 8 <= local.hour < 20 else "valley"


def _ask(http: httpx.Client, **params: str) -> Any:
    answer = http.get("/periods", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_energy_by_period_is_that_of_the_declared_calendars(
    clients: tuple[ParkFiles, Callable[..., httpx.Client]],
) -> None:
    park, client = clients
    operator = client(("operator", "*"))
    assert operator.put("/facts", json={"why": "calendars", "facts": [OWN, OFFICIAL]}).status_code == 200
    found = _ask(operator, by="meter", id="a-in", **DAYS)
    start = local_month("2026-11", park.park.tz).start_ms
    slow: dict[str, int] = defaultdict(int)
    quarters: dict[str, list[int]] = defaultdict(list)
    for t in range(start, start + 14 * 96 * QUARTER_MS, QUARTER_MS):
        energy = park.energy_wh("a-in", "energy_import_total", t, t + QUARTER_MS)
        slow[_period(t)] += energy
        quarters[_period(t)].append(energy)
    assert {line["period"]: int(line["energy_wh"]) for line in found["periods"]} == slow
    demand = {line["period"]: int(line["max_demand_w"]) for line in found["periods"]}
    assert demand == {period: 4 * max(energies) for period, energies in quarters.items()}
    assert sum(line["share"] for line in found["periods"]) == pytest.approx(1)
    (calendar,) = found["calendars"]
    assert (calendar["first_day"], calendar["last_day"], calendar["verified"]) == (
        "2026-11-06",
        "2026-11-14",
        "declared",
    )


def test_an_enterprise_follows_its_formula_and_the_periods_add_up_to_it(
    clients: tuple[ParkFiles, Callable[..., httpx.Client]],
) -> None:
    _park, client = clients
    operator = client(("operator", "*"))
    operator.put("/facts", json={"why": "calendars", "facts": [OWN, OFFICIAL]})
    found = _ask(operator, by="enterprise", id="ent-b", **DAYS)
    whole = operator.get(
        "/emissions", params={"by": "enterprise", "id": "ent-b", "size": "month", **DAYS}
    ).json()
    month = _ask(operator, by="enterprise", id="ent-b", **{"from": "2026-11-01", "to": "2026-12-01"})
    assert sum(int(line["energy_wh"]) for line in month["periods"]) == int(whole["rows"][0]["energy_wh"])
    assert {line["period"] for line in found["periods"]} == {"peak", "flat", "valley"}
    assert all(line["max_demand_w"] is None for line in found["periods"])
    without = _ask(operator, by="enterprise", id="ent-c", **DAYS)
    assert [line["period"] for line in without["periods"]] == [""]
    never = _ask(operator, by="meter", id="c-new", **DAYS)
    assert (never["periods"], never["missing_meters"]) == ([], ["c-new"])


def test_a_calendar_of_one_meter_comes_before_that_of_its_enterprise(
    clients: tuple[ParkFiles, Callable[..., httpx.Client]],
) -> None:
    park, client = clients
    operator = client(("operator", "*"))
    whole = {**OWN, "periods": "1-12: peak 00:00-24:00", "valid_from": "2026-11-01"}
    alone = {**whole, "meter": "a-in", "periods": "1-12: sharp 00:00-24:00"}
    assert operator.put("/facts", json={"why": "x", "facts": [whole, alone]}).status_code == 200
    found = _ask(operator, by="enterprise", id="ent-a", **DAYS)
    start = local_month("2026-11", park.park.tz).start_ms
    sums = {
        meter: park.energy_wh(meter, "energy_import_total", start, start + 14 * 96 * QUARTER_MS)
        for meter in ("a-in", "a-resold")
    }
    # Purchased is grid − resold: the resold energy stands in its own calendar's period, taken off.
    assert {line["period"]: int(line["energy_wh"]) for line in found["periods"]} == {
        "sharp": sums["a-in"], "peak": -sums["a-resold"],
    }  # fmt: skip
    assert {item["meter"]: item["periods"] for item in found["calendars"]} == {
        "a-in": "1-12: sharp 00:00-24:00", "a-resold": "1-12: peak 00:00-24:00",
    }  # fmt: skip


def test_another_enterprises_periods_do_not_exist_and_its_calendar_is_not_told(
    clients: tuple[ParkFiles, Callable[..., httpx.Client]],
) -> None:
    _park, client = clients
    client(("operator", "*")).put("/facts", json={"why": "calendars", "facts": [OWN]})
    other = client(("enterprise", "ent-b"))
    assert other.get("/periods", params={"by": "enterprise", "id": "ent-a"}).status_code == 404
    assert other.get("/periods", params={"by": "meter", "id": "a-in"}).status_code == 404
    assert other.get("/facts/tariff").json() == []
    assert (
        other.get("/periods", params={"by": "meter", "id": "b-in", "reading_type": "water"}).status_code
        == 422
    )


def test_a_calendar_that_nobody_published_or_that_is_not_whole_is_refused(
    clients: tuple[ParkFiles, Callable[..., httpx.Client]],
) -> None:
    _park, client = clients
    operator = client(("operator", "*"))
    wrong = [
        {**OFFICIAL, "calendar": "cn-xx-1"},
        {**OWN, "periods": "1-12: peak 08:00-20:05; valley 20:05-08:00"},
        {**OWN, "meter": "b-in"},
    ]
    answers = [operator.put("/facts", json={"why": "x", "facts": [fact]}) for fact in wrong]
    assert [answer.status_code for answer in answers] == [422, 422, 422]
    for answer, text in zip(
        answers, ("cn-xx-1", "20:05 is not on a quarter hour", "has no meter b-in"), strict=True
    ):
        assert text in answer.json()["detail"]
    assert operator.get("/facts/tariff").json() == []
