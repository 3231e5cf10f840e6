"""What one local day of the ledger says about boundaries and balances. Calendar, zone and factors are settled here, never in a query."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from factors.policy import MissingFactor, enterprise_policy, park_policy, resolve
from factors.table import Factor, FactorTable
from metering.intervals import HOUR_MS, QUARTER_MS, Span, bucket_start, month_of, quarter_start, to_local
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Park
from metering.roles import Role
from storage.ledger import LedgerReader, QuarterRow
from storage.line_protocol import Field, point, series
from stream.projection.boundaries import Boundaries
from stream.projection.meter_days import Key, MeterDays
from stream.projection.schema import GRAM, METHODS, Scope, Tags
from stream.projection.store import DayRow

Rows = dict[Key, QuarterRow]
"""One quarter's row of every total that has one."""
_SOURCES = frozenset({Role.PV_GENERATION})
"""A child of this role feeds its parent's node; as the verification's balance of parents has it."""


class Factors:
    """The factors of a month by method, as known today."""

    def __init__(self, table: FactorTable, park: Park, clock: Callable[[], int]) -> None:
        self._policies = dict(zip(METHODS, (enterprise_policy(), park_policy(park.grid_scope)), strict=True))
        self._table, self._zone, self._clock = table, park.tz, clock
        self._find = lru_cache(maxsize=1024)(self._resolve)

    def get(self, method: str, month: str) -> Factor | None:
        """None when none is published: a missing factor stops the number."""
        return self._find(method, month, to_local(self._clock(), self._zone).date())

    def _resolve(self, method: str, month: str, today: date) -> Factor | None:
        found = resolve(self._table, self._policies[method], month, today)
        return None if isinstance(found, MissingFactor) else found


def grams(energy: float, factor: Factor | None) -> float | None:
    """Emission of an energy."""
    return None if factor is None else float(Fraction(energy) * factor.ratio / GRAM)


class Bucket(NamedTuple):
    """A scope's formula over some quarters."""

    start_ms: int
    quarters: int
    """Those that have a row."""
    present: int
    energy: int
    closed: bool


class DayOfScope(NamedTuple):
    """What the lines and the day's row are made of."""

    quarters: dict[int, Bucket]
    demand_w: dict[int, int]
    row: DayRow


class Parent(NamedTuple):
    """A meter with children: which totals flow into its node, which out."""

    series: str
    inflow: tuple[Key, ...]
    outflow: tuple[Key, ...]


