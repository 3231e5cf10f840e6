"""The month again from frames alone: plain codec, Python integers and fractions, each total judged in time order.

Shares nothing with `stream/`: it follows design decisions 5 to 7 and decision record 0004 as written, and is held against
the stored intervals. Memory holds a few small columns per total, not the frames.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from math import ceil, isfinite
from typing import NamedTuple

from metering.dated import DeclaredTotal
from metering.frames import (
    PROPERTY_MODULUS,
    PROPERTY_RESOLUTION,
    PROPERTY_SCALE,
    PROPERTY_SIGN,
    PROPERTY_UNIT,
)
from metering.intervals import Span
from metering.protobuf_wire import DecodeError
from metering.reading_types import INTEGRATED, READING_TYPES
from metering.sparkplug import (
    FLOATS,
    SIGNED_BITS,
    UNSIGNED_BITS,
    Metric,
    Property,
    Value,
    decode,
    typed_value,
)
from metering.topics import MessageType, parse_topic
from metering.units import UNITS
from storage.segment import unpack_all
from verification.evidence import lean
from verification.evidence.judge import BEYOND, Begins, Dated, Swap, Unit
from verification.evidence.powers import PowerTotal
from verification.evidence.total import Reading, Told, Total

_PER_HOUR = {"Wh": Fraction(1), "varh": Fraction(1), "kJ": Fraction(18, 5)}
"""Base units that 1 W makes in an hour."""
_MAX_EXPONENT = 18
_HEAD_SIZE = 14
"""Of a record: time int64, length of topic uint16, length of payload uint32 (storage/segment.py)."""

Key = tuple[str, str]
"""Meter and reading type of a total."""
Where = tuple[int, int]
"""Segment, and record within it."""


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
        count = raw if isinstance(raw, int) else round(raw * self.counts_per_raw)
        num, den, grain, within = self.worth[bisect_left(self.since, time) - 1 if self.changing else 0]
        register = count * num // den
        if abs(register) >= within or (isinstance(raw, float) and abs(count) >= BEYOND):
            return None
        return Reading(time, raw, count, register, grain, register)

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

    @property
    def unit(self) -> Unit:
        """Of its readings."""
        return self.exact.unit


class Reader:
    """Decodes records in journal order, so that births come before their data; hands every reading of a total on."""

    def __init__(
        self, meters: Mapping[str, MeterFacts], take: Callable[[Key, Where, Reading, Unit], None]
    ) -> None:
        self._meters, self._take_reading = meters, take
        self._declared: dict[str, dict[int | str, Declared | Power]] = {}
        self._shapes: dict[str, lean.Shapes] = {}
        self._routes: dict[bytes, tuple[MessageType | None, str]] = {}
        self.frames = 0

    def feed(self, where: Where, record: bytes) -> None:
        """A record; those that are neither a birth nor data of a meter in the registry mean nothing here."""
        size = int.from_bytes(record[8:10], "little")
        topic = record[_HEAD_SIZE : _HEAD_SIZE + size]
        if topic not in self._routes:
            (item,) = unpack_all(record)
            self._routes[topic] = self._route(item.topic)
        kind, meter = self._routes[topic]
        payload = record[_HEAD_SIZE + size :]
        if kind is MessageType.DDATA:
            if meter in self._declared:
                self._data(where, payload, self._declared[meter], self._shapes[meter])
            else:
                self._data(where, payload, {}, lean.Shapes(()))
        elif kind is MessageType.DBIRTH:
            with suppress(DecodeError):
                metrics = decode(payload).metrics
                self._declared[meter] = dict(_declarations(meter, self._meters[meter], metrics))
                self._shapes[meter] = lean.Shapes(self._declared[meter])

    def _route(self, topic: str) -> tuple[MessageType | None, str]:
        """What a topic's records mean here, and whose they are."""
        found = parse_topic(topic)
        facts = self._meters.get(found.meter) if found is not None else None
        if found is None or facts is None or facts.gateway != found.gateway:
            return None, ""
        return found.type, found.meter

    def _data(
        self, where: Where, payload: bytes, known: Mapping[int | str, Declared | Power], shapes: lean.Shapes
    ) -> None:
        usual = shapes.read(payload)
        if usual is not None:
            self.frames += 1
            t_ms, found = usual
            for alias, timestamp, value in found:
                self._take(where, known[alias], t_ms if timestamp is None else timestamp, value)
            return
        with suppress(DecodeError):
            whole = decode(payload)
            self.frames += 1
            for metric in whole.metrics:
                declared = known.get(metric.alias if metric.alias is not None else metric.name or "")
                if declared is not None:
                    time = whole.timestamp if metric.timestamp is None else metric.timestamp
                    self._take(where, declared, time, metric.value)

    def _take(self, where: Where, declared: Declared | Power, t_ms: int | None, value: Value) -> None:
        reading = declared.read(value, t_ms)
        if reading is not None:
            self._take_reading(declared.key, where, reading, declared.unit)


class Replay:
    """Feed it a pack's records in journal order; ask its totals."""

    def __init__(self, span: Span, meters: Mapping[str, MeterFacts], opening: Mapping[Key, Begins]) -> None:
        self.totals = {
            (meter, kind): (PowerTotal if facts.dated[kind].gap_ms else Total)(
                span, facts.dated[kind], opening.get((meter, kind))
            )
            for meter, facts in meters.items()
            for kind in facts.roles
        }
        self.cited: dict[tuple[Key, Where], Reading | None] = {}
        """Set its keys to the readings that are to be kept."""
        self._cited_places: frozenset[Where] | None = None
        self._reader = Reader(meters, self._take)
        self.feed = self._reader.feed

    @property
    def frames(self) -> int:
        """How many data frames of known meters were read."""
        return self._reader.frames

    def join(
        self, told: Mapping[Key, Told], cited: Mapping[tuple[Key, Where], Reading | None], frames: int
    ) -> None:
        """Take over what another process replayed."""
        self.totals |= {key: Total.of(known) for key, known in told.items()}
        self.cited |= {place: reading for place, reading in cited.items() if reading is not None}
        self._reader.frames += frames

    def _take(self, key: Key, where: Where, reading: Reading, unit: Unit) -> None:
        if self._is_cited(where) and (key, where) in self.cited:
            self.cited[key, where] = reading
        self.totals[key].feed(reading, unit)

    def _is_cited(self, where: Where) -> bool:
        if self._cited_places is None:
            self._cited_places = frozenset(place for _key, place in self.cited)
        return where in self._cited_places


def _declarations(
    meter: str, facts: MeterFacts, metrics: tuple[Metric, ...]
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
