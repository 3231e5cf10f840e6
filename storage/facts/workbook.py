"""Reading somebody else's workbook: bounded before it is opened, and only as text."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl

from metering.i18n import _

MAX_FILE = 20 << 20
MAX_UNPACKED = 100 << 20
MAX_PARTS = 200
MAX_COLUMNS = 60
_FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY", b"<\x00!\x00D\x00O\x00C", b"\x00<\x00!\x00D\x00O")
"""A workbook needs no document type; entities are how XML is blown up."""


class SheetError(ValueError):
    """A file cannot be read as sheets (its author's fault)."""


def read_workbook(file: Path, max_rows: int) -> Iterator[tuple[str, list[Sequence[str]]]]:
    """(name, rows of texts) of every sheet, at most `max_rows` + 1 rows each.

    Raises:
        SheetError: not a workbook, or one that would unpack to more than MAX_UNPACKED.
    """
    _bounded(file)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        for sheet in book.worksheets:
            rows = sheet.iter_rows(max_row=max_rows + 1, max_col=MAX_COLUMNS, values_only=True)
            yield sheet.title, [[_text(cell) for cell in row] for row in rows]
        book.close()
    except (
        Exception
    ) as error:  # openpyxl builds its objects from whatever the XML names: any error is the file's
        raise SheetError(_("not a workbook (.xlsx) that can be read: {error}").format(error=error)) from error


def _bounded(file: Path) -> None:
    """Refuse what unpacks to too much. zipfile never yields more than a part declares, so the sizes can be relied on."""
    too_large = _("larger than a sheet of facts can be; split it")
    if file.stat().st_size > MAX_FILE:
        raise SheetError(too_large)
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
                raise SheetError(too_large)
            for part in parts:
                if _has_entities(archive, part):
                    raise SheetError(
                        _("{part} declares a document type; save the file again as .xlsx").format(
                            part=part.filename
                        )
                    )
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise SheetError(_("not a workbook (.xlsx) that can be read: {error}").format(error=error)) from error


def _has_entities(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    if not part.filename.endswith((".xml", ".rels")):
        return False
    data = archive.read(part)
    return any(mark in data for mark in _FORBIDDEN)


def _text(cell: Any) -> str:
    """A cell as a person reads it: whole numbers without a point, days without midnight."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else format(Decimal(repr(cell)), "f")
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(timespec="seconds")
    return cell.isoformat() if isinstance(cell, date) else str(cell)
