"""Configuration of one gateway: one TOML file, every mistake reported at once with its key path."""

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_agent.plan import select
from edge_agent.profile import Profile, ProfileError, load_profile
from metering.config import ConfigError, ConfigPath, Id, Strict, load_toml
from metering.i18n import _
from metering.mqtt import BrokerSettings


class Bus(Strict):
    """A Modbus/TCP endpoint: a meter with a network port, or a converter in front of a line."""

    id: Id
    host: str
    port: int = Field(default=502, ge=1, le=65535)
    timeout_s: float = Field(default=1.0, gt=0, le=60)
    retries: int = Field(default=2, ge=0, le=10)


class PolledMeter(Strict):
    """A meter on a bus. `read` limits what is read to some reading types; everything in the profile otherwise."""

    id: Id
    bus: Id
    unit: int = Field(default=1, ge=1, le=247)
    profile: str
    read: tuple[str, ...] | None = None


class ClockSettings(Strict):
    """Where the time comes from: the system, or a clock shared with simulated meters."""

    source: Literal["system", "stepped"] = "system"
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class OutboxSettings(Strict):
    """The durable queue. The ring keeps acked frames too, at least six months in the default size for 32 meters at 15 minutes."""

    path: ConfigPath
    max_bytes: int = Field(default=2_000_000_000, ge=1_000_000)


class EdgeConfig(Strict):
    """One gateway."""

    park: Id
    gateway: Id
    host_id: Id = "tanyun"
    poll_interval_s: int = Field(default=15, ge=1, le=3600)
    window: int = Field(default=256, ge=1, le=10_000)
    """Frames in flight before an ack is waited for."""
    ack_timeout_s: float = Field(default=3.0, gt=0, le=600)
    broker: BrokerSettings
    outbox: OutboxSettings
    clock: ClockSettings = ClockSettings()
    buses: tuple[Bus, ...] = Field(min_length=1)
    meters: tuple[PolledMeter, ...] = Field(min_length=1)

    def profiles(self) -> dict[str, Profile]:
        """Meter id → its profile."""
        return {meter.id: load_profile(meter.profile) for meter in self.meters}


def load_config(path: Path) -> EdgeConfig:
    """The configuration in a TOML file; ConfigError with all mistakes, OSError when it cannot be read."""
    config = load_toml(path, EdgeConfig)
    mistakes = [*_twice(config), *_no_such_bus(config), *_profiles(config)]
    if mistakes:
        raise ConfigError(str(path), mistakes)
    return config


def _twice(config: EdgeConfig) -> list[str]:
    places = {
        "buses": [bus.id for bus in config.buses],
        "meters": [meter.id for meter in config.meters],
        "meters (bus, unit)": [f"{meter.bus}, {meter.unit}" for meter in config.meters],
    }
    text = _("{key}: {name!r} is given {count} times")
    return [
        text.format(key=key, name=name, count=count)
        for key, names in places.items()
        for name, count in Counter(names).items()
        if count > 1
    ]


def _no_such_bus(config: EdgeConfig) -> list[str]:
    known = {bus.id for bus in config.buses}
    text = _("meters[{index}].bus: there is no bus {bus!r}; known are {known}")
    return [
        text.format(index=i, bus=meter.bus, known=", ".join(sorted(known)))
        for i, meter in enumerate(config.meters)
        if meter.bus not in known
    ]


def _profiles(config: EdgeConfig) -> list[str]:
    mistakes = []
    for i, meter in enumerate(config.meters):
        try:
            select(load_profile(meter.profile), meter.read)
        except ProfileError as error:
            mistakes += [f"meters[{i}].profile: {mistake}" for mistake in error.mistakes]
        except ValueError as error:
            mistakes.append(f"meters[{i}].read: {error}")
    return mistakes
