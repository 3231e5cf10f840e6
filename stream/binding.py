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

LIMIT = 1 << 62
"""Positions, and what makes them, stay below: differences of two still fit int64."""
_MAX_EXPONENT = 18
"""10^18 is the largest power of ten that int64 holds; a birth that declares more declares nothing we can count in."""


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
    ratio: str = "1"
    """What the registry's transformers contribute to num/den."""
    multiplier: float = 1.0
    """Float total: counts per raw unit. Gauge: base units per raw unit."""


def bind(park: Park, gateway: str, meter_id: str, birth: Payload) -> dict[int, Binding]:
    """Alias → binding for every metric of a DBIRTH that the ledger knows. Unconfirmed meters have none."""
    meter = park.meter(meter_id)
    if meter is None or meter.gateway != gateway:
        return {}
    found = {
        name_alias(meter_id, metric.name or "")
        if metric.alias is None
        else int64_bits(metric.alias): _binding(meter, metric)
        for metric in birth.metrics
    }
    return {alias: binding for alias, binding in found.items() if binding is not None}


def int64_bits(value: int) -> int:
    """An unsigned 64-bit number as the int64 of the same bits, which is what columns hold."""
    return value - (1 << 64) if value >> 63 else value


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
    exponents = [_exponent(properties, key) for key in (frames.PROPERTY_SCALE, frames.PROPERTY_RESOLUTION)]
    if any(abs(exponent) > _MAX_EXPONENT for exponent in exponents):
        return None
    scale, resolution = (Fraction(10) ** exponent for exponent in exponents)
    ratio = transformer_ratio(meter, reading_type.name)
    if reading_type.kind is Kind.GAUGE:
        sign = -1 if properties.get(frames.PROPERTY_SIGN) == -1 else 1
        per_raw = sign * unit.factor * scale * ratio
        return Binding("gauge", meter.id, reading_type.name, datatype, multiplier=float(per_raw))
    if reading_type.name not in meter.roles:
        return None
    # A float's count is 10^resolution of its raw value; an integer is its own count.
    count = resolution if datatype in FLOATS else Fraction(1)
    per_count = unit.factor * scale * count * ratio
    num, den = per_count.as_integer_ratio()
    if max(num, den) >= LIMIT:
        return None
    return Binding("total", meter.id, reading_type.name, datatype, num, den, str(ratio), float(1 / count))


def _exponent(properties: dict[str, Property] | object, key: str) -> int:
    value = properties.get(key, 0) if isinstance(properties, dict) else 0
    return int(value) if isinstance(value, int) else 0


def transformer_ratio(meter: Meter, reading_type: str) -> Fraction:
    """CT × PT for powers and energies, CT for currents, PT for voltages, 1 for what transformers do not touch."""
    if reading_type.startswith(("energy_", "reactive_", "power_active", "power_reactive", "power_apparent")):
        return meter.ct * meter.pt
    if reading_type.startswith("current_"):
        return meter.ct
    return meter.pt if reading_type.startswith("voltage_") else Fraction(1)
