"""What the gateway's benchmarks share: a broker with TLS, ingest, and a gateway with 32 meters, each in a process of its own."""

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edge_agent.config import EdgeConfig
from edge_agent.device import Device, make_device
from edge_agent.outbox import Draft, Outbox
from edge_agent.readings_body import readings_body
from metering.config import validate
from metering.registry import Park, parse_registry
from tanyun.broker import SERVER_USER, find_mosquitto
from tanyun.broker_files import Wanted, bring_up_to_date
from tests.loopback import free_port, is_up

METERS: Final = 32
PROFILE: Final = "acrel_dtsd1352"
"""14 readings: four totals and what operators watch."""
NOW_MS: Final = 1_793_462_400_000
QUARTER_MS: Final = 900_000
_DEADLINE_S: Final = 60.0
_MOSQUITTO_USER: Final = "nobody"
REGISTRY: Final[dict[str, object]] = {
    "id": "park",
    "name": "园区",
    "grid_scope": "CN-AH",
    "enterprises": [{"id": "e", "name": "企业"}],
    "sites": [{"id": "s", "enterprise": "e", "name": "厂区"}],
    "gateways": [{"id": "gw", "site": "s"}],
    "meters": [],
}


def until(true: Callable[[], bool], what: str) -> None:
    """Wait; AssertionError when it does not come."""
    end = time.monotonic() + _DEADLINE_S
    while not true():
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.02)


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A Mosquitto with the files that `tanyun broker init` writes, TLS and passwords; its port."""
    port = free_port()
    folder.chmod(0o755)
    bring_up_to_date(folder, park(), Wanted(names=("mqtt.park.example",), port=port))
    more = {}
    if os.geteuid() == 0:
        owner = pwd.getpwnam(_MOSQUITTO_USER)
        for path in (folder / "broker", *(folder / "broker").iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        more = {"user": owner.pw_uid, "group": owner.pw_gid}
    argv = (find_mosquitto() or "mosquitto", "-c", str(folder / "broker" / "mosquitto.conf"))
    with subprocess.Popen(
        argv, stderr=subprocess.DEVNULL, extra_groups=() if more else None, **more
    ) as process:  # type: ignore[call-overload]
        try:
            until(lambda: is_up(port), "broker")
            yield port
        finally:
            process.terminate()


@contextmanager
def ingest(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`tanyun ingest run` at that broker; its journal is `data/journal.db`."""
    (folder / "server.toml").write_text(
        f"""registry = "park.toml"\ndata = "data"\nreports = "reports"\n[broker]\nhost = "localhost"\nport = {port}
user = "{SERVER_USER}"\npassword_file = "host/password"\nca_file = "host/ca.crt"\n""",
        encoding="utf-8",
    )
    (folder / "park.toml").write_text(
        'id = "park"\nname = "园区"\ngrid_scope = "CN-AH"\nmeters = []\n[[enterprises]]\nid = "e"\nname = "企业"\n'
        '[[sites]]\nid = "s"\nenterprise = "e"\nname = "厂区"\n[[gateways]]\nid = "gw"\nsite = "s"\n',
        encoding="utf-8",
    )
    argv = (sys.executable, "-m", "tanyun", "ingest", "run", "-c", str(folder / "server.toml"))
    with (folder / "ingest.log").open("wb") as log, subprocess.Popen(argv, stderr=log) as process:
        try:
            until(lambda: b"broker_connected" in (folder / "ingest.log").read_bytes(), "ingest")
            yield process
        finally:
            process.terminate()


def park() -> Park:
    """The registry."""
    return parse_registry(REGISTRY)


def edge_config(folder: Path, port: int, **more: object) -> EdgeConfig:
    """A gateway with 32 meters on a line that nobody answers."""
    document: dict[str, object] = {
        "park": "park",
        "gateway": "gw",
        "broker": {
            "host": "localhost",
            "port": port,
            "user": "gw",
            "password_file": "gateways/gw/password",
            "ca_file": "gateways/gw/ca.crt",
        },
        "outbox": {"path": "outbox.db"},
        "buses": [{"id": "line", "host": "127.0.0.1", "port": 1}],
        "meters": [
            {"id": f"meter-{i + 1}", "bus": "line", "unit": i + 1, "profile": PROFILE} for i in range(METERS)
        ],
        **more,
    }
    return validate(document, EdgeConfig, "edge.toml", folder)


def devices_of(config: EdgeConfig, outbox: Outbox) -> list[Device]:
    """Its devices."""
    profiles = config.profiles()
    return [make_device(meter, profiles[meter.id], outbox) for meter in config.meters]


def whole_frames(devices: list[Device], quarter: int, *, live: bool = False) -> list[Draft]:
    """What all meters say at a quarter hour, or only their power; totals as they are after some years."""
    t_ms = NOW_MS - 31 * 86_400_000 + quarter * QUARTER_MS
    drafts = []
    for i, device in enumerate(devices):
        readings = [
            (
                register,
                t_ms + 40 * i,
                12_345_678 + 17 * quarter + i if "32" in register.datatype else 2_300 + i,
            )
            for register in device.registers
            if not live or register.reading_type == "power_active"
        ]
        drafts.append(
            Draft(device.declaration, t_ms + 40 * i, readings_body(device.aliases, readings), not live)
        )
    return drafts
