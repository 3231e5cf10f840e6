"""The CSV bundle: every table of the report as a file with exact figures, in one ZIP whose bytes never vary."""

import csv
import io
import zipfile
from collections.abc import Iterator
from fractions import Fraction

from storage.months import MonthRow
from verification.document import exact_decimal, half_up
from verification.formats.cells import Cell, Number, Table
from verification.formats.report import Report

_PLACES = 12
"""Of a figure without a finite decimal form, half up."""
_BEGINNING = (1980, 1, 1, 0, 0, 0)


def render(row: MonthRow) -> bytes:
    """`T1.1.csv` … `C.csv` and `T0.csv`, UTF-8 with a byte order mark so that office programs read Chinese."""
    report = Report(row)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:
        for name, lines in _files(report):
            entry = zipfile.ZipInfo(f"{name}.csv", _BEGINNING)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            bundle.writestr(entry, _text(lines).encode("utf-8-sig"))
    return out.getvalue()


def _files(report: Report) -> Iterator[tuple[str, list[list[str]]]]:
    yield "T0", [["项目", "item", "内容"], *([zh, en, value] for zh, en, value in report.cover())]
    for table in (*report.tables, *report.appendices):
        yield table.name, _lines(table)
    daily = [[d.day, d.energy_wh or "", d.emission_ug or ""] for d in report.document.daily]
    yield "daily", [["day", "energy_wh", "emission_ug"], *daily]


def _lines(table: Table) -> list[list[str]]:
    head = [" ".join(part for part in (column.zh, column.en) if part) for column in table.columns]
    return [head, *([exact(cell) for cell in row] for row in table.rows)]


def exact(cell: Cell) -> str:
    """A figure with all its digits, in the column's unit; empty where there is none. Words that a spreadsheet would run stay words."""
    if isinstance(cell, Number):
        return "" if cell.value is None else _digits(cell.value)
    words = cell.plain
    return f"'{words}" if words[:1] in {"=", "+", "@", "-"} and words != "-" else words


def _digits(value: Fraction) -> str:
    try:
        return exact_decimal(value)
    except ValueError:
        return half_up(value, _PLACES).replace(",", "")


def _text(lines: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue()
