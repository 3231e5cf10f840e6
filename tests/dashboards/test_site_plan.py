"""A site plan: the operator's own picture with the gateways on it, as Grafana's canvas takes it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from dashboards import site_plan
from dashboards.settings import Place, SitePlan
from tests.dashboards.macros import Window, expand
from tests.dashboards.month import DAY
from tests.dashboards.store import Store

SCHEMAS = Path(__file__).parent / "schema"
PLAN = SitePlan(
    name="north", title="北区 North", image="https://tanyun.example.invalid/plan.png",
    places=(Place(gateway="gw-hengjing", x=10, y=20), Place(gateway="gw-yuntu", x=70, y=50)),
)  # fmt: skip


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))


def test_a_plan_fits_the_schemas_of_grafanas_types() -> None:
    board = site_plan.board(PLAN)
    jsonschema.validate(board, schema("dashboard"))
    options = board["panels"][0]["options"]
    # The published type of the root leaves out that it is a frame, which is an element and has a background like every other.
    background = options["root"].pop("background")
    options["root"]["elements"].append({"name": "root", "type": "frame", "background": background})
    jsonschema.validate(options, schema("canvas-options"))


def test_every_gateway_stands_inside_the_picture_and_shows_its_own_series() -> None:
    root = site_plan.board(PLAN)["panels"][0]["options"]["root"]
    assert root["background"]["image"]["fixed"] == PLAN.image
    assert [element["config"]["text"].get("field") for element in root["elements"][::2]] == [
        "gw-hengjing",
        "gw-yuntu",
    ]
    for element in root["elements"]:
        sides = {side: element["placement"][side] for side in ("left", "right", "top", "bottom")}
        assert all(0 <= share <= 100 for share in sides.values()), sides
        assert sides["left"] + sides["right"] + site_plan.WIDTH == pytest.approx(100)


def test_a_plans_query_gives_one_series_for_each_of_its_gateways(month_store: Store, now_ms: int) -> None:
    [target] = site_plan.board(PLAN)["panels"][0]["targets"]
    found = month_store.query(expand(target["query"], Window(now_ms - DAY, now_ms)))
    assert {series.tags["gateway"]: series.rows[0][1] for series in found} == {
        "gw-hengjing": 1,
        "gw-yuntu": 1,
    }


@pytest.mark.parametrize("image", ["data:image/png;base64,AAAA", "file:///etc/passwd", "javascript:alert(1)"])
def test_a_picture_is_an_address_or_a_file_of_grafanas_own(image: str) -> None:
    with pytest.raises(ValidationError):
        SitePlan(name="a", title="a", image=image, places=PLAN.places)
