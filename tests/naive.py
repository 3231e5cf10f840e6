"""The slow, obvious twin of `stream/`: the plain codec, fractions and dicts, one reading after the other.

It keeps every reading, puts those of a total in time order, judges them, and works out each interval from all good ones,
by design decisions 5 to 9 and decision record 0004; it shares no arithmetic with `stream/`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, isfinite
from typing import NamedTuple, Self

from factors.policy import MissingFactor
from factors.table import Factor
from metering.dated import DeclaredTotal, Swap, declared_total
from metering.frames import (
    PROPERTY_MODULUS,
    PROPERTY_RESOLUTION,
    PROPERTY_SCALE,
    PROPERTY_SIGN,
    PROPERTY_UNIT,
)
from metering.intervals import month_of
from metering.protobuf_wire import DecodeError
from metering.reading_types import INTEGRATED, READING_TYPES
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
    """On the meter's own side."""
    counts_per_raw: float
    modulus: int
    sign: int = 1
    """Of a power: -1 turns the flow round."""


class Shown(NamedTuple):
    """A reading of a total."""

    t: int
    register: int
    """Base units (of a power: mW) under the ratio of its time."""
    total: Total


class Good(NamedTuple):
    """A total that counts: the intervals are drawn through these points."""

    t: int
    position: int
    read: tuple[int, int]
    """Times of the reads around the way that leads here."""
    doubt: int = 0


class Event(NamedTuple):
    """What the ledger must tell."""

    kind: str
    meter: str
    reading_type: str
    t: int
    register: int
    adjustment: int = 0
    until: int = 0
    """Time of the last reading that it is about; 0: of the only one."""


