"""Contract servers for where no real one is at hand: management and write endpoints of InfluxDB 2.x and 3.x, by their HTTP API references.

2.x answers as the real 2.9.1 was seen to (tests/fakes/influx.py); 3.x has only been read about.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, Any]
TOKEN = "token"


class _Api:
    version = ""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(api: _Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status, found = 401, {"code": "unauthorized", "message": "unauthorized access"}
            if parts.path == "/ping":
                status, found = 200, {"version": api.version}
            elif self.headers.get("Authorization") in {f"Token {TOKEN}", f"Bearer {TOKEN}"}:
                status, found = api.answer(self.command, parts.path, dict(parse_qsl(parts.query)), body)
            data = b"" if status == 204 else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("X-Influxdb-Version", api.version)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _handle  # noqa: N815  the base class names them

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class InfluxV2(_Api):
    """Organizations, buckets, DBRP mappings and writes."""

    version = "v2.7.12"

    def __init__(self) -> None:
        super().__init__()
        self.buckets: dict[str, int] = {}
        self.mappings: dict[tuple[str, str], str] = {}
        self.default = ("", "")
        self.lines: dict[str, set[str]] = defaultdict(set)

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:  # noqa: PLR0911  one per endpoint
        """A bucket's id is its name with a dot: it goes into a path."""
        match method, path:
            case "GET", "/api/v2/orgs":
                return 200, {"orgs": [{"id": "0a", "name": "tanyun"}] if query["org"] == "tanyun" else []}
            case "GET", "/api/v2/buckets":
                return 200, {
                    "buckets": [self._bucket(name) for name in self.buckets if name == query["name"]]
                }
            case "POST", "/api/v2/buckets":
                return self._create(json.loads(body))
            case "GET", "/api/v2/dbrps":
                return 200, {"content": list(self._mapped(query["db"], query["rp"]))}
            case "POST", "/api/v2/dbrps":
                return self._map(json.loads(body))
            case "POST", "/api/v2/write":
                return self._write(query, body.decode())
            case "PATCH", _ if path.startswith("/api/v2/dbrps/"):
                database, _, policy = path.removeprefix("/api/v2/dbrps/").partition(".")
                self.default = database, policy
                return 200, {}
            case "PATCH", _:
                name = path.removeprefix("/api/v2/buckets/").replace(".", "/")
                self.buckets[name] = _seconds(json.loads(body))
                return 200, self._bucket(name)
        return 404, {"code": "not found", "message": "path not found"}

    def _bucket(self, name: str) -> dict[str, Any]:
        seconds = self.buckets[name]
        return {
            "id": _id(name),
            "name": name,
            "retentionRules": [{"type": "expire", "everySeconds": seconds}],
        }

    def _mapped(self, database: str, policy: str) -> Iterator[dict[str, Any]]:
        """A bucket named `database/policy` has a virtual mapping, never a default one, until it gets a real one."""
        name = f"{database}/{policy}"
        real = (database, policy) in self.mappings
        if name in self.buckets:
            default = real and self.default == (database, policy)
            yield {"id": _id(name), "bucketID": _id(name), "default": default, "virtual": not real}

    def _create(self, wanted: dict[str, Any]) -> Answer:
        assert wanted["orgID"] == "0a"
        self.buckets[wanted["name"]] = _seconds(wanted)
        return 201, self._bucket(wanted["name"])

    def _map(self, wanted: dict[str, Any]) -> Answer:
        name = wanted["bucketID"].replace(".", "/")
        assert name in self.buckets
        self.mappings[wanted["database"], wanted["retention_policy"]] = name
        if wanted["default"]:
            self.default = wanted["database"], wanted["retention_policy"]
        return 201, {}

    def _write(self, query: dict[str, str], text: str) -> Answer:
        assert query["precision"] == "ms"
        if query["bucket"] not in self.buckets:
            return 404, {"code": "not found", "message": f'bucket "{query["bucket"]}" not found'}
        if "bad" in text.split("\n"):
            return 400, {"code": "invalid", "message": "unable to parse 'bad': missing fields"}
        self.lines[query["bucket"]] |= set(text.split("\n"))
        return 204, None


def _id(name: str) -> str:
    return name.replace("/", ".")


def _seconds(body: dict[str, Any]) -> int:
    return sum(rule["everySeconds"] for rule in body["retentionRules"])


class InfluxV3(_Api):
    """Databases."""

    version = "3.4.1"

    def __init__(self) -> None:
        super().__init__()
        self.databases: dict[str, str | None] = {}

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        if path != "/api/v3/configure/database":
            return 404, {"error": "not found"}
        if method == "GET":
            assert query["format"] == "json"
            return 200, [{"iox::database": name, "deleted": False} for name in self.databases]
        wanted = json.loads(body)
        self.databases[wanted["db"]] = wanted.get("retention_period")
        return 200, {}
