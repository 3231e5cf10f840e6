"""What an alias means: the birth's declaration and the registry's ratios, turned into integers the step can use."""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from metering import frames
from metering.dated import declared_total
from metering.reading_types import INTEGRATED, READING_TYPES, Kind
from metering.registry import Meter, Park
from metering.sparkplug import FLOATS, SIGNED_BITS, UNSIGNED_BITS, Metric, Payload, Property
from metering.units import UNITS

LIMIT = 1 << 62
"""Positions, and what makes them, stay below: differences of two still fit int64."""
_MAX_EXPONENT = 18
"""10^18 is the largest power of ten that int64 holds; a birth that declares more declares nothing we can count in."""


class Power(msgspec.Struct, frozen=True, gc=False):
    """How the raw values of a power become whole mW that are integrated, for a meter without totals.

    The count is the raw integer, or round-half-even(raw × counts_per_raw) for a float, and stands for count × num / den mW
    on the meter's own side; `sign` -1 turns the flow round.
    """

    num: int
    den: int
    counts_per_raw: float
    sign: int


class Binding(msgspec.Struct, frozen=True, gc=False):
    """How the raw values under one alias become positions (totals) or displayed values (gauges).

    A total's count is the raw integer, or round-half-even(raw × multiplier) for a float; on the meter's own side it
    stands for count × num / den base units. The registry's ratios come in when it is totalled, by the reading's time.
    """

    kind: Literal["total", "gauge"]
    meter: str
    reading_type: str
    datatype: int
    num: int = 1
    den: int = 1
    modulus: int = 0
    """Counts at which a total rolls over; 0: unknown."""
    multiplier: float = 1.0
    """Float total: counts per raw unit. Gauge: base units per raw unit, under the newest ratio."""
    power: Power | None = None
    """Of a gauge that is integrated."""

    @property
    def total(self) -> str | None:
        """The ledger's total that its readings are counted in."""
        if self.kind == "total":
            return self.reading_type
        return None if self.power is None else INTEGRATED[self.reading_type]

    @property
    def counts_per_raw(self) -> float:
        """What a float's raw value is multiplied by before it is rounded to a count."""
        return self.multiplier if self.power is None else self.power.counts_per_raw


def bind(park: Park, gateway: str, meter_id: str, birth: Payload) -> dict[int, Binding]:
    """Alias → binding for every metric of a DBIRTH that the ledger knows. Unconfirmed meters have none."""
    meter = park.meter(meter_id)
    if meter is None or meter.gateway != gateway:
        return {}
    found = {
        name_alias(meter_id, metric.name or "")
        if metric.alias is None
        else int64_bits(metric.alias): _binding(meter, metric, park.tz)
        for metric in birth.metrics
    }
    return {alias: binding for alias, binding in found.items() if binding is not None}


def int64_bits(value: int) -> int:
    """An unsigned 64-bit number as the int64 of the same bits, which is what columns hold."""
    return value - (1 << 64) if value >> 63 else value


def name_alias(meter: str, name: str) -> int:
    """The alias that we give a metric of a node that uses none: 60 bits of a digest, with a bit that real aliases lack."""
    return int.from_bytes(blake2b(f"{meter}/{name}".encode(), digest_size=7).digest()) | 1 << 60


def _binding(meter: Meter, metric: Metric, zone: ZoneInfo) -> Binding | None:
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
    scale, resolution = map(_power_of_ten, exponents)
    if reading_type.kind is Kind.GAUGE:
        ratio = declared_total(meter, reading_type.name, zone).segments[-1].ratio
        sign = -1 if properties.get(frames.PROPERTY_SIGN) == -1 else 1
        per_raw = sign * unit.factor * scale * ratio
        power = None
        if INTEGRATED.get(reading_type.name) in meter.roles:
            power = _power(unit.factor * scale * 1000, datatype, sign)
        return Binding("gauge", meter.id, reading_type.name, datatype, multiplier=float(per_raw), power=power)
    if reading_type.name not in meter.read_totals:
        return None
    # A float's count is 10^resolution of its raw value; an integer is its own count.
    count = resolution if datatype in FLOATS else Fraction(1)
    num, den = (unit.factor * scale * count).as_integer_ratio()
    if max(num, den) >= LIMIT:
        return None
    modulus = _modulus(properties)
    return Binding("total", meter.id, reading_type.name, datatype, num, den, modulus, float(1 / count))


def _power(milliwatts: Fraction, datatype: int, sign: int) -> Power | None:
    """`milliwatts` of one raw unit. A float is rounded to whole mW on the meter's own side."""
    count, per_raw = (Fraction(1), float(milliwatts)) if datatype in FLOATS else (milliwatts, 1.0)
    num, den = count.as_integer_ratio()
    return Power(num, den, per_raw, sign) if max(num, den) < LIMIT else None


@lru_cache
def _power_of_ten(exponent: int) -> Fraction:
    return Fraction(10) ** exponent


def _modulus(properties: Mapping[str, Property]) -> int:
    """Older gateways declare it as text."""
    text = str(properties.get(frames.PROPERTY_MODULUS, ""))
    return int(text) if text.isdecimal() and int(text) < LIMIT else 0


def _exponent(properties: dict[str, Property] | object, key: str) -> int:
    value = properties.get(key, 0) if isinstance(properties, dict) else 0
    return int(value) if isinstance(value, int) else 0
