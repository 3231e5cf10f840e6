"""The real Mosquitto for tests, started and killed at will on one port with the files that tanyun writes for it."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from metering.registry import parse_registry
from tanyun.broker import plan_broker

DEADLINE_S = 20.0


class Mosquitto:
    """A broker for park `park` with the gateway `gw`. A context manager."""

    def __init__(self, folder: Path) -> None:
        park = parse_registry(
            {
                "id": "park",
                "name": "园区",
                "grid_scope": "CN-AH",
                "enterprises": [{"id": "e", "name": "企业"}],
                "sites": [{"id": "s", "enterprise": "e", "name": "厂区"}],
                "gateways": [{"id": "gw", "site": "s"}],
                "meters": [],
            }
        )
        self._plan = plan_broker(folder, park, prefer="mosquitto")
        self._log = folder / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self._plan.port

    def password(self, user: str) -> str:
        """The password of `gw` or `host`."""
        return self._plan.password(user)

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._plan.argv, stdout=log, stderr=log)
        end = time.monotonic() + DEADLINE_S
        while not self._accepts():
            assert time.monotonic() < end, self._log.read_text(encoding="utf-8")
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()
