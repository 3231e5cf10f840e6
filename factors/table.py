"""Electricity emission factors of the national notices, read from data files and judged row by row."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

Verified = Literal["two_sources", "one_source", "unverified", "by_definition"]

VERIFIED_MARKS = ("two_sources", "one_source", "unverified")
"""Marks a data file may use: transcribed identically by two independent sources, by one, or not checked."""

KINDS: Mapping[str, tuple[str, str]] = {
    "average": ("平均", "average"),
    "average_excl_market_nonfossil": (
        "平均（不包括市场化交易的非化石能源电量）",
        "average excluding market-traded non-fossil power",
    ),
    "fossil_power": ("化石能源电力", "fossil power"),
}

SCOPE_COLUMNS = ("scope_code", "name_zh", "name_en", "gb2260")
NOTICE_COLUMNS = ("notice", "issuer", "number", "title", "published", "online")
FACTOR_COLUMNS = ("id", "scope_code", "data_year", "kind", "value", "notice", "verified")

UG_PER_WH_OF_KG_PER_KWH = 1_000_000
FIRST_SEVEN_GRID_YEAR = 2021  # earlier notices divide the country into six grids under partly the same names
LOWEST, HIGHEST = Fraction(1, 10), Fraction(9, 10)


class FactorDataError(Exception):
    """The data files are wrong; the operator who edited them must correct every mistake listed."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("factor data refused:\n" + "\n".join(mistakes))


