"""Gateways on a plan of the site: a picture of the operator's own, no map tiles. It depends on the park, so a push or render makes it."""

from typing import Any

from dashboards.influxql_text import NOW, select
from dashboards.names import DATASOURCE, PREFIX, TAG
from dashboards.settings import Place, SitePlan

Json = dict[str, Any]
WIDTH, HEIGHT = 8, 6
"""Of a gateway's field, in percent of the picture."""
_TEXT = {"mode": "field", "fixed": ""}


def uid(plan: SitePlan) -> str:
    """Pinned by the plan's name."""
    return f"{PREFIX}plan-{plan.name}"


def board(plan: SitePlan) -> Json:
    """A dashboard of one canvas: whether each gateway is there, where it stands."""
    return {
        "uid": uid(plan),
        "title": f"平面图 Site plan: {plan.title}",
        "description": "网关在平面图上的状态。 Gateways where they stand.",
        "tags": [TAG],
        "editable": True,
        "schemaVersion": 42,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": []},
        "annotations": {"list": []},
        "links": [_link()],
        "panels": [_panel(plan)],
    }


def _link() -> Json:
    return {
        "title": "碳云 Tanyun", "type": "dashboards", "icon": "external link", "tags": [TAG], "asDropdown": True,
        "includeVars": False, "keepTime": False, "targetBlank": False, "tooltip": "", "url": "",
    }  # fmt: skip


def _panel(plan: SitePlan) -> Json:
    names = "|".join(place.gateway for place in plan.places)
    query = select('last("online")', "gateway", NOW, f'"gateway" =~ /^({names})$/', by='"gateway"')
    source = {"type": "influxdb", "uid": DATASOURCE}
    target = {
        "refId": "A", "datasource": source, "query": query, "rawQuery": True, "resultFormat": "time_series",
        "alias": "$tag_gateway",
    }  # fmt: skip
    words = {
        "0": {"text": "失联 silent", "color": "red", "index": 0},
        "1": {"text": "在线 online", "color": "green", "index": 1},
    }
    defaults = {
        "mappings": [{"type": "value", "options": words}],
        "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "red"}, {"value": 1, "color": "green"}]},
        "noValue": "–",
    }  # fmt: skip
    return {
        "id": 1,
        "type": "canvas",
        "title": plan.title,
        "gridPos": {"x": 0, "y": 0, "w": 24, "h": 20},
        "datasource": source,
        "targets": [target],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _canvas(plan),
    }


def _canvas(plan: SitePlan) -> Json:
    picture = {"image": {"mode": "fixed", "fixed": plan.image}, "size": "contain"}
    root = {
        "name": plan.name,
        "type": "frame",
        "background": picture,
        "elements": [element for place in plan.places for element in _elements(place)],
    }
    return {
        "inlineEditing": False, "panZoom": False, "showAdvancedTypes": True, "zoomToContent": False,
        "tooltip": {"mode": "single"}, "root": root,
    }  # fmt: skip


def _elements(place: Place) -> list[Json]:
    """The state over its name. The placement of a scaled element is in percent from each side."""
    scaled = {"horizontal": "scale", "vertical": "scale"}

    def placed(top: float) -> Json:
        return {
            "left": place.x, "right": 100 - place.x - WIDTH, "top": top, "bottom": 100 - top - HEIGHT / 2, "rotation": 0,
        }  # fmt: skip

    style = {"size": 14, "align": "center", "valign": "middle"}
    state = {
        "name": f"{place.gateway} state",
        "type": "metric-value",
        "constraint": scaled,
        "placement": placed(place.y),
        "background": {"color": {"field": place.gateway, "fixed": "text"}},
        "config": {**style, "text": {**_TEXT, "field": place.gateway}, "color": {"fixed": "white"}},
    }
    name = {
        "name": place.gateway,
        "type": "text",
        "constraint": scaled,
        "placement": placed(place.y + HEIGHT / 2),
        "background": {"color": {"fixed": "transparent"}},
        "config": {**style, "text": {"mode": "fixed", "fixed": place.gateway}, "color": {"fixed": "text"}},
    }
    return [state, name]
