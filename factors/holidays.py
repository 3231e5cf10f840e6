"""Working days in China: the State Council's yearly days off and make-up days (调休) as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from factors.table import (
    VERIFIED_MARKS,
    FactorDataError,
    Row,
    bundled_data,
    is_date,
    mark_mistakes,
    read_rows,
)
from metering.periods import DayKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

COLUMNS = ("year", "kind", "name_zh", "name_en", "first", "last", "source", "verified")
_SATURDAY = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are worked. In a year without a notice yet, Monday to Friday are: `known` says so."""

    off: frozenset[date]
    make_up: frozenset[date]
    years: frozenset[int]
    notices: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Year → the notice, and the weakest mark of its lines."""

    @classmethod
    def load(cls, folder: Traversable | None = None) -> Calendar:
        """The calendar of the bundled data, or of another folder; FactorDataError with every mistake of the file."""
        mistakes: list[str] = []
        rows = read_rows(bundled_data() if folder is None else folder, "holidays.csv", COLUMNS, mistakes)
        mistakes += [m for row in rows for m in _mistakes(row)]
        if mistakes:
            raise FactorDataError(mistakes)
        days = {
            kind: frozenset(d for r in rows if r["kind"] == kind for d in _days(r))
            for kind in ("off", "work")
        }
        return cls(
            days["off"], days["work"], frozenset(int(row["year"]) for row in rows), dict(_notices(rows))
        )

    def known(self, year: int) -> bool:
        """Whether the State Council's notice for the year is in the data."""
        return year in self.years

    def is_workday(self, day: date) -> bool:
        """Whether offices work on the day."""
        if day in self.off or day in self.make_up:
            return day in self.make_up
        return day.weekday() < _SATURDAY

    def day_kind(self, day: date, holiday_days: int = 1) -> DayKind:
        """What the day is to a tariff. Days off of a stretch shorter than `holiday_days` count as weekends."""
        if day in self.make_up:
            return DayKind.WORKDAY
        if day in self.off:
            return DayKind.HOLIDAY if self._days_off(day) >= holiday_days else DayKind.WEEKEND
        return DayKind.WORKDAY if day.weekday() < _SATURDAY else DayKind.WEEKEND

    def _days_off(self, day: date) -> int:
        """Length of the stretch of days off that a day off lies in."""
        first = last = day
        while first - _DAY in self.off:
            first -= _DAY
        while last + _DAY in self.off:
            last += _DAY
        return (last - first).days + 1

    def after(self, day: date, workdays: int) -> date:
        """The day that many working days after another (not counting it)."""
        left = workdays
        while left:
            day += _DAY
            left -= self.is_workday(day)
        return day

    def on_or_before(self, day: date) -> date:
        """The last working day up to a day."""
        while not self.is_workday(day):
            day -= _DAY
        return day


def _notices(rows: list[Row]) -> Iterator[tuple[int, tuple[str, str]]]:
    for year in sorted({int(row["year"]) for row in rows}):
        mine = [row for row in rows if int(row["year"]) == year]
        sources = "；".join(dict.fromkeys(row["source"] for row in mine))
        yield year, (sources, max((row["verified"] for row in mine), key=VERIFIED_MARKS.index))


def _days(row: Row) -> Iterator[date]:
    day, last = date.fromisoformat(row["first"]), date.fromisoformat(row["last"])
    while day <= last:
        yield day
        day += _DAY


def _mistakes(row: Row) -> Iterator[str]:
    if row["kind"] not in ("off", "work"):
        yield row.mistake(f"kind {row['kind']!r} is neither off nor work")
    if not is_date(row["first"]) or not is_date(row["last"]) or not row["first"] <= row["last"]:
        yield row.mistake("first and last are no stretch of days YYYY-MM-DD")
    elif not row["first"].startswith(row["year"]) or not row["last"].startswith(row["year"]):
        yield row.mistake(f"the days are not of {row['year']}")
    yield from mark_mistakes(row)
