"""Configuration of one gateway: one TOML file, every mistake reported at once with its key path."""

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from edge_agent.buses.stations import WILDCARD, Station
from edge_agent.plan import select
from edge_agent.policy import PublishSettings
from edge_agent.profile import Family, Profile, ProfileError, load_model, load_profile, profiles_of
from metering.config import ConfigError, ConfigPath, Id, Strict, load_toml
from metering.i18n import _
from metering.mqtt import BrokerSettings

Row = Mapping[str, Any]
Table = TypeVar("Table", bound=Strict)
BusKinds = tuple[str, ...]


def _profile_path(name: str, folder: Path) -> str:
    """A bundled profile by name; a `.toml` file like every path, from the configuration's own folder."""
    return str(folder / name) if name.endswith(".toml") else name


def _from_folder(name: str, info: ValidationInfo) -> str:
    context = info.context if isinstance(info.context, dict) else {}
    return _profile_path(name, Path(context.get("folder", "")))


def _some(rows: tuple[Table, ...]) -> tuple[Table, ...]:
    """At least one. A length limit of pydantic would also complain of a table whose only row has another mistake."""
    if not rows:
        raise ValueError(_("at least one is needed"))
    return rows


BusKind = Literal["tcp", "rtu", "rtu_over_tcp"]
_NEEDS: dict[str, BusKinds] = {
    "host": ("tcp", "rtu_over_tcp"),
    "device": ("rtu",),
}
_TAKES: dict[str, BusKinds] = {
    **_NEEDS,
    "port": ("tcp", "rtu_over_tcp"),
    "connect_delay_s": ("tcp", "rtu_over_tcp"),
    "baud": ("rtu", "rtu_over_tcp"),
    "parity": ("rtu", "rtu_over_tcp"),
    "stop_bits": ("rtu", "rtu_over_tcp"),
}
"""Key → kinds of bus it belongs to."""


class Bus(Strict):
    """A Modbus endpoint.

    `tcp`: a meter with a network port, or a gateway that speaks Modbus/TCP. `rtu`: an RS-485 line on a serial port.
    `rtu_over_tcp`: a converter that passes RTU frames through a TCP stream as they are.
    """

    id: Id
    kind: BusKind = "tcp"
    host: str = Field(default="", validate_default=True)
    port: int = Field(default=502, ge=1, le=65535)
    device: str = Field(default="", validate_default=True)
    baud: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600
    """Of a converter's line where that is not ours: only the silence between frames depends on it."""
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    timeout_s: float = Field(default=1.0, gt=0, le=60)
    """The most that is waited for a reply to begin; devices that have answered faster are given less at first."""
    retries: int = Field(default=2, ge=0, le=10)
    pause_ms: float | None = Field(default=None, ge=0, le=1000)
    """Silence before each request, where a device needs more than the standard's."""
    connect_delay_s: float = Field(default=0.0, ge=0, le=10)
    """Between connecting and the first request, for devices that lose it otherwise."""

    @field_validator(*_TAKES)
    @classmethod
    def _fits_the_kind(cls, value: Any, info: ValidationInfo) -> Any:
        kind, name = info.data.get("kind"), str(info.field_name)
        if kind is None:  # Mistaken itself.
            return value
        given = value != cls.model_fields[name].default
        if given and kind not in _TAKES[name]:
            text = _("a bus of kind {kind} has none; known for {kinds}")
            raise ValueError(text.format(kind=kind, kinds=", ".join(_TAKES[name])))
        if not given and kind in _NEEDS.get(name, ()):
            raise ValueError(_("a bus of kind {kind} needs one").format(kind=kind))
        return value


