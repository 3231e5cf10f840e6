"""The simulated park's Modbus/TCP servers: one per gateway, every meter's registers computed for the clock's now."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent.profile import Forbidden
from edge_agent.simulator.config import ServerSpec, SimulatorConfig
from edge_agent.simulator.dlt645_line import Dlt645Lines
from edge_agent.simulator.meters import Area, SimulatedMeter, build_meters, check_meters
from edge_agent.simulator.stepclock import StepClock
from edge_agent.system_time import wall_ms as system_now_ms

_log = logging.getLogger(__name__)

_READS = frozenset({3, 4})
_UNKNOWN_UNITS = 0
"""The SimDevice id that answers for every unit without a meter."""
_AHEAD_MS = 366 * 86_400_000


class MeterUnit:
    """A meter on the bus: keeps the register image of the last instant that was read."""

    def __init__(self, meter: SimulatedMeter, now_ms: Callable[[], int]) -> None:
        self._meter = meter
        self._now_ms = now_ms
        self._t_ms: int | None = None
        self._areas: dict[int, Area] = {}

    def device(self) -> SimDevice:
        """This meter as pymodbus serves it."""
        first = min(first for first, _count in self._meter.areas.values())
        end = max(first + count for first, count in self._meter.areas.values())
        memory = SimData(first, count=end - first, values=0, datatype=DataType.REGISTERS)
        return SimDevice(self._meter.spec.unit, simdata=[memory], action=self._answer)

    def read(self, fc: int, addr: int, count: int) -> list[int] | None:
        """The registers of a read; None for an address that the meter does not have. Gaps in its map read 0."""
        if fc not in self._meter.areas:
            return None
        first, length = self._meter.areas[fc]
        limits = self._meter.profile.limits
        if addr < first or addr + count > first + length or _refused(fc, addr, count, limits.forbidden):
            return None
        words = self._image()[fc].words
        return words[addr - first : addr - first + count]

    def _image(self) -> dict[int, Area]:
        now = self._now_ms()
        if now != self._t_ms:
            self._areas = self._meter.image(now)
            self._t_ms = now
        return self._areas

    async def _answer(
        self,
        function_code: int,
        start_address: int,
        address: int,
        count: int,
        current_registers: list[int],
        set_values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function_code not in _READS or set_values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        words = self.read(function_code, address, count)
        if words is None:
            return ExcCodes.ILLEGAL_ADDRESS
        at = address - start_address
        current_registers[at : at + count] = words
        return None


def _refused(fc: int, addr: int, count: int, areas: tuple[Forbidden, ...]) -> bool:
    return any(area.fc == fc and addr <= area.last and area.first < addr + count for area in areas)


async def _no_such_unit(*_request: object) -> ExcCodes:
    return ExcCodes.GATEWAY_NO_RESPONSE


class ModbusServers:
    """All servers of a park; an async context manager. `ports` tells which port each gateway's meters answer on."""

    def __init__(
        self, specs: Iterable[ServerSpec], meters: Iterable[SimulatedMeter], now_ms: Callable[[], int]
    ) -> None:
        self._specs = tuple(specs)
        units: dict[str, list[SimDevice]] = {spec.gateway: [] for spec in self._specs}
        for meter in meters:
            if meter.profile.protocol != "modbus":
                continue
            units[meter.spec.gateway].append(MeterUnit(meter, now_ms).device())
        self._units = units
        self._servers: list[ModbusTcpServer] = []
        self.ports: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        try:
            for spec in self._specs:
                await self._start(spec)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        for server in self._servers:
            await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        self._servers.clear()

    async def _start(self, spec: ServerSpec) -> None:
        anyone = SimData(0, count=0x10000, values=0, datatype=DataType.REGISTERS)
        devices = [
            SimDevice(_UNKNOWN_UNITS, simdata=[anyone], action=_no_such_unit),
            *self._units[spec.gateway],
        ]
        server = ModbusTcpServer(devices, address=(spec.host, spec.port))
        if not await server.listen() or not isinstance(server.transport, asyncio.Server):
            message = f"the meters of {spec.gateway} cannot listen on {spec.host}:{spec.port}"
            raise OSError(message)
        self._servers.append(server)
        self.ports[spec.gateway] = server.transport.sockets[0].getsockname()[1]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running simulator answers."""

    ports: Mapping[str, int]
    """Gateway → Modbus/TCP port of its meters."""
    clock_port: int | None
    """None without an accelerated clock."""
    dlt645_ports: Mapping[str, int]
    """Gateway → port of the line of its DL/T 645 meters, where it has some."""


async def run_simulator(
    config: SimulatorConfig,
    *,
    start_ms: int | None = None,
    clock_port: int = 0,
    state_file: Path | None = None,
    pace_s: float = 0.0,
    ready: Callable[[Endpoints], None] | None = None,
    now_ms: Callable[[], int] = system_now_ms,
) -> None:
    """Serve the park until SIGINT or SIGTERM.

    Args:
        start_ms: First tick of the accelerated clock; None runs at real time, without a clock server.
        clock_port: Loopback port of the clock server; 0 takes a free one.
        state_file: Where the clock keeps its tick, so that a restart continues.
        pace_s: Least real time between two ticks.
        ready: Called once everything listens.
        now_ms: The real time.

    Raises:
        SimulatorConfigError: When a meter cannot show what it will have counted a year from now.
        LoadFileError: For a mistaken load file.
        OSError: When a port is taken.
    """
    stop = _stop_on_signal()
    meters = build_meters(config).values()
    check_meters(meters, now_ms() + _AHEAD_MS)
    async with AsyncExitStack() as stack:
        clock: StepClock | None = None
        if start_ms is not None:
            gateways = [server.gateway for server in config.servers]
            clock = StepClock(gateways, start_ms, state_file=state_file, pace_s=pace_s, system_now_ms=now_ms)
        servers = await stack.enter_async_context(
            ModbusServers(config.servers, meters, clock.now_ms if clock else now_ms)
        )
        lines = await stack.enter_async_context(
            Dlt645Lines(config.servers, meters, clock.now_ms if clock else now_ms)
        )
        # Meters listen before the clock does: a gateway that is told a tick can poll it.
        if clock is not None:
            await stack.enter_async_context(clock.serve(clock_port))
        endpoints = Endpoints(servers.ports, clock.port if clock else None, lines.ports)
        _log.info(
            "simulated park listens ports=%s dlt645=%s clock=%s",
            dict(endpoints.ports), dict(endpoints.dlt645_ports), endpoints.clock_port,
        )  # fmt: skip
        if ready is not None:
            ready(endpoints)
        await stop.wait()


def _stop_on_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not the main thread (a test), or Windows: the caller cancels instead.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
    return stop