class Naive:
    """Feed it records in any order; ask for rows and events."""

    def __init__(self, park: Park, factor_of: FactorOf) -> None:
        self.park, self.factor_of = park, factor_of
        self.declared: dict[str, dict[object, Total]] = defaultdict(dict)
        self.shown: dict[Key, dict[tuple[int, int], Shown]] = defaultdict(dict)

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
        if INTEGRATED.get(name) in meter.roles and unit is not None and unit.base == "W" and metric.datatype:
            return _power(meter, INTEGRATED[name], unit.factor, metric)
        if (
            name not in meter.read_totals
            or unit is None
            or unit.base != READING_TYPES[name].unit
            or metric.datatype is None
        ):
            return None
        scale, resolution, modulus = (
            int(properties.get(key, 0)) for key in (PROPERTY_SCALE, PROPERTY_RESOLUTION, PROPERTY_MODULUS)
        )
        count = Fraction(10) ** resolution if metric.datatype in FLOATS else Fraction(1)
        per_count = unit.factor * Fraction(10) ** scale * count
        return Total(meter, name, metric.datatype, per_count, float(1 / count), modulus)

    def _reading(self, gateway: str, meter: str, metric: Metric, t: int | None) -> None:
        total = self.declared[gateway].get((meter, metric.name) if metric.alias is None else metric.alias)
        if total is None or t is None or t >> 63:
            return
        count = _count(total, metric)
        if count is None:
            return
        declared = self._declared(total)
        ratio = declared.ratio_at(t)
        register = floor(count * total.base_per_count * ratio)
        earlier = [segment.ratio for segment in declared.segments if segment.since_ms < t]
        powers = total.reading_type in INTEGRATED.values()
        within = 1 << 50 if powers else min(floor(LIMIT * ratio / other) for other in earlier)
        if abs(register) < within:
            self.shown[total.meter.id, total.reading_type][t, register] = Shown(t, register, total)

    def _declared(self, total: Total) -> DeclaredTotal:
        return declared_total(total.meter, total.reading_type, self.park.tz)

    def judged(self) -> dict[Key, "Judge"]:
        """Every total with its readings judged in time order."""
        return {
            key: self._judge(key, list(shown.values()))
            for key, shown in self.shown.items()
            if shown and key[1] not in INTEGRATED.values()
        }

    def powers(self) -> dict[Key, list[Shown]]:
        """Every total that is integrated, with its powers; `tests.naive_power` has the rest."""
        return {
            key: list(shown.values()) for key, shown in self.shown.items() if key[1] in INTEGRATED.values()
        }

    def _judge(self, key: Key, shown: list[Shown]) -> "Judge":
        return Judge(key, self._declared(shown[0].total)).of(shown)

    @property
    def events(self) -> list[Event]:
        """All events."""
        return [event for judge in self.judged().values() for event in judge.events]

    def rows(self) -> dict[tuple[str, str, int], IntervalRow]:
        """Every interval, the running one included, by meter, reading type and start."""
        return {
            (*key, row.start_ms): row
            for key, judge in self.judged().items()
            for row in self._rows(*key, judge)
        }

    def _rows(self, meter: str, name: str, judge: "Judge") -> Iterator[IntervalRow]:
        totals = judge.good
        first, last = totals[0], totals[-1]
        steps = list(pairwise(totals)) or [(first, first)]
        for start in range(first.t // QUARTER * QUARTER, last.t, QUARTER):
            end = start + QUARTER
            opening = _position_at(steps, max(start, first.t))
            closing = _position_at(steps, end) if end <= last.t else last.position
            factor_id, emission = self.emission(meter, name, start, opening, closing)
            inside = [(a, b, min(b.t, end) - max(a.t, start)) for a, b in steps if a.t < end and b.t > start]
            closed = end <= last.t
            through = [b for a, b in steps if a.t < end <= b.t]
            marks = [3 for t in judge.conflicts if start <= t < end]
            yield IntervalRow(
                meter, name, start, end, 0, 1, opening, closing, emission, factor_id,
                coverage_ms=sum(overlap for _a, b, overlap in inside if _measured(b)),
                edge_read=closed and any(abs(end - t) <= MINUTE for b in through for t in b.read),
                quality=max([0, *marks, *(max(b.doubt, 0 if _measured(b) else 2) for _a, b, _ in inside)]),
                closed=closed,
            )  # fmt: skip

    def emission(
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


def _power(meter: Meter, name: str, factor: Fraction, metric: Metric) -> Total:
    properties = metric.properties or {}
    milliwatts = 1000 * factor * Fraction(10) ** int(properties.get(PROPERTY_SCALE, 0))
    sign = -1 if properties.get(PROPERTY_SIGN) == -1 else 1
    datatype = metric.datatype or 0
    if datatype in FLOATS:
        return Total(meter, name, datatype, Fraction(1), float(milliwatts), 0, sign)
    return Total(meter, name, datatype, milliwatts, 1.0, 0, sign)


def _measured(point: Good) -> bool:
    return point.read[1] - point.read[0] <= LONGEST_MEASURED


class Judge:
    """The readings of one total, in time order, made into points that the intervals are drawn through."""

    def __init__(self, key: Key, declared: DeclaredTotal) -> None:
        self.key, self.declared = key, declared
        self.good: list[Good] = []
        self.events: list[Event] = []
        self.conflicts: list[int] = []
        """Where the total stood when two readings of one time contradicted each other."""
        self.offset = 0
        self.segment = 0
        self.held = False
        self.candidates: list[Shown] = []
        """What does not fit the last good total, each fitting the one before it."""
        self.blocked = False
        self.heard: Shown | None = None
        self.swapped_at = -1

    def of(self, shown: Iterable[Shown]) -> Self:
        swaps = list(self.declared.swaps)
        for reading in sorted(shown, key=lambda s: (s.t, s.register)):
            while swaps and swaps[0].at_ms < reading.t:
                self._swap(swaps.pop(0), reading.total)
            self._next(reading)
        return self

    def _segment_at(self, t: int) -> int:
        return max(i for i, s in enumerate(self.declared.segments) if s.since_ms < t)

    def _under(self, shown: Shown, segment: int) -> int:
        """What the register would show under an earlier ratio."""
        register, segments = shown.register, self.declared.segments
        for later in range(self._segment_at(shown.t), segment, -1):
            register = floor(register * segments[later - 1].ratio / segments[later].ratio)
        return register

    def _next(self, new: Shown) -> None:
        if not self.good:
            self.good.append(Good(new.t, new.register, (new.t, new.t)))
            self.segment, self.heard = self._segment_at(new.t), new
            return
        assert self.heard is not None
        if new.t == self.heard.t:
            if new.register != self.heard.register:
                self._note("conflicting_reading", new.t, new.register)
                self.conflicts.append(self.good[-1].t)
            return
        self.heard = new
        register, last = self._under(new, self.segment), self.good[-1]
        rise = register + self.offset - last.position
        fits = _plausible(self._total(new), rise, new.t - last.t)
        follows = bool(self.candidates) and _plausible(
            self._total(new),
            register - self._under(self.candidates[-1], self.segment),
            new.t - self.candidates[-1].t,
        )
        bounded = _limit(new.total, 0) is not None
        if fits and not (follows and (self.blocked or (bounded and len(self.candidates) > 1))):
            self._drop()
            self._accept(new)
            return
        if not follows:
            self._drop()
            self._note("pending_fall" if rise < 0 else "pending_rise", new.t, register)
        self.candidates.append(new)
        if len(self.candidates) == 3 and not self.blocked:
            self._settle(new)

    def _total(self, shown: Shown) -> tuple[Total, Fraction]:
        return shown.total, self.declared.segments[self._segment_at(shown.t)].ratio

    def _note(self, kind: str, t: int, register: int, adjustment: int = 0, until: int = 0) -> None:
        self.events.append(Event(kind, *self.key, t, register, adjustment, until))

    def _drop(self) -> None:
        if self.candidates:
            first = self.candidates[0]
            until = self.candidates[-1].t if len(self.candidates) > 1 else 0
            self._note("transient_dropped", first.t, self._under(first, self.segment), until=until)
        self.candidates, self.blocked = [], False

    def _settle(self, newest: Shown) -> None:
        first, last = self.candidates[0], self.good[-1]
        register = self._under(first, self.segment)
        kind, adjustment = "unexplained", 0
        if self._segment_at(newest.t) == self.segment:
            kind, adjustment = _classify(
                self._total(newest), last.position - self.offset, register, first.t - last.t
            )
        self._note(kind, first.t, register, adjustment)
        if kind == "unexplained":
            self.blocked = True
            return
        self.offset += adjustment
        doubt = 0 if kind == "rollover" else 3
        for shown in self.candidates:
            before = self.good[-1]
            position = max(shown.register + self.offset, before.position)
            self.good.append(Good(shown.t, position, (before.t, shown.t), doubt))
            doubt = 0
        self.held = self.candidates[-1].register + self.offset < self.good[-1].position
        self.candidates = []

    def _accept(self, new: Shown, target: int | None = None) -> None:
        """Through every change of ratio since the last good total to this one."""
        last = self.good[-1]
        target = self._segment_at(new.t) if target is None else target
        left = Fraction(self._under(new, self.segment) + self.offset - last.position)
        if left < 0 and not self.held:
            self._note("last_digit", new.t, self._under(new, self.segment))
        self.held = left < 0
        left = max(left, Fraction(0))
        if target == self.segment:
            self.good.append(Good(new.t, last.position + int(left), (last.t, new.t)))
            return
        for before, after in pairwise(self.declared.segments[self.segment : target + 1]):
            at = self.good[-1]
            part = floor(left * (after.since_ms - at.t) / (new.t - at.t))
            self.good.append(Good(after.since_ms, at.position + part, (last.t, new.t)))
            left = Fraction(floor((left - part) * after.ratio / before.ratio))
        at = self.good[-1]
        position = at.position + int(left)
        self._note("ratio_change", at.t, new.register, position - new.register - self.offset)
        self.offset, self.segment, self.held = position - new.register, target, False
        self.good.append(Good(new.t, position, (last.t, new.t)))

    def _swap(self, swap: Swap, like: Total) -> None:
        """The old meter's closing total counts as read; the new one counts on from its opening total."""
        if not self.good:
            return
        before = max(i for i, s in enumerate(self.declared.segments) if s.since_ms < swap.at_ms)
        after = max(i for i, s in enumerate(self.declared.segments) if s.since_ms <= swap.at_ms)
        side = like._replace(base_per_count=Fraction(1, swap.closing.denominator), modulus=0)
        ratio = self.declared.segments[before].ratio
        closing = Shown(swap.at_ms, floor(swap.closing * ratio), side)
        if self.candidates and not self.blocked:
            witness = self.candidates[-1]
            gap = self._under(closing, self.segment) - self._under(witness, self.segment)
            if _plausible((side, ratio), gap, swap.at_ms - witness.t):
                self._settle(closing)
        self._drop()
        self._accept(closing, before)
        position = self.good[-1].position
        opening = floor(swap.opening * self.declared.segments[after].ratio)
        self._note("exchange", swap.at_ms, opening, position - opening - self.offset)
        self.offset, self.segment, self.held = position - opening, after, False
        self.heard = Shown(swap.at_ms, LIMIT, like)


def _count(total: Total, metric: Metric) -> int | None:
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
    return None if isinstance(value, float) and abs(count) >= LIMIT else count


def _limit(total: Total, elapsed: int) -> int | None:
    """The largest plausible rise; None when no rated power bounds it."""
    unit = READING_TYPES[total.reading_type].unit
    if total.meter.max_power_w is None or unit == "L":
        return None
    per_hour = ceil(total.meter.max_power_w * (Fraction("3.6") if unit == "kJ" else 1))
    return floor(Fraction("1.1") * per_hour * elapsed / 3_600_000)


def _plausible(of: tuple[Total, Fraction], rise: int, elapsed: int) -> bool:
    total, ratio = of
    grain, limit = ceil(total.base_per_count * ratio), _limit(total, elapsed)
    return rise >= -grain and (limit is None or rise <= limit + grain)


def _classify(of: tuple[Total, Fraction], last: int, found: int, elapsed: int) -> tuple[str, int]:
    total, ratio = of
    fall, limit = last - found, _limit(total, elapsed)
    modulus = floor(total.modulus * total.base_per_count * ratio)
    may_turn = fall > 0 and 0 < modulus < LIMIT and last <= modulus and modulus >= fall
    near = modulus - fall <= modulus // 10 if limit is None else _plausible(of, modulus - fall, elapsed)
    if may_turn and near:
        return "rollover", modulus
    if fall <= 0 or found < 0:
        return "unexplained", 0
    within = _limit(total, 3_600_000)
    if within is not None and fall <= within:
        return "step_back", fall
    if found <= last // 100 if limit is None else _plausible(of, found, elapsed):
        return "reset", last
    return "unexplained", 0


def _position_at(steps: list[tuple[Good, Good]], t: int) -> int:
    """Linear between the points around t, rounded down; of several at t, the first."""
    before, after = next((a, b) for a, b in steps if a.t <= t <= b.t)
    if t == before.t:
        return before.position
    return floor(
        before.position + Fraction(after.position - before.position) * (t - before.t) / (after.t - before.t)
    )
