"""The poller: on every tick, read every meter of every bus, and put what they said into the outbox as one poll."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from edge_agent.assemble import Reading
from edge_agent.bus import ModbusBus, ReadFailed
from edge_agent.clock import Clock
from edge_agent.config import EdgeConfig
from edge_agent.device import Device
from edge_agent.health import Pulse
from edge_agent.held import Dating
from edge_agent.outbox import Draft, Outbox, OutboxError
from edge_agent.policy import Policy
from edge_agent.system_time import boot_id
from edge_agent.timekeeper import FIRST_SANE_MS, Offset

log = logging.getLogger("tanyun.edge")
_REST_S = 0.5
"""After a poll that could not be stored: a stepped clock gives the same tick again at once."""
_SHARE_OF_PERIOD = 0.9
"""Of the period, that a poll waits for its buses."""
STEPPED_PATIENCE_S = 20.0
_STEPPED_PAUSE_S = 0.2
"""While time stands still, a meter that answered until now is tried again without costing the others a reading."""


Polled = tuple[Device, list[Reading]]
"""A device and what it said in a poll, stamped with the clock's time of the read."""


class Poller:
    """Reads all devices; buses at the same time, the meters of a bus one after the other.

    A bus that has not come to its end when the next poll is due goes on by itself, and is left out of that poll.
    """

    def __init__(
        self,
        config: EdgeConfig,
        devices: Sequence[Device],
        outbox: Outbox,
        clock: Clock,
        may_live: Callable[[int], bool] = lambda _t_ms: True,
    ) -> None:
        """`may_live`: whether live readings may cost something at a time."""
        self._policy, self._dating, self._may_live = Policy(config.publish), Dating(outbox), may_live
        self._config = config
        self._boot = boot_id()
        self._buses = {bus.id: ModbusBus(bus) for bus in config.buses}
        self._on_bus = {
            name: [device for device in devices if device.meter.bus == name] for name in self._buses
        }
        self._outbox, self._clock = outbox, clock
        self._period_ms = config.poll_interval_s * 1000
        self._running: dict[str, asyncio.Task[list[Polled]]] = {}
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

    async def _store(self, polled: list[Polled], t_ms: int) -> bool:
        """False when the disk took nothing: that poll is a gap, which the totals of the next one bridge."""
        try:
            await asyncio.to_thread(self._keep, polled, t_ms)
        except OutboxError as error:
            if not self._outbox_failing:
                log.error("outbox_lost error=%s", error)  # noqa: TRY400  the sentence says it all
            self._outbox_failing = True
            self._policy = Policy(self._config.publish)  # It has chosen what was not kept.
            return False
        if self._outbox_failing:
            log.warning("outbox_recovered")
        self._outbox_failing = False
        return True

    def _keep(self, polled: list[Polled], t_ms: int) -> None:
        """Number and store what the policy chooses; hold it while nobody knows what time it is."""
        offset = self._clock.offset()
        if offset is None:
            self._hold(polled, t_ms)
            return
        if self._outbox.held:
            self._release(offset)
        utc_ms = t_ms if t_ms >= FIRST_SANE_MS or not offset.ms else t_ms + offset.ms
        if offset.guess:
            drafts = [
                self._dating.dated(draft, offset.ms, offset.source) for draft in self._drafts(polled, utc_ms)
            ]
        else:
            self._outbox.notes["seen_ms"] = utc_ms
            drafts = self._drafts([_in_utc(item, offset.ms) for item in polled], utc_ms)
        if drafts or self._clock.stepped:
            self._outbox.append(drafts, utc_ms)

    def _hold(self, polled: list[Polled], t_ms: int) -> None:
        drafts = self._drafts(polled, t_ms)
        for device, _readings in polled:
            device.latest.clear()  # Births do not tell what has no time.
        if drafts:
            self._outbox.hold(self._boot, drafts)

    def _release(self, offset: Offset) -> None:
        self._outbox.date_epoch(self._clock.now_ms())
        count = self._dating.release(self._boot, offset, offset.ms)
        log.warning("readings_dated frames=%d source=%s", count, offset.source)

    def _drafts(self, polled: list[Polled], t_ms: int) -> list[Draft]:
        """The frames of a poll, as the policy has them."""
        may_live = self._may_live(t_ms)
        drafts = []
        for device, readings in polled:
            chosen = self._policy.choose(device.meter.id, readings, t_ms, may_live=may_live)
            if chosen is not None:
                drafts.append(msgspec.structs.replace(device.draft(chosen.readings), keep=chosen.keep))
        return drafts

    @property
    def buses(self) -> Mapping[str, ModbusBus]:
        """By name; each locks itself."""
        return self._buses

    def close(self) -> None:
        """Close the buses."""
        for bus in self._buses.values():
            bus.close()

    async def _cancel(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()

    async def _poll(self) -> list[Polled]:
        for name, devices in self._on_bus.items():
            if name not in self._running:
                self._running[name] = asyncio.ensure_future(self._poll_bus(self._buses[name], devices))
        patience_s = None if self._clock.stepped else self._period_ms * _SHARE_OF_PERIOD / 1000
        await asyncio.wait(self._running.values(), timeout=patience_s)
        done = [name for name, task in self._running.items() if task.done()]
        self._log_behind(set(self._running) - set(done))
        return [polled for name in done for polled in self._running.pop(name).result()]

    def _log_behind(self, behind: set[str]) -> None:
        for name in behind - self._behind:
            log.warning("bus_behind bus=%s", name)
        for name in self._behind - behind:
            log.warning("bus_in_time bus=%s", name)
        self._behind = behind

    async def _poll_bus(self, bus: ModbusBus, devices: Iterable[Device]) -> list[Polled]:
        """Those that answer first: whoever does not, keeps nobody waiting."""
        ordered = sorted(devices, key=lambda device: device.failing)
        return [
            (device, readings) for device in ordered if (readings := await self._poll_device(bus, device))
        ]

    async def _poll_device(self, bus: ModbusBus, device: Device) -> list[Reading]:
        stepped = self._clock.stepped
        if not stepped and not device.breaker.allows(time.monotonic()):
            return []
        patience_s = STEPPED_PATIENCE_S if stepped and not device.failing else 0.0
        begun = time.monotonic()
        readings, error = await self._read(bus, device)
        while error is not None and time.monotonic() < begun + patience_s:
            await asyncio.sleep(_STEPPED_PAUSE_S)
            readings, error = await self._read(bus, device)
        cost_s = time.monotonic() - begun
        device.health.polled(None if error is None else str(error), cost_s, time.monotonic())
        _judge(device, error, answered=bool(readings), cost_s=cost_s)
        return readings

    async def _read(self, bus: ModbusBus, device: Device) -> tuple[list[Reading], ReadFailed | None]:
        probe = device.breaker.doubts and not self._clock.stepped
        return await device.read(bus, self._clock.read_ms, probe=probe)


def _in_utc(polled: Polled, offset_ms: int) -> Polled:
    device, readings = polled
    if not offset_ms:
        return polled
    return device, [(register, t_ms + offset_ms, raw) for register, t_ms, raw in readings]


def _judge(device: Device, error: ReadFailed | None, *, answered: bool, cost_s: float) -> None:
    """Move the breaker; log what has changed. An endpoint that is gone costs nothing to ask: its devices may be in order."""
    was_open = device.breaker.is_open
    if answered or error is None:
        device.breaker.answered()
    elif error.reached:
        device.breaker.failed(cost_s, time.monotonic())
    if error is not None and not device.failing:
        meter = device.meter
        text = "meter_lost meter=%s bus=%s unit=%s error=%s"
        log.warning(text, meter.id, meter.bus, meter.station, error)
    elif error is None and device.failing:
        log.warning("meter_recovered meter=%s", device.meter.id)
    if device.breaker.is_open and not was_open:
        log.warning("meter_asked_seldom meter=%s", device.meter.id)
    device.failing = error is not None
