"""The park over real Modbus/TCP, read by a client that is not pymodbus."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from pyModbusTCP.client import ModbusClient

from edge_agent.plan import plan
from edge_agent.profile import Register
from edge_agent.registers import decode
from edge_agent.simulator.config import SimulatorConfig, load_config
from edge_agent.simulator.meters import build_meters, expected_totals
from edge_agent.simulator.server import ModbusServers
from metering.reading_types import READING_TYPES, Kind
from metering.units import UNITS

REPO = Path(__file__).parents[2]
DEMO = load_config(REPO / "tanyun" / "demo" / "simulator.toml")
CONFIG = DEMO.model_copy(update={"servers": tuple(s.model_copy(update={"port": 0}) for s in DEMO.servers)})
EDGE_MS = 1_793_462_400_000


class Now:
    """The meters' time, moved by hand."""

    def __init__(self) -> None:
        self.t_ms = EDGE_MS

    def read(self) -> int:
        return self.t_ms


@contextmanager
def serving(config: SimulatorConfig, now: Now) -> Iterator[dict[str, int]]:
    """The servers in a thread of their own, because the client blocks."""
    ports: dict[str, int] = {}
    ready = Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with ModbusServers(config.servers, build_meters(config).values(), now.read) as servers:
            ports.update(servers.ports)
            ready.set()
            await stop.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def now() -> Now:
    return Now()


@pytest.fixture(scope="module")
def ports(now: Now) -> Iterator[dict[str, int]]:
    with serving(CONFIG, now) as found:
        yield found


def read(client: ModbusClient, fc: int, addr: int, count: int) -> list[int] | None:
    words: list[int] | None = (client.read_holding_registers if fc == 3 else client.read_input_registers)(
        addr, count
    )
    return words


@pytest.mark.parametrize("later_ms", [0, 900_000, 900_000 * 96 + 417])
def test_an_independent_client_reads_the_expected_totals(
    ports: dict[str, int], now: Now, later_ms: int
) -> None:
    now.t_ms = EDGE_MS + later_ms
    expected = expected_totals(CONFIG, now.t_ms)
    found = {}
    for meter in build_meters(CONFIG).values():
        client = ModbusClient(
            "127.0.0.1", ports[meter.spec.gateway], unit_id=meter.spec.unit, auto_close=True
        )
        for block in plan(meter.profile.registers, meter.profile.limits):
            words = read(client, block.fc, block.addr, block.count)
            assert words is not None, (meter.spec.id, block)
            for register, own in block.split(words):
                if not isinstance(register, Register):
                    continue
                if READING_TYPES[register.reading_type].kind is Kind.TOTAL:
                    raw = decode(register, own)
                    assert raw is not None
                    count = raw if register.resolution is None else round(raw * 10**-register.resolution)
                    step = UNITS[register.unit].factor * 10 ** (
                        register.scale + (register.resolution or 0) + 6
                    )
                    base = count * step * meter.spec.ct * meter.spec.pt // 10**6
                    found[meter.spec.id, register.reading_type] = base
        client.close()
    assert found == expected


@pytest.mark.parametrize(
    ("unit", "fc", "addr", "count", "exception"),
    [
        (2, 3, 800, 1, 0),  # hj-feeder: within the map, an unused register
        (2, 3, 817, 1, 2),
        (2, 3, 0, 1, 2),
        (2, 3, 808, 20, 2),
        (2, 4, 801, 4, 2),  # the map has no input registers
        (99, 3, 801, 4, 11),
    ],
)
def test_what_a_meter_does_not_have_answers_an_exception(
    ports: dict[str, int], unit: int, fc: int, addr: int, count: int, exception: int
) -> None:
    client = ModbusClient("127.0.0.1", ports["gw-hengjing"], unit_id=unit)
    assert (read(client, fc, addr, count) is None) == bool(exception)
    assert client.last_except == exception
    client.close()


def test_a_meter_refuses_to_be_written(ports: dict[str, int]) -> None:
    client = ModbusClient("127.0.0.1", ports["gw-hengjing"], unit_id=2)
    assert client.write_single_register(801, 7) is not True
    assert client.write_multiple_registers(801, [7, 7]) is not True
    assert client.last_except == 1
    assert client.read_coils(801, 1) is None
    client.close()


def test_a_port_that_is_taken_is_an_error_that_names_it(ports: dict[str, int], now: Now) -> None:
    taken = CONFIG.servers[0].model_copy(update={"port": ports["gw-hengjing"]})
    config = CONFIG.model_copy(update={"servers": (CONFIG.servers[1], taken, CONFIG.servers[2])})

    async def start() -> None:
        async with ModbusServers(config.servers, build_meters(config).values(), now.read):
            pass

    with pytest.raises(OSError, match=f"gw-hengjing cannot listen on 127.0.0.1:{ports['gw-hengjing']}"):
        asyncio.run(start())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_simulator_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from edge_agent.simulator.config import parse_config; from edge_agent.simulator.server import run_simulator\n"
        "meter = {'id': 'm', 'gateway': 'g', 'unit': 1, 'profile': 'abb_b23', 'load': {'kind': 'office', 'rated_w': 9}}\n"
        "config = parse_config({'seed': 's', 'servers': [{'gateway': 'g', 'port': 0}], 'meters': [meter]})\n"
        f"asyncio.run(run_simulator(config, start_ms={EDGE_MS}, ready=lambda ends: print(ends, flush=True)))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert "clock_port" in process.stdout.readline()
        process.send_signal(number)
        _out, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
