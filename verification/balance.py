"""The balance: a total's readings around both month edges, straight from the journal, against the stored intervals.

Independent of `stream/` on purpose: frames are decoded with metering's plain codec and computed in fractions. What it
takes from the ledger are the declared events: closing register − opening register + Σ adjustments = Σ intervals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor, isfinite
from typing import Protocol
from zoneinfo import ZoneInfo

from metering.dated import DeclaredTotal, declared_total
from metering.frames import PROPERTY_RESOLUTION, PROPERTY_SCALE, PROPERTY_UNIT
from metering.intervals import Span, iso
from metering.protobuf_wire import DecodeError
from metering.registry import Meter
from metering.sparkplug import FLOATS, Metric, Property, decode, typed_value
from metering.units import UNITS
from storage.journal import StoredFrame
from storage.shifts import NO_SHIFTS, Shift, Shifts
from verification.document import Adjustment, Balance, Bracket, count_text

MAX_STEPS = 200
"""Frames looked at on each side of an edge for one that has the total."""


class Frames(Protocol):
    """The part of a journal reader that the balance needs."""

    def frame_before(self, gateway: str, meter: str, t_ms: int) -> StoredFrame | None: ...
    def frame_after(self, gateway: str, meter: str, t_ms: int) -> StoredFrame | None: ...
    def frames(self, gateway: str, meter: str, start_ms: int, end_ms: int) -> Iterator[StoredFrame]: ...
    def births(self, gateway: str, meter: str, epoch: int) -> Iterator[StoredFrame]: ...


@dataclass(frozen=True, slots=True)
class Declared:
    """What a birth declares about a total."""

    alias: int | None
    datatype: int
    unit: str
    scale: int
    resolution: int | None

    @property
    def base_per_raw(self) -> Fraction:
        """Base units per raw unit on the meter's own side."""
        return UNITS[self.unit].factor * Fraction(10) ** self.scale

    @property
    def base_per_count(self) -> Fraction:
        """Base units per count on the meter's own side; a float's count is 10^resolution of its raw value."""
        exponent = self.scale if self.resolution is None else self.scale + self.resolution
        return UNITS[self.unit].factor * Fraction(10) ** exponent

    def count(self, raw: float) -> int:
        """The integer count that a raw value stands for."""
        if isinstance(raw, int):
            return raw
        # One float64 product, rounded half to even: the rounding that the frame's contract states.
        return round(raw * float(Fraction(10) ** -(self.resolution or 0)))


@dataclass(frozen=True, slots=True)
class TotalReading:
    """One reading of a total in the journal."""

    t_ms: int
    raw: int | float
    count: int
    base_per_count: Fraction
    """On the primary side: the ratio of its time is in it."""
    segment: int
    index: int

    @property
    def register(self) -> int:
        """Base units that the meter shows, rounded down."""
        return floor(self.count * self.base_per_count)


@dataclass(frozen=True, slots=True)
class Edge:
    """The two readings around a month edge; the same one twice when it lies on the edge."""

    at_ms: int
    before: TotalReading
    after: TotalReading
    shifts: Shifts = NO_SHIFTS

    @property
    def position(self) -> int:
        """Where the total stood at the edge: linear between the points around it, rounded down."""
        points = [
            (self.before.t_ms, self.shifts.position(self.before.t_ms, self.before.register)),
            *self.shifts.between(self.before.t_ms, self.after.t_ms),
            (self.after.t_ms, self.shifts.position(self.after.t_ms, self.after.register)),
        ]
        (t0, p0), (t1, p1) = next(pair for pair in pairwise(points) if pair[0][0] <= self.at_ms <= pair[1][0])
        return p0 if t0 == t1 else p0 + (p1 - p0) * (self.at_ms - t0) // (t1 - t0)

    @property
    def distance_ms(self) -> int:
        """How far the nearer reading is from the edge."""
        return min(self.at_ms - self.before.t_ms, self.after.t_ms - self.at_ms)


