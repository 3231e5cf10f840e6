"""The projector against real InfluxDB servers: what Grafana reads is what ledger, journal and closed months say."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from factors.table import FactorTable
from metering.intervals import QUARTER_MS, to_ms
from storage.facts.kinds import FormulaFact
from storage.influx import RETENTIONS, connect
from storage.ledger import NewLedgerEvent
from storage.months import MonthRow, MonthStore
from storage.registry import RegistryWriter
from stream.projection.schema import series_bound
from stream.projection.store import ProjectorStore
from tests.fakes.influx import KINDS, AnyWriter, InfluxDB, influxdb
from tests.storage.test_old_files import OLD, built
from tests.stream.projector_plant import (
    DAY_MS,
    ENERGY,
    EXPORT,
    IMPORT,
    MONTH_MS,
    NOW_MS,
    ZONE,
    Plant,
    f32,
    quarters,
    row,
)

NATIONAL, PROVINCIAL = 0.5306, 0.6553
"""kg/kWh of the average factors of 2023: nation, Anhui."""


@pytest.fixture(scope="module", params=KINDS)
def influxd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """One for all tests here: they only fill it."""
    with influxdb(request.param, tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture
def writer(influxd: InfluxDB) -> Iterator[AnyWriter]:
    opened = connect(influxd.target)
    yield opened
    influxd.forget()
    opened.close()


def project(plant: Plant, writer: AnyWriter, influxd: InfluxDB) -> None:
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()


def sums(writer: AnyWriter) -> dict[tuple[str, str], tuple[int, int]]:
    rows = writer.query(
        "history", "SELECT sum(energy), count(energy) FROM interval GROUP BY meter, reading_type"
    )
    return {(row["meter"], row["reading_type"]): (row["sum"], row["count"]) for row in rows}


def where(**tags: str) -> str:
    return " AND ".join(f"{key} = '{value}'" for key, value in tags.items())


def boundary(writer: AnyWriter, fields: str = "*", **tags: str) -> list[dict[str, Any]]:
    chosen = where(**{"method": "national", "scope_kind": "enterprise", **tags})
    return writer.query("history", f"SELECT {fields} FROM boundary WHERE {chosen}")  # noqa: S608


def test_every_series_adds_up_to_the_ledger(plant: Plant, writer: AnyWriter, influxd: InfluxDB) -> None:
    for day in range(3):
        plant.commit(quarters(MONTH_MS + day * DAY_MS, 96))
    project(plant, writer, influxd)
    assert sums(writer) == plant.sums() == {key: (energy * 288, 288) for key, energy in ENERGY.items()}


def test_an_interval_carries_tags_of_the_registry_and_floats(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.commit(
        [row(("gate", IMPORT), MONTH_MS, 1000, quality=2, coverage_ms=QUARTER_MS // 2, edge_read=False)]
    )
    project(plant, writer, influxd)
    [found] = writer.query("history", "SELECT * FROM interval")
    assert found == {
        "time": MONTH_MS, "enterprise": "e1", "gateway": "g1", "meter": "gate", "role": "grid_boundary",
        "reading_type": IMPORT, "size": "15m", "energy": 1000, "emission_g": 530.6, "coverage": 0.5, "estimated": 1000,
        "edge_read": 0, "quality": 2, "revision": 1,
    }  # fmt: skip
    keys = writer.query("history", "SHOW FIELD KEYS")
    assert {row["fieldType"] for row in keys} == {"float"}


def test_a_restatement_overwrites_and_an_older_revision_never_comes_back(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    key = ("gate", IMPORT)
    plant.commit([row(key, MONTH_MS, 100), row(key, MONTH_MS + QUARTER_MS, 100)])
    project(plant, writer, influxd)
    plant.commit([row(key, MONTH_MS, 60, revision=2)])
    project(plant, writer, influxd)
    assert sums(writer) == {key: (160, 2)}
    with plant.projector(writer, influxd.target) as projector:
        projector.start(rebuild=True)
        projector.catch_up()
    assert sums(writer) == plant.sums() == {key: (160, 2)}


def test_parts_of_an_interval_are_one_point(plant: Plant, writer: AnyWriter, influxd: InfluxDB) -> None:
    key, cut = ("gate", IMPORT), MONTH_MS + QUARTER_MS // 3
    first = row(key, MONTH_MS, 100, end_ms=cut, coverage_ms=QUARTER_MS // 3, edge_read=False)
    plant.commit([first, row(key, cut, 11, end_ms=MONTH_MS + QUARTER_MS, part=1, coverage_ms=0, quality=2)])
    project(plant, writer, influxd)
    [found] = writer.query("history", "SELECT energy, estimated, edge_read, quality FROM interval")
    assert found == {"time": MONTH_MS, "energy": 111, "estimated": 11, "edge_read": 1, "quality": 2}


def test_a_month_adds_up_from_quarters_hours_and_days(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.commit(quarters(MONTH_MS - QUARTER_MS, 2 * 96 + 1))
    project(plant, writer, influxd)
    for size, buckets in {"15m": 192, "hour": 48, "day": 2, "month": 1}.items():
        after = [
            row
            for row in boundary(writer, "energy_wh, emission_g", size=size, scope="e1")
            if row["time"] >= MONTH_MS
        ]
        assert len(after) == buckets
        assert sum(row["energy_wh"] for row in after) == 192 * (1000 - 250)
        assert sum(row["emission_g"] for row in after) == pytest.approx(192 * 750 * NATIONAL)
    [day, _] = [row for row in boundary(writer, size="day", scope="e1") if row["time"] >= MONTH_MS]
    assert (day["time"], day["complete"], day["power_w"]) == (MONTH_MS, 1, 3000)


def test_the_park_takes_the_provincial_factor_too(plant: Plant, writer: AnyWriter, influxd: InfluxDB) -> None:
    plant.commit(quarters(MONTH_MS, 96))
    project(plant, writer, influxd)
    found = boundary(writer, scope_kind="park", scope="p", size="day", method="provincial")
    assert [(row["energy_wh"], row["emission_g"]) for row in found] == [
        (96 * 1777, pytest.approx(96 * 1777 * PROVINCIAL))
    ]
    rows = writer.query("history", "SELECT kg_per_kwh FROM factor GROUP BY method, factor_id")
    assert {(row["method"], row["kg_per_kwh"]) for row in rows} == {
        ("national", NATIONAL),
        ("provincial", PROVINCIAL),
    }


def test_demand_is_what_the_grid_company_measures_once_the_quarter_is_over(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    start = NOW_MS - NOW_MS % QUARTER_MS
    running = [
        row(("gate", IMPORT), start, 400, closed=False),
        row(("shop", IMPORT), start, 100, closed=False),
    ]
    plant.commit([*quarters(start - QUARTER_MS, 1), *running])
    project(plant, writer, influxd)
    over, now = boundary(writer, size="15m", scope="e1")
    assert (over["power_w"], over["demand_w"]) == (3000, 4000)
    assert (now["energy_wh"], now["power_w"], now["demand_w"]) == (300, None, None)


def test_a_meter_without_a_row_is_seen_in_complete(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.commit([row(("gate", IMPORT), MONTH_MS, 1000)])
    project(plant, writer, influxd)
    [quarter] = boundary(writer, size="15m", scope="e1")
    assert (quarter["energy_wh"], quarter["complete"]) == (1000, 0.5)
    [day] = boundary(writer, size="day", scope="e1")
    assert day["complete"] == pytest.approx(1 / 192)


def test_a_day_says_how_much_of_its_energy_is_estimated(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    rows = quarters(MONTH_MS, 4)
    guessed = row(("gate", IMPORT), MONTH_MS + 4 * QUARTER_MS, 700, coverage_ms=0, quality=2)
    plant.commit([*rows, guessed])
    project(plant, writer, influxd)
    [day] = boundary(writer, size="day", scope="e1")
    assert (day["energy_wh"], day["estimated_wh"]) == (4 * (1000 - 250) + 700, 700)


def test_a_meters_day_says_how_much_of_it_was_measured(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    gate = [row(("gate", IMPORT), MONTH_MS + i * QUARTER_MS, 1000) for i in range(96)]
    gate[5] = row(("gate", IMPORT), MONTH_MS + 5 * QUARTER_MS, 700, coverage_ms=0, edge_read=False, quality=2)
    line = [row(("line", IMPORT), MONTH_MS + DAY_MS + i * QUARTER_MS, 900) for i in range(24)]
    plant.commit([*gate, *line])
    project(plant, writer, influxd)
    days = writer.query("history", "SELECT * FROM meter_day")
    found = {(day["meter"], (day["time"] - MONTH_MS) // DAY_MS): day for day in days}
    assert found.keys() == {("gate", 0), ("gate", 1), ("line", 1)}, "no meter before its first interval"
    first = found["gate", 0]
    assert (first["coverage"], first["edge_read"]) == pytest.approx((95 / 96, 95 / 96))
    assert (first["worst"], first["poor"], first["enterprise"]) == (2, 1, "e1")
    assert (found["gate", 1]["coverage"], found["line", 1]["coverage"]) == pytest.approx((0, 0.25))


def test_the_forecast_goes_on_at_this_months_pace(plant: Plant, writer: AnyWriter, influxd: InfluxDB) -> None:
    plant.commit(quarters(MONTH_MS, 10 * 96))
    project(plant, writer, influxd)
    found = writer.query("history", f"SELECT * FROM forecast WHERE {where(scope='e1', method='national')}")  # noqa: S608
    assert [row["month_energy_wh"] for row in found] == [750 * 96 * (i + 1) for i in range(10)]
    assert [row["forecast_energy_wh"] for row in found] == pytest.approx([750 * 96 * 30] * 10)
    last = found[-1]
    assert last["time"] == MONTH_MS + 10 * DAY_MS - QUARTER_MS
    assert last["forecast_emission_g"] == pytest.approx(750 * 96 * 30 * NATIONAL)
    assert last["budget_emission_g"] == 2_500_000


def test_a_parents_balance_counts_pv_in_and_export_out(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.commit(quarters(MONTH_MS, 1))
    plant.commit([r for r in quarters(MONTH_MS + QUARTER_MS, 1) if r.reading_type != EXPORT])
    project(plant, writer, influxd)
    [found] = writer.query("history", "SELECT * FROM balance")
    inflow, outflow = 1000 + 300, 40 + 900 + 250
    assert (found["time"], found["enterprise"], found["meter"]) == (MONTH_MS, "e1", "gate")
    assert (found["in_wh"], found["out_wh"]) == (inflow, outflow)
    assert found["unmetered_share"] == pytest.approx((inflow - outflow) / inflow)


def test_an_open_month_becomes_its_closed_document(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.commit(quarters(MONTH_MS, 96))
    project(plant, writer, influxd)
    query = f"SELECT * FROM month WHERE {where(scope='e1', method='national')} AND time >= {MONTH_MS}ms"  # noqa: S608
    [still_open] = writer.query("history", query)
    assert (still_open["closed"], still_open["energy_wh"]) == (0, 96 * 750)
    elapsed = (NOW_MS - MONTH_MS) // QUARTER_MS
    assert still_open["completeness"] == pytest.approx(96 / elapsed)
    document = (
        b"""{"start_ms":%d,"formula":[{"role":"grid_boundary"}],"checks":[{"outcome":"PASS"},{"outcome":"FINDING"}],
      "meters":[{"role":"grid_boundary","unit":"Wh","points_read":90,"points_expected":100,"estimated_wh":"7"},
                {"role":"sub_meter","unit":"Wh","points_read":1,"points_expected":100,"estimated_wh":"7"}],
      "emissions":[{"use":"enterprise","energy_wh":"72000","emission_ug":"38203200000"},
                   {"use":"park","energy_wh":null,"emission_ug":null}],
      "reported":[{"id":"purchased_wh","substituted":"500"},{"id":"market","substituted":"9"}]}"""
        % MONTH_MS
    )
    with MonthStore(plant.files.months) as months:
        months.add([MonthRow("2026-11", "enterprise", "e1", 1, "PASS_WITH_FINDINGS", 1, None, document, "")])
    project(plant, writer, influxd)
    [closed] = writer.query("history", query)
    assert (closed["closed"], closed["revision"], closed["outcome"], closed["findings"]) == (1, 1, 1, 1)
    assert (closed["energy_wh"], closed["emission_g"]) == (72000, 38203.2)
    assert (closed["completeness"], closed["estimated_wh"], closed["substituted_wh"]) == (0.9, 7, 500)


def test_every_revision_of_a_month_is_kept_beside_the_one_before(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    def revision(number: int, energy: int, reason: str | None, *changes: dict[str, str]) -> MonthRow:
        document = {
            "start_ms": MONTH_MS, "formula": [{"role": "grid_boundary"}], "checks": [], "meters": [], "changes": changes,
            "emissions": [{"use": "enterprise", "primary": True, "energy_wh": str(energy), "emission_ug": str(energy * 530_600)}],
            "totals": [{"use": "market", "direct_ug": "2000000", "electricity_ug": "0", "heat_ug": None, "excluding_ug": "2000000",
                        "including_ug": "2000000"}],
            "energy_types": [{"id": "raw_coal", "consumed": "12.5", "standard_coal_kgce": "8.92"}],
            "intensities": [{"id": "output_value", "value": "1/4", "target": None}],
            "periods": [
                {"meter": "", "period": "peak", "energy_wh": "60000", "estimated_wh": "9", "share": "3/4"},
                {"meter": "", "period": "", "energy_wh": "20000", "estimated_wh": "0", "share": "1/4"},
                {"meter": "gate", "period": "peak", "energy_wh": "1", "estimated_wh": "0", "share": "1"},
            ],
        }  # fmt: skip
        body = json.dumps(document).encode()
        return MonthRow("2026-11", "enterprise", "e1", number, "PASS", number * 1000, reason, body, "")

    with MonthStore(plant.files.months) as months:
        months.add([revision(1, 70_000, None)])
        project(plant, writer, influxd)
        changed = {"path": "energy.purchased_wh", "old": "70000", "new": "72000"}
        months.add([revision(2, 72_000, "CT 更正", changed), revision(3, 71_000, "补数")])
    project(plant, writer, influxd)
    rows = writer.query("history", "SELECT * FROM revision")
    assert [(row["time"] - MONTH_MS, row["energy_wh"], row["energy_wh_change"]) for row in rows] == [
        (1, 70_000, None), (2, 72_000, 2_000), (3, 71_000, -1_000),
    ]  # fmt: skip
    assert [(row["reason"], row["changes"], row["closed_at_ms"]) for row in rows[1:]] == [
        ("CT 更正", 1, 2000), ("补数", 0, 3000),
    ]  # fmt: skip
    assert rows[1]["emission_g_change"] == pytest.approx(2_000 * 0.5306)
    [change] = writer.query("history", "SELECT * FROM change")
    assert (change["revision"], change["path"], change["old"], change["new"]) == (2, *changed.values())
    [month] = writer.query("history", f"SELECT * FROM month WHERE {where(scope='e1', method='national')}")  # noqa: S608
    assert (month["revision"], month["energy_wh"]) == (3, 71_000)
    [account] = writer.query("history", "SELECT * FROM account")
    assert (account["method"], account["direct_g"], account.get("heat_g")) == (
        "market",
        2,
        None,
    )
    [kind] = writer.query("history", "SELECT * FROM energy_type")
    assert (kind["kind"], kind["consumed"], kind["standard_coal_kg"]) == ("raw_coal", 12.5, 8.92)
    [intensity] = writer.query("history", "SELECT * FROM intensity")
    assert (intensity["kind"], intensity["value"]) == ("output_value", 0.25)
    periods = {
        row["kind"]: (row["energy_wh"], row["share"])
        for row in writer.query("history", "SELECT * FROM period")
    }
    assert periods == {
        "peak": (60_000, 0.75), "none": (20_000, 0.25), "sharp": (0, 0), "flat": (0, 0), "valley": (0, 0), "deep": (0, 0),
    }  # fmt: skip


def test_a_boundary_follows_the_registrys_formula_of_its_month(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.commit(quarters(MONTH_MS, 4))
    project(plant, writer, influxd)
    [day] = boundary(writer, size="day", scope="e1")
    assert day["energy_wh"] == 4 * (1000 - 250)
    fact = FormulaFact(scope="e1", formula="grid_boundary", valid_from=date(2026, 11, 1))
    with RegistryWriter(plant.files.facts) as registry:
        registry.apply([fact], "ann", "the tenant pays for itself", NOW_MS)
    project(plant, writer, influxd)
    [day] = boundary(writer, size="day", scope="e1")
    [month] = boundary(writer, size="month", scope="e1")
    assert day["energy_wh"] == month["energy_wh"] == 4 * 1000


def test_a_projectors_file_of_the_first_schema_is_brought_forward(tmp_path: Path) -> None:
    with ProjectorStore(built(OLD / "projector-1.sql", tmp_path)) as store:
        position = store.position("ledger")
        assert position is not None
        assert (position.live, position.missing) == (12, 4)
        assert store.months() == {("2026-10", "enterprise", "e1"): 2}
        assert store.settled("2026-11", "national") == "cn-national-2023"
        assert store.dirty() == [MONTH_MS], "each day is derived again"


def test_a_new_factor_restates_its_open_months(plant: Plant, writer: AnyWriter, influxd: InfluxDB) -> None:
    plant.now_ms = to_ms(datetime(2025, 12, 30, 12, tzinfo=ZONE))
    start = to_ms(datetime(2025, 12, 1, tzinfo=ZONE))
    plant.commit(quarters(start, 96))
    project(plant, writer, influxd)
    [before] = boundary(writer, "sum(emission_g)", size="15m", scope="e1")
    plant.now_ms += 2 * DAY_MS  # the notice of 2023's factors came out on the last day of 2025
    project(plant, writer, influxd)
    [after] = boundary(writer, "sum(emission_g)", size="15m", scope="e1")
    assert before["sum"] == pytest.approx(96 * 750 * 0.5366)
    assert after["sum"] == pytest.approx(96 * 750 * NATIONAL)


def test_events_of_one_moment_are_counted_once(plant: Plant, writer: AnyWriter, influxd: InfluxDB) -> None:
    twins = [
        NewLedgerEvent(MONTH_MS, "gate", kind, "late_reading", {"说": 'a "b"'}) for kind in (IMPORT, EXPORT)
    ]
    plant.commit([], twins[:1])
    project(plant, writer, influxd)
    plant.commit([], twins[1:])
    project(plant, writer, influxd)
    project(plant, writer, influxd)
    [found] = writer.query("history", "SELECT * FROM event")
    assert (found["meter"], found["gateway"], found["kind"], found["count"]) == (
        "gate",
        "g1",
        "late_reading",
        2,
    )
    assert found["detail"] == '{"说": "a \\"b\\""}'


def test_gauges_are_decoded_as_the_births_before_them_say(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    power, voltage = ("power_active", "kW", 1), ("voltage_l1", "V", 2)
    t = NOW_MS - 60_000
    plant.store([plant.birth("gate", power, voltage), plant.frame("gate", t, (1, 1.5), (2, 230.25))])
    plant.store([plant.frame("gate", t + 1, (1, -2.0), (9, 1.0)), plant.frame("ghost", t, (8, 5.0))])
    project(plant, writer, influxd)
    plant.store(
        [plant.birth("gate", ("power_active", "W", 1)), plant.frame("gate", t + 2, (1, 7.1), (2, 1.0))]
    )
    project(plant, writer, influxd)
    rows = writer.query("live", "SELECT value FROM reading GROUP BY enterprise, gateway, meter, reading_type")
    assert {(row["reading_type"], row["time"], row["value"]) for row in rows} == {
        ("power_active", t, 1500), ("power_active", t + 1, -2000), ("power_active", t + 2, f32(7.1)),
        ("voltage_l1", t, 230.25),
    }  # fmt: skip
    assert {(row["enterprise"], row["gateway"], row["meter"]) for row in rows} == {("e1", "g1", "gate")}


def test_readings_that_the_store_would_not_keep_are_counted_instead(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.now_ms = to_ms(datetime.now(ZONE))
    times = [plant.now_ms - 36 * DAY_MS, plant.now_ms, plant.now_ms + 3 * DAY_MS]
    frames = [plant.frame("gate", t, (1, 1.0)) for t in times]
    plant.store([plant.birth("gate", ("power_active", "W", 1)), *frames])
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()
        assert (projector._store.count("dropped"), projector._store.count("refused")) == (2, 0)
    assert [row["time"] for row in writer.query("live", "SELECT value FROM reading")] == [times[1]]


def test_states_tell_who_is_silent_behind_or_pending(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    plant.now_ms = to_ms(datetime.now(ZONE)) // 1000 * 1000
    last = plant.now_ms - plant.now_ms % QUARTER_MS - QUARTER_MS
    plant.store([plant.frame("gate", plant.now_ms - 5000, (1, 1.0))])
    plant.commit([row(("gate", kind), last, 10, coverage_ms=QUARTER_MS // 2) for kind in (IMPORT, EXPORT)])
    plant.store([plant.frame("gate", plant.now_ms - 5000, (1, 1.0))])
    project(plant, writer, influxd)
    gateways = {row["gateway"]: row for row in writer.query("live", "SELECT * FROM gateway")}
    assert (gateways["g1"]["clock_ahead_s"], gateways["g2"]["clock_ahead_s"]) == (0, None)
    assert (gateways["g1"]["online"], gateways["g1"]["backlog_age_s"], gateways["g1"]["accepted_frames"]) == (
        1,
        5,
        2,
    )
    assert (gateways["g2"]["online"], gateways["g2"]["backlog_age_s"]) == (0, None)
    meters = {row["meter"]: row for row in writer.query("live", "SELECT * FROM meter_state")}
    assert meters["gate"]["age_s"] == (plant.now_ms - last - QUARTER_MS) / 1000
    assert (meters["gate"]["failed_share"], meters["line"]["failed_share"]) == (0.5, 1)
    assert (meters["gate"]["pending"], meters["line"]["age_s"]) == (0, None)
    roles = {row["role"]: row for row in writer.query("live", "SELECT * FROM pipeline")}
    assert (roles["stream"]["segments_behind"], roles["projector"]["segments_behind"]) == (1, 0)
    assert roles["ingest"]["quarantined_total"] == 0 < roles["ingest"]["disk_free_bytes"]


def test_the_number_of_series_is_bounded_and_time_adds_none(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB
) -> None:
    def cardinality() -> Counter[str]:
        found = {row["key"] for policy in RETENTIONS for row in writer.query(policy, "SHOW SERIES")}
        return Counter(key.partition(",")[0] for key in found)

    plant.commit(quarters(MONTH_MS, 96), [NewLedgerEvent(MONTH_MS, "gate", IMPORT, "late_reading", {})])
    plant.store([plant.birth("gate", ("power_active", "W", 1)), plant.frame("gate", NOW_MS, (1, 1.0))])
    project(plant, writer, influxd)
    first = cardinality()
    for day in range(1, 4):
        plant.now_ms += DAY_MS
        plant.commit(
            quarters(MONTH_MS + day * DAY_MS, 96),
            [NewLedgerEvent(MONTH_MS + day, "gate", IMPORT, "late_reading", {})],
        )
        plant.store([plant.frame("gate", NOW_MS + day, (1, 2.0))])
        project(plant, writer, influxd)
    bound = series_bound(plant.park, FactorTable.load())
    assert cardinality() == first
    assert first.keys() >= {"reading", "gateway", "interval", "boundary"}, "both policies"
    assert all(count <= bound[name] for name, count in first.items())
