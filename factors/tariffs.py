"""Official time-of-use calendars as data, and what a choice of one, or of one's own, comes to on a day."""

from __future__ import annotations

import tomllib
from datetime import date
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Protocol

from factors.holidays import Calendar
from factors.table import VERIFIED_MARKS, FactorDataError, bundled_data
from metering.periods import DayKind, PeriodsError, parse_periods
from metering.tariff import Tariff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

FILE = "tariffs.toml"
_NEEDED = ("id", "name_zh", "name_en", "region", "notice", "periods", "source", "verified")
DECLARED = "declared"
"""Mark of a calendar that an enterprise declared itself."""
_KNOWN = {*_NEEDED, "valid_from", "valid_to", "holiday_days", "note"}


@cache
def official() -> Mapping[str, Tariff]:
    """The bundled calendars by id; FactorDataError with every mistake."""
    return read_tariffs((bundled_data() / FILE).read_text(encoding="utf-8"), FILE)


def load_tariffs(file: Traversable) -> Mapping[str, Tariff]:
    """The calendars of a file; FactorDataError with every mistake, OSError when it cannot be read."""
    return read_tariffs(file.read_text(encoding="utf-8"), file.name)


def read_tariffs(text: str, file: str) -> Mapping[str, Tariff]:
    """The calendars of a TOML document with one [[tariff]] each; FactorDataError with every mistake."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FactorDataError([f"{file}: {error}"]) from error
    tables = data.get("tariff")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FactorDataError([f"{file}: there is no [[tariff]]"])
    mistakes: list[str] = []
    found: dict[str, Tariff] = {}
    for number, table in enumerate(tables, 1):
        place = f"{file}: {table.get('id') or f'tariff {number}'}"
        wrong = [f"{place}: {text}" for text in _mistakes(table)]
        mistakes += wrong
        if wrong:
            continue
        if table["id"] in found:
            mistakes.append(f"{place}: the id is given twice")
        found[table["id"]] = _tariff(table)
    if mistakes:
        raise FactorDataError(mistakes)
    return found


class Choice(Protocol):
    """An enterprise's choice: an official calendar by its id, or its own written out."""

    @property
    def calendar(self) -> str: ...
    @property
    def periods(self) -> str: ...
    @property
    def notice(self) -> str: ...
    @property
    def holiday_days(self) -> int: ...
    def is_hot(self, day: date) -> bool: ...


@cache
def holidays() -> Calendar:
    """The State Council's days off and make-up days."""
    return Calendar.load()


parsed = lru_cache(maxsize=256)(parse_periods)


def tariff_of(choice: Choice) -> Tariff | None:
    """The calendar that was chosen; None where no official one has the id."""
    if choice.calendar:
        return official().get(choice.calendar)
    return Tariff(
        id="",
        name_zh="企业自有分时日历",
        name_en="Calendar declared by the enterprise",
        region="",
        notice=choice.notice,
        valid_from=None,
        valid_to=None,
        holiday_days=choice.holiday_days,
        periods=parsed(choice.periods),
        source="",
        verified=DECLARED,
    )


def in_force(choice: Choice | None, day: date) -> Tariff | None:
    """The chosen calendar, if its notice is in force on the day."""
    tariff = None if choice is None else tariff_of(choice)
    return tariff if tariff is not None and tariff.holds(day) else None


def day_kinds(choice: Choice, tariff: Tariff, day: date) -> tuple[DayKind, ...]:
    """What the day is to the calendar, what counts first standing first."""
    kind = holidays().day_kind(day, tariff.holiday_days)
    return (DayKind.HOT, kind) if choice.is_hot(day) else (kind,)


def unknown_calendars(names: Iterable[str]) -> list[str]:
    """Those of the names that are no official calendar."""
    return sorted({name for name in names if name and name not in official()})


def _mistakes(table: Mapping[str, object]) -> Iterator[str]:
    for key in table:
        if key not in _KNOWN:
            yield f"there is no field {key!r}"
    for key in _NEEDED:
        if not isinstance(table.get(key), str) or not table[key]:
            yield f"{key} is missing or no text"
    yield from _dates(table)
    days = table.get("holiday_days", 1)
    if type(days) is not int or days < 1:
        yield "holiday_days is not a number of days from 1"
    if isinstance(table.get("verified"), str) and table["verified"] not in VERIFIED_MARKS:
        yield f"verified mark {table['verified']!r} is none of {', '.join(VERIFIED_MARKS)}"
    if isinstance(text := table.get("periods"), str) and text:
        try:
            parse_periods(text)
        except PeriodsError as error:
            yield from error.mistakes


def _dates(table: Mapping[str, object]) -> Iterator[str]:
    days = []
    for key in ("valid_from", "valid_to"):
        day = table.get(key)
        if day is not None and type(day) is not date:
            yield f"{key} is not a date YYYY-MM-DD"
        elif type(day) is date:
            days.append(day)
    if len(days) == 2 and days[1] <= days[0]:  # noqa: PLR2004
        yield "valid_to is not after valid_from"


def _tariff(table: Mapping[str, object]) -> Tariff:
    """A table without mistakes."""
    valid_from, valid_to, days = table.get("valid_from"), table.get("valid_to"), table.get("holiday_days", 1)
    return Tariff(
        id=str(table["id"]),
        name_zh=str(table["name_zh"]),
        name_en=str(table["name_en"]),
        region=str(table["region"]),
        notice=str(table["notice"]),
        valid_from=valid_from if isinstance(valid_from, date) else None,
        valid_to=valid_to if isinstance(valid_to, date) else None,
        holiday_days=days if isinstance(days, int) else 1,
        periods=parse_periods(str(table["periods"])),
        source=str(table["source"]),
        verified=str(table["verified"]),
        note=str(table.get("note", "")),
    )