@dataclass(frozen=True, slots=True)
class JournalMonth:
    """A total's month by the journal alone. None where no two readings enclose an edge."""

    opening: Edge | None
    closing: Edge | None
    shifts: Shifts = NO_SHIFTS

    @property
    def adjustments(self) -> tuple[Shift, ...]:
        """What changed the register within the month, other than energy."""
        if self.opening is None or self.closing is None:
            return ()
        return self.shifts.within(self.opening.at_ms, self.closing.at_ms)

    @property
    def opening_position(self) -> int | None:
        """Base units at the month's start, counted on through every event before."""
        return None if self.opening is None else self.opening.position

    @property
    def closing_position(self) -> int | None:
        """Base units at the month's end, counted on through every event before."""
        return None if self.closing is None else self.closing.position

    @property
    def energy(self) -> int | None:
        """Closing − opening position."""
        opening, closing = self.opening_position, self.closing_position
        return None if opening is None or closing is None else closing - opening

    def lacks(self, span: Span) -> bool:  # noqa: ARG002  those that are integrated ask for it
        """Whether energy of a span within the month will never be known: no later total can tell it."""
        return False

    def unmeasured(self, holes: Sequence[Span]) -> Sequence[Span]:
        """What a substitution may stand for: of a register, what no closed interval covers."""
        return holes


def read_month(
    journal: Frames, meter: Meter, reading_type: str, month: Span, zone: ZoneInfo, shifts: Shifts = NO_SHIFTS
) -> JournalMonth:
    """The readings around both edges of a month."""
    return JournalMonth(
        read_edge(journal, meter, reading_type, month.start_ms, zone, shifts),
        read_edge(journal, meter, reading_type, month.end_ms, zone, shifts),
        shifts,
    )


def read_edge(
    journal: Frames, meter: Meter, reading_type: str, at_ms: int, zone: ZoneInfo, shifts: Shifts = NO_SHIFTS
) -> Edge | None:
    """The nearest readings that count at or before, and at or after, an edge."""
    search = _Search(journal, meter, declared_total(meter, reading_type, zone), reading_type, shifts)
    before, after = search.before(at_ms), search.after(at_ms)
    return Edge(at_ms, before, after, shifts) if before is not None and after is not None else None


def first_after(
    journal: Frames, meter: Meter, reading_type: str, at_ms: int, zone: ZoneInfo, shifts: Shifts = NO_SHIFTS
) -> int | None:
    """Where a total stood at its first reading at or after a time."""
    dated = declared_total(meter, reading_type, zone)
    found = _Search(journal, meter, dated, reading_type, shifts).after(at_ms)
    return None if found is None else shifts.position(found.t_ms, found.register)


class _Search:
    """Steps away from an edge, frame by frame, until one has the total: a frame may lack it."""

    def __init__(
        self, journal: Frames, meter: Meter, dated: DeclaredTotal, reading_type: str, shifts: Shifts
    ) -> None:
        self._journal, self._meter, self._reading_type = journal, meter, reading_type
        self._dated, self._shifts = dated, shifts
        self._declared: dict[int, tuple[Declared, ...]] = {}

    def before(self, at_ms: int) -> TotalReading | None:
        """The last reading at or before the edge. A frame read across the edge bears the time of its last block."""
        across = self._journal.frame_after(self._meter.gateway, self._meter.id, at_ms)
        found = self._reading(across) if across is not None else None
        if found is not None and found.t_ms <= at_ms:
            return found
        frame = self._journal.frame_before(self._meter.gateway, self._meter.id, at_ms)
        for _ in range(MAX_STEPS):
            if frame is None or (found := self._reading(frame)) is not None:
                return None if frame is None else found
            frame = self._journal.frame_before(self._meter.gateway, self._meter.id, frame.t_ms - 1)
        return None

    def after(self, at_ms: int) -> TotalReading | None:
        """The first reading at or after the edge."""
        frame = self._journal.frame_after(self._meter.gateway, self._meter.id, at_ms)
        for _ in range(MAX_STEPS):
            if frame is None:
                return None
            found = self._reading(frame)
            if found is not None and found.t_ms >= at_ms:
                return found
            frame = self._journal.frame_after(self._meter.gateway, self._meter.id, frame.t_ms + 1)
        return None

    def _reading(self, frame: StoredFrame) -> TotalReading | None:
        """The frame's reading that counts, or that of another frame of the same time."""
        found = self._one(frame)
        if found is not None:
            return found
        others = self._journal.frames(frame.gateway, frame.meter, frame.t_ms, frame.t_ms + 1)
        return next((found for other in others if (found := self._one(other)) is not None), None)

    def _one(self, frame: StoredFrame) -> TotalReading | None:
        if frame.epoch not in self._declared:
            births = self._journal.births(frame.gateway, frame.meter, frame.epoch)
            known = (declared_of(birth, self._reading_type) for birth in births)
            # Distinct, newest first: a new profile gives the total a new alias, and an old alias keeps its meaning.
            self._declared[frame.epoch] = tuple(dict.fromkeys(item for item in known if item is not None))
        metrics = decode(frame.payload).metrics
        for declared in self._declared[frame.epoch]:
            for metric in metrics:
                if is_said(metric, declared, self._reading_type):
                    found = _placed(frame, metric, declared, self._dated)
                    return (
                        found
                        if found is not None and self._shifts.counts(found.t_ms, found.register)
                        else None
                    )
        return None


