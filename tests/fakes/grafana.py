"""A Grafana of paper: the parts of its published HTTP API that a push uses, with its status codes, defaults and secrets.

Written from the reference of the HTTP API (dashboards, folders, data sources, search, alerting provisioning) of Grafana 11 to 13.
It refuses what Grafana refuses: no token, missing fields, an unknown folder, receiver or mute timing, things that exist already.
"""

import copy
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
TOKEN = "glsa_test"
SECRETS = {"webhook": "url", "wecom": "url", "dingding": "url"}
_RULE = {"title", "condition", "data", "noDataState", "execErrState", "for"}
_GONE: tuple[int, Any] = (404, {"message": "not found"})


class Grafana:
    """Its state, and a server on loopback. A context manager."""

    def __init__(self) -> None:
        self.folders: dict[str, Json] = {}
        self.datasources: dict[str, Json] = {}
        self.dashboards: dict[str, Json] = {}
        self.groups: dict[tuple[str, str], Json] = {}
        self.points: dict[str, Json] = {
            "default": {"uid": "default", "name": "grafana-default-email", "type": "email", "settings": {}}
        }
        self.timings: dict[str, Json] = {}
        self.policies: Json = {
            "receiver": "grafana-default-email",
            "group_by": ["grafana_folder", "alertname"],
        }
        self.writes: list[str] = []
        """Every request that is not a GET."""
        grafana = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet; two would wait for each other's acknowledgement

            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                code, answer = grafana.answer(
                    self.command, self.path, self.headers.get("Authorization", ""), body
                )
                data = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  http.server's names

            def log_message(self, *_args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, authorization: str, body: Any) -> tuple[int, Any]:
        """Status and document."""
        if authorization != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        split = urlsplit(target)
        if method != "GET":
            self.writes.append(f"{method} {split.path}")
        for pattern, handler in ROUTES:
            match = re.fullmatch(f"(\\w+) /api{pattern}", f"{method} {unquote(split.path)}")
            if match:
                return handler(self, method, body, *match.groups()[1:], parse_qs(split.query))
        return _GONE

    def receivers(self) -> set[str]:
        """Names that a route may use."""
        return {point["name"] for point in self.points.values()}


def _folder(g: Grafana, method: str, body: Any, uid: str | None, _query: Json) -> tuple[int, Any]:
    if method == "POST":
        if body["uid"] in g.folders:
            return 412, {"message": "a folder with the same uid exists"}
        g.folders[body["uid"]] = {"id": len(g.folders) + 1, "version": 1, **body}
        return 200, g.folders[body["uid"]]
    if uid not in g.folders:
        return _GONE
    if method == "PUT":
        g.folders[uid].update(title=body["title"], version=g.folders[uid]["version"] + 1)
    return 200, g.folders[uid]


def _stored_datasource(g: Grafana, body: Json) -> Json:
    shown = {key: value for key, value in body.items() if key != "secureJsonData"}
    fields = dict.fromkeys(body.get("secureJsonData", {}), True)
    defaults = {
        "id": 7,
        "orgId": 1,
        "basicAuth": False,
        "isDefault": False,
        "readOnly": False,
        "password": "",
    }
    g.datasources[body["uid"]] = {**defaults, **shown, "secureJsonFields": fields}
    return g.datasources[body["uid"]]


def _datasource(g: Grafana, method: str, body: Any, uid: str | None, _query: Json) -> tuple[int, Any]:
    if method == "POST":
        if body["uid"] in g.datasources or not {"name", "type", "access", "url"} <= set(body):
            return 409, {"message": "data source with the same name already exists"}
        return 200, {"datasource": _stored_datasource(g, body), "message": "Datasource added"}
    if uid not in g.datasources:
        return _GONE
    if method == "PUT":
        return 200, {"datasource": _stored_datasource(g, body), "message": "Datasource updated"}
    return 200, g.datasources[uid]


def _save_dashboard(g: Grafana, _method: str, body: Any, _query: Json) -> tuple[int, Any]:
    board = body["dashboard"]
    if body["folderUid"] not in g.folders:
        return 400, {"message": "folder not found"}
    if "title" not in board or (board["uid"] in g.dashboards and not body.get("overwrite")):
        return 412, {"message": "The dashboard has been changed by someone else"}
    version = g.dashboards.get(board["uid"], {"dashboard": {"version": 0}})["dashboard"]["version"] + 1
    stored = {**copy.deepcopy(board), "id": 100 + len(g.dashboards), "version": version}
    g.dashboards[board["uid"]] = {"dashboard": stored, "meta": {"folderUid": body["folderUid"]}}
    return 200, {"uid": board["uid"], "status": "success", "version": version}


def _dashboard(g: Grafana, method: str, _body: Any, uid: str, _query: Json) -> tuple[int, Any]:
    if uid not in g.dashboards:
        return _GONE
    if method == "DELETE":
        del g.dashboards[uid]
        return 200, {"message": "deleted"}
    return 200, g.dashboards[uid]


