"""The edge agent's buses against what the wire and a bare client allow. Each figure is a ratio in one run.

- `tcp_vs_bare_pymodbus`: polls per CPU second of our poller (reads, checks, decoding, the frame's body) over those of a bare
  pymodbus loop that does the same block reads and drops the words. The simulator's real Modbus/TCP server, in a process of
  its own; median of interleaved rounds.
- `registers_per_s`: registers that our poller reads and decodes per CPU second, in the same rounds.
- `rtu_9600_wire_share`, `rtu_19200_wire_share`: reads per second over the most that the wire allows, against a peer behind a
  pseudo terminal that takes a line's time for every character. With N registers in a reply, characters of 10 bits (8N1) and
  3.5 characters of silence before and behind the reply:

      seconds per read >= (8 + 3.5 + (5 + 2 N) + 3.5) x 10 / baud

  The peer ignores a request that breaks the silence, as real ones do; so too early costs more than too late.
- `dead_slave_others_share`: reads per second of nine units of a 9600 baud line beside a dead tenth, over those of the same
  nine while all ten live. The line is polled without a pause. The window begins when the breaker has opened and holds
  probes; `dead_slave_opening_s` is what the dead unit cost before, once.

- `drain_readings_per_s`, `rss_mb`: a month of 32 meters, from one gateway process to stored acks (`_backlog.py`).
- `mb_per_month`: what 32 meters cost on a mobile connection, by default settings (`_mobile.py`).

Usage: scripts/bench edge [buses|backlog|mobile]
"""

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pymodbus.client import AsyncModbusTcpClient

from benchmarks import _backlog, _mobile
from edge_agent.bus import ModbusBus
from edge_agent.clock import SystemClock
from edge_agent.config import Bus, EdgeConfig
from edge_agent.device import make_device
from edge_agent.outbox import Outbox
from edge_agent.plan import Block, plan
from edge_agent.poller import Poller
from edge_agent.profile import load_profile
from edge_agent.simulator.config import load_config
from edge_agent.simulator.meters import build_meters
from edge_agent.simulator.server import ModbusServers
from metering.config import validate

DEMO = load_config(Path(__file__).parents[1] / "tanyun" / "demo" / "simulator.toml")
NOW_MS: Final = 1_793_462_400_000
ROUNDS, ROUND_S = 7, 0.8
RTU_S, DEAD_S = 4.0, 20.0
REGISTERS = 20
REQUEST_SIZE = 8
UNITS = 10


# The simulator's meters, in a process of their own


