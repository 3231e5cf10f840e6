"""Load files: real 15-minute metered energy that drives a simulated meter, every year alike.

A row's stamp is the end of its interval, and the stamp 0:00 ends the day it names, so it comes last in that day. The
file's month drives the same month of any year; a date that the file does not have repeats one of the file's days.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from edge_agent.simulator.load import DAY_SLOTS, WMS_PER_WH, CalendarLoad, day_of
from metering.i18n import _

_STAMP = re.compile(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})[ T]+(\d{1,2}):(\d{2})(?::00(?:\.0+)?)?")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_SEPARATORS: Final = ";\t,"
_SLOT_MINUTES: Final = 15
_LAST_MONTH: Final = 12
_WMS_PER_KWH: Final = 1000 * WMS_PER_WH
_SHOWN: Final = 50

Fields = tuple[int, int, int, int]
"""Three date fields as written, and the slot of the day."""


class LoadFileError(ValueError):
    """A load file that cannot drive a meter (the operator's fault). `mistakes` are `line: what is wrong`."""

    def __init__(self, file: str, mistakes: list[str]) -> None:
        more = (
            [_("... and {count} more").format(count=len(mistakes) - _SHOWN)] if len(mistakes) > _SHOWN else []
        )
        super().__init__("\n  ".join([f"{file}:", *mistakes[:_SHOWN], *more]))
        self.file = file
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class _Layout:
    """Places of the two columns, and how the file writes a decimal point."""

    stamp: int
    energy: int
    point: str


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    day: date
    slot: int
    kwh: Fraction


def csv_load(path: Path) -> CalendarLoad:
    """The load that a file describes; LoadFileError with all mistakes, OSError when it cannot be read."""
    days = read_days(path)
    dates = sorted(days)

    def day_energies(day: date) -> list[int]:
        known = days.get((day.month, day.day))
        return known if known is not None else days[dates[day.toordinal() % len(dates)]]

    def slots(first: int, count: int) -> list[int]:
        start = first - first % DAY_SLOTS
        found = [
            energy for at in range(start, first + count, DAY_SLOTS) for energy in day_energies(day_of(at))
        ]
        return found[first - start : first - start + count]

    return CalendarLoad(slots)


def read_days(path: Path) -> dict[tuple[int, int], list[int]]:
    """(month, day) → the 96 slot energies in W·ms. Of a date that several years have, the first year's is taken."""
    rows, mistakes = _rows(path)
    mistakes += _order_mistakes(rows)
    mistakes += _gap_mistakes(rows)
    if not rows and not mistakes:
        mistakes = [_("no rows")]
    if mistakes:
        raise LoadFileError(str(path), sorted(mistakes, key=_line_of))
    days: dict[date, list[int]] = {}
    for row, energy in zip(rows, _whole(rows), strict=True):
        days.setdefault(row.day, []).append(energy)
    return {(day.month, day.day): days[day] for day in sorted(days, reverse=True)}


def _whole(rows: list[_Row]) -> Iterator[int]:
    """Whole W·ms per row; what a row leaves over is carried to the next row of its month."""
    carried, month = Fraction(0), 0
    for row in rows:
        if row.day.month != month:
            carried, month = Fraction(0), row.day.month
        carried += row.kwh * _WMS_PER_KWH
        energy = carried.numerator // carried.denominator
        carried -= energy
        yield energy


def _rows(path: Path) -> tuple[list[_Row], list[str]]:
    """The rows that can be read, and a mistake for each that cannot."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadFileError(str(path), [_("not UTF-8 text: {error}").format(error=error)]) from error
    header = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)
    lines = [(number, row) for number, row in _numbered(text, separator) if any(cell.strip() for cell in row)]
    mistakes: list[str] = []
    layout = _layout(lines[0][1] if lines else [], separator, mistakes)
    if layout is None:
        raise LoadFileError(str(path), mistakes)
    stamps = {number: _fields(_cell(row, layout.stamp)) for number, row in lines[1:]}
    day_first = _day_first([fields for fields in stamps.values() if fields], mistakes)
    rows = [_row(number, row, layout, day_first=day_first, mistakes=mistakes) for number, row in lines[1:]]
    return [row for row in rows if row is not None], mistakes


def _numbered(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), delimiter=separator)
    for row in reader:
        yield reader.line_num, row


def _layout(header: list[str], separator: str, mistakes: list[str]) -> _Layout | None:
    energy = [at for at, name in enumerate(header) if "kwh" in name.lower()]
    if len(energy) != 1:
        names = ", ".join(header[at] for at in energy) or ", ".join(header)
        text = _("line 1: exactly one column must have kWh in its name, found {count} in: {names}")
        mistakes.append(text.format(count=len(energy), names=names))
        return None
    others = [at for at in range(len(header)) if at != energy[0]]
    if not others:
        mistakes.append(_("line 1: there is no column of time stamps"))
        return None
    named = [at for at in others if re.search(r"date|time|stamp|日期|时间", header[at], re.IGNORECASE)]
    return _Layout((named or others)[0], energy[0], "." if separator == "," else ",")


def _cell(row: list[str], at: int) -> str:
    return row[at].strip() if at < len(row) else ""


def _fields(text: str) -> Fields | None:
    """The stamp's date fields and slot; None when it is no stamp on the 15-minute grid."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    first, second, third, hour, minute = (int(part) for part in match.groups())
    quarter, rest = divmod(60 * hour + minute, _SLOT_MINUTES)
    if rest or minute >= 60 or quarter > DAY_SLOTS:  # noqa: PLR2004  minutes of an hour
        return None
    return first, second, third, (quarter - 1) % DAY_SLOTS


def _year_first(fields: Fields) -> bool:
    return fields[0] >= 1000  # noqa: PLR2004  a four-digit year


def _day_first(stamps: list[Fields], mistakes: list[str]) -> bool:
    """True for D/M/YYYY, False for M/D/YYYY: by a value above 12, else by the order of the rows."""
    short = [fields for fields in stamps if not _year_first(fields)]
    day_first = any(fields[0] > _LAST_MONTH for fields in short)
    month_first = any(fields[1] > _LAST_MONTH for fields in short)
    if day_first and month_first:
        mistakes.append(_("the dates are neither all D/M/YYYY nor all M/D/YYYY"))
    if day_first or month_first:
        return day_first
    return _disorder(short, day_first=True) <= _disorder(short, day_first=False)


def _disorder(stamps: list[Fields], *, day_first: bool) -> tuple[int, bool, int]:
    """How many dates there are not, whether they go back, then the time they span.

    3/4, 3/5, 3/6 are three days in a row, not three months.
    """
    known = [_date(stamp, day_first=day_first) for stamp in stamps]
    days = [day for day in known if day is not None]
    back = any(after < before for before, after in pairwise(days))
    return len(known) - len(days), back, (max(days) - min(days)).days if days else 0


def _row(
    number: int, row: list[str], layout: _Layout, *, day_first: bool, mistakes: list[str]
) -> _Row | None:
    stamp = _fields(_cell(row, layout.stamp))
    day = _date(stamp, day_first=day_first) if stamp else None
    if day is None:
        text = _("line {line}: {stamp!r} is not a time stamp on the 15-minute grid")
        mistakes.append(text.format(line=number, stamp=_cell(row, layout.stamp)))
    kwh = _number(_cell(row, layout.energy).replace(layout.point, "."))
    if kwh is None:
        text = _("line {line}: {value!r} is not a number of kWh from 0 up")
        mistakes.append(text.format(line=number, value=_cell(row, layout.energy)))
    if stamp is None or day is None:
        return None
    return _Row(number, day, stamp[3], kwh or Fraction(0))


def _date(stamp: Fields, *, day_first: bool) -> date | None:
    first, second, third, _slot = stamp
    year, month, day = (third, second, first) if day_first else (third, first, second)
    if _year_first(stamp):
        year, month, day = first, second, third
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _number(text: str) -> Fraction | None:
    """An exact decimal from 0 up."""
    value = Fraction(text) if _NUMBER.fullmatch(text) else None
    return value if value is not None and value >= 0 else None


def _order_mistakes(rows: list[_Row]) -> Iterator[str]:
    seen: dict[tuple[date, int], int] = {}
    last: tuple[date, int] | None = None
    for row in rows:
        place = (row.day, row.slot)
        if place in seen:
            text = _("line {line}: the interval of line {first} again")
            yield text.format(line=row.line, first=seen[place])
        elif last is not None and place < last:
            text = _("line {line}: is out of order (the stamp 0:00 ends the day it names, so it comes last)")
            yield text.format(line=row.line)
        seen.setdefault(place, row.line)
        last = place if last is None else max(last, place)


def _gap_mistakes(rows: list[_Row]) -> Iterator[str]:
    """Slots missing in a day, and days missing between two days of one month; whole months may be absent."""
    slots: dict[date, set[int]] = {}
    lines: dict[date, int] = {}
    for row in rows:
        slots.setdefault(row.day, set()).add(row.slot)
        lines.setdefault(row.day, row.line)
    for day, found in slots.items():
        if len(found) < DAY_SLOTS:
            first = next(slot for slot in range(DAY_SLOTS) if slot not in found)
            text = _("line {line}: {day} lacks {count} of 96 intervals, the first ends at {time}")
            yield text.format(line=lines[day], day=day, count=DAY_SLOTS - len(found), time=_end_time(first))
    for before, after in pairwise(sorted(slots)):
        missing = (after - before).days - 1
        if missing and (before.year, before.month) == (after.year, after.month):
            text = _("line {line}: {count} days are missing before {day}, from {first}")
            first_day = before + timedelta(days=1)
            yield text.format(line=lines[after], count=missing, day=after, first=first_day)


def _end_time(slot: int) -> str:
    hour, minute = divmod((slot + 1) * _SLOT_MINUTES, 60)
    return f"{hour % 24}:{minute:02}"


def _line_of(mistake: str) -> int:
    number = re.search(r"\d+", mistake)
    return int(number.group()) if number else 0
