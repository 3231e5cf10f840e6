"""The workbook: one sheet per table, unrounded figures as numbers, formulas with their values cached. Its bytes never vary."""

import io
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import xlsxwriter
from xlsxwriter.utility import xl_col_to_name

from storage.months import MonthRow
from verification.formats.cells import Badge, Cell, Column, Number, Table, Text, number
from verification.formats.csv import exact
from verification.formats.report import NOTE_EN, NOTE_ZH, Report

EXACT_DIGITS = 15
"""A cell holds a float64: a figure of more significant digits is written as text."""
HEADER_ROW = 2
_FONT = "Microsoft YaHei"
_WIDEST = 70
_MM_PER_CHARACTER = 1.9
_TONES = {
    "PASS": "#0f766e",
    "PASS_WITH_FINDINGS": "#a15c07",
    "FINDING": "#a15c07",
    "FAIL": "#b42318",
    "INSUFFICIENT_DATA": "#6b4eae",
}


def render(row: MonthRow) -> bytes:
    """The XLSX of a stored revision."""
    report = Report(row)
    out = io.BytesIO()
    # Names come from people: nothing in them may turn into a formula, a number or a link.
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    book = xlsxwriter.Workbook(out, options)
    closed_at = datetime.fromisoformat(report.document.closed_at).replace(tzinfo=None)
    book.set_properties(
        {"title": f"{report.document.scope.name} {report.title}", "author": "tanyun", "created": closed_at}
    )
    formats = Formats(book)
    _cover(book.add_worksheet("T0"), report, formats)
    for table in (*report.tables, *report.appendices):
        _sheet(book.add_worksheet(table.name), table, formats)
    _daily(book.add_worksheet("每日 Daily"), report, formats)
    book.close()
    return out.getvalue()