async def serve_meters() -> None:
    """All meters of the demo at one fixed time; prints the ports."""
    servers = tuple(spec.model_copy(update={"port": 0}) for spec in DEMO.servers)
    async with ModbusServers(servers, build_meters(DEMO).values(), lambda: NOW_MS) as running:
        print(json.dumps(running.ports), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def child(*argv: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """This file in another process, until its stdin is closed."""
    command = [sys.executable, "-m", "benchmarks.edge", *argv]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def poller_for(folder: Path, buses: list[dict[str, object]], meters: list[dict[str, object]]) -> Poller:
    """A poller with an outbox of its own."""
    folder.mkdir(exist_ok=True)
    document: dict[str, object] = {
        "park": "park",
        "gateway": "gw",
        "broker": {"user": "gw", "password_file": "none"},
        "outbox": {"path": "outbox.db"},
        "publish": {"totals_every_s": 1, "monthly_mb": 0},
        "buses": buses,
        "meters": meters,
    }
    config = validate(document, EdgeConfig, "edge.toml", folder)
    outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
    profiles = config.profiles()
    devices = [make_device(meter, profiles[meter.id], outbox) for meter in config.meters]
    return Poller(config, devices, outbox, SystemClock())


async def bare_loop(client: AsyncModbusTcpClient, blocks: list[tuple[int, Block]]) -> None:
    """One poll as a script would do it."""
    for unit, block in blocks:
        ask = client.read_holding_registers if block.fc == 3 else client.read_input_registers
        answer = await ask(block.addr, count=block.count, device_id=unit)
        assert len(answer.registers) == block.count


async def tcp(folder: Path) -> dict[str, float]:
    """Our poller and the bare loop in turns, on the same server."""
    with child("--meters") as process:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        gateway = DEMO.servers[0].gateway
        specs = [meter.spec for meter in build_meters(DEMO).values() if meter.spec.gateway == gateway]
        meters: list[dict[str, object]] = [
            {"id": spec.id, "bus": "line", "unit": spec.unit, "profile": spec.profile} for spec in specs
        ]
        port = ports[gateway]
        poller = poller_for(folder, [{"id": "line", "host": "127.0.0.1", "port": port}], meters)
        profiles = {spec.unit: load_profile(spec.profile) for spec in specs}
        blocks = [
            (unit, block)
            for unit, profile in profiles.items()
            for block in plan(profile.registers, profile.limits)
        ]
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        assert await client.connect()
        bus = ModbusBus(Bus(id="line", host="127.0.0.1", port=port))
        ticks = itertools.count(NOW_MS, 1000)

        async def tick() -> int:
            """What one tick does, without waiting for it and without the disk."""
            return len(poller._drafts(await poller._poll(), next(ticks)))  # noqa: SLF001

        assert await tick() == len(specs)
        ours, alone, bare = [], [], []
        for _round in range(ROUNDS):
            ours.append(await _rate(tick))
            alone.append(await _rate(lambda: _read_all(bus, blocks)))
            bare.append(await _rate(lambda: bare_loop(client, blocks)))
        client.close()
        bus.close()
        poller.close()
    words = sum(block.count for _unit, block in blocks)
    cpu, wall = 0, 1
    return {
        "tcp_vs_bare_pymodbus": statistics.median(a[cpu] / b[cpu] for a, b in zip(ours, bare, strict=True)),
        "tcp_vs_bare_pymodbus_by_the_clock": statistics.median(
            a[wall] / b[wall] for a, b in zip(ours, bare, strict=True)
        ),
        "bus_alone_vs_bare_pymodbus": statistics.median(
            a[cpu] / b[cpu] for a, b in zip(alone, bare, strict=True)
        ),
        "registers_per_s": statistics.median(a[cpu] for a in ours) * words,
        "registers_per_s_by_the_clock": statistics.median(a[wall] for a in ours) * words,
    }


async def _read_all(bus: ModbusBus, blocks: list[tuple[int, Block]]) -> None:
    for unit, block in blocks:
        await bus.read(unit, block)


async def _rate(poll: Any) -> tuple[float, float]:
    """Polls per second of CPU, and by the clock."""
    count, cpu_s, begun_s = 0, time.process_time(), time.monotonic()
    while time.monotonic() - begun_s < ROUND_S:
        await poll()
        count += 1
    return count / (time.process_time() - cpu_s), count / (time.monotonic() - begun_s)


# A line that takes its time


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _bit in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def serve_line(master: int, baud: int, dead: int) -> None:
    """Answer every read of a live unit as a line of this speed would; a request that breaks the silence is lost."""
    character_s = 10 / baud
    silent_from_s = 0.0
    print(flush=True)  # It listens.
    while request := os.read(master, 64):
        heard_s = time.monotonic()
        if len(request) != REQUEST_SIZE:
            continue  # Two at once: the one drowned the other.
        unit, fc, count = request[0], request[1], request[5]
        if heard_s < silent_from_s + 3.5 * character_s or unit == dead:
            continue
        body = bytes((unit, fc, 2 * count)) + bytes(2 * count)
        reply = body + crc(body)
        first_s = heard_s + (REQUEST_SIZE + 3.5) * character_s
        # In portions, as a UART's buffer hands them over; the last one when its last bit has come.
        for at in range(0, len(reply), 14):
            part = reply[at : at + 14]
            time.sleep(max(0.0, first_s + (at + len(part)) * character_s - time.monotonic()))
            os.write(master, part)
        silent_from_s = first_s + len(reply) * character_s


@contextmanager
def line(baud: int, dead: int = 0) -> Iterator[str]:
    """The path of a pseudo terminal with such a line behind it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with child("--line", str(master), str(baud), str(dead), pass_fds=(master,)) as peer:
        assert peer.stdout is not None
        peer.stdout.readline()
        yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


async def wire_share(baud: int) -> float:
    """Reads done over reads that the wire allows."""
    least_s = (REQUEST_SIZE + 3.5 + 5 + 2 * REGISTERS + 3.5) * 10 / baud
    with line(baud) as device:
        bus = ModbusBus(Bus.model_validate({"id": "b", "kind": "rtu", "device": device, "baud": baud}))
        block = Block(3, 0, REGISTERS, ())
        await bus.read(1, block)
        shares = []
        for _round in range(3):
            count, begun_s = 0, time.monotonic()
            while time.monotonic() - begun_s < RTU_S / 3:
                await bus.read(1, block)
                count += 1
            shares.append(count * least_s / (time.monotonic() - begun_s))
        bus.close()
    return statistics.median(shares)


def toy_profile(folder: Path) -> str:
    """A block of 20 registers."""
    text = """vendor = "T"\nmodel = "T"\nrevision = 1\nkind = "electricity"\nratio_applied_in_meter = true
[limits]\ngap = 100\n[sources]\nS = "made up"\n"""
    for name, addr in (("voltage_l1", 0), ("voltage_l2", REGISTERS - 2)):
        text += (
            f'[[register]]\nreading_type = "{name}"\naddr = {addr}\nfc = 3\ntype = "float32"\nunit = "V"\n'
        )
        text += 'source = ["S"]\nconfidence = "A"\n'
    folder.mkdir()
    (folder / "toy.toml").write_text(text, encoding="utf-8")
    return "toy.toml"


async def others_rate(folder: Path, dead: int) -> tuple[float, float]:
    """Reads per second of the nine units that are not the tenth, and how long the breaker took to open."""
    profile = toy_profile(folder)
    with line(9600, dead) as device:
        buses: list[dict[str, object]] = [{"id": "b", "kind": "rtu", "device": device}]
        meters: list[dict[str, object]] = [
            {"id": f"m{unit}", "bus": "b", "unit": unit, "profile": profile} for unit in range(1, UNITS + 1)
        ]
        poller = poller_for(folder, buses, meters)
        [devices] = poller._on_bus.values()  # noqa: SLF001
        tenth = devices[-1]
        opening_s = time.monotonic()
        while dead and not tenth.breaker.is_open:
            await poller._poll()  # noqa: SLF001
        begun_s, reads = time.monotonic(), 0
        while time.monotonic() - begun_s < DEAD_S:
            reads += sum(device is not tenth for device, _readings in await poller._poll())  # noqa: SLF001
        took_s = time.monotonic() - begun_s
        poller.close()
    return reads / took_s, begun_s - opening_s


async def buses() -> dict[str, float]:
    """What the buses give."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = await tcp(folder)
        for baud in (9600, 19200):
            figures[f"rtu_{baud}_wire_share"] = await wire_share(baud)
        alive, _opening_s = await others_rate(folder / "alive", 0)
        beside, opening_s = await others_rate(folder / "dead", UNITS)
    return {**figures, "dead_slave_others_share": beside / alive, "dead_slave_opening_s": opening_s}


def measure(parts: Sequence[str]) -> dict[str, float]:
    """The figures of some parts, or of all."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # the broker's own user reads its files in it
        if not parts or "buses" in parts:
            figures |= asyncio.run(buses())
        if not parts or "backlog" in parts:
            figures |= _backlog.measure(Path(name) / "backlog")
        if not parts or "mobile" in parts:
            figures |= _mobile.measure(Path(name) / "mobile")
    return figures


def main() -> None:
    """Run and print."""
    if sys.argv[1:2] == ["--meters"]:
        asyncio.run(serve_meters())
    elif sys.argv[1:2] == ["--line"]:
        serve_line(*map(int, sys.argv[2:5]))
    else:
        figures = measure(sys.argv[1:])
        for name, value in figures.items():
            print(f"{name:36} {value:12.3f}")
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