class PolledMeter(Strict):
    """A meter on a bus. `read` limits what is read to some reading types; everything in the profile otherwise."""

    id: Id
    bus: Id
    unit: int = Field(default=1, ge=1, le=247)
    """Of a Modbus meter."""
    address: Annotated[str, Field(pattern=r"^([0-9]{12}|A{12})$")] | None = None
    """Of a DL/T 645 meter, as on its name plate; twelve A where it is the only one on its line."""
    profile: Annotated[str, AfterValidator(_from_folder)]
    read: tuple[str, ...] | None = None

    @property
    def station(self) -> Station:
        """Who is asked on the bus."""
        return self.unit if self.address is None else self.address


class ClockSettings(Strict):
    """Where the time comes from: the gateway's own clock, or one shared with simulated meters."""

    source: Literal["system", "stepped"] = "system"
    guess_after_s: int = Field(default=86_400, ge=0, le=31 * 86_400)
    """Readings that nobody has dated so long after the agent's start go out marked; 0: they wait for ever."""
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)

    @model_validator(mode="after")
    def _a_stepped_clock_has_a_port(self) -> Self:
        if self.source == "stepped" and not self.port:
            raise ValueError(_("port is needed: the stepped clock is served by the simulator"))
        return self


class OutboxSettings(Strict):
    """The durable queue. The ring keeps acked frames too, at least six months in the default size for 32 meters at 15 minutes."""

    path: ConfigPath
    max_bytes: int = Field(default=2_000_000_000, ge=1_000_000)


class MetricsSettings(Strict):
    """Prometheus text on 127.0.0.1. Without a port it is on the socket file beside the outbox only."""

    port: int | None = Field(default=None, ge=1, le=65535)


class UpdateSettings(Strict):
    """Signed configurations from the server. Without this table the gateway takes none."""

    key_file: ConfigPath
    """The server's public key (Ed25519, PEM): nothing that another key has signed is taken."""
    folder: ConfigPath | None = None
    """Where they are kept; `updates` beside the outbox unless given."""
    confirm_minutes: float = Field(default=20, gt=0, le=1440)
    """A new configuration has this long to poll and to be acknowledged, or it is taken back. Longer than totals are apart."""


class EdgeConfig(Strict):
    """One gateway."""

    park: Id
    gateway: Id
    host_id: Id = "tanyun"
    poll_interval_s: int = Field(default=15, ge=1, le=3600)
    window: int = Field(default=256, ge=1, le=10_000)
    """Frames in flight before an ack is waited for."""
    ack_timeout_s: float = Field(default=3.0, gt=0, le=600)
    """Without any ack for so long, frames are sent again; longer where acks have been seen to take longer."""
    keepalive_s: int = Field(default=60, ge=5, le=1200)
    """Silence after which the connection is tried; each try costs some 280 bytes."""
    broker: BrokerSettings
    outbox: OutboxSettings
    clock: ClockSettings = ClockSettings()
    metrics: MetricsSettings = MetricsSettings()
    updates: UpdateSettings | None = None
    publish: PublishSettings = PublishSettings()
    buses: Annotated[tuple[Bus, ...], AfterValidator(_some)]
    meters: Annotated[tuple[PolledMeter, ...], AfterValidator(_some)]

    def models(self) -> dict[str, Profile | Family]:
        """Meter id → its profile, or the family of which the meter itself says the variant."""
        return {meter.id: load_model(meter.profile) for meter in self.meters}

    def profiles(self) -> dict[str, Profile]:
        """Meter id → its profile; ProfileError for a meter of which only the family is configured."""
        return {meter.id: load_profile(meter.profile) for meter in self.meters}


def load_config(path: Path) -> EdgeConfig:
    """The configuration in a TOML file; ConfigError with all mistakes, OSError when it cannot be read."""
    try:
        config, refused = load_toml(path, EdgeConfig), None
    except ConfigError as error:
        config, refused = None, error
    mistakes = [*(refused.mistakes if refused else []), *_mistakes(path)]
    if config is None or mistakes:
        raise ConfigError(str(path), mistakes) from refused
    return config


