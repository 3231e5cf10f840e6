"""The reports of a closed month: the same document as JSON, XLSX, CSV and PDF, written once and never changed."""

from collections.abc import Callable
from pathlib import Path

from metering.i18n import _
from storage.months import MonthRow, report_stem
from verification.formats import csv, json, pdf, xlsx

RENDERERS: dict[str, Callable[[MonthRow], bytes]] = {
    "json": json.render,
    "xlsx": xlsx.render,
    "csv.zip": csv.render,
    "pdf": pdf.render,
}
"""File extension → the renderer. Each is a pure function of the stored row: the same bytes on every machine."""


class ReportExistsError(Exception):
    """A report file is there with other bytes (somebody changed it, or another release wrote it)."""

    def __init__(self, path: Path) -> None:
        message = _(
            "{path} is there with other content and is never overwritten; move it away to have it written again"
        )
        super().__init__(message.format(path=path))
        self.path = path


def report_name(row: MonthRow, extension: str) -> str:
    """`<credit code>_<short name>_<YYYY-MM>_r<revision>.<extension>`, as the API looks for it."""
    return f"{report_stem(row)}.{extension}"


def write_reports(row: MonthRow, folder: Path) -> list[Path]:
    """Write the reports of a revision; a file that is there with the same bytes is left alone.

    Raises:
        ReportExistsError: a file is there with other bytes; nothing was written.
    """
    reports = {folder / report_name(row, extension): render(row) for extension, render in RENDERERS.items()}
    for path, data in reports.items():
        if path.exists() and path.read_bytes() != data:
            raise ReportExistsError(path)
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in reports.items():
        if not path.exists():
            _write(path, data)
    return list(reports)


def _write(path: Path, data: bytes) -> None:
    """All of it or none: a report half written would block the right one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(data)
    draft.replace(path)
