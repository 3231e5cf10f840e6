"""Everything that a park's Grafana shall hold: what is the same everywhere, and what its settings say."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboards import rendered, site_plan
from dashboards.names import DATASOURCE
from dashboards.notify import contact_points, mute_timings, route
from dashboards.settings import GrafanaSettings, Influx

Json = dict[str, Any]
_RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The content of a Grafana, as its HTTP API takes it."""

    datasource: Json
    boards: list[Json]
    groups: list[Json]
    contact_points: list[Json]
    mute_timings: list[Json]
    route: Json


def read_secret(path: Path) -> str:
    """A secret's text; OSError when its file cannot be read."""
    return path.read_text(encoding="utf-8").strip()


def wanted(settings: GrafanaSettings, secret: Callable[[Path], str] = read_secret) -> Wanted:
    """All of it; `secret` says how a file's secret gets in."""
    return Wanted(
        datasource=datasource(settings.influx, secret),
        boards=[*rendered.boards(), *map(site_plan.board, settings.site_plans)],
        groups=_groups(settings.runbooks),
        contact_points=contact_points(settings, read_secret),
        mute_timings=mute_timings(settings),
        route=route(settings),
    )


def datasource(influx: Influx, secret: Callable[[Path], str]) -> Json:
    """InfluxQL over HTTP. The database of a query is in the query; the one here is for tag values."""
    out: Json = {
        "uid": DATASOURCE,
        "name": "Tanyun InfluxDB",
        "type": "influxdb",
        "access": "proxy",
        "url": influx.url,
        "jsonData": {"dbName": "tanyun", "httpMode": "POST", "timeInterval": "15s", "version": "InfluxQL"},
    }
    if influx.user and influx.password_file is not None:
        out["user"] = influx.user
        out["secureJsonData"] = {"password": secret(influx.password_file)}
    if influx.token_file is not None:
        out["jsonData"]["httpHeaderName1"] = "Authorization"
        out["secureJsonData"] = {"httpHeaderValue1": f"Token {secret(influx.token_file)}"}
    return out


def _groups(runbooks: str) -> list[Json]:
    groups = copy.deepcopy(rendered.alert_groups())
    for rule in (rule for group in groups for rule in group["rules"]):
        link = rule["annotations"]["runbook_url"]
        rule["annotations"]["runbook_url"] = link.replace(_RUNBOOKS, runbooks.rstrip("/"), 1)
    return groups
