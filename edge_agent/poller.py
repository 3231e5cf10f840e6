"""The poller: on every tick, read every meter of every bus, and put what they said into the outbox as one poll."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence

from edge_agent.assemble import Reading
from edge_agent.bus import ModbusBus, ReadFailed
from edge_agent.clock import Clock
from edge_agent.config import EdgeConfig
from edge_agent.device import Device
from edge_agent.health import Pulse
from edge_agent.outbox import Draft, Outbox, OutboxError

log = logging.getLogger("tanyun.edge")
_REST_S = 0.5
"""After a poll that could not be stored: a stepped clock gives the same tick again at once."""
_SHARE_OF_PERIOD = 0.9
"""Of the period, that a poll waits for its buses."""
STEPPED_PATIENCE_S = 20.0
_STEPPED_PAUSE_S = 0.2
"""While time stands still, a meter that answered until now is tried again without costing the others a reading."""


class Poller:
    """Reads all devices; buses at the same time, the meters of a bus one after the other.

    A bus that has not come to its end when the next poll is due goes on by itself, and is left out of that poll.
    """

    def __init__(self, config: EdgeConfig, devices: Sequence[Device], outbox: Outbox, clock: Clock) -> None:
        self._buses = {bus.id: ModbusBus(bus) for bus in config.buses}
        self._on_bus = {
            name: [device for device in devices if device.meter.bus == name] for name in self._buses
        }
        self._outbox, self._clock = outbox, clock
        self._period_ms = config.poll_interval_s * 1000
        self._running: dict[str, asyncio.Task[list[Draft]]] = {}
        self._behind: set[str] = set()
        self._outbox_failing = False
        self.pulse = Pulse()
        self.stored = asyncio.Event()
        """Set after every poll that has reached the outbox."""

    async def run(self) -> None:
        """Poll for ever."""
        try:
            while True:
                t_ms = await self._clock.next_poll(self._period_ms)
                self.pulse.beat()
                if await self._store(await self._poll(), t_ms):
                    await self._clock.polled(t_ms)
                    self.stored.set()
                else:
                    await asyncio.sleep(_REST_S)
        finally:
            await self._cancel()

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

    async def _cancel(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()

    async def _poll(self) -> list[Draft]:
        for name, devices in self._on_bus.items():
            if name not in self._running:
                self._running[name] = asyncio.ensure_future(self._poll_bus(self._buses[name], devices))
        patience_s = None if self._clock.stepped else self._period_ms * _SHARE_OF_PERIOD / 1000
        await asyncio.wait(self._running.values(), timeout=patience_s)
        done = [name for name, task in self._running.items() if task.done()]
        self._log_behind(set(self._running) - set(done))
        return [draft for name in done for draft in self._running.pop(name).result()]

    def _log_behind(self, behind: set[str]) -> None:
        for name in behind - self._behind:
            log.warning("bus_behind bus=%s", name)
        for name in self._behind - behind:
            log.warning("bus_in_time bus=%s", name)
        self._behind = behind

    async def _poll_bus(self, bus: ModbusBus, devices: Iterable[Device]) -> list[Draft]:
        """Those that answer first: whoever does not, keeps nobody waiting."""
        ordered = sorted(devices, key=lambda device: device.failing)
        return [draft for device in ordered if (draft := await self._poll_device(bus, device)) is not None]

    async def _poll_device(self, bus: ModbusBus, device: Device) -> Draft | None:
        stepped = self._clock.stepped
        if not stepped and not device.breaker.allows(time.monotonic()):
            return None
        patience_s = STEPPED_PATIENCE_S if stepped and not device.failing else 0.0
        begun = time.monotonic()
        readings, error = await self._read(bus, device)
        while error is not None and time.monotonic() < begun + patience_s:
            await asyncio.sleep(_STEPPED_PAUSE_S)
            readings, error = await self._read(bus, device)
        cost_s = time.monotonic() - begun
        device.health.polled(None if error is None else str(error), cost_s, self._clock.now_ms())
        _judge(device, error, answered=bool(readings), cost_s=cost_s)
        if not readings:
            return None
        return device.draft(readings)

    async def _read(self, bus: ModbusBus, device: Device) -> tuple[list[Reading], ReadFailed | None]:
        probe = device.breaker.doubts and not self._clock.stepped
        return await device.read(bus, self._clock.now_ms, probe=probe)


def _judge(device: Device, error: ReadFailed | None, *, answered: bool, cost_s: float) -> None:
    """Move the breaker; log what has changed. An endpoint that is gone costs nothing to ask: its devices may be in order."""
    was_open = device.breaker.is_open
    if answered or error is None:
        device.breaker.answered()
    elif error.reached:
        device.breaker.failed(cost_s, time.monotonic())
    if error is not None and not device.failing:
        meter = device.meter
        log.warning("meter_lost meter=%s bus=%s unit=%d error=%s", meter.id, meter.bus, meter.unit, error)
    elif error is None and device.failing:
        log.warning("meter_recovered meter=%s", device.meter.id)
    if device.breaker.is_open and not was_open:
        log.warning("meter_asked_seldom meter=%s", device.meter.id)
    device.failing = error is not None