class Formats:
    """The workbook's formats, each made once."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._numbers: dict[tuple[int, bool], Any] = {}

    def _make(self, **more: object) -> Any:
        return self._book.add_format({"font_name": _FONT, "font_size": 10, "valign": "top", **more})

    @cached_property
    def title(self) -> Any:
        return self._make(font_size=14, bold=True, font_color="#0f766e")

    @cached_property
    def header(self) -> Any:
        return self._make(bold=True, bg_color="#e6efee", bottom=1, text_wrap=True)

    @cached_property
    def text(self) -> Any:
        return self._make(text_wrap=True)

    @cached_property
    def strong(self) -> Any:
        return self._make(text_wrap=True, bold=True)

    @cached_property
    def note(self) -> Any:
        return self._make(font_size=9, font_color="#5f6b7a")

    @cached_property
    def outcomes(self) -> dict[str, Any]:
        return {code: self._make(bold=True, font_color=tone) for code, tone in _TONES.items()}

    def number(self, places: int, *, strong: bool = False) -> Any:
        key = places, strong
        if key not in self._numbers:
            decimals = "." + "0" * places if places else ""
            self._numbers[key] = self._make(num_format=f"#,##0{decimals}", bold=strong)
        return self._numbers[key]


def _cover(page: Any, report: Report, formats: Formats) -> None:
    _setup(page, (34, 34, 80))
    page.write_string(0, 0, f"{report.document.scope.name} {report.title}", formats.title)
    at = HEADER_ROW
    for zh, en, value in (*report.cover(), ("验证码", "verification code", report.code)):
        for column, words in enumerate((zh, en, value)):
            page.write_string(at, column, words, formats.text)
        at += 1
    _cell(page, at, 2, Badge(report.document.outcome), formats)
    page.write_string(at, 0, "核查结论", formats.strong)
    for at_note, words in enumerate((NOTE_ZH, NOTE_EN), start=at + 2):
        page.write_string(at_note, 0, words, formats.note)
    at += 5
    for table in report.tables:
        page.write_url(at, 0, f"internal:'{table.name}'!A1", string=f"{table.id} {table.zh}")
        page.write_string(at, 1, table.en, formats.text)
        at += 1


def _setup(page: Any, widths: Sequence[float]) -> None:
    page.hide_gridlines(2)
    page.set_landscape()
    page.set_paper(9)
    page.fit_to_pages(1, 0)
    for column, width in enumerate(widths):
        page.set_column(column, column, width)


def _sheet(page: Any, table: Table, formats: Formats) -> None:
    _setup(
        page,
        [
            min(column.width / _MM_PER_CHARACTER + 6 if column.width else 44, _WIDEST)
            for column in table.columns
        ],
    )
    page.write_string(0, 0, f"{table.id} {table.zh} {table.en}", formats.title)
    for column, c in enumerate(table.columns):
        page.write_string(HEADER_ROW, column, f"{c.zh} {c.en}".strip(), formats.header)
    page.freeze_panes(HEADER_ROW + 1, 1)
    for at, line in enumerate(table.rows, start=HEADER_ROW + 1):
        for column, kind in enumerate(table.columns):
            _formula_or_cell(page, at, column, kind, line, formats)
    last = HEADER_ROW + 2 + len(table.rows)
    if table.rows:
        page.autofilter(HEADER_ROW, 0, HEADER_ROW + len(table.rows), len(table.columns) - 1)
    for at, words in enumerate((table.note_zh, table.note_en), start=last):
        page.write_string(at, 0, words, formats.note)


def _formula_or_cell(
    page: Any, row: int, at: int, column: Column, line: tuple[Cell, ...], formats: Formats
) -> None:
    """A formula where the column has one and every cell that it names has a number; its value is cached."""
    cell = line[at]
    inputs = [line[int(number)] for number in re.findall(r"\{(\d)\}", column.formula)]
    known = isinstance(cell, Number) and cell.value is not None and _fits(cell)
    if not column.formula or not known or not all(_is_number(c) for c in inputs):
        _cell(page, row, at, cell, formats)
        return
    assert isinstance(cell, Number)  # noqa: S101  `known` says so
    names = [f"{xl_col_to_name(number)}{row + 1}" for number in range(len(line))]
    style = formats.number(cell.places, strong=cell.strong)
    page.write_formula(row, at, column.formula.format(*names), style, float(cell.value or 0))


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, Number) and cell.value is not None and _fits(cell)


def _fits(cell: Number) -> bool:
    """Whether a float64 shows every digit of the figure."""
    return len(exact(cell).replace(".", "").lstrip("-0")) <= EXACT_DIGITS or cell.value is None


def _cell(page: Any, row: int, column: int, cell: Cell, formats: Formats) -> None:
    """A number where a float64 holds it; text never becomes a formula or link."""
    if isinstance(cell, Number) and cell.value is not None and _fits(cell):
        page.write_number(row, column, float(cell.value), formats.number(cell.places, strong=cell.strong))
    elif isinstance(cell, Number) and cell.value is not None:
        page.write_string(row, column, exact(cell), formats.text)
    elif isinstance(cell, Badge):
        page.write_string(row, column, cell.plain, formats.outcomes.get(cell.code, formats.text))
    else:
        strong = isinstance(cell, Text) and cell.strong
        page.write_string(row, column, cell.plain, formats.strong if strong else formats.text)


def _daily(page: Any, report: Report, formats: Formats) -> None:
    """The days, and their sums as formulas."""
    _setup(page, (16, 24, 28))
    page.write_string(0, 0, "每日购入电量与排放 By day", formats.title)
    for column, name in enumerate(("日 Day", "购入 Purchased, Wh", "排放 Emission, µg CO2")):
        page.write_string(HEADER_ROW, column, name, formats.header)
    page.freeze_panes(HEADER_ROW + 1, 1)
    for at, day in enumerate(report.document.daily, start=HEADER_ROW + 1):
        page.write_string(at, 0, day.day, formats.text)
    for at, figures in enumerate(_days(report), start=HEADER_ROW + 1):
        for column, figure in enumerate(figures, start=1):
            _cell(page, at, column, figure, formats)
    last = HEADER_ROW + 1 + len(report.document.daily)
    page.write_string(last, 0, "合计 Total", formats.strong)
    for column, letter in enumerate("BC"):
        whole = sum(
            float(cells[column].value or 0) for cells in _days(report) if isinstance(cells[column], Number)
        )
        page.write_formula(
            last,
            column + 1,
            f"=SUM({letter}{HEADER_ROW + 2}:{letter}{last})",
            formats.number(0, strong=True),
            whole,
        )


def _days(report: Report) -> Iterator[tuple[Number, Number]]:
    for line in report.document.daily:
        yield number(line.energy_wh, places=0), number(line.emission_ug, places=0)
