"""The poller over real sockets: against pyModbusTCP (a server that we did not write) and a peer that answers wrongly."""

import asyncio
import logging
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyModbusTCP.constants import EXP_ILLEGAL_FUNCTION
from pyModbusTCP.server import DataHandler, ModbusServer

from edge_agent.device import Device, make_device
from edge_agent.outbox import Outbox
from edge_agent.poller import Poller
from edge_agent.timekeeper import Offset
from metering.frames import TimeSource
from tests.fakes.gateway import config_for, toy_profile
from tests.fakes.modbus_peer import Request, frame, modbus_peer, refusal, reply
from tests.fakes.sparkplug_proto import parse, value_of
from tests.loopback import free_port

TICK = 1_793_462_400_000
TOTAL, POWER, VOLTS = 0x0001_86A3, -42, 229.75
WORDS = {
    (3, 10): [0x0001, 0x86A3],
    (3, 60): [POWER & 0xFFFF],
    (4, 60): list(struct.unpack(">HH", struct.pack(">f", VOLTS))),
}
"""(function code, address) → what the toy profile's blocks read."""
EVERYTHING = {"energy_import_total": TOTAL, "power_active": POWER, "voltage_l1": VOLTS}


class HandClock:
    """Time that a test moves: one poll for each tick it puts in."""

    def __init__(self) -> None:
        self.due: asyncio.Queue[int] = asyncio.Queue()
        self.done: asyncio.Queue[int] = asyncio.Queue()
        self.stepped = False
        self.period_ms = 15_000
        self._now = TICK

    def now_ms(self) -> int:
        return self._now

    def read_ms(self) -> int:
        return self._now

    def offset(self) -> Offset:
        return Offset(0, TimeSource.NTP)

    async def next_poll(self, period_ms: int) -> int:
        assert period_ms == self.period_ms
        self._now = await self.due.get()
        return self._now

    async def polled(self, t_ms: int) -> None:
        await self.done.put(t_ms)


class Bench:
    """A poller with one device for each endpoint, polled at will."""

    def __init__(self, folder: Path, ports: Iterable[int], units: int = 1, **bus: object) -> None:
        ports = list(ports)
        buses = [{"id": f"b{i}", "host": "127.0.0.1", "port": port, **bus} for i, port in enumerate(ports)]
        meters = [
            {"id": f"m{i * units + unit}", "bus": f"b{i}", "unit": unit + 1, "profile": "toy.toml"}
            for i in range(len(ports))
            for unit in range(units)
        ]
        config = config_for(folder, 1883, buses=buses, meters=meters)
        self.outbox = Outbox(config.outbox.path, 1_000_000_000)
        self.devices = [make_device(meter, toy_profile(), self.outbox) for meter in config.meters]
        self.clock = HandClock()
        self.poller = Poller(config, self.devices, self.outbox, self.clock)
        self.ticks = 0

    async def poll(self) -> dict[str, dict[str, int | float]]:
        """One poll: meter → reading type → raw value, as it stands in the outbox."""
        before = self.outbox.last
        self.clock.due.put_nowait(TICK + self.ticks * 15_000)
        self.ticks += 1
        await asyncio.wait_for(self.clock.done.get(), 20)
        frames = self.outbox.after(before, 100)[0]
        if self.clock.period_ms == 15_000:
            assert all(frame.t_ms == self.clock.now_ms() for frame in frames)
        return {
            self._meter(frame.declaration).meter.id: self._values(frame.declaration, frame.body)
            for frame in frames
        }

    def _meter(self, declaration: int) -> Device:
        return next(device for device in self.devices if device.declaration == declaration)

    def _values(self, declaration: int, body: bytes) -> dict[str, int | float]:
        names = {alias: name for name, alias in self._meter(declaration).aliases.readings.items()}
        return {
            names[metric.alias]: _signed(names[metric.alias], value_of(metric))
            for metric in parse(body).metrics
        }


def _signed(name: str, value: Any) -> int | float:
    number: int | float = value
    return value - (1 << 32) if name == "power_active" and value >> 31 else number


