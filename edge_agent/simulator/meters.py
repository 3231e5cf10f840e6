"""Simulated meters: the register image of each meter at any time, and the totals that a check expects of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

from edge_agent.profile import Field, Profile, Register, load_profile
from edge_agent.profile_model import DLT645, fields_of
from edge_agent.registers import decode, encode
from edge_agent.simulator import shapes
from edge_agent.simulator.config import (
    TOTALS,
    FileSpec,
    LoadSpec,
    MeterSpec,
    ShapeSpec,
    SimulatorConfig,
    SimulatorConfigError,
    SumSpec,
    TwoWaySpec,
)
from edge_agent.simulator.csvload import csv_load
from edge_agent.simulator.gauges import Electrics, gauges
from edge_agent.simulator.load import (
    DAY_SLOTS,
    NO_LOAD,
    SLOT_MS,
    WMS_PER_WH,
    Load,
    SumLoad,
    combine,
    net_export,
    net_import,
    share,
    slot_of,
)
from metering.i18n import _
from metering.units import UNITS

_LEAP_YEAR_SLOTS = 366 * DAY_SLOTS
_SHAPES = {"factory": shapes.factory, "office": shapes.office, "pv": shapes.pv}


Placed = list[tuple[Field, list[int]]]
"""Fields of a register, each with its words."""


class Flows(NamedTuple):
    """The energy through a meter, by direction."""

    imported: Load
    exported: Load = NO_LOAD
    generated: Load = NO_LOAD


class Area(NamedTuple):
    """The readable registers of one function code: words from address `first` on."""

    first: int
    words: list[int]


@dataclass(frozen=True, slots=True)
class SimulatedMeter:
    """One meter; everything it shows is a function of time alone."""

    spec: MeterSpec
    profile: Profile
    flows: Flows
    electrics: Electrics
    areas: Mapping[int, tuple[int, int]]
    """Function code → first address and number of registers."""
    steps: Mapping[str, Fraction]
    """Reading type → base units on the primary side per count of a total, per raw step of a gauge."""

    def power_w(self, t_ms: int) -> int:
        """Mean power of the slot that begins at or holds `t_ms`: an inverter's yield, else import less export."""
        first = slot_of(t_ms)[0]
        imported, exported, generated = (flow.slots(first, 1)[0] // SLOT_MS for flow in self.flows)
        return generated if self.profile.kind == "pv_inverter" else imported - exported

    def count(self, register: Register, t_ms: int) -> int:
        """Counts that a total stands at, before any roll-over."""
        name, step = register.reading_type, self.steps[register.reading_type]
        position = self.spec.initial.get(name, 0) * WMS_PER_WH + self._position(name, t_ms)
        return position * step.denominator // (step.numerator * WMS_PER_WH)

    def totals(self, t_ms: int) -> dict[str, int]:
        """Reading type of each total → what it says at `t_ms`, in base units on the primary side."""
        return {
            register.reading_type: int(self.count(register, t_ms) * self.steps[register.reading_type] // 1)
            for register in self.profile.registers
            if register.reading_type in TOTALS
        }

    def image(self, t_ms: int) -> dict[int, Area]:
        """Function code → registers at `t_ms`; OverflowError when a value has outgrown its registers."""
        areas = {fc: Area(first, [0] * count) for fc, (first, count) in self.areas.items()}
        for field, own in self._placed(t_ms):
            first, area = areas[field.fc]
            area[field.addr - first : field.end - first] = own
        return areas

    def items(self, t_ms: int) -> dict[int, bytes]:
        """Of a DL/T 645 meter: data identifier → its bytes at `t_ms`, the lowest first; OverflowError likewise."""
        return {field.addr: bytes(own) for field, own in self._placed(t_ms)}

    def _placed(self, t_ms: int) -> Placed:
        shown = gauges(self.electrics, self.power_w(t_ms), t_ms)
        return [
            placed
            for register in self.profile.registers
            for placed in (
                _total_words(register, self.count(register, t_ms))
                if register.reading_type in TOTALS
                else self._gauge_words(register, shown)
            )
        ]

    def check(self, t_ms: int) -> str | None:
        """What this meter cannot show at `t_ms`, or at its highest power of a year; None when it can show all."""
        flows = (self.flows.imported, self.flows.exported, self.flows.generated)
        peak = max(max(flow.slots(0, _LEAP_YEAR_SLOTS)) for flow in flows) // SLOT_MS
        try:
            self._placed(t_ms)
            shown = gauges(self.electrics, peak, t_ms)
            for register in self.profile.registers:
                if register.reading_type not in TOTALS:
                    self._gauge_words(register, shown)
        except OverflowError as error:
            return f"{self.spec.id}: {error}"
        return None

    def _position(self, reading_type: str, t_ms: int) -> int:
        """Energy in W·ms (var·ms) since the anchor."""
        quantity, direction, _total = reading_type.split("_")
        flow = {"import": self.flows.imported, "export": self.flows.exported}.get(
            direction, self.flows.generated
        )
        position = flow.position(t_ms)
        return position * self.electrics.reactive_permille // 1000 if quantity == "reactive" else position

    def _gauge_words(self, register: Register, shown: Mapping[str, float]) -> Placed:
        raw = register.sign * shown[register.reading_type] / float(self.steps[register.reading_type])
        return _words(register, raw if register.type.startswith("float") else round(raw))


def build_meters(config: SimulatorConfig) -> dict[str, SimulatedMeter]:
    """Meter id → meter, in the configuration's order; LoadFileError for a mistaken load file."""
    profiles = {name: load_profile(name) for name in {spec.profile for spec in config.meters}}
    inverters = {spec.id for spec in config.meters if profiles[spec.profile].kind == "pv_inverter"}
    flows = _FlowBuilder(config, inverters)
    return {
        spec.id: _meter(config.seed, spec, profiles[spec.profile], flows.of_meter(spec.id))
        for spec in config.meters
    }


def check_meters(meters: Iterable[SimulatedMeter], t_ms: int) -> None:
    """Raise SimulatorConfigError naming every meter whose registers cannot hold what it shows up to `t_ms`."""
    mistakes = [text for meter in meters if (text := meter.check(t_ms)) is not None]
    if mistakes:
        raise SimulatorConfigError(_("simulated meters"), mistakes)


def expected_totals(config: SimulatorConfig, t_ms: int) -> dict[tuple[str, str], int]:
    """(meter, reading type of a total) → what the ledger must say at `t_ms`, in base units on the primary side."""
    meters = build_meters(config)
    return {(meter, name): value for meter in meters for name, value in meters[meter].totals(t_ms).items()}


def _meter(seed: str, spec: MeterSpec, profile: Profile, flows: Flows) -> SimulatedMeter:
    areas: dict[int, tuple[int, int]] = {}
    for fc in {register.fc for register in profile.registers} - {DLT645}:
        fields = [field for field in fields_of(profile.registers) if field.fc == fc]
        first = min(field.addr for field in fields)
        areas[fc] = (first, max(field.end for field in fields) - first)
    draw = sha256(f"{seed}\n{spec.id}\nreactive".encode()).digest()[0]
    permille = draw // 16 if profile.kind == "pv_inverter" else 180 + draw
    shown = {register.reading_type for register in profile.registers}
    single = "voltage_l1" in shown and "voltage_l2" not in shown
    electrics = Electrics(seed, spec.id, spec.nominal_v, permille, single)
    steps = {register.reading_type: _step(register, spec) for register in profile.registers}
    return SimulatedMeter(spec, profile, flows, electrics, areas, steps)


def _step(register: Register, spec: MeterSpec) -> Fraction:
    exponent = register.scale + (register.resolution or 0)
    step = UNITS[register.unit].factor * Fraction(10) ** exponent
    quantity = register.reading_type.partition("_")[0]
    if register.reading_type in {"power_factor", "frequency"}:
        return step
    ratio = {"current": spec.ct, "voltage": spec.pt}.get(quantity, spec.ct * spec.pt)
    return step * ratio


def _total_words(register: Register, count: int) -> Placed:
    count = count % register.rollover if register.rollover else count
    if register.resolution is None:
        return _words(register, count)
    # Division, not multiplication, by a power of ten: 29 / 100 is 0.29, 29 * 0.01 is not.
    raw = count * 10**register.resolution if register.resolution >= 0 else count / 10**-register.resolution
    placed = _words(register, float(raw))
    carried = decode(register, placed[0][1])
    if carried is None or round(carried * 10.0**-register.resolution) != count:
        message = f"{register.reading_type}: {register.type} no longer tells {count} counts apart"
        raise OverflowError(message)
    return placed


def _words(register: Register, raw: float) -> Placed:
    """The words of every field of a register: it alone holds the value, or a part of the other sign does."""
    values: dict[Field, float] = dict.fromkeys(register.fields, 0)
    opposite = next((part for part in register.parts if part.factor < 0), None)
    if raw < 0 and opposite is not None:
        values[opposite] = -raw
    else:
        values[register] = raw
    try:
        return [(field, encode(field, value)) for field, value in values.items()]
    except OverflowError as error:
        message = f"{register.reading_type}: {raw} does not fit {register.type}"
        raise OverflowError(message) from error


class _FlowBuilder:
    """Builds each meter's flows once, its children's first."""

    def __init__(self, config: SimulatorConfig, inverters: set[str]) -> None:
        self._config = config
        self._inverters = inverters
        self._specs = {meter.id: meter for meter in config.meters}
        self._built: dict[str, Flows] = {}

    def of_meter(self, meter: str) -> Flows:
        if meter not in self._built:
            self._built[meter] = self._flows(self._specs[meter].load, meter)
        return self._built[meter]

    def _flows(self, spec: LoadSpec, name: str) -> Flows:
        if isinstance(spec, TwoWaySpec):
            load, pv = self._load(spec.load, f"{name}/load"), self._load(spec.pv, f"{name}/pv")
            return Flows(combine(net_import, load, pv), combine(net_export, load, pv))
        load = self._load(spec, name)
        is_pv = name in self._inverters or (isinstance(spec, ShapeSpec) and spec.kind == "pv")
        return Flows(NO_LOAD, load, load) if is_pv else Flows(load)

    def _load(self, spec: LoadSpec, name: str) -> Load:
        if isinstance(spec, ShapeSpec):
            return _SHAPES[spec.kind](self._config.seed, name, spec.rated_w)
        if isinstance(spec, FileSpec):
            return csv_load(self._config.folder / spec.file)
        if isinstance(spec, SumSpec):
            return self._sum(spec)
        return self._flows(spec, name).imported

    def _sum(self, spec: SumSpec) -> Load:
        children = SumLoad(tuple(self._main(child) for child in spec.children))
        if not spec.losses_permille:
            return children
        return SumLoad((*children.parts, combine(share(spec.losses_permille), children)))

    def _main(self, meter: str) -> Load:
        flows = self.of_meter(meter)
        return flows.imported if flows.generated is NO_LOAD else flows.generated
