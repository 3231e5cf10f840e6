"""The demo's folder: configuration of every process, generated secrets, one place for all data."""

import secrets
import shutil
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

from api.rights import ENTERPRISE_ONLY, Role
from edge_agent.profile import load_profile
from edge_agent.simulator.config import SimulatorConfig
from edge_agent.simulator.config import load_config as load_simulator
from edge_agent.simulator.stepclock import catch_up_again
from metering.i18n import _
from metering.registry import Park, load_registry
from tanyun import people
from tanyun.broker import SERVER_USER, BrokerPlan, is_free, plan_broker, read_password, write_private
from tanyun.commands.roles import server_children
from tanyun.config import load_server_config
from tanyun.supervisor import Child

MARK = ".tanyun-demo"
LIVE_POLL_S = 3
DEMO_USER = "demo"
_HOST = "127.0.0.1"
_FIRST_PORT, _STEP, _FOLDERS = 15020, 10, 1500
"""Every data folder begins at a port of its own, below those the system gives away: a demo that starts its meters again
finds no other's there."""
_GAUGES = (
    "power_active",
    "power_factor",
    *(f"{quantity}_l{phase}" for quantity in ("voltage", "current") for phase in (1, 2, 3)),
)
"""What operators watch besides the totals, where the meter has it."""


class DemoFolderError(ValueError):
    """The data folder cannot be the demo's (the user's fault)."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    data: Path
    out: Path | None
    port: int | None
    broker: str | None
    load_file: Path | None
    load_meter: str | None
    start_ms: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A prepared demo."""

    park: Park
    simulator: SimulatorConfig
    server_config: Path
    out: Path
    clock_port: int
    api_port: int
    broker: BrokerPlan
    login: tuple[str, str]
    """Name and password for the page."""
    children: tuple[Child, ...]


def claim(data: Path, *, fresh: bool) -> None:
    """Make the folder the demo's own; DemoFolderError when it holds something else."""
    mark = data / MARK
    if data.exists() and not mark.exists() and any(data.iterdir()):
        raise DemoFolderError(
            _("{folder} is not empty and not a demo's; name another with --data").format(folder=data)
        )
    if fresh and data.exists():
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)
    mark.touch()


def prepare(options: Options) -> Layout:
    """Write every configuration and plan every process."""
    data = options.data.resolve()
    sources = resources.files("tanyun") / "demo"
    for name in ("park.toml", "simulator.toml"):
        (data / name).write_text((sources / name).read_text(encoding="utf-8"), encoding="utf-8")
    park, simulator = load_registry(data / "park.toml"), load_simulator(data / "simulator.toml")
    ports = _ports(data, ["clock", "api", *(gateway.id for gateway in park.gateways)], options.port)
    (data / "simulator.toml").write_text(
        _with_ports(data / "simulator.toml", simulator, ports), encoding="utf-8"
    )
    simulator = load_simulator(data / "simulator.toml")
    if options.load_file is not None:
        simulator = simulator.driven_by(options.load_file, options.load_meter)
    broker = plan_broker(data, park, None, options.broker)
    catch_up_again(data / "clock.json")
    server = data / "server.toml"
    out = (options.out or data / "reports").resolve()
    server.write_text(_server_toml(data, out, broker, ports["api"]), encoding="utf-8")
    edges = [_edge(data, park, simulator, gateway.id, broker, ports) for gateway in park.gateways]
    children = (
        Child("broker", broker.argv, data / "log" / "broker.log"),
        Child("meters", _simulator_argv(data, options, ports["clock"]), data / "log" / "meters.log"),
        *server_children(server, data / "log"),
        *edges,
    )
    return Layout(park, simulator, server, out, ports["clock"], ports["api"], broker, login(server), children)


def login(server: Path) -> tuple[str, str]:
    """The page's user, who has every role of the park, with a password made once; and a key for machines beside it."""
    config = load_server_config(server)
    password, key = config.data / "secrets" / "page-password", config.data / "secrets" / "api-key"
    if not config.users.exists():
        park = load_registry(config.registry)
        roles = [role.value for role in Role if role not in ENTERPRISE_ONLY]
        grants = people.grants_for(park, roles, ())
        write_private(password, secrets.token_urlsafe(15) + "\n")
        people.acting_on(config).add(DEMO_USER, grants, read_password(password))
        write_private(key, people.acting_on(config).add_key("demo", grants)[1] + "\n")
    return DEMO_USER, read_password(password)


