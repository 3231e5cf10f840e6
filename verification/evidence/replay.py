"""The month again from frames alone: plain codec, Python integers and fractions, one reading after the other in time order.

Shares nothing with `stream/`: it follows design decisions 5 to 7 as written, and is held against the stored intervals.
Memory holds a few small columns per total, not the frames.
"""

from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from math import ceil, isfinite
from typing import NamedTuple

from metering.frames import PROPERTY_RESOLUTION, PROPERTY_SCALE, PROPERTY_UNIT
from metering.intervals import HOUR_MS, MINUTE_MS, QUARTER_MS, Span
from metering.protobuf_wire import DecodeError
from metering.quality import Quality
from metering.reading_types import READING_TYPES
from metering.sparkplug import FLOATS, SIGNED_BITS, UNSIGNED_BITS, Metric, Value, decode, typed_value
from metering.topics import MessageType, parse_topic
from metering.units import UNITS
from storage.segment import unpack_all
from verification.evidence import lean

EDGE_TOLERANCE_MS = MINUTE_MS
MAX_GAP_MS = QUARTER_MS + EDGE_TOLERANCE_MS
MARGIN_TENTHS = 11
"""A rise is plausible up to 1.1 × rated power × time, and one count."""
LIMIT = 1 << 62
"""Positions stay below it; a reading beyond is no reading."""
TRANSFORMED_UNITS = frozenset({"Wh", "varh"})
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


class Row(NamedTuple):
    """A closed interval, or the running one."""

    start_ms: int
    opening: int
    closing: int
    coverage_ms: int
    edge_read: bool
    quality: int
    closed: bool


class Reading(NamedTuple):
    """One total as a frame says it."""

    t_ms: int
    raw: int | float
    counts: int
    position: int


class _Waiting:
    """Readings of one total until all are there, in a few small columns."""

    def __init__(self) -> None:
        self._times, self._positions = array("q"), array("q")
        self._segments, self._indices = array("q"), array("l")
        self._limits, self._limit_of = [(0, 0)], array("l")

    def add(self, where: Where, reading: Reading, limits: tuple[int, int]) -> None:
        """Keep a reading with the (energy per hour, grain) that its birth allows."""
        if limits != self._limits[-1]:
            self._limits.append(limits)
        self._times.append(reading.t_ms)
        self._positions.append(reading.position)
        self._segments.append(where[0])
        self._indices.append(where[1])
        self._limit_of.append(len(self._limits) - 1)

    def in_order(self) -> Iterator[tuple[Where, int, int, tuple[int, int]]]:
        """(place, time, position, limits) by time, then by place."""
        places = list(zip(self._segments, self._indices, strict=True))
        for at in sorted(range(len(places)), key=lambda at: (self._times[at], places[at])):
            yield places[at], self._times[at], self._positions[at], self._limits[self._limit_of[at]]


