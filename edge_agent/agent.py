"""One gateway's agent: poller and publisher in one event loop, the outbox between them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from edge_agent.budget import Budget
from edge_agent.clock import Clock, KeptClock, SteppedClock
from edge_agent.config import EdgeConfig
from edge_agent.device import Device, make_device
from edge_agent.meter_time import ask_meters, meter_clocks
from edge_agent.outbox import Outbox
from edge_agent.poller import Poller
from edge_agent.publisher import Publisher
from edge_agent.side import SideChannel
from edge_agent.system_time import boot_ms, wall_ms
from edge_agent.timekeeper import Timekeeper

log = logging.getLogger("tanyun.edge")


def devices_of(config: EdgeConfig, outbox: Outbox) -> list[Device]:
    """The configured meters with their profiles, plans and declarations."""
    profiles = config.models()
    return [make_device(meter, profiles[meter.id], outbox) for meter in config.meters]


def clock_of(config: EdgeConfig, outbox: Outbox) -> Clock:
    """The clock that the configuration names."""
    keeper = Timekeeper(boot_ms, wall_ms, outbox.notes["seen_ms"], config.clock.guess_after_s * 1000)
    if config.clock.source == "system":
        return KeptClock(keeper)
    # Live, the accelerated clock has but one time: the server's.
    real = KeptClock(keeper, synchronised=lambda: False)
    return SteppedClock(config.clock.host, config.clock.port, config.gateway, outbox.polled_ms, real)


class Running(NamedTuple):
    """The parts of an agent that runs, for what accompanies it: watchdog, status, trial of a new configuration."""

    config: EdgeConfig
    outbox: Outbox
    devices: Sequence[Device]
    clock: Clock
    poller: Poller
    publisher: Publisher


Companion = Callable[[Running], Coroutine[Any, Any, None]]


async def _meter_time(running: Running) -> None:
    """Ask DL/T 645 meters for the time while nobody better says it."""
    if isinstance(running.clock, KeptClock):
        await ask_meters(running.clock, meter_clocks(running.devices, running.poller.buses))


async def run(
    config: EdgeConfig,
    stop: asyncio.Event,
    companions: Sequence[Companion] = (),
    side: SideChannel | None = None,
) -> None:
    """Poll and publish until `stop` is set; companions run beside it and end with it."""
    outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
    devices = devices_of(config, outbox)
    clock = clock_of(config, outbox)
    notes = outbox.notes
    budget = Budget(config.publish.monthly_mb, notes["traffic_month"], notes["traffic_bytes"])

    def may_live(t_ms: int) -> bool:
        return publisher.may_live(t_ms)

    poller = Poller(config, devices, outbox, clock, may_live)
    publisher = Publisher(config, outbox, devices, poller.stored, side, clock, budget)
    whole = Running(config, outbox, devices, clock, poller, publisher)
    log.info("edge_ready gateway=%s meters=%d backlog=%d", config.gateway, len(devices), outbox.backlog())
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(poller.run(), name="poll"),
                tasks.create_task(publisher.run(), name="publish"),
                *(tasks.create_task(companion(whole)) for companion in (*companions, _meter_time)),
            ]
            await stop.wait()
            for task in running:
                task.cancel()
    finally:
        poller.close()
        outbox.close()
        if isinstance(clock, SteppedClock):
            await clock.aclose()
