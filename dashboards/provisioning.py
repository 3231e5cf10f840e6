"""The same content as files that Grafana reads at its start."""

import json
from pathlib import Path
from typing import Any

import yaml

from dashboards.alert_time import duration
from dashboards.names import FOLDER, FOLDER_TITLE
from dashboards.settings import GrafanaSettings
from dashboards.wanted import Wanted, wanted

Json = dict[str, Any]
DASHBOARDS_AT = "/etc/grafana/tanyun/dashboards"
"""Where Grafana finds the dashboards' JSON, unless told otherwise."""
_API = {"apiVersion": 1}
_ORG = {"orgId": 1}
_RULE = (
    "uid",
    "title",
    "condition",
    "data",
    "noDataState",
    "execErrState",
    "for",
    "annotations",
    "labels",
    "isPaused",
)


def files(settings: GrafanaSettings, dashboards_at: str = DASHBOARDS_AT) -> dict[str, str]:
    """Path below the folder → content.

    Secrets of the data source stay in their files, which Grafana reads itself. It does not do so for contact points, so their
    file holds the robots' addresses.
    """
    content = wanted(settings, secret=lambda path: f"$__file{{{path}}}")
    documents = {
        "datasources/tanyun.yaml": {
            **_API,
            "datasources": [{**content.datasource, **_ORG, "editable": False}],
        },
        "dashboards/tanyun.yaml": {**_API, "providers": [_provider(dashboards_at)]},
        "alerting/tanyun-rules.yaml": {**_API, "groups": [_group(group) for group in content.groups]},
        "alerting/tanyun-contact-points.yaml": {**_API, "contactPoints": _receivers(content)},
        "alerting/tanyun-mute-timings.yaml": {
            **_API,
            "muteTimes": [{**_ORG, **item} for item in content.mute_timings],
        },
        "alerting/tanyun-policies.yaml": {**_API, "policies": [_policy(content)]},
    }
    out = {f"provisioning/{name}": _yaml(document) for name, document in documents.items()}
    for board in content.boards:
        out[f"dashboards/{board['uid']}.json"] = (
            json.dumps(board, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        )
    return out


def write(settings: GrafanaSettings, folder: Path, dashboards_at: str = DASHBOARDS_AT) -> list[Path]:
    """Write the files; those with contact points can be read by their owner and group only."""
    written = []
    for name, text in files(settings, dashboards_at).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o640 if "contact-points" in name else 0o644)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _provider(dashboards_at: str) -> Json:
    return {
        "name": "tanyun",
        **_ORG,
        "type": "file",
        "folder": FOLDER_TITLE,
        "folderUid": FOLDER,
        "disableDeletion": False,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 60,
        "options": {"path": dashboards_at},
    }


def _group(group: Json) -> Json:
    rules = [{name: rule[name] for name in _RULE} | _place(rule) for rule in group["rules"]]
    return {
        **_ORG,
        "name": group["title"],
        "folder": FOLDER_TITLE,
        "interval": duration(group["interval"]),
        "rules": rules,
    }


def _place(rule: Json) -> Json:
    notes = rule["annotations"]
    return {"dashboardUid": notes["__dashboardUid__"], "panelId": int(notes["__panelId__"])}


def _receivers(content: Wanted) -> list[Json]:
    points: dict[str, list[Json]] = {}
    for point in content.contact_points:
        points.setdefault(point["name"], []).append({key: point[key] for key in ("uid", "type", "settings")})
    return [{**_ORG, "name": name, "receivers": receivers} for name, receivers in points.items()]


def _policy(content: Wanted) -> Json:
    """The whole tree of the organisation: files cannot provision a part of it."""
    return {
        **_ORG,
        "receiver": content.route["receiver"],
        "group_by": content.route["group_by"],
        "routes": [content.route],
    }


def _yaml(document: object) -> str:
    return str(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120))
