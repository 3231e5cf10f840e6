"""The slow, obvious twin of `stream/`: the plain codec, fractions and dicts, one reading after the other.

It keeps every good total and works out each interval from all of them, by design decisions 5 to 9
and the rules in `stream/kernels/accumulate.py`; it shares no arithmetic with either.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, isfinite
from typing import NamedTuple

from factors.policy import MissingFactor
from factors.table import Factor
from metering.frames import PROPERTY_RESOLUTION, PROPERTY_SCALE, PROPERTY_UNIT
from metering.intervals import month_of
from metering.protobuf_wire import DecodeError
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Park
from metering.sparkplug import FLOATS, Metric, decode, typed_value
from metering.topics import MessageType, parse_topic
from metering.units import UNITS
from storage.ledger import IntervalRow
from storage.segment import Record

QUARTER = 900_000
MINUTE = 60_000
LONGEST_MEASURED = QUARTER + MINUTE
LIMIT = 1 << 62

Key = tuple[str, str]
FactorOf = Callable[[str, str], Factor | MissingFactor]
"""(role, month) → the factor in force."""


class Total(NamedTuple):
    """What a birth and the registry say of a total."""

    meter: Meter
    reading_type: str
    datatype: int
    base_per_count: Fraction
    counts_per_raw: float


class Good(NamedTuple):
    """A total that counts."""

    t: int
    position: int


class Naive:
    """Feed it records; ask for rows and events."""

    def __init__(self, park: Park, factor_of: FactorOf) -> None:
        self.park, self.factor_of = park, factor_of
        self.declared: dict[str, dict[object, Total]] = defaultdict(dict)
        self.good: dict[Key, list[Good]] = defaultdict(list)
        self.pending: dict[Key, Good] = {}
        self.heard: dict[Key, int] = {}
        """Newest time of any total, rejected ones included."""
        self.events: list[tuple[str, str, str, int, int]] = []
        """(kind, meter, reading type, t, position)"""

    def feed(self, records: Iterable[Record]) -> None:
        for record in records:
            topic = parse_topic(record.topic)
            if topic is None:
                continue
            try:
                payload = decode(record.payload)
            except DecodeError:
                continue
            if topic.type is MessageType.DBIRTH:
                self._birth(topic.gateway, topic.meter, payload.metrics)
            if topic.type is MessageType.DDATA:
                for metric in payload.metrics:
                    t = payload.timestamp if metric.timestamp is None else metric.timestamp
                    self._reading(topic.gateway, topic.meter, metric, t)

    def _birth(self, gateway: str, meter_id: str, metrics: Iterable[Metric]) -> None:
        meter = self.park.meter(meter_id)
        if meter is None or meter.gateway != gateway:
            return
        known = self.declared[gateway]
        for name in [name for name, total in known.items() if total.meter.id == meter_id]:
            del known[name]
        for metric in metrics:
            total = self._total(meter, metric)
            if total is not None:
                known[(meter_id, metric.name) if metric.alias is None else metric.alias] = total

    def _total(self, meter: Meter, metric: Metric) -> Total | None:
        properties = metric.properties or {}
        unit = UNITS.get(str(properties.get(PROPERTY_UNIT)))
        name = metric.name or ""
        if (
            name not in meter.roles
            or unit is None
            or unit.base != READING_TYPES[name].unit
            or metric.datatype is None
        ):
            return None
        scale, resolution = (
            Fraction(10) ** int(properties.get(key, 0)) for key in (PROPERTY_SCALE, PROPERTY_RESOLUTION)
        )
        count = resolution if metric.datatype in FLOATS else Fraction(1)
        ratio = meter.ct * meter.pt if unit.base in {"Wh", "varh"} else Fraction(1)
        return Total(meter, name, metric.datatype, unit.factor * scale * count * ratio, float(1 / count))

    def _reading(self, gateway: str, meter: str, metric: Metric, t: int | None) -> None:
        total = self.declared[gateway].get((meter, metric.name) if metric.alias is None else metric.alias)
        if total is None or t is None or t >> 63:
            return
        position = _position(total, metric)
        if position is not None:
            self._judge(total, Good(t, position))

    def _judge(self, total: Total, new: Good) -> None:
        key = (total.meter.id, total.reading_type)
        if not self.good[key]:
            self.good[key].append(new)
            self.heard[key] = new.t
            return
        last, heard = self.good[key][-1], self.heard[key]
        self.heard[key] = max(heard, new.t)
        if new.t < heard:
            self._note("late_reading", key, new)
        elif new.t == heard:
            if new.t == last.t and new.position != last.position:
                self._note("conflicting_reading", key, new)
        elif not _plausible(total, last, new):
            if key not in self.pending:
                self.pending[key] = new
                self._note("pending_fall" if new.position < last.position else "pending_rise", key, new)
        else:
            if key in self.pending:
                self._note("transient_dropped", key, self.pending.pop(key))
            self.good[key].append(new)

    def _note(self, kind: str, key: Key, what: Good) -> None:
        self.events.append((kind, *key, what.t, what.position))

    def rows(self) -> dict[tuple[str, str, int], IntervalRow]:
        """Every interval, the running one included, by meter, reading type and start."""
        return {
            (meter, name, row.start_ms): row
            for (meter, name), totals in self.good.items()
            for row in self._rows(meter, name, totals)
        }

    def _rows(self, meter: str, name: str, totals: list[Good]) -> Iterator[IntervalRow]:
        first, last = totals[0], totals[-1]
        steps = list(pairwise(totals)) or [(first, first)]
        for start in range(first.t // QUARTER * QUARTER, last.t, QUARTER):
            end = start + QUARTER
            opening = _position_at(steps, max(start, first.t))
            closing = _position_at(steps, min(end, last.t))
            factor_id, emission = self._emission(meter, name, start, opening, closing)
            inside = [(a, b, min(b.t, end) - max(a.t, start)) for a, b in steps if a.t < end and b.t > start]
            closed = end <= last.t
            yield IntervalRow(
                meter, name, start, end, 0, 1, opening, closing, emission, factor_id,
                coverage_ms=sum(overlap for a, b, overlap in inside if b.t - a.t <= LONGEST_MEASURED),
                edge_read=closed and any(abs(end - total.t) <= MINUTE for total in totals),
                quality=2 if any(b.t - a.t > LONGEST_MEASURED for a, b, _ in inside) else 0,
                closed=closed,
            )  # fmt: skip

    def _emission(
        self, meter_id: str, name: str, start: int, opening: int, closing: int
    ) -> tuple[str | None, int | None]:
        meter = self.park.meter(meter_id)
        assert meter is not None
        if READING_TYPES[name].unit != "Wh":
            return None, None
        factor = self.factor_of(meter.roles[name], month_of(start, self.park.tz))
        if isinstance(factor, MissingFactor):
            return None, None
        ug = Fraction(factor.num, factor.den)
        if (closing - opening) // factor.den >= LIMIT // max(factor.num, 1):
            return factor.id, None
        return factor.id, floor(closing * ug) - floor(opening * ug)


def _position(total: Total, metric: Metric) -> int | None:
    try:
        value = typed_value(None if metric.is_null else metric.value, total.datatype)
    except DecodeError:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not isfinite(value)
        or value >= 1 << 63
    ):
        return None
    count = round(value * total.counts_per_raw) if isinstance(value, float) else value
    position = floor(count * total.base_per_count)
    return (
        position if abs(position) < LIMIT and not (isinstance(value, float) and abs(count) >= LIMIT) else None
    )


def _plausible(total: Total, last: Good, new: Good) -> bool:
    rise = new.position - last.position
    unit = READING_TYPES[total.reading_type].unit
    if rise < 0 or total.meter.max_power_w is None or unit == "L":
        return rise >= 0
    per_hour = ceil(total.meter.max_power_w * (Fraction("3.6") if unit == "kJ" else 1))
    return rise <= Fraction("1.1") * per_hour * (new.t - last.t) / 3_600_000 + ceil(total.base_per_count)


def _position_at(steps: list[tuple[Good, Good]], t: int) -> int:
    """Linear between the totals around t, rounded down."""
    before, after = next((a, b) for a, b in steps if a.t <= t <= b.t)
    if t == before.t:
        return before.position
    return floor(
        before.position + Fraction(after.position - before.position) * (t - before.t) / (after.t - before.t)
    )
