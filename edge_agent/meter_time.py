"""The last resort: where neither server nor NTP says what time it is, a DL/T 645 meter may know."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from edge_agent.bus import ModbusBus
from edge_agent.clock import KeptClock, MeterClock
from edge_agent.device import Device
from edge_agent.dlt645.clock import MeterClockOf

log = logging.getLogger("tanyun.edge")
PATIENCE_S: Final = 600.0
"""Given to better sources after the start, and between two rounds (ours)."""


def meter_clocks(devices: Sequence[Device], buses: Mapping[str, ModbusBus]) -> list[MeterClock]:
    """Meters that have a clock: those of DL/T 645."""
    return [
        MeterClockOf(buses[device.meter.bus], device.meter.address)
        for device in devices
        if device.meter.address is not None
    ]


async def ask_meters(
    clock: KeptClock,
    meters: Sequence[MeterClock],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """For ever: ask them in turn while nobody else speaks, until one is believed."""
    while meters:
        await sleep(PATIENCE_S)
        if clock.offset() is not None and clock.source:
            continue
        for meter in meters:
            t_ms = await meter.utc_ms()
            if t_ms is not None and clock.keeper.heard_meter(t_ms):
                log.warning("time_known source=meter error_ms=%s", clock.error_ms)
                break
