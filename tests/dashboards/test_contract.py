"""What queries read is what the real projector writes: measurements, tags and fields by name."""

import copy
import re
import time
from pathlib import Path
from typing import Any

from dashboards import rendered
from metering.intervals import QUARTER_MS
from metering.registry import parse_registry
from storage.influx import connect
from storage.ledger import NewLedgerEvent
from storage.months import MonthRow, MonthStore
from tests.dashboards.test_panel_queries import panels
from tests.fakes.influx import AnyWriter, InfluxDB
from tests.stream.projector_plant import IMPORT, MONTH_MS, PARK, Plant, quarters

DOCUMENT = b"""{"start_ms":%d,"formula":[{"role":"grid_boundary"}],"checks":[{"outcome":"PASS"}],
 "meters":[{"role":"grid_boundary","unit":"Wh","points_read":9,"points_expected":10,"estimated_wh":"7"}],
 "emissions":[{"use":"enterprise","energy_wh":"72000","emission_ug":"38203200000"}],
 "changes":[{"path":"energy.purchased_wh","old":"71000","new":"72000"}],
 "totals":[{"use":"market","direct_ug":"5","electricity_ug":"7","heat_ug":"0","excluding_ug":"5","including_ug":"12"}],
 "energy_types":[{"id":"electricity","consumed":"72","standard_coal_kgce":"8.8"}],
 "periods":[{"meter":"","period":"peak","energy_wh":"72000","estimated_wh":"7","share":"1"}],
 "intensities":[{"id":"output_value","value":"1/3","target":"0.25"}]}"""
PROBED = {"up"}
"""Written by `tanyun projector run`, which probes services; the projector alone has none to probe."""


def queries() -> set[str]:
    found = {target["query"] for _, panel in panels() for target in panel["targets"]}
    rules = [rule for group in rendered.alert_groups() for rule in group["rules"]]
    return found | {
        step["model"]["query"] for rule in rules for step in rule["data"] if "query" in step["model"]
    }


def names_in(query: str) -> tuple[set[tuple[str, str]], set[str]]:
    """(policy, measurement) and the columns that a query reads."""
    sources = set(re.findall(r'"tanyun"\."(\w+)"\."(\w+)"', query))
    rest = re.sub(r'"tanyun"\."\w+"\."\w+"', "", query)
    aliases = set(re.findall(r'AS "(\w+)"', rest))
    return sources, set(re.findall(r'"(\w+)"', rest)) - aliases


def known(writer: AnyWriter) -> dict[tuple[str, str], set[str]]:
    """(policy, measurement) → its tags and fields."""
    out: dict[tuple[str, str], set[str]] = {}
    for policy in ("live", "history"):
        text = f'SELECT * FROM "tanyun"."{policy}"./.*/ LIMIT 1'  # noqa: S608
        answer: Any = writer._client.get("/query", params={"db": "tanyun", "q": text}).json()["results"][0]
        for series in answer["series"]:
            out[policy, series["name"]] = set(series["columns"])
    return out


def test_every_name_in_a_query_is_written_by_the_projector(influxd: InfluxDB, tmp_path: Path) -> None:
    document = copy.deepcopy(PARK)
    document["enterprises"][0]["contract_demand_w"] = 80_000  # type: ignore[index]
    plant, writer = Plant(tmp_path), connect(influxd.target)
    plant.park, plant.now_ms = parse_registry(document), time.time_ns() // 1_000_000
    plant.store(
        [plant.birth("gate", ("power_active", "kW", 1)), plant.frame("gate", plant.now_ms - 5000, (1, 1.5))]
    )
    plant.commit(quarters(plant.now_ms - plant.now_ms % QUARTER_MS - QUARTER_MS, 1))
    plant.commit(quarters(MONTH_MS, 96), [NewLedgerEvent(MONTH_MS, "gate", IMPORT, "late_reading", {"a": 1})])
    with MonthStore(plant.files.months) as months:
        for revision, reason in ((1, None), (2, "late readings")):
            row = MonthRow(
                "2026-11", "enterprise", "e1", revision, "PASS", 1, reason, DOCUMENT % MONTH_MS, ""
            )
            months.add([row])
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()
    plant.close()
    there = known(writer)
    influxd.forget()
    writer.close()
    for query in queries():
        sources, columns = names_in(query)
        assert sources <= {place[:2] for place in there}, query
        columns_there = set().union(*(there[place] for place in sources)) | PROBED
        assert columns <= columns_there, (columns - columns_there, query)