class Total:
    """One total of one meter over the month."""

    def __init__(self, span: Span, begins: tuple[Where, int] | None) -> None:
        self._span = span
        self._begins = (begins[1], begins[0]) if begins is not None else None
        self._waiting = _Waiting()
        self._last: tuple[int, int] | None = None
        self._open = self._coverage = self._quality = 0
        self._start = 0
        self._last_good: tuple[Where, int, int] | None = None
        self.first_start: int | None = None
        """Start of the first interval of the month; known once `rows` is asked for."""
        self._first_opening = 0
        self._closing, self._covered = array("q"), array("l")
        self._edge_read, self._worst = bytearray(), bytearray()
        self._nearest: list[int | None] = [None, None, None, None]

    def feed(self, where: Where, reading: Reading, per_hour: int, grain: int) -> None:
        """A reading, in any order: they count in the order of their time, and of the journal where times are the same."""
        if self._begins is None or (reading.t_ms, where) >= self._begins:
            self._waiting.add(where, reading, (per_hour, grain))

    @property
    def last_good(self) -> tuple[Where, int, int] | None:
        """(place, time, position) of the total that counts last."""
        self._settle()
        return self._last_good

    @property
    def nearest(self) -> list[int | None]:
        """Times of the last reading that counts at or before, and the first at or after, the month's start; the same for its end."""
        self._settle()
        return self._nearest

    def _settle(self) -> None:
        for where, t, position, (per_hour, grain) in self._waiting.in_order():
            self._take(where, t, position, per_hour, grain)
        self._waiting = _Waiting()

    def _take(self, where: Where, t: int, position: int, per_hour: int, grain: int) -> None:
        if self._last is None:
            self._last, self._open, self._start = (t, position), position, t - t % QUARTER_MS
            self._count(where, t, position)
            return
        last_t, last_position = self._last
        if t > last_t and self._plausible(position - last_position, t - last_t, per_hour, grain):
            self._advance(t, position)
            self._count(where, t, position)

    @staticmethod
    def _plausible(rise: int, elapsed_ms: int, per_hour: int, grain: int) -> bool:
        if rise < 0:
            return False
        if not per_hour:
            return True
        return rise <= per_hour * MARGIN_TENTHS * elapsed_ms // (10 * HOUR_MS) + grain

    def _count(self, where: Where, t: int, position: int) -> None:
        self._last_good = where, t, position
        near, (start, end) = self._nearest, self._span
        if t <= start and (near[0] is None or t > near[0]):
            near[0] = t
        if t >= start and (near[1] is None or t < near[1]):
            near[1] = t
        if t <= end and (near[2] is None or t > near[2]):
            near[2] = t
        if t >= end and (near[3] is None or t < near[3]):
            near[3] = t

    def _advance(self, t: int, position: int) -> None:
        assert self._last is not None  # noqa: S101  feed sets it first
        t0, p0 = self._last
        measured = t - t0 <= MAX_GAP_MS
        while (edge := self._start + QUARTER_MS) <= t:
            at_edge = p0 + (position - p0) * (edge - t0) // (t - t0)
            self._cover(t0, edge, measured)
            self._keep(at_edge, near=min(edge - t0, t - edge) <= EDGE_TOLERANCE_MS)
            self._start, self._open, self._coverage, self._quality = edge, at_edge, 0, 0
        if t > self._start:
            self._cover(t0, t, measured)
        self._last = t, position

    def _cover(self, t0: int, until: int, measured: bool) -> None:
        if measured:
            self._coverage += until - max(t0, self._start)
        elif until > t0:
            self._quality = max(self._quality, Quality.ESTIMATED.value)

    def _keep(self, at_edge: int, *, near: bool) -> None:
        if not self._span.start_ms <= self._start < self._span.end_ms:
            return
        if self.first_start is None:
            self.first_start, self._first_opening = self._start, self._open
        self._closing.append(at_edge)
        self._covered.append(self._coverage)
        self._edge_read.append(near)
        self._worst.append(self._quality)

    def rows(self) -> Iterator[Row]:
        """The intervals of the month, the running one last."""
        self._settle()
        opening, start = self._first_opening, self.first_start or 0
        for closing, covered, near, worst in zip(
            self._closing, self._covered, self._edge_read, self._worst, strict=True
        ):
            yield Row(start, opening, closing, covered, bool(near), worst, closed=True)
            opening, start = closing, start + QUARTER_MS
        last = self._last
        if (
            last is not None
            and last[0] > self._start
            and self._span.start_ms <= self._start < self._span.end_ms
        ):
            yield Row(
                self._start,
                self._open,
                last[1],
                self._coverage,
                edge_read=False,
                quality=self._quality,
                closed=False,
            )


