"""The container stack: a valid Compose file, pinned, unprivileged, and without a secret of its own.

Validated by docker-compose (its schema and interpolation) where it is installed. No engine is needed, and none was had:
what the images do is taken from their documentation.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from metering.config import load_toml
from tanyun.config import load_server_config

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
STACK: dict[str, Any] = yaml.safe_load((COMPOSE / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
LASTING = [name for name in SERVICES if not name.endswith("init")]
HEALTH = COMPOSE / "healthcheck.py"


def linter() -> tuple[str, ...] | None:
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    if shutil.which("docker"):
        known = subprocess.run(("docker", "compose", "version"), capture_output=True, check=False)
        return ("docker", "compose") if known.returncode == 0 else None
    return None


def test_docker_compose_accepts_the_file() -> None:
    program = linter()
    if program is None:
        pytest.skip("no docker-compose on this machine (Debian: apt install docker-compose)")
    done = subprocess.run(
        (*program, "-f", str(COMPOSE / "docker-compose.yml"), "config", "-q"), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_only_init_is_root_and_nothing_can_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert (service["user"] == "0:0") == (name == "init")
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_init_reaches_no_network_and_has_three_capabilities() -> None:
    assert SERVICES["init"]["network_mode"] == "none"
    assert SERVICES["init"]["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
    assert [name for name, service in SERVICES.items() if "cap_add" in service] == ["init"]


@pytest.mark.parametrize("name", LASTING)
def test_every_lasting_service_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert "mem_limit" in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_a_fixed_version(name: str) -> None:
    image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", SERVICES[name]["image"])
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", image), image


def test_every_volume_and_network_is_declared_and_used() -> None:
    mounts = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert {mount for mount in mounts if not mount.startswith(".")} == set(STACK["volumes"])
    used = {network for service in SERVICES.values() for network in service.get("networks", [])}
    assert used == set(STACK["networks"])
    for mount in mounts:
        assert not mount.startswith(".") or (COMPOSE / mount).is_dir(), mount


def test_only_the_broker_listens_beyond_this_machine() -> None:
    open_to_all = [name for name, service in SERVICES.items() if "0.0.0.0" in str(service.get("ports"))]  # noqa: S104
    assert open_to_all == ["mosquitto"]
    assert STACK["networks"]["store"]["internal"] is True


def test_no_secret_stands_in_the_files() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", key):
                assert key.endswith("_FILE"), key
                assert value.startswith("/secrets/"), key
    example = (COMPOSE / ".env.example").read_text(encoding="utf-8")
    assert not re.search(r"(?i)^\w*(password|token|secret)\w*=", example, re.MULTILINE)


def test_every_secret_that_is_read_is_made() -> None:
    init = (COMPOSE / "init.sh").read_text(encoding="utf-8")
    made = {f"/secrets/{name}" for name in re.findall(r'"\$secrets/([\w-]+/[\w-]+)"', init)}
    text = (COMPOSE / "docker-compose.yml").read_text() + (COMPOSE / "config" / "server.toml").read_text()
    text += (COMPOSE / "influxdb" / "10-grafana-reader.sh").read_text()
    read = set(re.findall(r"/secrets/[\w-]+/[\w-]+", text))
    assert read <= made


def test_the_configurations_are_valid() -> None:
    settings = pytest.importorskip("dashboards.settings").GrafanaSettings
    config = load_server_config(COMPOSE / "config" / "server.toml")
    assert config.api.trusted_network  # published on loopback only
    server = load_server_config(COMPOSE.parent / "server" / "server.toml")
    assert server.api.cert_file is not None
    assert config.influx is not None
    grafana = load_toml(COMPOSE / "config" / "grafana.toml", settings)
    assert grafana.influx.user == "grafana"


def test_the_image_copies_every_package_of_the_wheel_and_what_is_there() -> None:
    text = (COMPOSE / "Dockerfile").read_text(encoding="utf-8")
    sources = {
        source
        for line in re.findall(r"(?m)^COPY (?!--from)(?:--\S+ )?(.+)$", text)
        for source in line.split()[:-1]
    }
    assert not [source for source in sources if not (ROOT / source).exists()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= sources
    ignored = (COMPOSE / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert sources <= {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert re.search(r"(?m)^USER tanyun$", text)


class Answer(BaseHTTPRequestHandler):
    """An InfluxDB that says 204 to /ping, and 500 to all else."""

    def do_GET(self) -> None:
        self.send_response(204 if self.path == "/ping" else 500)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Quiet."""


@pytest.fixture
def health() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "healthcheck"}
    exec(compile(HEALTH.read_text(encoding="utf-8"), str(HEALTH), "exec"), names)  # noqa: S102  a script, not a module
    return names


def test_the_health_check_tells_an_answer_from_a_fault(health: dict[str, Any]) -> None:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    try:
        assert health["projector"]({"influx": {"url": f"http://127.0.0.1:{port}"}}) is None
        assert "500" in health["api"]({"api": {"port": port}})
    finally:
        server.shutdown()
        server.server_close()
    assert "does not answer" in health["api"]({"api": {"port": port}})


def test_the_health_check_of_ingest_looks_for_the_brokers_connection(health: dict[str, Any]) -> None:
    table = (
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:1F40 00000000:0000 0A\n"
        "   1: 0200000A:9C40 0300000A:22B3 01\n"
    )
    assert health["connected_ports"](iter([table])) == {8883}


def test_the_health_check_of_the_stream_wants_a_ledger(health: dict[str, Any], tmp_path: Path) -> None:
    assert "cannot be read" in health["stream"]({"data": str(tmp_path)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root would write to /secrets")
def test_init_stops_without_a_registry() -> None:
    done = subprocess.run(
        ("sh", str(COMPOSE / "init.sh")),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath},
    )
    assert done.returncode == 78
    assert "park.toml" in done.stderr


def test_the_health_check_runs_alone() -> None:
    done = subprocess.run(
        (sys.executable, "-I", str(HEALTH), "nothing"), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