def _simulator_argv(data: Path, options: Options, clock_port: int) -> tuple[str, ...]:
    argv = [
        sys.executable, "-m", "tanyun", "simulator", "run", "--config", str(data / "simulator.toml"),
        "--start", str(options.start_ms), "--clock-port", str(clock_port), "--state", str(data / "clock.json"),
    ]  # fmt: skip
    if options.load_file is not None:
        argv += ["--load", str(options.load_file.resolve())]
    if options.load_meter is not None:
        argv += ["--load-meter", options.load_meter]
    return tuple(argv)


def _ports(data: Path, names: list[str], api_port: int | None) -> dict[str, int]:
    """Free loopback ports, the same as last time where they still are."""
    file = data / "ports.json"
    kept = msgspec.json.decode(file.read_bytes(), type=dict[str, int]) if file.exists() else {}
    ports: dict[str, int] = {}
    first = _FIRST_PORT + _STEP * (zlib.crc32(str(data).encode()) % _FOLDERS)
    for i, name in enumerate(names):
        wanted = (
            api_port if name == "api" and api_port else kept.get(name, 8000 if name == "api" else first + i)
        )
        while not is_free(wanted) or wanted in ports.values():
            if name == "api" and api_port:
                raise DemoFolderError(
                    _("port {port} is taken; name another with --port").format(port=api_port)
                )
            wanted += _STEP
        ports[name] = wanted
    file.write_bytes(msgspec.json.encode(ports))
    return ports


def _with_ports(file: Path, simulator: SimulatorConfig, ports: Mapping[str, int]) -> str:
    text = file.read_text(encoding="utf-8")
    for server in simulator.servers:
        head = f'gateway = "{server.gateway}"\nport = '
        text = text.replace(f"{head}{server.port}\n", f"{head}{ports[server.gateway]}\n")
    return text


def _server_toml(data: Path, out: Path, broker: BrokerPlan, api_port: int) -> str:
    return f"""# Written by `tanyun demo`.
registry = "park.toml"
data = "."
reports = "{out}"

[broker]
host = "{_HOST}"
port = {broker.port}
user = "{SERVER_USER}"
password_file = "{broker.users[SERVER_USER].relative_to(data)}"

[api]
host = "{_HOST}"
port = {api_port}
"""


def _edge(
    data: Path,
    park: Park,
    simulator: SimulatorConfig,
    gateway: str,
    broker: BrokerPlan,
    ports: Mapping[str, int],
) -> Child:
    """A gateway's configuration, and the process that runs it."""
    wanted = {meter.id: [*meter.roles, *_shown(meter.profile)] for meter in park.meters}
    meters = "".join(
        f'\n[[meters]]\nid = "{m.id}"\nbus = "line"\nunit = {m.unit}\nprofile = "{m.profile}"\nread = {_list(wanted[m.id])}\n'
        for m in simulator.meters
        if m.gateway == gateway
    )
    text = f"""# Written by `tanyun demo`.
park = "{park.id}"
gateway = "{gateway}"
poll_interval_s = {LIVE_POLL_S}

[broker]
host = "{_HOST}"
port = {broker.port}
user = "{gateway}"
password_file = "{broker.users[gateway].relative_to(data)}"

[outbox]
path = "outbox-{gateway}.db"

[publish]
totals_every_s = {LIVE_POLL_S}
monthly_mb = 0

[clock]
source = "stepped"
port = {ports["clock"]}

[[buses]]
id = "line"
host = "{_HOST}"
port = {ports[gateway]}
timeout_s = 3
{meters}"""
    file = data / f"edge-{gateway}.toml"
    file.write_text(text, encoding="utf-8")
    argv = (sys.executable, "-m", "tanyun", "edge", "run", "--config", str(file))
    return Child(f"edge {gateway}", argv, data / "log" / f"edge-{gateway}.log")


def _shown(profile: str) -> list[str]:
    """The gauges that a meter of this profile has."""
    known = {register.reading_type for register in load_profile(profile).registers}
    return [name for name in _GAUGES if name in known]


def _list(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