class Declared(NamedTuple):
    """What a birth and the registry say of a total."""

    key: Key
    datatype: int
    num: int
    den: int
    """Base units per count."""
    counts_per_raw: float
    grain: int
    """Base units of one count, rounded up."""
    per_hour: int
    """Base units per hour at rated power; 0: unknown."""

    def read(self, value: Value, time: int | None) -> Reading | None:
        """The reading in a wire value; None when it carries no number that counts."""
        try:
            raw = typed_value(value, self.datatype)
        except DecodeError:
            return None
        if (
            time is None
            or time >> 63
            or isinstance(raw, bool)
            or not isinstance(raw, int | float)
            or not isfinite(raw)
        ):
            return None
        # One float64 product, rounded half to even: the rounding that the frame's contract states.
        count = raw if isinstance(raw, int) else round(raw * self.counts_per_raw)
        position = count * self.num // self.den
        if raw >> 63 > 0 if isinstance(raw, int) else abs(count) >= LIMIT:
            return None
        return Reading(time, raw, count, position) if abs(position) < LIMIT else None


class Replay:
    """Feed it a pack's records in journal order, so that births come before their data; ask its totals."""

    def __init__(
        self, span: Span, meters: Mapping[str, MeterFacts], opening: Mapping[Key, tuple[Where, int]]
    ) -> None:
        self._meters = meters
        self._declared: dict[str, dict[int | str, Declared]] = {}
        keys = [(meter, kind) for meter, facts in meters.items() for kind in facts.roles]
        self.totals = {key: Total(span, opening.get(key)) for key in keys}
        self.cited: dict[tuple[Key, Where], Reading | None] = {}
        """Set its keys to the readings that are to be kept."""
        self._cited_places: frozenset[Where] | None = None
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
            self._data(where, payload, self._declared.get(meter, {}))
        elif kind is MessageType.DBIRTH:
            with suppress(DecodeError):
                metrics = decode(payload).metrics
                self._declared[meter] = dict(_declarations(meter, self._meters[meter], metrics))

    def _route(self, topic: str) -> tuple[MessageType | None, str]:
        """What a topic's records mean here, and whose they are."""
        found = parse_topic(topic)
        facts = self._meters.get(found.meter) if found is not None else None
        if found is None or facts is None or facts.gateway != found.gateway:
            return None, ""
        return found.type, found.meter

    def _data(self, where: Where, payload: bytes, known: Mapping[int | str, Declared]) -> None:
        usual = lean.read(payload, known)
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

    def _take(self, where: Where, declared: Declared, t_ms: int | None, value: Value) -> None:
        reading = declared.read(value, t_ms)
        if reading is None:
            return
        if self._is_cited(where) and (declared.key, where) in self.cited:
            self.cited[declared.key, where] = reading
        self.totals[declared.key].feed(where, reading, declared.per_hour, declared.grain)

    def _is_cited(self, where: Where) -> bool:
        if self._cited_places is None:
            self._cited_places = frozenset(place for _key, place in self.cited)
        return where in self._cited_places


def _declarations(
    meter: str, facts: MeterFacts, metrics: tuple[Metric, ...]
) -> Iterator[tuple[int | str, Declared]]:
    for metric in metrics:
        declared = _declaration(meter, facts, metric)
        if declared is not None:
            yield metric.name or "" if metric.alias is None else metric.alias, declared


def _declaration(meter: str, facts: MeterFacts, metric: Metric) -> Declared | None:
    kind, properties, datatype = metric.name or "", metric.properties or {}, metric.datatype or 0
    unit = UNITS.get(str(properties.get(PROPERTY_UNIT, "")))
    if kind not in facts.roles or unit is None or unit.base != READING_TYPES[kind].unit:
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
    count = Fraction(10) ** resolution if datatype in FLOATS else Fraction(1)
    ratio = facts.ct * facts.pt if unit.base in TRANSFORMED_UNITS else Fraction(1)
    base = unit.factor * Fraction(10) ** scale * count * ratio
    if max(base.as_integer_ratio()) >= LIMIT:
        return None
    per_hour = ceil(_PER_HOUR.get(unit.base, Fraction(0)) * (facts.max_power_w or 0))
    return Declared((meter, kind), datatype, *base.as_integer_ratio(), float(1 / count), ceil(base), per_hour)