def declared_of(birth: StoredFrame, reading_type: str) -> Declared | None:
    """What a birth declares about a reading type; None when nothing."""
    named = (metric for metric in decode(birth.payload).metrics if metric.name == reading_type)
    metric = next(named, None)
    if metric is None or metric.datatype is None:
        return None
    properties = metric.properties or {}
    unit = properties.get(PROPERTY_UNIT)
    if not isinstance(unit, str) or unit not in UNITS:
        return None
    scale = _integer(properties, PROPERTY_SCALE) or 0
    resolution = _integer(properties, PROPERTY_RESOLUTION) or 0 if metric.datatype in FLOATS else None
    return Declared(metric.alias, metric.datatype, unit, scale, resolution)


def _integer(properties: Mapping[str, Property], key: str) -> int | None:
    value = properties.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_said(metric: Metric, declared: Declared, reading_type: str) -> bool:
    """Whether a metric is a reading of what was declared."""
    return metric.name == reading_type or (metric.alias is not None and metric.alias == declared.alias)


def raw_value(metric: Metric, datatype: int) -> int | float | None:
    """The value as the meter said it; None when there is none, or none that is a number."""
    try:
        value = typed_value(None if metric.is_null else metric.value, datatype)
    except DecodeError:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isfinite(value) else None


def _placed(
    frame: StoredFrame, metric: Metric, declared: Declared, dated: DeclaredTotal
) -> TotalReading | None:
    """The reading with its own time; None when the metric carries no number."""
    raw = raw_value(metric, declared.datatype)
    if raw is None:
        return None
    t_ms = frame.t_ms if metric.timestamp is None else metric.timestamp
    base, where = declared.base_per_count * dated.ratio_at(t_ms), frame.offset
    return TotalReading(t_ms, raw, declared.count(raw), base, where.segment, where.index)


def balance_line(
    found: JournalMonth, ledger_wh: int | None, zone: ZoneInfo, recounted: int | None = None
) -> Balance:
    """The balance as the document shows it: equal only when both sides have a figure and it is the same one.

    Where substitutions fill holes, `recounted` is the journal's figure of what was measured.
    """
    opening, closing = found.opening, found.closing
    journal_wh = found.energy if recounted is None else recounted
    return Balance(
        opening_bracket=_brackets(opening, zone),
        closing_bracket=_brackets(closing, zone),
        journal_opening_wh=count_text(found.opening_position),
        journal_closing_wh=count_text(found.closing_position),
        journal_wh=count_text(journal_wh),
        ledger_wh=count_text(ledger_wh),
        rollovers=sum(shift.kind == "rollover" for shift in found.adjustments),
        adjustments=tuple(_adjustment(shift, zone) for shift in found.adjustments),
        equal=journal_wh is not None and journal_wh == ledger_wh,
    )


def _brackets(edge: Edge | None, zone: ZoneInfo) -> tuple[Bracket, ...]:
    return () if edge is None else (_bracket(edge.before, zone), _bracket(edge.after, zone))


def _bracket(reading: TotalReading, zone: ZoneInfo) -> Bracket:
    return Bracket(
        t=iso(reading.t_ms, zone),
        t_ms=reading.t_ms,
        raw=repr(reading.raw),
        count=str(reading.count),
        base_wh=str(reading.register),
        segment=reading.segment,
        index=reading.index,
    )


def _adjustment(shift: Shift, zone: ZoneInfo) -> Adjustment:
    return Adjustment(
        kind=shift.kind,
        t=iso(shift.t_ms, zone),
        t_ms=shift.t_ms,
        register_wh=str(shift.register),
        wh=str(shift.adjustment),
    )