class Factor(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An emission factor: exactly num/den of `unit`, with the notice it comes from."""

    id: str
    scope_code: str
    data_year: int | None
    """Year the statistics describe; None where the factor follows from a rule and not from statistics."""
    kind: str
    num: int
    den: int
    unit: str = "ug/Wh"
    value_text: str
    """The value as printed, in kgCO2/kWh."""
    notice: str
    published: date | None
    verified: Verified
    label_zh: str
    label_en: str

    @property
    def official(self) -> bool:
        """Whether a report may print it as an official value."""
        return self.verified != "unverified"

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.num, self.den)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a data file."""

    file: str
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def mistake(self, text: str) -> str:
        return f"{self.file}:{self.line}: {text}"


def bundled_data() -> Traversable:
    return files("factors") / "data"


def read_rows(folder: Traversable, name: str, columns: tuple[str, ...], mistakes: list[str]) -> list[Row]:
    """Rows of a CSV file with exactly these columns; what cannot be read is added to `mistakes`."""
    try:
        lines = (folder / name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        mistakes.append(f"{name}: cannot be read: {error}")
        return []
    reader = csv.reader(lines)
    header = tuple(next(reader, ()))
    if header != columns:
        mistakes.append(f"{name}:1: columns are {','.join(header)}, expected {','.join(columns)}")
        return []
    rows = []
    for cells in reader:
        row = Row(name, reader.line_num, dict(zip(columns, cells, strict=False)))
        if len(cells) == len(columns):
            rows.append(row)
        else:
            mistakes.append(row.mistake(f"{len(cells)} cells, expected {len(columns)}"))
    return rows


def index_rows(rows: list[Row], column: str, mistakes: list[str]) -> dict[str, Row]:
    """Rows by the value of a column that must be present and unique."""
    index: dict[str, Row] = {}
    for row in rows:
        key = row[column]
        if not key:
            mistakes.append(row.mistake(f"{column} is empty"))
        elif key in index:
            mistakes.append(row.mistake(f"{column} {key} is already on line {index[key].line}"))
        else:
            index[key] = row
    return index


def mark_mistakes(row: Row) -> Iterator[str]:
    if row["verified"] not in VERIFIED_MARKS:
        yield row.mistake(f"verified mark {row['verified']!r} is none of {', '.join(VERIFIED_MARKS)}")


def is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class FactorTable:
    """All electricity factors of the data files, by id."""

    factors: Mapping[str, Factor]

    @classmethod
    def load(cls, folder: Traversable | None = None) -> FactorTable:
        """Reads the bundled data, or another folder of the same layout.

        Raises:
            FactorDataError: with every mistake of every file.
        """
        folder = bundled_data() if folder is None else folder
        mistakes: list[str] = []
        scopes = index_rows(read_rows(folder, "scopes.csv", SCOPE_COLUMNS, mistakes), "scope_code", mistakes)
        notices = index_rows(read_rows(folder, "notices.csv", NOTICE_COLUMNS, mistakes), "notice", mistakes)
        rows = index_rows(read_rows(folder, "electricity.csv", FACTOR_COLUMNS, mistakes), "id", mistakes)
        mistakes += [m for row in scopes.values() for m in _scope_mistakes(row)]
        mistakes += [m for row in notices.values() for m in _notice_mistakes(row)]
        mistakes += [m for row in rows.values() for m in _factor_mistakes(row, scopes, notices)]
        if mistakes:
            raise FactorDataError(mistakes)
        return cls({key: _factor(row, scopes, notices) for key, row in rows.items()})

    def get(self, factor_id: str) -> Factor | None:
        return self.factors.get(factor_id)

    def find(self, scope_code: str, kind: str, data_year: int | None = None) -> tuple[Factor, ...]:
        """Factors of a scope and kind, of one data year or of all, newest first."""
        found = [
            f
            for f in self.factors.values()
            if f.scope_code == scope_code and f.kind == kind and data_year in (None, f.data_year)
        ]
        return tuple(sorted(found, key=_newness, reverse=True))


def _newness(factor: Factor) -> tuple[int, date, str]:
    return factor.data_year or 0, factor.published or date.min, factor.id


def _scope_mistakes(row: Row) -> Iterator[str]:
    if not re.fullmatch(r"CN|CN-[A-Z]{2}|CN-GRID-[A-Z]+", row["scope_code"]):
        yield row.mistake(f"scope_code {row['scope_code']} is neither nation, grid nor province")
    if not re.fullmatch(r"[0-9]{6}", row["gb2260"]) and not row["scope_code"].startswith("CN-GRID-"):
        yield row.mistake(f"gb2260 {row['gb2260']!r} is not six digits")
    if not (row["name_zh"] and row["name_en"]):
        yield row.mistake("a name is empty")


def _notice_mistakes(row: Row) -> Iterator[str]:
    if not is_date(row["published"]):
        yield row.mistake(f"published {row['published']!r} is not a date YYYY-MM-DD")
    if row["online"] and not is_date(row["online"]):
        yield row.mistake(f"online {row['online']!r} is not a date YYYY-MM-DD")
    if not (row["issuer"] and row["number"] and row["title"]):
        yield row.mistake("issuer, number or title is empty")


def _factor_mistakes(row: Row, scopes: Mapping[str, Row], notices: Mapping[str, Row]) -> Iterator[str]:
    scope, year, kind = row["scope_code"], row["data_year"], row["kind"]
    if not re.fullmatch(rf"{re.escape(f'{scope}-{year}-{kind}')}(-r[0-9]+)?", row["id"]):
        yield row.mistake(f"id {row['id']} does not spell {scope}-{year}-{kind}")
    if scope not in scopes:
        yield row.mistake(f"scope_code {scope} is not in scopes.csv")
    if kind not in KINDS:
        yield row.mistake(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if row["notice"] not in notices:
        yield row.mistake(f"notice {row['notice']!r} is not in notices.csv")
    yield from _year_mistakes(row)
    yield from _value_mistakes(row)
    yield from mark_mistakes(row)


def _year_mistakes(row: Row) -> Iterator[str]:
    year = row["data_year"]
    if not re.fullmatch(r"20[0-9]{2}", year):
        yield row.mistake(f"data_year {year!r} is not a year")
    elif row["scope_code"].startswith("CN-GRID-") and int(year) < FIRST_SEVEN_GRID_YEAR:
        yield row.mistake(f"{row['scope_code']} is one of seven grids; the six of {year} need other codes")


def _value_mistakes(row: Row) -> Iterator[str]:
    # Text taken from a PDF picks up page numbers: exactly four decimals and a narrow range catch them.
    value = row["value"]
    if not re.fullmatch(r"[0-9]\.[0-9]{4}", value):
        yield row.mistake(f"value {value!r} does not have exactly 4 decimals")
    elif not LOWEST <= Fraction(value) <= HIGHEST:
        yield row.mistake(f"value {value} is not within 0.1-0.9 kgCO2/kWh")


def _factor(row: Row, scopes: Mapping[str, Row], notices: Mapping[str, Row]) -> Factor:
    scope, notice = scopes[row["scope_code"]], notices[row["notice"]]
    kind_zh, kind_en = KINDS[row["kind"]]
    year = row["data_year"]
    ratio = Fraction(row["value"]) * UG_PER_WH_OF_KG_PER_KWH
    return Factor(
        id=row["id"],
        scope_code=row["scope_code"],
        data_year=int(year),
        kind=row["kind"],
        num=ratio.numerator,
        den=ratio.denominator,
        value_text=row["value"],
        notice=f"{notice['issuer']}{notice['number']}《{notice['title']}》",
        published=date.fromisoformat(notice["published"]),
        verified=cast("Verified", row["verified"]),
        label_zh=f"{scope['name_zh']}{year}年{kind_zh}电力二氧化碳排放因子",
        label_en=f"{scope['name_en']} {year} electricity CO2 factor, {kind_en}",
    )