def _mistakes(path: Path) -> list[str]:
    """What no single key shows. Judged on the plain document, so that it is said in the same breath as the rest."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return []
    buses, meters = _rows(document, "buses"), _rows(document, "meters")
    return [*_twice(buses, meters), *_no_such_bus(buses, meters), *_profiles(meters, buses, path.parent)]


def _rows(document: Row, table: str) -> list[tuple[int, Row]]:
    rows = document.get(table)
    return [(i, row) for i, row in enumerate(rows) if isinstance(row, dict)] if isinstance(rows, list) else []


def _twice(buses: list[tuple[int, Row]], meters: list[tuple[int, Row]]) -> list[str]:
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for i, bus in buses:
        places["bus", str(bus.get("id"))].append(f"buses[{i}].id")
        places["device", str(bus.get("device"))].append(f"buses[{i}].device")
    for i, meter in meters:
        places["meter", str(meter.get("id"))].append(f"meters[{i}].id")
        station = f"unit {meter.get('unit', 1)}" if "address" not in meter else f"address {meter['address']}"
        on = f"bus {meter.get('bus')} {station}"
        places["unit", on].append(f"meters[{i}].unit")
    text = _("{key}: {name!r} is given {count} times")
    return [
        text.format(key=", ".join(keys), name=name, count=len(keys))
        for (_kind, name), keys in places.items()
        if len(keys) > 1 and name != "None"
    ]


def _no_such_bus(buses: list[tuple[int, Row]], meters: list[tuple[int, Row]]) -> list[str]:
    known = {str(bus.get("id")) for _i, bus in buses}
    text = _("meters[{index}].bus: there is no bus {bus!r}; known are {known}")
    return [
        text.format(index=i, bus=meter["bus"], known=", ".join(sorted(known)))
        for i, meter in meters
        if isinstance(meter.get("bus"), str) and meter["bus"] not in known
    ]


def _profiles(meters: list[tuple[int, Row]], buses: list[tuple[int, Row]], folder: Path) -> list[str]:
    mistakes = []
    kinds = {bus.get("id"): bus.get("kind", "tcp") for _i, bus in buses}
    for i, meter in meters:
        name = meter.get("profile")
        if not isinstance(name, str):
            continue
        try:
            profiles = profiles_of(load_model(_profile_path(name, folder)), folder)
        except ProfileError as error:
            mistakes += [f"meters[{i}].profile: {mistake}" for mistake in error.mistakes]
            continue
        alone = sum(other.get("bus") == meter.get("bus") for _i, other in meters) == 1
        mistakes += [f"meters[{i}].{text}" for text in _read_mistakes(meter, profiles)]
        kind = kinds.get(meter.get("bus"), "")
        mistakes += [
            f"meters[{i}].{text}" for text in _station_mistakes(meter, profiles[0], kind, alone=alone)
        ]
    return mistakes


def _read_mistakes(meter: Row, profiles: list[Profile]) -> Iterator[str]:
    read = meter.get("read")
    for profile in profiles:
        try:
            select(profile, map(str, read) if isinstance(read, list) else None)
        except ValueError as error:
            yield f"read: {error}"


def _station_mistakes(meter: Row, profile: Profile, kind: object, *, alone: bool) -> Iterator[str]:
    """A Modbus meter has a unit, a DL/T 645 meter an address and a line."""
    address = meter.get("address")
    if profile.protocol == "modbus":
        if address is not None:
            yield _("address: {profile} is a Modbus profile; give unit").format(profile=profile.name)
        return
    if address is None:
        text = _("address: {profile} is a DL/T 645 profile; give the twelve digits of the name plate")
        yield text.format(profile=profile.name)
    elif address == WILDCARD and not alone:
        yield _("address: twelve A ask for the only meter of a line; there are others on this bus")
    if "unit" in meter:
        yield _("unit: {profile} is a DL/T 645 profile; give address").format(profile=profile.name)
    if kind == "tcp":
        yield _("bus: DL/T 645 needs a bus of kind rtu or rtu_over_tcp")