def _search(g: Grafana, _method: str, _body: Any, query: dict[str, list[str]]) -> tuple[int, Any]:
    tag = query.get("tag", [None])[0]
    return 200, [
        {
            "uid": uid,
            "title": item["dashboard"]["title"],
            "type": "dash-db",
            "folderUid": item["meta"]["folderUid"],
        }
        for uid, item in g.dashboards.items()
        if tag is None or tag in item["dashboard"].get("tags", [])
    ]


def _lean(value: Any) -> Any:
    """As Go's encoder with omitempty gives it back."""
    if isinstance(value, dict):
        return {key: _lean(item) for key, item in value.items() if item not in ("", None, [], {})}
    return [_lean(item) for item in value] if isinstance(value, list) else value


def _group(g: Grafana, method: str, body: Any, folder: str, name: str, _query: Json) -> tuple[int, Any]:
    if method == "GET":
        return (200, g.groups[folder, name]) if (folder, name) in g.groups else _GONE
    if folder not in g.folders:
        return 400, {"message": "folder not found"}
    for rule in body["rules"]:
        refs = {step["refId"] for step in rule["data"]}
        if not set(rule) >= _RULE or rule["condition"] not in refs or len(rule["uid"]) > 40:
            return 400, {"message": f"invalid alert rule {rule.get('title')}"}
        unknown = {s["datasourceUid"] for s in rule["data"]} - {"__expr__", *g.datasources}
        if unknown or body["interval"] % 10:
            return 400, {"message": f"unknown data source {unknown}"}
    stored = [
        _lean(rule) | {"id": i, "orgID": 1, "updated": "2026-11-20T00:00:00Z"}
        for i, rule in enumerate(body["rules"])
    ]
    g.groups[folder, name] = {**body, "rules": stored}
    return 200, g.groups[folder, name]


def _redacted(point: Json) -> Json:
    out = copy.deepcopy(point)
    secret = SECRETS.get(out["type"])
    if secret:
        out["settings"][secret] = "[REDACTED]"
    return out


def _points(g: Grafana, method: str, body: Any, uid: str | None, _query: Json) -> tuple[int, Any]:
    if method == "GET":
        return 200, [_redacted(point) for point in g.points.values()]
    if method == "DELETE":
        used = json.dumps(g.policies)
        if (
            g.points[uid or ""]["name"] in used
            and len([p for p in g.points.values() if p["name"] == g.points[uid or ""]["name"]]) == 1
        ):
            return 409, {"message": "contact point is used by a notification policy"}
        return 204, g.points.pop(uid or "") and None
    if method == "POST" and body["uid"] in g.points:
        return 400, {"message": "uid exists"}
    g.points[body["uid"]] = {**body, "disableResolveMessage": False}
    return 202, _redacted(g.points[body["uid"]])


def _timings(g: Grafana, method: str, body: Any, name: str | None, _query: Json) -> tuple[int, Any]:
    if method == "GET":
        return 200, list(g.timings.values())
    if method == "DELETE":
        if json.dumps(name) in json.dumps(g.policies):
            return 409, {"message": "mute timing is used by a notification policy"}
        return 204, g.timings.pop(name or "") and None
    if method == "POST" and body["name"] in g.timings:
        return 400, {"message": "exists"}
    g.timings[body["name"]] = {**body, "version": "1"}
    return 201 if method == "POST" else 202, g.timings[body["name"]]


def _used(route: Json, key: str) -> set[str]:
    mine = route.get(key) or []
    out = {mine} if isinstance(mine, str) else set(mine)
    return out.union(*(_used(child, key) for child in route.get("routes") or []))


def _policies(g: Grafana, method: str, body: Any, _query: Json) -> tuple[int, Any]:
    if method == "GET":
        return 200, g.policies
    unknown = (_used(body, "receiver") - g.receivers()) | (
        _used(body, "mute_time_intervals") - set(g.timings)
    )
    if unknown:
        return 400, {"message": f"unknown in the tree: {sorted(unknown)}"}
    g.policies = _lean(body)
    return 202, {"message": "policies updated"}


Handler = Callable[..., tuple[int, Any]]
ROUTES: list[tuple[str, Handler]] = [
    ("/folders(?:/([^/]+))?", _folder),
    ("/datasources(?:/uid/([^/]+))?", _datasource),
    ("/dashboards/db", _save_dashboard),
    ("/dashboards/uid/([^/]+)", _dashboard),
    ("/search", _search),
    ("/v1/provisioning/folder/([^/]+)/rule-groups/([^/]+)", _group),
    ("/v1/provisioning/contact-points(?:/([^/]+))?", _points),
    ("/v1/provisioning/mute-timings(?:/([^/]+))?", _timings),
    ("/v1/provisioning/policies", _policies),
]
