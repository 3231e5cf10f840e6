"""What births and the registry say of a meter's totals: what a value on the wire counts, one reading or a column of them."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import ceil, isfinite
from typing import NamedTuple

import numpy as np

from metering.dated import DeclaredTotal
from metering.frames import (
    PROPERTY_MODULUS,
    PROPERTY_RESOLUTION,
    PROPERTY_SCALE,
    PROPERTY_SIGN,
    PROPERTY_UNIT,
)
from metering.protobuf_wire import DecodeError
from metering.reading_types import INTEGRATED, READING_TYPES
from metering.sparkplug import (
    FLOATS,
    SIGNED_BITS,
    UNSIGNED_BITS,
    Metric,
    Property,
    Value,
    typed_value,
)
from metering.units import UNITS
from verification.evidence.judge import BEYOND, Dated, Swap, Unit
from verification.evidence.stack import Numbers
from verification.evidence.total import Reading
from verification.evidence.track import LARGEST, Column, Mask

_PER_HOUR = {"Wh": Fraction(1), "varh": Fraction(1), "kJ": Fraction(18, 5)}
"""Base units that 1 W makes in an hour."""
_MAX_EXPONENT = 18

Key = tuple[str, str]
"""Meter and reading type of a total."""


class MeterFacts(NamedTuple):
    """What the registry says of a meter."""

    gateway: str
    enterprise: str
    parent: str
    """Empty: none."""
    children_elsewhere: int
    """Children that belong to another scope; their frames are not in this pack."""
    ct: Fraction
    pt: Fraction
    max_power_w: int | None
    roles: Mapping[str, str]
    dated: Mapping[str, Dated]
    """By reading type: ratios and exchanges."""

    def total_of(self, metric: str) -> str:
        """The total that a metric stands for: itself, or what is integrated from a power."""
        return INTEGRATED.get(metric, metric)


def dated_of(declared: DeclaredTotal, reading_type: str, max_power_w: int | None, power_gap_s: int) -> Dated:
    """What the registry declares of a total, as the judge takes it."""
    swaps = tuple(Swap(*swap) for swap in declared.swaps)
    per_hour = ceil(_PER_HOUR.get(READING_TYPES[reading_type].unit, Fraction(0)) * (max_power_w or 0))
    gap_ms = power_gap_s * 1000 if reading_type in INTEGRATED.values() else 0
    return Dated(tuple((s.since_ms, s.ratio) for s in declared.segments), swaps, per_hour, gap_ms)


class Declared(NamedTuple):
    """What a birth and the registry say of a total."""

    key: Key
    datatype: int
    unit: Unit
    counts_per_raw: float
    since: tuple[int, ...]
    """Where the ratio segments begin."""
    worth: tuple[tuple[int, int, int, int], ...]
    """Per segment: base units per count (numerator, denominator), those of one count rounded up, and what a register stays below."""
    changing: bool
    """Whether there is more than one segment."""
    plain_below: int
    """An integer on the wire below it is the value itself, sign or no sign; 0: none is."""

    def read(self, value: Value, time: int | None) -> Reading | None:
        """The reading in a wire value; None when it carries no number that counts."""
        raw = self._number(value)
        if raw is None or time is None or time >> 63:
            return None
        # One float64 product, rounded half to even: the rounding that the frame's contract states.
        product = raw if isinstance(raw, int) else raw * self.counts_per_raw
        if not isfinite(product):
            return None
        count = round(product)
        num, den, grain, within = self.worth[bisect_left(self.since, time) - 1 if self.changing else 0]
        register = count * num // den
        if abs(register) >= within or (isinstance(raw, float) and abs(count) >= BEYOND):
            return None
        return Reading(time, raw, count, register, grain, register)

    def column(self, values: Numbers, times: Column) -> tuple[Column, Mask]:
        """Registers in values on the wire, and which of these carry a number that counts: `read`, many at once."""
        terms = np.array(self.worth, np.int64)[self._segments(times)].T
        num, den, _grain, within = terms
        counts, known = self._counts(values, LARGEST // int(num.max(initial=1)))
        registers = counts * num // den
        counting = known & (np.abs(registers) < within)
        for place in np.flatnonzero(~known).tolist():
            reading = self.read(values[place].item(), int(times[place]))
            if reading is not None:
                registers[place], counting[place] = reading.register, True
        return registers, counting

    def _segments(self, times: Column) -> Column:
        if not self.changing:
            return np.zeros(len(times), np.int64)
        found: Column = np.searchsorted(self.since, times).astype(np.int64) - 1
        return found

    def _counts(self, values: Numbers, below: int) -> tuple[Column, Mask]:
        """Whole counts below a limit, and which of them are told by a value of the usual kind."""
        if values.dtype == np.int64:
            known = values < min(below, self.plain_below)
            return np.where(known, values, 0).astype(np.int64), known
        with np.errstate(over="ignore"):
            product = values * self.counts_per_raw
        known = (np.abs(product) < below) & (self.datatype in FLOATS)
        return np.rint(np.where(known, product, 0)).astype(np.int64), known

    def _number(self, value: Value) -> int | float | None:
        """The value as its data type says."""
        if type(value) is int and value < self.plain_below:
            return value  # what most are, at once
        try:
            raw = typed_value(value, self.datatype)
        except DecodeError:
            return None
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not isfinite(raw):
            return None
        return None if isinstance(raw, int) and raw >> 63 > 0 else raw


class Power(NamedTuple):
    """The same of a power, which is taken in whole mW."""

    key: Key
    total: Declared
    """As a balance reads it: in W."""
    exact: Declared
    """In mW: a float is rounded to whole ones on the meter's own side."""

    def read(self, value: Value, time: int | None) -> Reading | None:
        """The reading in a wire value; None when it carries no number that counts."""
        said, found = self.total.read(value, time), self.exact.read(value, time)
        if said is None or found is None:
            return None
        return found._replace(counts=said.counts, shown=said.register)

    def column(self, values: Numbers, times: Column) -> tuple[Column, Mask]:
        """Registers in values on the wire, and which of these carry a number that counts."""
        _shown, said = self.total.column(values, times)
        registers, counting = self.exact.column(values, times)
        return registers, said & counting

    @property
    def unit(self) -> Unit:
        """Of its readings."""
        return self.exact.unit


