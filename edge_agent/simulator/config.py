"""The simulator's configuration: which servers stand for which gateways, which meters they hold, and what drives each."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_agent.profile import Profile, ProfileError, load_profile
from edge_agent.simulator.gauges import GAUGES
from metering.config import validation_mistakes
from metering.i18n import _
from metering.ids import ID_PATTERN

TOTALS = frozenset(
    {
        "energy_import_total",
        "energy_export_total",
        "energy_generation_total",
        "reactive_import_total",
        "reactive_export_total",
    }
)
"""The totals that the simulated park can drive."""

_Id = Annotated[str, Field(pattern=ID_PATTERN)]
_Watts = Annotated[int, Field(strict=True, gt=0)]


class SimulatorConfigError(ValueError):
    """A simulator configuration that cannot be used (the operator's fault). `mistakes` lists every one."""

    def __init__(self, file: str, mistakes: list[str]) -> None:
        super().__init__("\n  ".join([f"{file}:", *mistakes]))
        self.file = file
        self.mistakes = mistakes


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShapeSpec(_Strict):
    """A synthetic load or PV plant of a rated power."""

    kind: Literal["factory", "office", "pv"]
    rated_w: _Watts


class FileSpec(_Strict):
    """A load that repeats the real energy in a file."""

    kind: Literal["csv"]
    file: Path


class SumSpec(_Strict):
    """The exact sum of other meters' energy (a PV meter's generation, any other's import) plus an unmetered share."""

    kind: Literal["sum_of"]
    children: Annotated[tuple[_Id, ...], Field(min_length=1)]
    losses_permille: Annotated[int, Field(strict=True, ge=0, le=1000)] = 0


class TwoWaySpec(_Strict):
    """A boundary: imports what the load takes beyond the PV, exports what the PV gives beyond the load, slot by slot."""

    kind: Literal["two_way"]
    load: "LoadSpec"
    pv: "LoadSpec"


LoadSpec = Annotated[ShapeSpec | FileSpec | SumSpec | TwoWaySpec, Field(discriminator="kind")]


class ServerSpec(_Strict):
    """One Modbus/TCP server: the bus of one gateway."""

    gateway: _Id
    host: str = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65535)]
    """0 takes a free port."""
    dlt645_port: Annotated[int, Field(strict=True, ge=0, le=65535)] | None = None
    """Of the line with this gateway's DL/T 645 meters, behind a converter (bus kind `rtu_over_tcp`); none where it has none."""


class MeterSpec(_Strict):
    """One meter on a gateway's bus."""

    id: _Id
    gateway: str
    unit: Annotated[int, Field(strict=True, ge=1, le=247)] = 1
    """Of a Modbus meter."""
    address: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = None
    """Of a DL/T 645 meter."""
    profile: str
    load: LoadSpec
    ct: Fraction = Fraction(1)
    """Current transformer ratio. Registers hold primary values divided by CT × PT."""
    pt: Fraction = Fraction(1)
    nominal_v: Annotated[int, Field(strict=True, gt=0)] = 230
    """Phase voltage on the primary side."""
    initial: dict[str, Annotated[int, Field(strict=True, ge=0)]] = {}
    """Reading type of a total → what it stood at on the anchor, in base units on the primary side."""

    @field_validator("ct", "pt", mode="before")
    @classmethod
    def _ratio(cls, value: object) -> Fraction:
        ratio = Fraction(str(value))
        if ratio <= 0:
            message = 'a ratio is positive, e.g. 80 or "400/5"'
            raise ValueError(message)
        return ratio


class SimulatorConfig(_Strict):
    """The whole simulated park."""

    seed: str
    folder: Path = Path()
    """Where relative load files start; the configuration's own folder unless given."""
    load_file_meter: str | None = None
    """The meter that a load file drives when none is named."""
    servers: Annotated[tuple[ServerSpec, ...], Field(min_length=1)]
    meters: Annotated[tuple[MeterSpec, ...], Field(min_length=1)]

    def driven_by(self, file: Path, meter: str | None = None) -> Self:
        """The same park with one meter driven by a load file; SimulatorConfigError when there is no such meter."""
        driven = meter or self.load_file_meter
        if driven not in {item.id for item in self.meters}:
            raise SimulatorConfigError(
                str(file), [_("there is no meter {meter!r} to drive").format(meter=driven)]
            )
        load = FileSpec(kind="csv", file=file.absolute())
        meters = tuple(
            item.model_copy(update={"load": load}) if item.id == driven else item for item in self.meters
        )
        return self.model_copy(update={"meters": meters})


