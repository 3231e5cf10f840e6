"""A gateway for tests: a small profile, a configuration, and an outbox that a test fills by hand and a real publisher drains."""

import asyncio
import tomllib
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from edge_agent.clock import Clock, SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.device import Device, make_device
from edge_agent.outbox import Draft, Outbox
from edge_agent.profile import Profile, parse_profile
from edge_agent.publisher import Publisher
from edge_agent.readings_body import readings_body
from metering.config import validate

PROFILE = """
vendor = "Toy"
model = "T1"
revision = 1
kind = "electricity"
ratio_applied_in_meter = true

[sources]
S1 = "made up for tests"

[[register]]
reading_type = "energy_import_total"
addr = 10
fc = 3
type = "uint32"
unit = "kWh"
scale = -2
rollover = 4294967296
source = ["S1"]
confidence = "A"

[[register]]
reading_type = "power_active"
addr = 60
fc = 3
type = "int16"
unit = "kW"
scale = -1
sign = -1
source = ["S1"]
confidence = "A"

[[register]]
reading_type = "voltage_l1"
addr = 60
fc = 4
type = "float32"
unit = "V"
source = ["S1"]
confidence = "A"
"""
READINGS = {"energy_import_total": (10, 2), "power_active": (60, 1), "voltage_l1": (60, 2)}
"""Reading type → address and width."""


def toy_profile(**changed: object) -> Profile:
    """The profile above; `scale=-1` and the like change its total."""
    document = tomllib.loads(PROFILE)
    document["register"][0].update(changed)
    return parse_profile("toy", document)


def config_for(folder: Path, port: int, names: Sequence[str] = ("m1",), **more: object) -> EdgeConfig:
    """The configuration of gateway `gw` of park `park` at a broker on loopback."""
    (folder / "toy.toml").write_text(PROFILE, encoding="utf-8")
    document: dict[str, Any] = {
        "park": "park",
        "gateway": "gw",
        "broker": {"port": port, "user": "gw", "password_file": "secrets/mqtt-gw"},
        "outbox": {"path": "outbox.db"},
        "publish": {"totals_every_s": 1, "monthly_mb": 0},
        "buses": [{"id": "line", "host": "127.0.0.1", "port": 1}],
        "meters": [
            {"id": meter, "bus": "line", "unit": i + 1, "profile": "toy.toml"}
            for i, meter in enumerate(names)
        ],
    }
    return validate({**document, **more}, EdgeConfig, "edge.toml", folder)


def draft(device: Device, value: int, t_ms: int) -> Draft:
    """A frame of a meter whose total stands at `value`; power is minus one tenth of it."""
    raws = {"energy_import_total": value, "power_active": -(value // 10), "voltage_l1": 230.5}
    readings = [(register, t_ms, raws[register.reading_type]) for register in device.registers]
    device.latest.update({register.reading_type: (t_ms, raw) for register, _, raw in readings})
    return Draft(device.declaration, t_ms, readings_body(device.aliases, readings))


class HandFed:
    """A real outbox and publisher in a thread of their own; the test is the poller. A context manager: leaving it stops cleanly."""

    def __init__(
        self, config: EdgeConfig, profile: Profile | None = None, clock: Clock | None = None
    ) -> None:
        self.clock = clock or SystemClock()
        self.outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
        profile = profile or toy_profile()
        self.devices = {meter.id: make_device(meter, profile, self.outbox) for meter in config.meters}
        self._config = config
        self._ready = Event()
        self._thread = Thread(target=self._run)

    def feed(self, count: int, first: int = 1) -> None:
        """Frames of all meters at once: values and times `first`, `first` + 1 and so on."""
        values = range(first, first + count)
        drafts = [draft(device, value, value * 1000) for value in values for device in self.devices.values()]
        self.outbox.append(drafts, values[-1] * 1000)
        if self._ready.is_set():
            self._loop.call_soon_threadsafe(self._stored.set)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.outbox.close()
        if not self._task.cancelled():
            self._task.result()

    def _run(self) -> None:
        self._loop.run_until_complete(self._publish())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _publish(self) -> None:
        self._stored = asyncio.Event()
        publisher = Publisher(
            self._config, self.outbox, list(self.devices.values()), self._stored, clock=self.clock
        )
        self._task = asyncio.ensure_future(publisher.run())
        self._ready.set()
        await asyncio.wait([self._task])