def declarations(
    meter: str, facts: MeterFacts, metrics: Iterable[Metric]
) -> Iterator[tuple[int | str, Declared | Power]]:
    for metric in metrics:
        declared = _declaration(meter, facts, metric)
        if declared is not None:
            yield metric.name or "" if metric.alias is None else metric.alias, declared


def _declaration(meter: str, facts: MeterFacts, metric: Metric) -> Declared | Power | None:
    name, properties, datatype = metric.name or "", metric.properties or {}, metric.datatype or 0
    kind, unit = facts.total_of(name), UNITS.get(str(properties.get(PROPERTY_UNIT, "")))
    if kind not in facts.roles or unit is None or unit.base != READING_TYPES[name].unit:
        return None
    scale, resolution = (properties.get(name, 0) for name in (PROPERTY_SCALE, PROPERTY_RESOLUTION))
    if (
        not isinstance(scale, int)
        or not isinstance(resolution, int)
        or max(abs(scale), abs(resolution)) > _MAX_EXPONENT
    ):
        return None
    if datatype not in FLOATS and datatype not in SIGNED_BITS and datatype not in UNSIGNED_BITS:
        return None
    per_raw, count = (
        unit.factor * Fraction(10) ** scale,
        Fraction(10) ** resolution if datatype in FLOATS else Fraction(1),
    )
    said = _worth(
        (meter, kind), datatype, facts.dated[kind], count, Unit(per_raw * count, _modulus(properties))
    )
    if kind == name:
        return said
    sign = -1 if properties.get(PROPERTY_SIGN) == -1 else 1
    whole = 1 / (1000 * per_raw) if datatype in FLOATS else Fraction(1)  # of a float: raw units in 1 mW
    exact = _worth((meter, kind), datatype, facts.dated[kind], whole, Unit(1000 * per_raw * whole, sign=sign))
    return None if said is None or exact is None else Power((meter, kind), said, exact)


def _worth(key: Key, datatype: int, dated: Dated, count: Fraction, unit: Unit) -> Declared | None:
    """`count` is how many raw units one count is."""
    worth = tuple(unit.base * ratio for _since, ratio in dated.segments)
    if any(max(value.as_integer_ratio()) >= BEYOND for value in (unit.base, *worth)):
        return None
    return Declared(
        key, datatype, unit, float(1 / count),
        tuple(since for since, _ratio in dated.segments),
        tuple((*value.as_integer_ratio(), ceil(value), dated.within(i)) for i, value in enumerate(worth)), len(worth) > 1,
        _plain_below(datatype),
    )  # fmt: skip


def _plain_below(datatype: int) -> int:
    if datatype in FLOATS:
        return 0
    bits = UNSIGNED_BITS[datatype] if datatype in UNSIGNED_BITS else SIGNED_BITS[datatype] - 1
    return 1 << min(bits, 63)


def _modulus(properties: Mapping[str, Property]) -> int:
    """Older gateways declare it as text."""
    text = str(properties.get(PROPERTY_MODULUS, ""))
    return int(text) if text.isdecimal() and int(text) < BEYOND else 0