@asynccontextmanager
async def polling(folder: Path, *ports: int, units: int = 1, **bus: object) -> AsyncIterator[Bench]:
    bench = Bench(folder, ports, units, **{"timeout_s": 0.1, "retries": 0, **bus})
    task = asyncio.ensure_future(bench.poller.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bench.poller.close()
        await asyncio.sleep(0)
        bench.outbox.close()


@contextmanager
def foreign_server(handler: DataHandler | None = None) -> Iterator[tuple[ModbusServer, int]]:
    port = free_port()
    server = ModbusServer("127.0.0.1", port, no_block=True, data_hdl=handler)
    server.start()
    for (fc, addr), words in WORDS.items():
        write = server.data_bank.set_holding_registers if fc == 3 else server.data_bank.set_input_registers
        write(addr, words)
    try:
        yield server, port
    finally:
        server.stop()


class RefusesInputs(DataHandler):  # type: ignore[misc]  # pyModbusTCP is untyped
    """A meter without function code 4."""

    def read_i_regs(self, *_args: Any) -> Any:
        return DataHandler.Return(exp_code=EXP_ILLEGAL_FUNCTION)


def right(request: Request) -> Iterable[bytes]:
    return [reply(request, WORDS[request.fc, request.addr])]


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def test_the_values_of_a_foreign_server_reach_the_outbox_unchanged(tmp_path: Path) -> None:
    async def test() -> None:
        with foreign_server() as (server, port):
            async with polling(tmp_path, port, timeout_s=2) as bench:
                assert await bench.poll() == {"m0": EVERYTHING}
                server.data_bank.set_holding_registers(10, [0xFFFF, 0xFFFF])
                assert (await bench.poll())["m0"]["energy_import_total"] == 0xFFFF_FFFF
                assert bench.devices[0].latest["energy_import_total"] == (TICK + 15_000, 0xFFFF_FFFF)

    run(test)


def test_an_exception_on_one_block_costs_only_that_block(tmp_path: Path) -> None:
    async def test() -> None:
        with foreign_server(RefusesInputs()) as (_server, port):
            async with polling(tmp_path, port, timeout_s=2) as bench:
                expected = {"energy_import_total": TOTAL, "power_active": POWER}
                assert await bench.poll() == {"m0": expected}

    run(test)


def test_a_silent_block_costs_only_that_block(tmp_path: Path) -> None:
    def answer(request: Request) -> Iterable[bytes]:
        return [] if (request.fc, request.addr) == (3, 10) else right(request)

    async def test() -> None:
        async with modbus_peer(answer) as port, polling(tmp_path, port) as bench:
            assert await bench.poll() == {"m0": {"power_active": POWER, "voltage_l1": VOLTS}}

    run(test)


def test_a_value_the_meter_marks_as_none_is_left_out(tmp_path: Path) -> None:
    def answer(request: Request) -> Iterable[bytes]:
        return [reply(request, [0x7FC0, 0])] if request.fc == 4 else right(request)  # a float NaN

    async def test() -> None:
        async with modbus_peer(answer) as port, polling(tmp_path, port) as bench:
            assert set((await bench.poll())["m0"]) == {"energy_import_total", "power_active"}

    run(test)


@pytest.mark.parametrize("dead", ["refuses", "accepts and is silent"])
def test_a_dead_endpoint_costs_the_others_a_bounded_time(tmp_path: Path, dead: str) -> None:
    """At most blocks x (retries + 1) x timeout_s, and the other endpoint's values are there."""

    async def test() -> None:
        async with modbus_peer(lambda _: []) as silent, modbus_peer(right) as port:
            gone = free_port() if dead == "refuses" else silent
            async with polling(tmp_path, gone, port, retries=1) as bench:
                begun = time.monotonic()
                assert await bench.poll() == {"m1": EVERYTHING}
                assert time.monotonic() - begun < 3 * 2 * 0.1 + 0.6

    run(test)


WRONG: dict[str, Callable[[Request], Iterable[bytes]]] = {
    "one register too few": lambda r: [reply(r, [7] * (r.words - 1))],
    "one register too many": lambda r: [reply(r, [7] * (r.words + 1))],
    "no register": lambda r: [reply(r, [])],
    "another transaction": lambda r: [reply(r._replace(transaction=r.transaction + 1), [7] * r.words)],
    "the transaction before": lambda r: [reply(r._replace(transaction=r.transaction - 1), [7] * r.words)],
    "another unit": lambda r: [reply(r._replace(unit=9), [7] * r.words)],
    "another function code": lambda r: [reply(r._replace(fc=7 - r.fc), [7] * r.words)],
    "a byte count beyond the frame": lambda r: [
        frame(r.transaction, r.unit, bytes((r.fc, 200)) + bytes(2 * r.words))
    ],
    "a header longer than the frame": lambda r: [
        frame(r.transaction, r.unit, bytes((r.fc, 2, 0, 7)), length=250)
    ],
    "an unknown function code": lambda r: [frame(r.transaction, r.unit, bytes((0x63, 2, 0, 7)))],
    "noise": lambda _: [b"\xff" * 40],
    "a refusal": lambda r: [refusal(r, 2)],
    "an empty pdu": lambda r: [frame(r.transaction, r.unit, b"")],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_never_decodes_as_data_and_the_next_poll_is_right(tmp_path: Path, wrong: str) -> None:
    broken = True

    def answer(request: Request) -> Iterable[bytes]:
        return WRONG[wrong](request) if broken and request.addr == 10 else right(request)

    async def test() -> None:
        nonlocal broken
        async with modbus_peer(answer) as port, polling(tmp_path, port) as bench:
            first = (await bench.poll()).get("m0", {})
            assert "energy_import_total" not in first
            assert first.items() <= EVERYTHING.items()
            broken = False
            assert await bench.poll() == {"m0": EVERYTHING}

    run(test)


def test_a_late_answer_to_one_block_is_not_taken_for_another(tmp_path: Path) -> None:
    """The first try's answer comes while the next block, of the same length, is outstanding."""
    late: list[bytes] = []

    def answer(request: Request) -> Iterable[bytes]:
        if (request.fc, request.addr) == (3, 10) and not late:
            late.append(reply(request, [0x0BAD, 0x0BAD]))
            return []
        return [*late, *right(request)] if request.fc == 4 else right(request)

    async def test() -> None:
        async with modbus_peer(answer) as port, polling(tmp_path, port, retries=2) as bench:
            assert await bench.poll() == {"m0": EVERYTHING}
            assert late

    run(test)


def test_a_late_answer_without_a_transaction_number_is_not_taken_for_another(tmp_path: Path) -> None:
    """Some converters answer with transaction 0: then nothing tells a late answer from the right one, so it is passed over."""

    def answer(request: Request) -> Iterable[bytes]:
        late = reply(request._replace(transaction=0), [0x0BAD] * request.words)
        return [late, *right(request)] if request.addr == 60 else right(request)

    async def test() -> None:
        async with modbus_peer(answer) as port, polling(tmp_path, port) as bench:
            assert await bench.poll() == {"m0": EVERYTHING}

    run(test)


def test_lost_and_recovered_are_logged_once_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    there = True

    async def test() -> None:
        nonlocal there
        async with modbus_peer(lambda r: right(r) if there else []) as port, polling(tmp_path, port) as bench:
            for state in (True, True, False, False, False, True, True, False, True):
                there = state
                assert bool(await bench.poll()) == state

    with caplog.at_level(logging.INFO, "tanyun.edge"):
        run(test)
    events = [record.getMessage().split()[0] for record in caplog.records if record.name == "tanyun.edge"]
    first, second = ["meter_lost", "meter_asked_seldom", "meter_recovered"], ["meter_lost", "meter_recovered"]
    assert events == first + second


def test_of_a_line_the_live_units_are_read_first_and_the_dead_one_costs_little(tmp_path: Path) -> None:
    asked: list[int] = []

    def answer(request: Request) -> Iterable[bytes]:
        asked.append(request.unit)
        return [] if request.unit == 1 else right(request)

    async def test() -> None:
        async with modbus_peer(answer) as port, polling(tmp_path, port, units=4, retries=1) as bench:
            live = {f"m{i}": EVERYTHING for i in (1, 2, 3)}
            assert await bench.poll() == live
            asked.clear()
            assert await bench.poll() == live
            assert asked[:9] == [2] * 3 + [3] * 3 + [4] * 3
            await bench.poll()
            await bench.poll()  # the breaker is open, and its first probe made
            asked.clear()
            begun = time.monotonic()
            for _poll in range(5):
                assert await bench.poll() == live
            assert asked.count(1) == 0
            assert time.monotonic() - begun < 1

    run(test)


def test_a_bus_that_is_not_ready_in_time_does_not_hold_up_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = True

    def answer(request: Request) -> Iterable[bytes | float]:
        return [*([0.1] if slow else []), *right(request)]

    async def test() -> None:
        nonlocal slow
        async with (
            modbus_peer(answer) as late,
            modbus_peer(right) as port,
            polling(tmp_path, late, port, timeout_s=2) as bench,
        ):
            bench.poller._period_ms = 100
            bench.clock.period_ms = 100
            seen = [set(await bench.poll()) for _poll in range(8)]
            assert all("m1" in meters for meters in seen)
            assert 1 <= sum("m0" in meters for meters in seen) < 8
            slow = False
            await bench.poll()
            await bench.poll()
            assert await bench.poll() == {"m0": EVERYTHING, "m1": EVERYTHING}

    run(test)
    events = [record.getMessage().split()[0] for record in caplog.records if record.name == "tanyun.edge"]
    assert (events[0], events[-1]) == ("bus_behind", "bus_in_time")


def test_while_time_stands_still_a_failed_read_is_tried_again(tmp_path: Path) -> None:
    seen = 0

    def answer(request: Request) -> Iterable[bytes]:
        nonlocal seen
        seen += 1
        return [] if seen < 8 else right(request)

    async def test() -> None:
        async with modbus_peer(answer) as port, polling(tmp_path, port) as bench:
            bench.clock.stepped = True
            assert await bench.poll() == {"m0": EVERYTHING}

    run(test)


def test_a_poll_that_the_disk_does_not_take_is_a_gap_and_not_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with modbus_peer(right) as port, polling(tmp_path, port) as bench:
            blocker = Outbox(tmp_path / "outbox.db", 1_000_000_000)
            bench.outbox._db.execute("PRAGMA busy_timeout=0")
            with blocker._transaction():  # SQLite refuses a second writer as it refuses a full disk
                bench.clock.due.put_nowait(TICK)
                while not bench.poller._outbox_failing:  # noqa: ASYNC110  the poller tells nobody else
                    await asyncio.sleep(0.01)
            blocker.close()
            assert await bench.poll() == {"m0": EVERYTHING}

    run(test)
    events = [record.getMessage().split()[0] for record in caplog.records if record.name == "tanyun.edge"]
    assert events == ["outbox_lost", "outbox_recovered"]
