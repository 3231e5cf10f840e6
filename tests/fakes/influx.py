"""Real servers for tests: Debian's influxd 1.6.7, and victoria-metrics for the v2 write path. Killed, wiped and started again at will."""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

import pytest

DEADLINE_S = 30.0
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


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process on loopback with its own folder. A context manager; the port stays over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
    """InfluxDB 1.6.7."""

    def __init__(self, folder: Path, max_series: int = 0) -> None:
        super().__init__(folder)
        self._rpc, self._max_series = free_port(), max_series

    def argv(self) -> list[str]:
        """With a configuration of its own: loopback only, tsi1, no reporting."""
        config = self.folder / "influxdb.conf"
        text = _CONFIG.format(rpc=self._rpc, port=self.port, folder=self.data, max_series=self._max_series)
        config.write_text(text, encoding="utf-8")
        return [_program("influxd", "influxdb"), "-config", str(config)]


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
