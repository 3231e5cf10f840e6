"""A month closed on the real journal, ledger and month store."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from metering.intervals import QUARTER_MS, to_ms
from storage.ledger import NewLedgerEvent
from storage.months import MonthRow, MonthStore
from verification.close import MonthClosedError, MonthNotReadyError

if TYPE_CHECKING:
    from tests.verification.conftest import Plant

DAY_MS = 96 * QUARTER_MS
GRID = ("m-grid", "energy_import_total")


def documents(rows: list[MonthRow]) -> dict[str, Any]:
    return {row.scope_id: json.loads(row.document) for row in rows}


def check(document: dict[str, Any], check_id: str) -> dict[str, Any]:
    return next(item for item in document["checks"] if item["id"] == check_id)


def line(document: dict[str, Any], meter: str, reading_type: str = "energy_import_total") -> dict[str, Any]:
    return next(m for m in document["meters"] if (m["meter"], m["reading_type"]) == (meter, reading_type))


def test_every_meter_has_exactly_the_energy_it_showed(plant: Plant) -> None:
    plant.build()
    found = documents(plant.close())
    for key in plant.rates:
        shown = line(found["demo"], *key)
        assert int(shown["energy_wh"]) == plant.expected(key)
        assert int(shown["emission_ug"]) == plant.expected(key) * int(shown["factor_ug_per_wh"])
        assert shown["balance"]["equal"] is True
        assert int(shown["closing_wh"]) - int(shown["opening_wh"]) == plant.expected(key)


def test_the_purchased_energy_follows_each_formula(plant: Plant) -> None:
    plant.build()
    found = documents(plant.close())
    grid, resold = plant.expected(GRID), plant.expected(("m-resold", "energy_import_total"))
    other = plant.expected(("m-two", "energy_import_total"))
    assert int(found["jingmi"]["energy"]["purchased_wh"]) == grid - resold
    assert int(found["guangdian"]["energy"]["purchased_wh"]) == other
    assert int(found["demo"]["energy"]["purchased_wh"]) == grid + other


def test_imports_and_exports_are_not_netted_and_self_use_is_generation_less_export(plant: Plant) -> None:
    plant.build()
    energy = documents(plant.close())["jingmi"]["energy"]
    export = plant.expected(("m-grid", "energy_export_total"))
    generation = plant.expected(("m-pv", "energy_generation_total"))
    assert int(energy["grid_import_wh"]) == plant.expected(GRID)
    assert int(energy["export_wh"]) == export
    assert int(energy["pv_self_use_wh"]) == generation - export


def test_a_sub_meter_is_not_added_to_its_parent(plant: Plant) -> None:
    plant.build()
    energy = documents(plant.close())["jingmi"]["energy"]
    assert int(energy["sub_meter_wh"]) == plant.expected(("m-line", "energy_import_total"))


def test_what_the_children_of_a_parent_leave_over_is_unmetered(plant: Plant) -> None:
    plant.build()
    node, press = documents(plant.close())["jingmi"]["parents"]
    inflow = plant.expected(GRID) + plant.expected(("m-pv", "energy_generation_total"))
    outflow = sum(
        plant.expected((m, f"energy_{d}_total"))
        for m, d in (("m-grid", "export"), ("m-line", "import"), ("m-resold", "import"))
    )
    assert (int(node["inflow_wh"]), int(node["outflow_wh"])) == (inflow, outflow)
    assert int(node["unmetered_wh"]) == inflow - outflow
    assert press["parent"] == "m-line"


def test_national_and_provincial_figures_are_both_printed_and_labelled(plant: Plant) -> None:
    plant.build()
    found = documents(plant.close())
    for scope, primary in (("jingmi", "enterprise"), ("demo", "park")):
        lines = {item["use"]: item for item in found[scope]["emissions"]}
        assert set(lines) == {"enterprise", "park"}
        assert [use for use, item in lines.items() if item["primary"]] == [primary]
        assert lines["enterprise"]["factor_id"] == "CN-2023-average"
        assert lines["park"]["factor_id"] == "CN-AH-2023-average"
        for item in lines.values():
            assert int(item["emission_ug"]) == int(item["energy_wh"]) * int(item["factor_ug_per_wh"])
            assert item["label_zh"]
            assert item["label_en"]


def test_the_days_add_up_to_the_month(plant: Plant) -> None:
    plant.build()
    for document in documents(plant.close()).values():
        days = document["daily"]
        assert [day["day"] for day in days] == [f"2026-10-{n:02d}" for n in range(1, 32)]
        assert sum(int(day["energy_wh"]) for day in days) == int(document["energy"]["purchased_wh"])
        primary = next(item for item in document["emissions"] if item["primary"])
        assert sum(int(day["emission_ug"]) for day in days) == int(primary["emission_ug"])


def test_the_park_lists_every_enterprise_with_its_own_figures(plant: Plant) -> None:
    plant.build()
    found = documents(plant.close())
    for item in found["demo"]["enterprises"]:
        own = found[item["id"]]
        assert item["purchased_wh"] == own["energy"]["purchased_wh"]
        assert [item["emission_ug"], item["provincial_emission_ug"]] == [
            e["emission_ug"] for e in own["emissions"]
        ]
        assert item["outcome"] == own["outcome"]


def test_the_digest_is_that_of_the_stored_bytes(month_rows: list[MonthRow]) -> None:
    for row in month_rows:
        assert row.digest == hashlib.sha256(row.document).hexdigest()


def test_closing_again_gives_the_stored_revision(plant: Plant) -> None:
    plant.build()
    first = plant.close()
    assert plant.close("not needed", at_ms=plant.closed_at_ms + DAY_MS) == first


def test_other_figures_need_a_reason_and_are_named(plant: Plant) -> None:
    plant.build()
    plant.close()
    plant.rates[GRID] += 1
    plant.build()
    with pytest.raises(MonthClosedError, match=r"energy\.purchased_wh") as raised:
        plant.close()
    assert set(raised.value.changes) == {"enterprise jingmi", "park demo"}


def test_a_reason_makes_the_next_revision_and_keeps_the_old_one(plant: Plant) -> None:
    plant.build()
    first = plant.close()
    plant.rates[GRID] += 1
    plant.build()
    second = plant.close("CT ratio corrected")
    assert [row.revision for row in second] == [2, 1, 2]
    assert second[1] == first[1]
    document = json.loads(second[0].document)
    assert document["reason"] == "CT ratio corrected"
    changed = {change["path"]: (change["old"], change["new"]) for change in document["changes"]}
    old = json.loads(first[0].document)["energy"]["purchased_wh"]
    assert changed["energy.purchased_wh"] == (old, document["energy"]["purchased_wh"])
    with MonthStore(plant.folder / "months.sqlite") as months:
        assert months.get("2026-10", "enterprise", "jingmi", 1) == first[0]


def test_a_third_revision_follows_the_second(plant: Plant) -> None:
    revisions = []
    for reason in (None, "first", "second"):
        plant.build()
        revisions.append(plant.close(reason)[0].revision)
        plant.rates[GRID] += 1
    assert revisions == [1, 2, 3]


def test_a_notice_after_the_first_close_changes_figures_only_with_a_reason(plant: Plant) -> None:
    plant.build()
    before_the_notice = to_ms(datetime(2025, 12, 30, tzinfo=UTC))
    first = documents(plant.close(at_ms=before_the_notice))
    assert first["jingmi"]["emissions"][0]["factor_id"] == "CN-2022-average"
    with pytest.raises(MonthClosedError, match="CN-2023-average"):
        plant.close()
    assert documents(plant.close("new notice"))["jingmi"]["emissions"][0]["factor_id"] == "CN-2023-average"


def test_without_a_factor_there_is_no_emission(plant: Plant) -> None:
    plant.build()
    before_any_notice = to_ms(datetime(2020, 1, 1, tzinfo=UTC))
    document = documents(plant.close(at_ms=before_any_notice))["jingmi"]
    assert document["outcome"] == "INSUFFICIENT_DATA"
    assert {item["emission_ug"] for item in document["emissions"]} == {None}
    assert line(document, "m-grid")["emission_ug"] is None
    assert int(document["energy"]["purchased_wh"]) > 0


def test_a_month_is_refused_while_a_meter_is_behind_and_names_it(plant: Plant) -> None:
    plant.until_ms["m-press"] = plant.month.end_ms - QUARTER_MS
    plant.build()
    with pytest.raises(MonthNotReadyError, match="m-press energy_import_total") as raised:
        plant.close()
    assert len(raised.value.behind) == 1


def test_a_refused_month_stores_nothing(plant: Plant) -> None:
    plant.until_ms["m-press"] = plant.month.end_ms - QUARTER_MS
    plant.build()
    with pytest.raises(MonthNotReadyError):
        plant.close()
    with MonthStore(plant.folder / "months.sqlite") as months:
        assert months.list() == []


def test_an_incomplete_month_has_no_figure_where_a_reading_is_missing(plant: Plant) -> None:
    plant.until_ms["m-grid"] = plant.month.end_ms - 10 * DAY_MS
    plant.build()
    found = documents(plant.close(incomplete=True))
    document = found["jingmi"]
    assert document["outcome"] == "INSUFFICIENT_DATA"
    assert document["energy"]["purchased_wh"] is None
    assert line(document, "m-grid")["energy_wh"] is None
    assert line(document, "m-press")["energy_wh"] is not None
    known = [day["energy_wh"] is not None for day in document["daily"]]
    assert known == [True] * 21 + [False] * 10
    assert found["guangdian"]["outcome"] == "PASS"
    assert found["demo"]["energy"]["purchased_wh"] is None


def test_a_pending_event_leaves_data_insufficient(plant: Plant) -> None:
    plant.until_ms["m-two"] = plant.month.end_ms - DAY_MS
    plant.pending.add("m-two")
    plant.build()
    document = documents(plant.close(incomplete=True))["guangdian"]
    assert line(document, "m-two")["pending"] is True
    assert check(document, "V04")["outcome"] == "INSUFFICIENT_DATA"
    assert check(document, "V16")["outcome"] == "INSUFFICIENT_DATA"


def test_a_dropped_transient_is_a_finding_and_a_late_reading_is_none(plant: Plant) -> None:
    at = plant.month.start_ms + DAY_MS
    plant.events = [
        NewLedgerEvent(at, "m-two", "energy_import_total", "transient_dropped", {}),
        NewLedgerEvent(at, "m-grid", "energy_import_total", "late_reading", {}),
        NewLedgerEvent(plant.month.end_ms, "m-grid", "energy_import_total", "transient_dropped", {}),
    ]
    plant.build()
    found = documents(plant.close())
    assert check(found["guangdian"], "V04")["outcome"] == "FINDING"
    assert check(found["guangdian"], "V04")["meters"] == ["m-two"]
    assert check(found["jingmi"], "V04")["outcome"] == "PASS"


def test_a_ledger_that_is_one_watt_hour_off_fails_the_month(plant: Plant) -> None:
    plant.ledger_error_wh["m-two"] = 1
    plant.build()
    document = documents(plant.close())["guangdian"]
    assert document["outcome"] == "FAIL"
    assert check(document, "V16")["meters"] == ["m-two"]
    balance = line(document, "m-two")["balance"]
    assert int(balance["ledger_wh"]) - int(balance["journal_wh"]) == 1


@pytest.mark.parametrize(("missing", "outcome"), [(10, "PASS"), (100, "FINDING"), (400, "FAIL")])
def test_completeness_has_a_target_and_an_official_limit(plant: Plant, missing: int, outcome: str) -> None:
    ends = range(plant.month.start_ms + DAY_MS, plant.month.end_ms, QUARTER_MS)
    plant.unread = {("m-two", end) for end in ends[:missing]}
    plant.build()
    document = documents(plant.close())["guangdian"]
    assert check(document, "V01")["outcome"] == outcome
    shown = line(document, "m-two")
    assert shown["points_read"] == 2976 - missing
    assert int(shown["energy_wh"]) == plant.expected(("m-two", "energy_import_total"))


@pytest.mark.parametrize(("late_ms", "outcome"), [(60_000, "PASS"), (61_000, "FINDING")])
def test_edges_are_read_within_a_minute(plant: Plant, late_ms: int, outcome: str) -> None:
    plant.shift_ms["m-two"] = late_ms
    plant.build()
    assert check(documents(plant.close())["guangdian"], "V03")["outcome"] == outcome


def test_both_brackets_of_an_interpolated_edge_are_in_the_document(plant: Plant) -> None:
    plant.shift_ms["m-two"] = 30_000
    plant.build()
    balance = line(documents(plant.close())["guangdian"], "m-two")["balance"]
    for name, edge in (("opening_bracket", plant.month.start_ms), ("closing_bracket", plant.month.end_ms)):
        before, after = balance[name]
        assert before["t_ms"] < edge < after["t_ms"]


def test_a_total_that_nothing_brackets_has_no_energy_although_the_ledger_has_rows(plant: Plant) -> None:
    plant.shift_ms["m-two"] = 5 * QUARTER_MS
    plant.build()
    document = documents(plant.close())["guangdian"]
    assert line(document, "m-two")["energy_wh"] is None
    assert document["daily"][0]["energy_wh"] is None
    assert document["daily"][1]["energy_wh"] is not None
    assert check(document, "V03")["outcome"] == "INSUFFICIENT_DATA"