class DayBook:
    """Derives days."""

    def __init__(
        self, park: Park, tags: Tags, factors: Factors, boundaries: Boundaries, clock: Callable[[], int]
    ) -> None:
        self._tags, self._factors, self._clock, self._zone = tags, factors, clock, park.tz
        self._boundaries = boundaries
        self._parents = list(_parents(park, tags))
        self._meter_days = MeterDays(park, tags)

    def derive(self, ledger: LedgerReader, day: Span, dirty: set[int]) -> tuple[list[str], list[DayRow]]:
        """The lines of a day's dirty quarters, of the hours and the day they lie in, of every meter's day; every scope's row of it."""
        by_quarter = self._read(ledger, day)
        lines, rows = list(self._balance(by_quarter, dirty)), []
        lines += self._meter_days.lines(ledger, by_quarter.values(), day, self.elapsed(day))
        month = month_of(day.start_ms, self._zone)
        hour_of = {quarter: bucket_start(quarter, "hour", self._zone) for quarter in by_quarter}
        hours = {hour_of[quarter] for quarter in dirty if quarter in hour_of}
        for scope in self._boundaries.of(month):
            found = _day(scope, by_quarter, day.start_ms)
            rows.append(found.row)
            sized = [("15m", bucket, 1) for quarter, bucket in found.quarters.items() if quarter in dirty]
            by_hour = _gathered(found.quarters.values(), lambda bucket: hour_of[bucket.start_ms])
            sized += [("hour", by_hour[hour], 4) for hour in sorted(hours & by_hour.keys())]
            whole = _gathered(found.quarters.values(), lambda _bucket: day.start_ms)
            sized += [("day", bucket, self.elapsed(day)) for bucket in whole.values()]
            for size, bucket, expected in sized:
                lines += self.boundary(scope, size, bucket, expected, month, *_more(found, size, bucket))
        return lines, rows

    def elapsed(self, span: Span) -> int:
        """Quarters of a span that are over by now, at least one."""
        return max(1, (min(span.end_ms, quarter_start(self._clock())) - span.start_ms) // QUARTER_MS)

    def _read(self, ledger: LedgerReader, day: Span) -> dict[int, Rows]:
        by_quarter: dict[int, Rows] = defaultdict(dict)
        for key in self._meter_days.keys:
            for row in ledger.quarters(*key, *day):
                by_quarter[row.start_ms][key] = row
        return dict(sorted(by_quarter.items()))

    def boundary(
        self, scope: Scope, size: str, bucket: Bucket, expected: int, month: str, *more: tuple[str, Field]
    ) -> Iterator[str]:
        """A bucket's line under each method, with what only its size has. A running quarter has energy, but no power yet."""
        complete = min(1.0, bucket.present / (expected * len(scope.formula)))
        power_w = (
            bucket.energy * HOUR_MS / (bucket.quarters * QUARTER_MS)
            if bucket.closed or size != "15m"
            else None
        )
        for method in METHODS:
            emission = grams(bucket.energy, self._factors.get(method, month))
            fields = [("energy_wh", bucket.energy), ("emission_g", emission), ("power_w", power_w),
                      ("complete", complete), *more]  # fmt: skip
            key = self._tags.boundary("boundary", scope.kind, scope.id, method, size)
            line = point(key, fields, bucket.start_ms)
            if line is not None:
                yield line

    def _balance(self, by_quarter: dict[int, Rows], dirty: set[int]) -> Iterator[str]:
        """Only quarters in which every total is closed: half a balance is none."""
        for start_ms in sorted(dirty & by_quarter.keys()):
            rows = by_quarter[start_ms]
            for parent in self._parents:
                inflow, outflow = _closed_sum(rows, parent.inflow), _closed_sum(rows, parent.outflow)
                if inflow is None or outflow is None:
                    continue
                share = (inflow - outflow) / inflow if inflow else None
                fields = [("in_wh", inflow), ("out_wh", outflow), ("unmetered_share", share)]
                line = point(parent.series, fields, start_ms)
                if line is not None:
                    yield line


def _more(found: DayOfScope, size: str, bucket: Bucket) -> list[tuple[str, Field]]:
    """The demand of a quarter; of a day, the energy whose shape is estimated."""
    if size == "15m":
        return [("demand_w", found.demand_w.get(bucket.start_ms))]
    return [("estimated_wh", found.row.estimated)] if size == "day" else []


def _closed_sum(rows: Rows, keys: Sequence[Key]) -> int | None:
    found = [row for key in keys if (row := rows.get(key)) is not None and row.closed]
    return sum(row.energy for row in found) if len(found) == len(keys) else None


def _day(scope: Scope, by_quarter: dict[int, Rows], start_ms: int) -> DayOfScope:
    quarters: dict[int, Bucket] = {}
    demand_w: dict[int, int] = {}
    points_read = estimated = 0
    for quarter, rows in by_quarter.items():
        present = [(flow, row) for flow in scope.formula if (row := rows.get(flow[:2])) is not None]
        if not present:
            continue
        energy = sum(flow[2] * row.energy for flow, row in present)
        quarters[quarter] = Bucket(quarter, 1, len(present), energy, all(row.closed for _, row in present))
        points_read += sum(row.edge_read and row.closed for _, row in present)
        estimated += sum(row.estimated for _, row in present)
        intake = _closed_sum(rows, [flow[:2] for flow in scope.intake])
        if scope.intake and intake is not None:
            demand_w[quarter] = intake * HOUR_MS // QUARTER_MS
    closed = [bucket.start_ms for bucket in quarters.values() if bucket.closed]
    energy, present_all = (sum(bucket[i] for bucket in quarters.values()) for i in (3, 2))
    whole = DayRow(
        scope.kind, scope.id, start_ms, energy, present_all, points_read, estimated, max(closed, default=None)
    )
    return DayOfScope(quarters, demand_w, whole)


def _gathered(buckets: Iterable[Bucket], place: Callable[[Bucket], int]) -> dict[int, Bucket]:
    """Larger buckets, by their start."""
    found: dict[int, list[Bucket]] = defaultdict(list)
    for bucket in buckets:
        found[place(bucket)].append(bucket)
    return {
        start: Bucket(
            start,
            len(parts),
            sum(p.present for p in parts),
            sum(p.energy for p in parts),
            all(p.closed for p in parts),
        )
        for start, parts in found.items()
    }


def _parents(park: Park, tags: Tags) -> Iterator[Parent]:
    """PV generation and what a child exports flow in, like the parent's own import."""
    children_of: dict[str | None, list[Meter]] = defaultdict(list)
    for meter in park.meters:
        children_of[meter.parent].append(meter)
    for meter in park.meters:
        own = [
            (meter.id, kind, not _is_export(kind, role))
            for kind, role in meter.roles.items()
            if role not in _SOURCES
        ]
        children = [
            (child.id, kind, _is_export(kind, role) or role in _SOURCES)
            for child in children_of[meter.id]
            for kind, role in child.roles.items()
        ]
        electric = [
            (meter_id, kind, into)
            for meter_id, kind, into in (*own, *children)
            if READING_TYPES[kind].unit == "Wh"
        ]
        if children and any(into for _, _, into in electric):
            place = tags.place(meter.id)
            key = series("balance", {"enterprise": place["enterprise"], "meter": meter.id})
            inflow, outflow = (
                tuple((m, k) for m, k, into in electric if into is wanted) for wanted in (True, False)
            )
            yield Parent(key, inflow, outflow)


def _is_export(reading_type: str, role: Role) -> bool:
    return role is Role.EXPORT or reading_type == "energy_export_total"
