"""Real servers for tests: Debian's influxd 1.6.7, and victoria-metrics for the v2 write path. Killed, wiped and started again at will.

Other InfluxDB servers take part where their program is at hand: name a 1.x `influxd` in TANYUN_INFLUXD_1, a 2.x one in
TANYUN_INFLUXD_2. docs/influxdb.md says how they are built.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal, Self

import pytest

from storage.influx import DATABASE, RETENTIONS, Retention, Target, WriterV1, WriterV2
from tests.loopback import free_port

DEADLINE_S = 30.0
TOKEN = "a-token-for-tests"
_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
  trace-logging-enabled = false
  query-log-enabled = false
  max-series-per-database = {max_series}
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
"""

Kind = Literal["debian", "1", "2"]
KINDS: tuple[Kind, ...] = ("debian", "1", "2")
"""Debian's own 1.6.7, and whatever the two variables name."""


class Server:
    """A server process on loopback with its own folder. A context manager; the port stays over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind: Kind = "debian"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """Everything it stores."""
        return self.folder / "store"

    def argv(self) -> list[str]:
        """How it is started."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.data.mkdir(parents=True, exist_ok=True)
        argv = self.argv()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + DEADLINE_S
        while not self._answers():
            text = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")
            assert self._process.poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None, "not started"
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Lose everything, as a broken disk does. Only while it is stopped."""
        shutil.rmtree(self.data)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=1):  # noqa: S310  our own http address
                return True
        except (urllib.error.URLError, OSError):
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()


class Influxd(Server):
    """InfluxDB 1.x: Debian's 1.6.7 unless another program is named."""

    def __init__(self, folder: Path, max_series: int = 0, program: str = "") -> None:
        super().__init__(folder)
        self._rpc, self._max_series, self._program = free_port(), max_series, program

    @property
    def target(self) -> Target:
        """How a client gets in."""
        return Target(self.url)

    def argv(self) -> list[str]:
        """With a configuration of its own: loopback only, tsi1, no reporting."""
        config = self.folder / "influxdb.conf"
        text = _CONFIG.format(rpc=self._rpc, port=self.port, folder=self.data, max_series=self._max_series)
        config.write_text(text, encoding="utf-8")
        return [self._program or _program("influxd", "influxdb"), "-config", str(config)]

    def forget(self) -> None:
        """Drop our database: quicker than a new server."""
        self._say(f"DROP DATABASE {DATABASE}")

    def drop(self, retention: Retention) -> None:
        """Drop one retention policy."""
        self._say(f"DROP RETENTION POLICY {retention} ON {DATABASE}")

    def shorten(self, retention: Retention, days: int) -> None:
        """Somebody alters a retention."""
        self._say(f"ALTER RETENTION POLICY {retention} ON {DATABASE} DURATION {days}d")

    def _say(self, influxql: str) -> None:
        _asked("POST", f"{self.url}/query", form=f"q={influxql}")


class Influxd2(Server):
    """InfluxDB 2.x, set up with an organization and a token, as its own `/api/v2/setup` does at the first start."""

    def __init__(self, folder: Path, program: str) -> None:
        super().__init__(folder)
        self._program = program

    @property
    def target(self) -> Target:
        """How a client gets in."""
        return Target(self.url, secret=TOKEN, org=DATABASE)

    def argv(self) -> list[str]:
        """On loopback, everything below one folder."""
        return [
            self._program, "run", "--bolt-path", f"{self.data}/influxd.bolt", "--engine-path", f"{self.data}/engine",
            "--sqlite-path", f"{self.data}/influxd.sqlite", "--http-bind-address", f"127.0.0.1:{self.port}",
            "--reporting-disabled", "--log-level", "error",
        ]  # fmt: skip

    def start(self) -> None:
        """Start it; a new one is set up."""
        super().start()
        if _asked("GET", f"{self.url}/api/v2/setup")["allowed"]:
            first = {
                "username": "admin",
                "password": "only-for-this-test",
                "org": DATABASE,
                "bucket": "first",
            }
            _asked("POST", f"{self.url}/api/v2/setup", json_body=first | {"token": TOKEN})

    def _answers(self) -> bool:
        """It pings before its storage is open."""
        try:
            return bool(_asked("GET", f"{self.url}/health")["status"] == "pass")
        except (urllib.error.URLError, OSError):
            return False

    def forget(self) -> None:
        """Delete our buckets; their mappings go with them."""
        for retention in self._buckets():
            self.drop(retention)

    def drop(self, retention: Retention) -> None:
        """Delete one bucket."""
        _asked("DELETE", f"{self.url}/api/v2/buckets/{self._buckets()[retention]}", token=TOKEN)

    def shorten(self, retention: Retention, days: int) -> None:
        """Somebody alters a retention."""
        body = {"retentionRules": [{"type": "expire", "everySeconds": days * 86_400}]}
        path = f"/api/v2/buckets/{self._buckets()[retention]}"
        _asked("PATCH", f"{self.url}{path}", token=TOKEN, json_body=body)

    def _buckets(self) -> dict[Retention, str]:
        found = _asked("GET", f"{self.url}/api/v2/buckets?limit=100", token=TOKEN)["buckets"]
        ids = {bucket["name"]: bucket["id"] for bucket in found}
        return {name: ids[f"{DATABASE}/{name}"] for name in RETENTIONS if f"{DATABASE}/{name}" in ids}


InfluxDB = Influxd | Influxd2
AnyWriter = WriterV1 | WriterV2


def influxdb(kind: Kind, folder: Path) -> InfluxDB:
    """A server of that kind, not started; skips where its program is not at hand."""
    program = (
        _program("influxd", "influxdb") if kind == "debian" else os.environ.get(f"TANYUN_INFLUXD_{kind}", "")
    )
    if not program:
        pytest.skip(f"TANYUN_INFLUXD_{kind} names no influxd {kind}.x")
    server = Influxd2(folder, program) if kind == "2" else Influxd(folder, program=program)
    server.kind = kind
    return server


def _asked(method: str, url: str, *, token: str = "", form: str = "", json_body: Any = None) -> Any:
    """The answer's JSON; None when it has no body."""
    body = json.dumps(json_body).encode() if json_body is not None else form.encode() or None
    kind = "application/json" if json_body is not None else "application/x-www-form-urlencoded"
    headers = {"Content-Type": kind} | ({"Authorization": f"Token {token}"} if token else {})
    query = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  our own http address
    with urllib.request.urlopen(query, timeout=DEADLINE_S) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text else None


class VictoriaMetrics(Server):
    """Speaks InfluxDB's /api/v2/write; keeps numbers only, and answers no InfluxQL."""

    def argv(self) -> list[str]:
        """Without duplicates; a retention that holds every test."""
        return [
            _program("victoria-metrics", "victoria-metrics"), f"-storageDataPath={self.data}",
            f"-httpListenAddr=127.0.0.1:{self.port}", "-retentionPeriod=100y", "-dedup.minScrapeInterval=1ms",
            "-search.latencyOffset=0s", "-loggerLevel=WARN",
        ]  # fmt: skip


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found
