"""Open months: to date from the days derived, with forecast."""

from collections.abc import Callable, Iterable, Iterator

from metering.intervals import QUARTER_MS, Span, local_month, month_of
from metering.registry import Park
from storage.line_protocol import Field, point
from stream.projection.boundaries import Boundaries
from stream.projection.derived import Bucket, DayBook, Factors, grams
from stream.projection.schema import METHODS, Scope, Tags
from stream.projection.store import DayRow, ProjectorStore

_KG_TO_UG_PER_WH = 1_000_000
_FORMULAS = "formulas"
"""Settled beside the methods' factors."""


class MonthBook:
    """Derives months from the store's days."""

    def __init__(
        self,
        park: Park,
        tags: Tags,
        factors: Factors,
        boundaries: Boundaries,
        book: DayBook,
        store: ProjectorStore,
        clock: Callable[[], int],
    ) -> None:
        self._zone, self._tags, self._factors, self._book = park.tz, tags, factors, book
        self._boundaries = boundaries
        self._store, self._clock = store, clock

    def current(self) -> str:
        """The month that runs now."""
        return month_of(self._clock(), self._zone)

    def settle(self, month: str) -> None:
        """Where a month's factors or formulas are others than those it was derived with, all of it is to be derived again."""
        wanted = {_FORMULAS: self._boundaries.digest(month)}
        for method in METHODS:
            factor = self._factors.get(method, month)
            wanted[method] = factor.id if factor else ""
        for name, value in wanted.items():
            known = self._store.settled(month, name)
            if known not in {None, value}:
                self._store.soil(*local_month(month, self._zone))
            if known != value:
                self._store.settle(month, name, value)

    def derive(self, month: str, days: Iterable[int] = ()) -> Iterator[str]:
        """A month's lines: its boundary, its state while open, its factors, and a forecast at each of `days` and at its newest."""
        span = local_month(month, self._zone)
        closed = self._store.months()
        for scope in self._boundaries.of(month):
            rows = self._store.days(scope.kind, scope.id, *span)
            if rows:
                bucket = Bucket(
                    span.start_ms, _quarters(scope, rows), _present(rows), _energy(rows), closed=True
                )
                yield from self._book.boundary(scope, "month", bucket, self._book.elapsed(span), month)
                yield from self._forecasts(scope, month, span, rows, set(days) | {rows[-1].start_ms})
            if (month, scope.kind, scope.id) not in closed and (rows or month == self.current()):
                yield from self._open(scope, month, span, rows)
            yield from self._factor_lines(scope, month, span)

    def _forecasts(
        self, scope: Scope, month: str, span: Span, rows: list[DayRow], wanted: set[int]
    ) -> Iterator[str]:
        """At the pace of the time measured so far; a stamp is the last closed interval that it knows."""
        for i, row in enumerate(rows):
            measured_ms = _present(rows[: i + 1]) * QUARTER_MS / len(scope.formula)
            if row.start_ms not in wanted or row.last_closed_ms is None or not measured_ms:
                continue
            so_far = _energy(rows[: i + 1])
            ahead = so_far * (span.end_ms - span.start_ms) / measured_ms
            for method in METHODS:
                factor = self._factors.get(method, month)
                fields: list[tuple[str, Field]] = [
                    ("month_energy_wh", so_far), ("month_emission_g", grams(so_far, factor)),
                    ("forecast_energy_wh", ahead), ("forecast_emission_g", grams(ahead, factor)),
                    ("budget_emission_g", scope.budget_g), ("contract_demand_w", scope.contract_demand_w),
                ]  # fmt: skip
                yield from self._line("forecast", scope, method, fields, row.last_closed_ms)

    def _open(self, scope: Scope, month: str, span: Span, rows: list[DayRow]) -> Iterator[str]:
        energy = _energy(rows) if rows else None
        expected = self._book.elapsed(span) * len(scope.formula)
        completeness = min(1.0, sum(row.points_read for row in rows) / expected)
        for method in METHODS:
            emission = grams(energy, self._factors.get(method, month)) if energy is not None else None
            fields: list[tuple[str, Field]] = [
                ("closed", 0), ("revision", 0), ("energy_wh", energy), ("emission_g", emission),
                ("completeness", completeness), ("estimated_wh", sum(row.estimated for row in rows)),
            ]  # fmt: skip
            yield from self._line("month", scope, method, fields, span.start_ms)

    def _factor_lines(self, scope: Scope, month: str, span: Span) -> Iterator[str]:
        for method in METHODS:
            factor = self._factors.get(method, month)
            if factor is not None:
                tags = {"scope_kind": scope.kind, "scope": scope.id, "method": method, "factor_id": factor.id}
                line = point(
                    self._tags.factor(tags),
                    [("kg_per_kwh", float(factor.ratio / _KG_TO_UG_PER_WH))],
                    span.start_ms,
                )
                if line is not None:
                    yield line

    def _line(
        self, measurement: str, scope: Scope, method: str, fields: list[tuple[str, Field]], t_ms: int
    ) -> Iterator[str]:
        line = point(self._tags.boundary(measurement, scope.kind, scope.id, method), fields, t_ms)
        if line is not None:
            yield line


def _energy(rows: Iterable[DayRow]) -> int:
    return sum(row.energy for row in rows)


def _present(rows: Iterable[DayRow]) -> int:
    return sum(row.present for row in rows)


def _quarters(scope: Scope, rows: Iterable[DayRow]) -> int:
    """Quarters' worth of intervals, at least one: what a mean power is taken over."""
    return max(1, round(_present(rows) / len(scope.formula)))
