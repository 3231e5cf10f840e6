"""Simulated DL/T 645 meters: read by our own bus as an installer would, and byte by byte."""

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.assemble import Assembler
from edge_agent.bus import ModbusBus, ReadFailed, Refused
from edge_agent.config import Bus
from edge_agent.dlt645.clock import read_meter_time
from edge_agent.plan import Block, plan
from edge_agent.profile import load_profile
from edge_agent.profile_model import DLT645
from edge_agent.reader import Reader
from edge_agent.simulator.config import SimulatorConfig, SimulatorConfigError, load_config, parse_config
from edge_agent.simulator.dlt645_line import Dlt645Lines
from edge_agent.simulator.meters import build_meters, check_meters, expected_totals
from tests.fakes.mixed_line import dlt

NOW_MS = 1_793_462_400_000
GUIDE = Path(__file__).parents[2] / "docs" / "commission-a-meter.md"
METER = "202411110002"


def document(**changes: Any) -> dict[str, Any]:
    meter = {
        "id": "gate", "gateway": "gw", "address": METER, "profile": "dlt645_2007", "ct": "400/5",
        "initial": {"energy_import_total": 123_456_780_000}, "load": {"kind": "factory", "rated_w": 200_000},
    }  # fmt: skip
    other = {**meter, "id": "side", "address": "000000000001", "initial": {}}
    server = {"gateway": "gw", "port": 0, "dlt645_port": 0}
    return {"seed": "s", "servers": [server], "meters": [meter, other], **changes}


def talk(config: SimulatorConfig, test: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        meters = build_meters(config).values()
        check_meters(meters, NOW_MS)
        async with asyncio.timeout(30), Dlt645Lines(config.servers, meters, lambda: NOW_MS) as lines:
            await test(lines.ports["gw"])

    asyncio.run(run())


def bus(port: int) -> ModbusBus:
    return ModbusBus(Bus(id="b", kind="rtu_over_tcp", host="127.0.0.1", port=port, timeout_s=2, retries=0))


def test_our_bus_reads_what_the_meter_must_show() -> None:
    config = parse_config(document())
    profile = load_profile("dlt645_2007")

    async def read(port: int) -> None:
        line = bus(port)
        for meter in ("gate", "side"):
            spec = next(one for one in config.meters if one.id == meter)
            reader = Reader(meter, spec.address or "", plan(profile.registers, profile.limits))
            heard, error = await reader.read(line, lambda: NOW_MS)
            assert error is None
            readings = Assembler(profile.registers).readings(heard)
            assert len(readings) == len(profile.registers)
            found = {register.name: raw * 10.0**register.scale for register, _t, raw in readings}
            wh = expected_totals(config, NOW_MS)[meter, "energy_import_total"]
            # Registers count the secondary side, modulo 999,999.99 kWh.
            assert found["energy_import_total"] == pytest.approx(wh / 80 / 1000 % 1_000_000, abs=0.011)
            apparent = sum(found[f"voltage_l{i}"] * found[f"current_l{i}"] for i in (1, 2, 3)) / 1000
            assert found["power_active"] == pytest.approx(apparent * found["power_factor"], rel=0.03)
        line.close()

    talk(config, read)


def test_it_tells_the_time_its_address_and_what_it_does_not_have() -> None:
    async def read(port: int) -> None:
        line, ticks = bus(port), iter(range(100))
        assert (await read_meter_time(line, METER, lambda: float(next(ticks)))).t_ms == NOW_MS
        address = await line.read(METER, Block(DLT645, 0x04000401, 6, ()))
        assert bytes(address[::-1]).hex() == METER
        with pytest.raises(Refused, match="no_data"):
            await line.read(METER, Block(DLT645, 0x00010001, 4, ()))
        with pytest.raises(ReadFailed):
            await line.read("999999999998", Block(DLT645, 0x00010000, 4, ()), tries=1)
        line.close()

    talk(parse_config(document()), read)


def test_on_the_wire_it_is_the_standards_frames() -> None:
    """Framed by the tests' own writer; noise before it, in two pieces; the wildcard only where one meter hangs there."""
    alone = document()
    alone["meters"] = alone["meters"][:1]

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = b"\xfe\xfe" + dlt("A" * 12, 0x13, b"")
        writer.write(b"\x00\x68" + request[:5])
        await writer.drain()
        writer.write(request[5:])
        expected = b"\xfe" * 4 + dlt(METER, 0x93, bytes.fromhex(METER)[::-1])
        assert await reader.readexactly(len(expected)) == expected
        writer.write(dlt(METER, 0x14, b"\0" * 12))  # A write: refused, whatever it is.
        expected = b"\xfe" * 4 + dlt(METER, 0xD4, b"\x01")
        assert await reader.readexactly(len(expected)) == expected
        writer.close()

    talk(parse_config(alone), ask)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("address", None, "have an address of twelve digits, no others"),
        ("profile", "acrel_dtsd1352", "have an address of twelve digits, no others"),
        ("address", "000000000001", "is given 2 times"),
    ],
)
def test_what_does_not_fit_is_named(key: str, value: object, expected: str) -> None:
    wrong = document()
    wrong["meters"][0][key] = value
    with pytest.raises(SimulatorConfigError) as caught:
        parse_config(wrong)
    assert any(expected in mistake for mistake in caught.value.mistakes)


def test_a_meter_needs_a_line() -> None:
    with pytest.raises(SimulatorConfigError, match="has no dlt645_port"):
        parse_config(document(servers=[{"gateway": "gw", "port": 0}]))


def test_the_guides_park_of_one_meter_can_be_served(tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```toml\n")[1:]]
    [park] = [block for block in blocks if "dlt645_port" in block]
    [edge] = [block for block in blocks if "rtu_over_tcp" in block and "address" in block]
    file = tmp_path / "simulator.toml"
    file.write_text(park, encoding="utf-8")
    config = load_config(file)
    [server], meters = config.servers, {meter.id: meter for meter in config.meters}
    told = tomllib.loads(edge)
    lines = {bus["id"]: bus for bus in told["buses"]}
    assert {line["port"] for line in lines.values()} == {server.port, server.dlt645_port}
    for meter in told["meters"]:
        spec = meters[meter["id"]]
        assert (meter.get("address"), meter["profile"]) == (spec.address, spec.profile)
