"""Every panel's and variable's query, taken from the rendered JSON and run on the real InfluxDB over a month of data."""

from collections.abc import Iterator
from typing import Any

import pytest

from dashboards import rendered
from tests.dashboards.macros import Window, expand
from tests.dashboards.month import DAY, PARK
from tests.dashboards.store import Store

Json = dict[str, Any]
VARIABLES = {"enterprise": ["hengjing"], "meter": ["hj-gate"], "scope": ["hengjing"]}
MAY_BE_EMPTY = {
    "15 分钟无数据的电表 Meters without readings for 15 min",
    "一小时未变的读数 Values that have not moved for 1 h",
}
"""Panels that name what is wrong; in a healthy month nothing is."""


def panels() -> Iterator[tuple[Json, Json]]:
    for board in rendered.boards():
        for panel in board["panels"]:
            if panel["type"] not in {"row", "alertlist"}:
                yield board, panel


def window(board: Json, now_ms: int, panel: Json | None = None) -> Window:
    spans = {"now-24h": 1, "now-7d": 7, "now-30d": 30, "now-400d": 400, "2d": 2, "7d": 7}
    days = spans[(panel or {}).get("timeFrom") or board["time"]["from"]]
    return Window(now_ms - days * DAY, now_ms)


@pytest.mark.parametrize(
    ("board", "panel"), [pytest.param(b, p, id=f"{b['uid']}-{p['id']}") for b, p in panels()]
)
def test_a_panels_queries_return_rows_of_the_shape_it_shows(
    month_store: Store, now_ms: int, board: Json, panel: Json
) -> None:
    at = window(board, now_ms, panel)
    step_s = at.step_s(panel.get("interval", "1s"), int(panel.get("maxDataPoints", 1000)))
    for target in panel["targets"]:
        found = month_store.query(expand(target["query"], at, step_s, VARIABLES))
        assert found or panel["title"] in MAY_BE_EMPTY, target["query"]
        for series in found:
            values = [value for row in series.rows for value in row[1:]]
            assert any(value is not None for value in values), target["query"]
            if panel["type"] == "table":
                shown = set(panel["transformations"][0]["options"].get("indexByName", {})) - {"Time"}
                assert shown <= {*series.columns, *series.tags}, (shown, series)
            else:
                assert len(series.columns) == 2, "one number per series"
                assert all(isinstance(value, int | float | None) for value in values)


@pytest.mark.parametrize(
    "variables",
    [{"enterprise": [".*"], "meter": ["hj-gate"], "scope": [".*"]},
     {"enterprise": ["hengjing", "yuntu"], "meter": ["hj-gate"], "scope": ["hengjing", "shifan"]},
     {"enterprise": ["no.such(one)/"], "meter": ["a-b"], "scope": ["x|y"]}],
    ids=["all", "two of them", "odd names"],
)  # fmt: skip
def test_queries_stay_valid_whatever_is_chosen(
    month_store: Store, now_ms: int, variables: dict[str, list[str]]
) -> None:
    for board, panel in panels():
        for target in panel["targets"]:
            month_store.query(expand(target["query"], window(board, now_ms), 3600, variables))


def test_variables_offer_what_the_store_has(month_store: Store, now_ms: int) -> None:
    at = Window(now_ms - DAY, now_ms)
    offered: dict[str, set[str]] = {}
    for board in rendered.boards():
        for variable in board["templating"]["list"]:
            for series in month_store.query(expand(variable["query"], at, 60, VARIABLES)):
                offered.setdefault(variable["name"], set()).update(row[1] for row in series.rows)
    assert offered["enterprise"] == {"hengjing", "yuntu"}
    assert offered["meter"] == {meter.meter for meter in PARK if meter.enterprise == "hengjing"}
    assert offered["scope"] == {"hengjing", "yuntu", "shifan"}


def test_a_silent_and_a_frozen_meter_appear_in_the_fleet(month_store: Store, now_ms: int) -> None:
    odd = "enterprise=odd,gateway=gw-odd,meter=odd-1"
    month_store.write("live", [f"meter_state,{odd} age_s=4000.0,pending=0.0,failed_share=1.0 {now_ms}"])
    month_store.write(
        "live",
        [f"reading,{odd},reading_type=voltage_l1 value=230.0 {now_ms - i * 60_000}" for i in range(60)],
    )
    found = {}
    for board, panel in panels():
        if panel["title"] in MAY_BE_EMPTY:
            query = panel["targets"][0]["query"]
            found[panel["title"]] = month_store.query(
                expand(query, window(board, now_ms), 60, {"enterprise": ["odd"]})
            )
    assert set(found) == MAY_BE_EMPTY
    assert all(found.values()), found