def load_config(path: Path) -> SimulatorConfig:
    """The configuration in a TOML file; SimulatorConfigError with all mistakes, OSError when it cannot be read."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        text = _("not a TOML file: {error}").format(error=error)
        raise SimulatorConfigError(str(path), [text]) from error
    return parse_config({"folder": str(path.parent), **data}, str(path))


def parse_config(data: dict[str, Any], file: str = "simulator") -> SimulatorConfig:
    """The configuration in a parsed document; SimulatorConfigError with all mistakes."""
    try:
        config = SimulatorConfig.model_validate(data)
    except ValidationError as error:
        raise SimulatorConfigError(file, validation_mistakes(error)) from error
    mistakes = [*_duplicates(config), *_dangling(config), *_profile_mistakes(config)]
    mistakes = mistakes or list(_circles(config))
    if mistakes:
        raise SimulatorConfigError(file, mistakes)
    return config


def children_of(spec: LoadSpec) -> tuple[str, ...]:
    """Ids of the meters that a load sums."""
    if isinstance(spec, TwoWaySpec):
        return children_of(spec.load) + children_of(spec.pv)
    return spec.children if isinstance(spec, SumSpec) else ()


def _duplicates(config: SimulatorConfig) -> Iterator[str]:
    keys: list[tuple[str, object]] = [("servers: gateway", server.gateway) for server in config.servers]
    keys += [("servers: port", server.port) for server in config.servers if server.port]
    keys += [("meters: id", meter.id) for meter in config.meters]
    keys += [("servers: dlt645_port", server.dlt645_port) for server in config.servers if server.dlt645_port]
    keys += [
        (f"meters: unit on {meter.gateway}", meter.unit if meter.address is None else meter.address)
        for meter in config.meters
    ]
    for (name, value), count in Counter(keys).items():
        if count > 1:
            yield _("{name} {value} is given {count} times").format(name=name, value=value, count=count)


def _dangling(config: SimulatorConfig) -> Iterator[str]:
    gateways = {server.gateway for server in config.servers}
    meters = {meter.id for meter in config.meters}
    links = [(f"meters[{i}].gateway", m.gateway, gateways) for i, m in enumerate(config.meters)]
    links += [
        (f"meters[{i}].load.children", child, meters)
        for i, meter in enumerate(config.meters)
        for child in children_of(meter.load)
    ]
    if config.load_file_meter is not None:
        links.append(("load_file_meter", config.load_file_meter, meters))
    for key, target, known in links:
        if target not in known:
            yield _("{key}: there is no {target!r}").format(key=key, target=target)


def _circles(config: SimulatorConfig) -> Iterator[str]:
    children = {meter.id: children_of(meter.load) for meter in config.meters}
    for meter, first in children.items():
        reached: set[str] = set()
        waiting = list(first)
        while waiting:
            child = waiting.pop()
            if child not in reached:
                reached.add(child)
                waiting += children[child]
        if meter in reached:
            yield _("meters: {meter} is part of its own sum").format(meter=meter)


def _profile_mistakes(config: SimulatorConfig) -> Iterator[str]:
    for index, meter in enumerate(config.meters):
        try:
            profile = load_profile(meter.profile)
        except ProfileError as error:
            yield f"meters[{index}].profile: {error}"
        else:
            yield from _station_mistakes(f"meters[{index}]", meter, profile, config)
            yield from _fit_mistakes(f"meters[{index}]", meter, profile)


def _station_mistakes(key: str, meter: MeterSpec, profile: Profile, config: SimulatorConfig) -> Iterator[str]:
    """A DL/T 645 meter has an address, and its gateway a line for it; a Modbus meter has neither."""
    if (profile.protocol == "dlt645") != (meter.address is not None):
        yield _("{key}.address: meters with {profile} have an address of twelve digits, no others").format(
            key=key, profile=profile.name
        )
    lines = {server.gateway for server in config.servers if server.dlt645_port is not None}
    if meter.address is not None and meter.gateway not in lines:
        yield _("{key}.address: the server of {gateway} has no dlt645_port").format(
            key=key, gateway=meter.gateway
        )


def _fit_mistakes(key: str, meter: MeterSpec, profile: Profile) -> Iterator[str]:
    types = {register.reading_type for register in profile.registers}
    if profile.sunspec is not None:
        yield _("{key}.profile: the simulator serves meters at fixed addresses only").format(key=key)
        return
    undriven = sorted(types - TOTALS - GAUGES)
    if undriven:
        text = _("{key}.profile: the simulator cannot drive {names}")
        yield text.format(key=key, names=", ".join(undriven))
    if profile.ratio_applied_in_meter and (meter.ct != 1 or meter.pt != 1):
        yield _("{key}.ct: registers of {profile} hold primary values, so CT and PT must be 1").format(
            key=key, profile=profile.name
        )
    foreign = sorted(set(meter.initial) - (types & TOTALS))
    if foreign:
        yield _("{key}.initial: {names} is no total of {profile}").format(
            key=key, names=", ".join(foreign), profile=profile.name
        )
