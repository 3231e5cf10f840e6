"""What an alias means: the birth's declaration and the registry's ratios, turned into integers the step can use."""

from fractions import Fraction
from hashlib import blake2b
from typing import Literal

import msgspec

from metering import frames
from metering.reading_types import READING_TYPES, Kind
from metering.registry import Meter, Park
from metering.sparkplug import FLOATS, SIGNED_BITS, UNSIGNED_BITS, Metric, Payload, Property
from metering.units import UNITS


class Binding(msgspec.Struct, frozen=True, gc=False):
    """How the raw values under one alias become positions (totals) or displayed values (gauges).

    A total's count is the raw integer, or round-half-even(raw × multiplier) for a float;
    its position is floor(count × num / den) base units.
    """

    kind: Literal["total", "gauge"]
    meter: str
    reading_type: str
    datatype: int
    num: int = 1
    den: int = 1
    multiplier: float = 1.0
    """Float total: counts per raw unit. Gauge: base units per raw unit."""


class Ratio(msgspec.Struct, frozen=True, gc=False):
    """Base units per count."""

    num: int
    den: int


def bind(park: Park, gateway: str, meter_id: str, birth: Payload) -> dict[int, Binding]:
    """Alias → binding for every metric of a DBIRTH that the ledger knows. Unconfirmed meters have none."""
    meter = park.meter(meter_id)
    if meter is None or meter.gateway != gateway:
        return {}
    found = {
        name_alias(meter_id, metric.name or "") if metric.alias is None else metric.alias: _binding(meter, metric)
        for metric in birth.metrics
    }
    return {alias: binding for alias, binding in found.items() if binding is not None}


def name_alias(meter: str, name: str) -> int:
    """The alias that we give a metric of a node that uses none: 60 bits of a digest, with a bit that real aliases lack."""
    return int.from_bytes(blake2b(f"{meter}/{name}".encode(), digest_size=7).digest()) | 1 << 60


def _binding(meter: Meter, metric: Metric) -> Binding | None:
    reading_type = READING_TYPES.get(metric.name or "")
    properties = metric.properties or {}
    unit = UNITS.get(str(properties.get(frames.PROPERTY_UNIT, "")))
    datatype = metric.datatype or 0
    numeric = datatype in FLOATS or datatype in SIGNED_BITS or datatype in UNSIGNED_BITS
    if reading_type is None or unit is None or unit.base != reading_type.unit or not numeric:
        return None
    scale = Fraction(10) ** _exponent(properties, frames.PROPERTY_SCALE)
    ratio = _ratio(meter, reading_type.name)
    if reading_type.kind is Kind.GAUGE:
        sign = -1 if properties.get(frames.PROPERTY_SIGN) == -1 else 1
        per_raw = sign * unit.factor * scale * ratio
        return Binding("gauge", meter.id, reading_type.name, datatype, multiplier=float(per_raw))
    if reading_type.name not in meter.roles:
        return None
    count = Fraction(10) ** _exponent(properties, frames.PROPERTY_RESOLUTION) if datatype in FLOATS else scale
    per_count = unit.factor * count * ratio
    multiplier = float(1 / count) if datatype in FLOATS else 1.0
    return Binding("total", meter.id, reading_type.name, datatype, per_count.numerator, per_count.denominator, multiplier)


def _exponent(properties: dict[str, Property] | object, key: str) -> int:
    value = properties.get(key, 0) if isinstance(properties, dict) else 0
    return int(value) if isinstance(value, int) else 0


def _ratio(meter: Meter, reading_type: str) -> Fraction:
    """CT × PT for powers and energies, CT for currents, PT for voltages, 1 for what transformers do not touch."""
    if reading_type.startswith(("energy_", "reactive_", "power_active", "power_reactive", "power_apparent")):
        return meter.ct * meter.pt
    if reading_type.startswith("current_"):
        return meter.ct
    return meter.pt if reading_type.startswith("voltage_") else Fraction(1)
