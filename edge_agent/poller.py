"""The poller: on every tick, read every meter of every bus, and put what they said into the outbox as one poll."""

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec

from edge_agent.births import DeviceAliases, declaration, device_aliases, readings_body
from edge_agent.bus import ModbusBus, ReadFailed
from edge_agent.clock import Clock
from edge_agent.config import EdgeConfig, PolledMeter
from edge_agent.outbox import Draft, Outbox, OutboxError
from edge_agent.plan import Block, plan, select
from edge_agent.profile import Profile, Register
from edge_agent.registers import decode

log = logging.getLogger("tanyun.edge")
_REST_S = 0.5
"""After a poll that could not be stored: a stepped clock gives the same tick again at once."""
STEPPED_PATIENCE_S = 20.0
_STEPPED_PAUSE_S = 0.2
"""While time stands still, a meter that answered until now is tried again without costing the others a reading."""

Reading = tuple[Register, int, int | float]


class Device(msgspec.Struct):
    """A meter as this gateway reads it."""

    meter: PolledMeter
    profile: Profile
    registers: tuple[Register, ...]
    blocks: tuple[Block, ...]
    aliases: DeviceAliases
    declaration: int
    latest: dict[str, tuple[int, int | float]]
    """Reading type → (time, raw value) of its newest read, for births."""
    failing: bool = False


def make_device(meter: PolledMeter, profile: Profile, outbox: Outbox) -> Device:
    """A device with its reads planned and its metrics declared."""
    registers = select(profile, meter.read)
    aliases = device_aliases(outbox, meter.id, profile, registers)
    declared = outbox.declare(meter.id, declaration(aliases, profile, registers))
    return Device(meter, profile, registers, plan(registers, profile.limits), aliases, declared, {})


class Poller:
    """Reads all devices; buses at the same time, the meters of a bus one after the other."""

    def __init__(self, config: EdgeConfig, devices: Sequence[Device], outbox: Outbox, clock: Clock) -> None:
        self._buses = {bus.id: ModbusBus(bus) for bus in config.buses}
        self._devices, self._outbox, self._clock = devices, outbox, clock
        self._period_ms = config.poll_interval_s * 1000
        self._outbox_failing = False
        self.stored = asyncio.Event()
        """Set after every poll that has reached the outbox."""

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            t_ms = await self._clock.next_poll(self._period_ms)
            if await self._store(await self._poll(), t_ms):
                await self._clock.polled(t_ms)
                self.stored.set()
            else:
                await asyncio.sleep(_REST_S)

    async def _store(self, drafts: list[Draft], t_ms: int) -> bool:
        """False when the disk took nothing: that poll is a gap, which the totals of the next one bridge."""
        try:
            await asyncio.to_thread(self._outbox.append, drafts, t_ms)
        except OutboxError as error:
            if not self._outbox_failing:
                log.error("outbox_lost error=%s", error)  # noqa: TRY400  the sentence says it all
            self._outbox_failing = True
            return False
        if self._outbox_failing:
            log.warning("outbox_recovered")
        self._outbox_failing = False
        return True

    def close(self) -> None:
        """Close the buses."""
        for bus in self._buses.values():
            bus.close()

    async def _poll(self) -> list[Draft]:
        by_bus: dict[str, list[Device]] = {name: [] for name in self._buses}
        for device in self._devices:
            by_bus[device.meter.bus].append(device)
        polls = [self._poll_bus(self._buses[name], devices) for name, devices in by_bus.items()]
        return [draft for drafts in await asyncio.gather(*polls) for draft in drafts]

    async def _poll_bus(self, bus: ModbusBus, devices: Sequence[Device]) -> list[Draft]:
        return [draft for device in devices if (draft := await self._poll_device(bus, device)) is not None]

    async def _poll_device(self, bus: ModbusBus, device: Device) -> Draft | None:
        patience_s = STEPPED_PATIENCE_S if self._clock.stepped and not device.failing else 0.0
        deadline = time.monotonic() + patience_s
        readings, error = await self._read(bus, device)
        while error is not None and time.monotonic() < deadline:
            await asyncio.sleep(_STEPPED_PAUSE_S)
            readings, error = await self._read(bus, device)
        _log_transition(device, error)
        if not readings:
            return None
        device.latest.update({register.reading_type: (t_ms, raw) for register, t_ms, raw in readings})
        return Draft(
            device.declaration, max(t_ms for _, t_ms, _ in readings), readings_body(device.aliases, readings)
        )

    async def _read(self, bus: ModbusBus, device: Device) -> tuple[list[Reading], str | None]:
        """Every block that answers, each with its own time; the last error. A failing block costs the others nothing."""
        readings: list[Reading] = []
        failure = None
        for block in device.blocks:
            try:
                words = await bus.read(device.meter.unit, block)
            except ReadFailed as error:
                failure = str(error)
                continue
            readings += _decoded(block, words, self._clock.now_ms())
        return readings, failure


def _decoded(block: Block, words: Sequence[int], t_ms: int) -> list[Reading]:
    values = ((register, decode(register, mine)) for register, mine in block.split(words))
    return [(register, t_ms, raw) for register, raw in values if raw is not None]


def _log_transition(device: Device, error: str | None) -> None:
    if error is not None and not device.failing:
        log.warning(
            "meter_lost meter=%s bus=%s unit=%d error=%s",
            device.meter.id,
            device.meter.bus,
            device.meter.unit,
            error,
        )
    elif error is None and device.failing:
        log.warning("meter_recovered meter=%s", device.meter.id)
    device.failing = error is not None
