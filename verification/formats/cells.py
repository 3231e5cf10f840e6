"""What the tables of a report are made of: cells, columns, tables. One model; PDF, XLSX and CSV each only write it down."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from verification.document import half_up

NONE = "—"
_PRINTED_UNITS = {"1e4Nm3": "万Nm³", "Nm3": "Nm³", "m3": "m³"}
WH_PER_KWH, WH_PER_WAN_KWH = 1000, 10_000_000
KG_PER_T, UG_PER_T, UG_PER_KG = 1000, 10**12, 10**9

OUTCOMES = {
    "PASS": ("通过", "Pass"),
    "PASS_WITH_FINDINGS": ("通过，有需说明事项", "Pass with findings"),
    "FINDING": ("需说明", "Finding"),
    "FAIL": ("不通过", "Fail"),
    "INSUFFICIENT_DATA": ("数据不足", "Insufficient data"),
    "NOT_DUE": ("未到期", "Not due"),
}
VERIFIED = {
    "two_sources": (
        "两个独立来源转录一致，未核对原件",
        "transcribed alike by two sources, original not checked",
    ),
    "one_source": ("单一来源转录，未核对原件", "transcribed from one source, original not checked"),
    "unverified": ("未核实", "not verified"),
    "declared": ("企业登记", "declared by the enterprise"),
    "by_definition": ("按规则，无数值可转录", "by rule, no value to transcribe"),
    "": (NONE, ""),
}
BASES = {"metered": ("计量", "metered"), "bill": ("票据", "bill"), "estimated": ("估算", "estimated")}
"""Where a consumption comes from."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words, Chinese first; English beside or below."""

    zh: str
    en: str = ""
    strong: bool = False
    small: bool = False

    @property
    def plain(self) -> str:
        """Both in one line."""
        return " ".join(part for part in (self.zh, self.en) if part)


@dataclass(frozen=True, slots=True)
class Number:
    """An exact figure and how many places of it are shown, half up. None is "not determined": —, never 0."""

    value: Fraction | None
    places: int
    strong: bool = False

    @property
    def plain(self) -> str:
        return NONE if self.value is None else half_up(self.value, self.places)


@dataclass(frozen=True, slots=True)
class Badge:
    """An outcome."""

    code: str

    @property
    def plain(self) -> str:
        return " ".join(OUTCOMES[self.code])


Cell = Text | Number | Badge
Align = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, its width in mm (0: what is left), and a formula for the workbook.

    In a formula `{0}`, `{1}`, … stand for the row's cells by column number.
    """

    zh: str
    en: str
    width: float = 0
    align: Align = "left"
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the report, named T0 to T12 or A to D."""

    id: str
    zh: str
    en: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note_zh: str = ""
    note_en: str = ""
    sheet: str = ""
    """Of the workbook and the CSV file; the id where empty."""
    printed: int | None = None
    """So many rows are in the PDF; None: all that fit. Workbook and CSV have every row."""

    @property
    def name(self) -> str:
        return self.sheet or self.id


def number(text: str | None, scale: int | Fraction = 1, places: int = 2, *, strong: bool = False) -> Number:
    """The figure in a document's exact text, divided by `scale`."""
    return Number(None if text is None else Fraction(text) / scale, places, strong)


def wan_kwh(wh: str | None, *, strong: bool = False) -> Number:
    """万kWh, two places."""
    return number(wh, WH_PER_WAN_KWH, strong=strong)


def kwh(wh: str | None) -> Number:
    """Exact kWh with three places, which a Wh always has."""
    return number(wh, WH_PER_KWH, 3)


def tonnes(ug: str | None, *, strong: bool = False) -> Number:
    """tCO2, two places."""
    return number(ug, UG_PER_T, strong=strong)


def tce(kgce: str | None, *, strong: bool = False) -> Number:
    """Tonnes of standard coal, two places."""
    return number(kgce, KG_PER_T, strong=strong)


def factor(ug_per_wh: str | None) -> Number:
    """kgCO2/kWh, four places as the notices print."""
    return number(ug_per_wh, 1_000_000, 4)


def percent(share: str | Fraction | None, places: int = 1) -> Number:
    """A share as per cent."""
    return Number(None if share is None else Fraction(share) * 100, places)


def moment(at: str) -> str:
    """An ISO time for people: local, without its offset, which the cover names."""
    return at[:19].replace("T", " ")


def text(zh: str | None, en: str = "", *, small: bool = False) -> Text:
    """Words; — where there are none."""
    return Text(zh or NONE, en, small=small)


def unit(symbol: str) -> Text:
    """A unit as it is printed: `1e4Nm3` is what the data say."""
    return Text(_PRINTED_UNITS.get(symbol, symbol), "")


def rows(lines: Sequence[Sequence[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(line) for line in lines)
