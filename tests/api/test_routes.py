"""Every route against real files, asked over HTTP."""

import hashlib
import json
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from metering.intervals import HOUR_MS, local_day, local_month


def ok(client: httpx.Client, path: str, **params: str | int) -> Any:
    answer = client.get(f"/api/v1{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def operator_of(park: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {park.key(('operator', '*'))}"}


def problem(client: httpx.Client, status: int, path: str, **params: str | int) -> Any:
    answer = client.get(f"/api/v1{path}", params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def test_registry_is_told_with_formulas_and_states(client: httpx.Client) -> None:
    assert ok(client, "/park")["grid_scope"] == "CN-AH"
    enterprises = ok(client, "/enterprises")
    assert [(term["role"], term["sign"]) for term in enterprises[0]["formula"]] == [
        ("grid_boundary", 1),
        ("resold", -1),
    ]
    assert [site["enterprise"] for site in ok(client, "/sites")] == ["ent-a", "ent-b", "ent-c"]
    states = {meter["id"]: meter["state"] for meter in ok(client, "/meters")}
    assert {states[m] for m in ("a-in", "b-mill", "c-room2", "c-new")} == {"ok", "silent", "pending", "never"}
    assert len(ok(client, "/meters", enterprise="ent-b")) == 3
    assert ok(client, "/meters/a-pv")["roles"][0]["label_zh"] == "光伏发电"


def test_a_gateway_shows_whether_it_is_online_and_how_far_it_lags(client: httpx.Client) -> None:
    gateways = {gateway["id"]: gateway for gateway in ok(client, "/gateways")}
    assert gateways["gw-a"]["online"] is True
    assert gateways["gw-a"]["backlog_ms"] == 300
    assert gateways["gw-a"]["epoch"] == str(117_649_850_526_317_627)  # past 2^53: text
    assert gateways["gw-b"]["online"] is False
    assert gateways["gw-c"]["last_reading_ms"] is None


def test_latest_readings_carry_unit_and_both_labels(client: httpx.Client) -> None:
    rows = ok(client, "/readings/latest", meter="a-in")
    assert {row["reading_type"] for row in rows} == {
        "energy_import_total",
        "energy_export_total",
        "power_active",
    }
    assert next(row["unit"] for row in rows if row["reading_type"] == "power_active") == "W"


@pytest.mark.parametrize("size", ["15min", "hour", "day", "month"])
def test_intervals_of_every_size_sum_up_to_the_same_energy(
    client: httpx.Client, files: Any, size: str
) -> None:
    span = local_month("2026-11", files.park.tz)
    answer = ok(client, "/intervals", meter="b-in", **{"from": "2026-11-12", "size": size})
    start_ms = answer["intervals"][0]["start_ms"]
    total = sum(int(row["energy"]) for row in answer["intervals"])
    assert total == files.energy_wh("b-in", "energy_import_total", max(start_ms, span.start_ms), span.end_ms)
    assert isinstance(answer["intervals"][0]["emission_ug"], str)
    assert answer["missing"] == 0


def test_intervals_say_what_is_missing_and_what_still_runs(client: httpx.Client) -> None:
    answer = ok(
        client, "/intervals", meter="b-in", **{"from": "2026-10-31", "to": "2026-11-02", "size": "day"}
    )
    assert (len(answer["intervals"]), answer["missing"]) == (1, 96)
    last = ok(client, "/intervals", meter="b-in")["intervals"][-1]
    assert (last["closed"], last["coverage_ms"]) == (False, 440_000)


def test_an_enterprise_follows_its_formula_with_the_national_factor(
    client: httpx.Client, files: Any, now_ms: int
) -> None:
    day = local_day(now_ms, files.park.tz)
    row = ok(client, "/emissions", by="enterprise", id="ent-a")["rows"][0]
    energy = files.energy_wh("a-in", "energy_import_total", *day) - files.energy_wh(
        "a-resold", "energy_import_total", *day
    )
    assert row["energy_wh"] == str(energy)
    assert [(f["use"], int(f["emission_ug"])) for f in row["emissions"]] == [("enterprise", energy * 530_600)]
    assert row["provisional"] is True


def test_the_park_shows_the_provincial_and_the_national_figure(client: httpx.Client) -> None:
    row = ok(client, "/emissions", by="park")["rows"][0]
    figures = {figure["use"]: figure for figure in row["emissions"]}
    for figure in figures.values():
        assert int(figure["emission_ug"]) == int(row["energy_wh"]) * int(figure["factor_ug_per_wh"])
    assert figures["park"]["primary"] is True
    assert figures["park"]["factor_id"].startswith("CN-AH-")
    assert figures["enterprise"]["label_zh"] == "全国平均（企业口径）"


def test_a_site_is_its_part_of_the_enterprise(client: httpx.Client) -> None:
    site, whole = (
        ok(client, "/emissions", by=by, id=id_)["rows"]
        for by, id_ in (("site", "site-a"), ("enterprise", "ent-a"))
    )
    assert site == whole


def test_time_without_readings_has_no_energy_and_a_reason(client: httpx.Client) -> None:
    row = ok(client, "/emissions", by="park", size="month", **{"from": "2026-09-01", "to": "2026-10-01"})[
        "rows"
    ][0]
    assert row["energy_wh"] is None
    assert row["emissions"][0]["emission_ug"] is None
    assert row["emissions"][0]["reason_zh"] == "该时段没有读数"


def test_a_closed_month_is_not_provisional(client: httpx.Client) -> None:
    rows = ok(client, "/emissions", by="park", size="month", **{"from": "2026-10-01"})["rows"]
    assert [row["provisional"] for row in rows] == [False, True]


def test_a_meter_shows_what_the_ledger_holds(client: httpx.Client) -> None:
    row = ok(client, "/emissions", by="meter", id="a-pv")["rows"][0]
    assert row["emissions"][0]["emission_ug"] == "0"
    assert row["emissions"][0]["factor_id"] == "zero-self-generated-nonfossil"
    never = ok(client, "/emissions", by="meter", id="c-new")["rows"][0]
    assert (never["energy_wh"], never["emissions"][0]["emission_ug"]) == (None, None)


def test_months_list_the_newest_revision_and_keep_all(client: httpx.Client) -> None:
    months = {month["scope_id"]: month for month in ok(client, "/months", month="2026-10")}
    assert len(months) == 4
    assert (months["ent-a"]["revision"], months["ent-a"]["reason"]) == (2, "corrected CT")
    assert [link["format"] for link in months["demo"]["reports"]] == ["pdf", "xlsx", "json", "csv"]
    assert [row["revision"] for row in ok(client, "/months/2026-10/enterprise/ent-a/revisions")] == [1, 2]


def test_a_month_document_is_served_byte_for_byte(client: httpx.Client) -> None:
    answer = client.get("/api/v1/months/2026-10/enterprise/ent-a", params={"revision": 1})
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert json.loads(answer.content)["energy"]["purchased_wh"] == "283412560"


def test_reports_are_downloads_with_their_name(client: httpx.Client) -> None:
    answer = client.get("/api/v1/reports/2026-10/park/demo/pdf")
    assert answer.headers["content-type"] == "application/pdf"
    name = unquote(answer.headers["content-disposition"])
    assert "demo_" in name
    assert name.endswith("_2026-10_r1.pdf")


def test_a_report_path_cannot_leave_the_folder(client: httpx.Client) -> None:
    assert client.get("/api/v1/reports/2026-10/park/..%2F..%2Fpark/pdf").status_code in (404, 422)
    problem(client, 422, "/reports/2026-13/park/demo/pdf")


def test_events_come_from_ledger_and_journal(client: httpx.Client) -> None:
    assert ok(client, "/events", meter="c-room2")[0]["kind"] == "total_fell"
    assert ok(client, "/events", source="journal")[0]["gateway"] == "gw-b"
    assert ok(client, "/events", after_id=1) == []


def test_quarantine_shows_reason_count_and_payload(client: httpx.Client) -> None:
    answer = ok(client, "/quarantine")
    assert answer["counts"] == {"not_sparkplug": 1}
    assert answer["rows"][0]["payload_hex"] == "ff00"


@pytest.mark.parametrize(
    ("path", "params", "status", "parameter"),
    [
        ("/meters/none", {}, 404, "meter"),
        ("/meters", {"enterprise": "none"}, 404, "enterprise"),
        ("/intervals", {}, 422, "meter"),
        ("/intervals", {"meter": "a-in", "reading_type": "power_active"}, 422, "reading_type"),
        ("/intervals", {"meter": "a-in", "from": "yesterday"}, 422, "from"),
        ("/intervals", {"meter": "a-in", "from": "2026-11-20", "to": "2026-11-20"}, 422, "to"),
        ("/intervals", {"meter": "a-in", "from": "2026-01-01"}, 422, "to"),
        ("/intervals", {"meter": "a-in", "size": "week"}, 422, "size"),
        ("/intervals", {"meter": "a-in", "from": "0001-01-01", "to": "0001-01-02"}, 422, "from"),
        ("/emissions", {"by": "enterprise"}, 422, "id"),
        ("/emissions", {"by": "site", "id": "none"}, 404, "id"),
        ("/emissions", {"by": "park", "size": "month", "from": "2020-01-01"}, 422, "to"),
        ("/months/2026-10/enterprise/none", {}, 404, "month"),
        ("/events", {"limit": 5000}, 422, "limit"),
    ],
)
def test_a_mistake_is_named_with_its_parameter(
    client: httpx.Client, path: str, params: dict[str, str], status: int, parameter: str
) -> None:
    assert problem(client, status, path, **params)["parameter"] == parameter


def test_times_may_be_dates_or_iso_with_or_without_offset(client: httpx.Client) -> None:
    forms = [
        "2026-11-20",
        "2026-11-20T00:00",
        "2026-11-20T00:00:00+08:00",
        "2026-11-20T00:00:00 08:00",
        "2026-11-19T16:00:00Z",
    ]
    starts = {ok(client, "/intervals", meter="a-in", **{"from": form})["start"] for form in forms}
    assert starts == {"2026-11-20T00:00:00+08:00"}


def test_a_range_is_widened_to_whole_intervals(client: httpx.Client) -> None:
    answer = ok(
        client,
        "/intervals",
        meter="a-in",
        size="day",
        **{"from": "2026-11-18T10:00", "to": "2026-11-19T10:00"},
    )
    assert (answer["start"], answer["end"]) == ("2026-11-18T00:00:00+08:00", "2026-11-20T00:00:00+08:00")


def test_openapi_describes_every_route(client: httpx.Client) -> None:
    api = ok(client, "/openapi.json")
    assert {"/api/v1/live", "/api/v1/stream", "/metrics", "/api/v1/health/ready"} <= api["paths"].keys()
    for path, methods in api["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert operation["description"], path


def test_metrics_count_states_and_refusals(client: httpx.Client) -> None:
    text = client.get("/metrics").text
    assert 'tanyun_meters{state="silent"} 1.0' in text
    assert 'tanyun_frames_quarantined_total{reason="not_sparkplug"} 1.0' in text
    assert 'tanyun_gateway_online{gateway="gw-b"} 0.0' in text
    assert "tanyun_api_requests_total" in text


def test_health_is_ready_when_the_files_can_be_read(client: httpx.Client) -> None:
    assert ok(client, "/health/live") == {"status": "ok", "checks": {}}
    assert ok(client, "/health/ready")["checks"] == {"ledger": "ok", "journal": "ok"}


def test_before_the_first_data_the_api_says_so_and_asks_to_retry(serve: Any, new_park: Any) -> None:
    park = new_park()
    for name in ("ledger.db", "journal.db", "months.db"):
        (park.folder / name).unlink()
    with serve(park=park) as url, httpx.Client(base_url=url, headers=operator_of(park)) as client:
        answer = client.get("/api/v1/live")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
        assert client.get("/api/v1/health/ready").status_code == 503
        assert client.get("/api/v1/months").json() == []
        assert "tanyun_storage_readable 0.0" in client.get("/metrics").text


def test_a_damaged_ledger_is_a_problem_and_not_a_crash(serve: Any, new_park: Any) -> None:
    park = new_park()
    (park.folder / "ledger.db").write_bytes(b"not a database, " * 400)
    with serve(park=park) as url, httpx.Client(base_url=url, headers=operator_of(park)) as client:
        assert client.get("/api/v1/live").json()["title"] == "not ready"
        assert client.get("/api/v1/health/ready").json()["checks"]["ledger"] == "unreadable"


def test_hours_are_as_long_as_hours(client: httpx.Client) -> None:
    rows = ok(client, "/intervals", meter="a-in", size="hour")["intervals"]
    assert {row["end_ms"] - row["start_ms"] for row in rows} == {HOUR_MS}


def test_frames_are_told_as_the_meter_said_them_with_their_place_in_the_journal(
    client: httpx.Client,
) -> None:
    """The park's one good frame holds no Sparkplug: its place is told, and nothing is made up."""
    (frame,) = ok(client, "/frames", meter="a-in", **{"from": "2026-11-20T14:30:00"})
    assert (frame["epoch"], frame["number"], frame["readings"]) == (str(117_649_850_526_317_627), 7, [])
    assert (frame["segment"], frame["index"]) == (1, 0)
    assert problem(client, 422, "/frames", meter="a-in", **{"from": "2026-11-18"})["parameter"] == "to"
    assert problem(client, 404, "/frames", meter="nobody")["parameter"] == "meter"
