"""What a running agent says of itself, as one document: for `tanyun edge status`, and as Prometheus text."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from edge_agent.agent import Running
from edge_agent.clock import KeptClock
from edge_agent.device import Device

_MS: Final = 1000.0


class LiveDevice(msgspec.Struct, frozen=True):
    """A meter as it answers; fields as in health.DeviceHealth."""

    meter: str
    bus: str
    unit: str
    answers: bool
    polls_total: int
    failures_total: int
    success_ratio: float | None
    latency_s: float | None
    answered_ms: int | None
    """By the machine's own clock, as `now_ms` is: it need not be right."""
    error: str | None
    error_ms: int | None
    refused: list[str] = []
    """Registers that the meter refuses: asked for again every hour."""


class LiveDisk(msgspec.Struct, frozen=True):
    """The file system that the outbox is on."""

    free_bytes: int
    size_bytes: int


class LiveConfiguration(msgspec.Struct, frozen=True):
    """Which pushed configuration is in force; number 0: the file that was installed."""

    number: int = 0
    state: str = "installed"


class Live(msgspec.Struct, frozen=True):
    """One look at a running agent."""

    gateway: str
    version: str
    started_ms: int
    now_ms: int
    in_session: bool
    poll_silent_s: float
    backlog: int
    last: int
    acked: int
    clock_source: str
    """`ntp`, `server`, `meter` or `stepped`; empty while no clock is trusted."""
    clock_error_ms: int | None
    held: int
    """Frames that wait for a trusted time before they get a number."""
    traffic_bytes: int
    """On the wire since the month began, by the agent's own estimate."""
    disk: LiveDisk
    configuration: LiveConfiguration
    devices: list[LiveDevice]


def look(running: Running, started_ms: int, version: str, configuration: LiveConfiguration) -> Live:
    """The agent as it is now. Reads counters in memory, and asks the file system for its free space."""
    disk, clock = shutil.disk_usage(running.config.outbox.path.parent), running.clock
    return Live(
        gateway=running.config.gateway,
        version=version,
        started_ms=started_ms,
        now_ms=time.time_ns() // 1_000_000,
        in_session=running.publisher.in_session,
        poll_silent_s=round(running.poller.pulse.silent_s, 3),
        backlog=running.outbox.backlog(),
        last=running.outbox.last,
        acked=running.outbox.acked,
        clock_source=clock.source if isinstance(clock, KeptClock) else "stepped",
        clock_error_ms=clock.error_ms if isinstance(clock, KeptClock) else None,
        held=running.outbox.held,
        traffic_bytes=running.outbox.notes["traffic_bytes"],
        disk=LiveDisk(disk.free, disk.total),
        configuration=configuration,
        devices=[_device(device) for device in running.devices],
    )


def _device(device: Device) -> LiveDevice:
    health, meter = device.health, device.meter
    return LiveDevice(
        meter=meter.id,
        bus=meter.bus,
        unit=str(meter.station),
        answers=health.answers,
        polls_total=health.polls_total,
        failures_total=health.failures_total,
        success_ratio=health.success_ratio,
        latency_s=health.latency_s,
        answered_ms=_wall_ms(health.answered_s),
        error=health.error,
        error_ms=_wall_ms(health.error_s),
        refused=[name for reader in device.readers for name in reader.refused],
    )


def _wall_ms(monotonic_s: float | None) -> int | None:
    """A monotonic time by the machine's clock as it stands now."""
    if monotonic_s is None:
        return None
    return time.time_ns() // 1_000_000 - round((time.monotonic() - monotonic_s) * _MS)


Sample = tuple[Mapping[str, str], float | None]


def prometheus(live: Live) -> str:
    """The text exposition format, version 0.0.4; a value that is not known yet is left out."""
    return "".join(
        line for name, help_, kind, samples in _families(live) for line in _family(name, help_, kind, samples)
    )


def _family(name: str, help_: str, kind: str, samples: Sequence[Sample]) -> Iterator[str]:
    known = [(labels, value) for labels, value in samples if value is not None]
    if not known:
        return
    yield f"# HELP {name} {help_}\n# TYPE {name} {kind}\n"
    for labels, value in known:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value:.17g}\n" if inside else f"{name} {value:.17g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _families(live: Live) -> Iterator[tuple[str, str, str, list[Sample]]]:
    yield (
        "tanyun_edge_info",
        "The agent.",
        "gauge",
        [({"gateway": live.gateway, "version": live.version, "clock": live.clock_source}, 1)],
    )
    single: dict[str, tuple[str, float]] = {
        "session_up": ("1 while frames can be sent: connected, and the server online.", live.in_session),
        "poll_silent_seconds": ("Since the poll loop came round.", live.poll_silent_s),
        "clock_trusted": ("1 while the time is trusted.", bool(live.clock_source)),
        "held_frames": ("Frames that wait for a trusted time.", live.held),
        "traffic_bytes": ("On the wire since the month began, estimated.", live.traffic_bytes),
        "backlog_frames": ("Frames that the server does not have yet.", live.backlog),
        "disk_free_bytes": ("Free on the outbox's file system.", live.disk.free_bytes),
        "disk_size_bytes": ("Size of the outbox's file system.", live.disk.size_bytes),
        "started_timestamp_seconds": ("When the agent started.", live.started_ms / _MS),
        "time_timestamp_seconds": ("The gateway's clock.", live.now_ms / _MS),
        "configuration_number": ("Number of the pushed configuration in force; 0: as installed.", live.configuration.number),
    }  # fmt: skip
    for name, (help_, value) in single.items():
        yield f"tanyun_edge_{name}", help_, "gauge", [({}, float(value))]
    yield "tanyun_edge_frames_total", "Frames numbered in this outbox's epoch.", "counter", [({}, live.last)]
    yield "tanyun_edge_frames_acked_total", "Of these, stored at the server.", "counter", [({}, live.acked)]
    yield from _device_families(live.devices)


def _device_families(devices: Sequence[LiveDevice]) -> Iterator[tuple[str, str, str, list[Sample]]]:
    labels = [{"meter": item.meter, "bus": item.bus, "unit": item.unit} for item in devices]
    for name, help_, kind, values in (
        ("up", "1 while the newest poll was answered.", "gauge", [float(item.answers) for item in devices]),
        ("polls_total", "Polls since the agent started.", "counter", [float(item.polls_total) for item in devices]),
        ("failures_total", "Of these, not answered whole.", "counter", [float(item.failures_total) for item in devices]),
        ("success_ratio", "Share of the newest 64 polls that were answered.", "gauge", [item.success_ratio for item in devices]),
        ("refused_registers", "Registers that the meter refuses.", "gauge", [float(len(item.refused)) for item in devices]),
        ("latency_seconds", "Running mean of an answered poll.", "gauge", [item.latency_s for item in devices]),
        ("answered_timestamp_seconds", "Newest answered poll.", "gauge",
         [None if item.answered_ms is None else item.answered_ms / _MS for item in devices]),
    ):  # fmt: skip
        yield f"tanyun_edge_device_{name}", help_, kind, list(zip(labels, values, strict=True))
