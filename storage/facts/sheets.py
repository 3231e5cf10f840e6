"""Facts as sheets: a template, an export, and an import that names every mistake by sheet, row and column.

A workbook has a sheet per kind; a CSV file is one sheet and is named after its kind. Above the rows stand the labels, then the
names of the fields; an import looks for the names, so labels and column order are free.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import xlsxwriter
from pydantic import ValidationError

from metering.i18n import _
from metering.mistakes import sentence
from metering.registry import Park
from storage.facts.fact import Fact, State
from storage.facts.judge import mistakes as judged
from storage.facts.kinds import KINDS
from storage.facts.state import Facts
from storage.facts.workbook import SheetError, read_workbook

HEAD_ROWS = 5
"""The names of the fields stand within the first rows."""
MAX_ROWS = 20_000
_GUARDED = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would take such a text for a formula; we put an apostrophe before it, and take it off again."""
_WIDTH = 18


class RefusedError(ValueError):
    """A sheet has mistakes (its author's fault); nothing of it was stored. `mistakes` lists every one."""

    def __init__(self, file: str, mistakes: list[str]) -> None:
        super().__init__("\n  ".join([_("{file} has mistakes:").format(file=file), *mistakes]))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a sheet, by the names of its columns."""

    kind: str
    place: str
    cells: dict[str, str]


def columns(kind: type[Fact]) -> list[tuple[str, str]]:
    """(field, label) of a sheet: the subject and the keys first, the validity last."""
    names = list(kind.model_fields)
    first = [kind.SUBJECT, *kind.KEY]
    last = [name for name in State.model_fields if name in names]
    ordered = [*first, *(name for name in names if name not in {*first, *last}), *last]
    return [(name, kind.model_fields[name].title or name) for name in ordered]


def export_csv(kind: type[Fact], facts: Iterable[Fact]) -> bytes:
    """A kind's facts as CSV (UTF-8 with a byte order mark)."""
    text = io.StringIO()
    writer = csv.writer(text)
    known = columns(kind)
    writer.writerow([label for _name, label in known])
    writer.writerow([name for name, _label in known])
    for fact in facts:
        writer.writerow([_guarded(cell) for cell in _cells(fact, known)])
    return ("\ufeff" + text.getvalue()).encode()


def export_workbook(facts: Facts, kinds: Sequence[str] = tuple(KINDS)) -> bytes:
    """Facts as a workbook; without facts it is the template."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(
        out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    )
    formats = {
        "label": book.add_format({"bold": True, "text_wrap": True, "bg_color": "#E8F0EC", "valign": "top"}),
        "name": book.add_format({"font_color": "#808080", "num_format": "@"}),
        "text": book.add_format({"num_format": "@"}),
    }
    for name in kinds:
        kind = KINDS[name]
        _sheet(book.add_worksheet(f"{kind.LABEL[0]} {name}"[:31]), kind, facts.of(kind), formats)
    book.close()
    return out.getvalue()


def _sheet(sheet: Any, kind: type[Fact], facts: Iterable[Fact], formats: dict[str, Any]) -> None:
    known = columns(kind)
    sheet.set_column(0, len(known) - 1, _WIDTH, formats["text"])
    for column, (name, label) in enumerate(known):
        sheet.write_string(0, column, label, formats["label"])
        sheet.write_string(1, column, name, formats["name"])
        if choices := _choices(kind, name):
            sheet.data_validation(2, column, MAX_ROWS, column, {"validate": "list", "source": choices})
    for line, fact in enumerate(facts, 2):
        for column, cell in enumerate(_cells(fact, known)):
            sheet.write_string(line, column, cell, formats["text"])
    sheet.freeze_panes(2, 1)


def _choices(kind: type[Fact], name: str) -> list[str]:
    annotation = kind.model_fields[name].annotation
    return [str(value) for value in get_args(annotation)] if get_origin(annotation) is Literal else []


def _cells(fact: Fact, known: Iterable[tuple[str, str]]) -> list[str]:
    plain = fact.model_dump(mode="json")
    return ["" if plain[name] is None else str(plain[name]) for name, _label in known]


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_GUARDED) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    return cell.lstrip("+-").replace(".", "", 1).isdigit()


def read(path: Path) -> list[Row]:
    """The rows of a workbook, a CSV file or a folder of them; RefusedError, OSError."""
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    rows: list[Row] = []
    wrong: list[str] = []
    for file in files:
        try:
            for sheet, lines in _tables(file):
                rows += _rows(sheet, lines, wrong)
        except SheetError as error:
            wrong.append(f"{file.name}: {error}")
    if not files:
        wrong.append(_("there is no CSV file in this folder"))
    if wrong:
        raise RefusedError(str(path), wrong)
    return rows


def _tables(file: Path) -> Iterator[tuple[str, Iterable[Sequence[str]]]]:
    if file.suffix.lower() != ".csv":
        yield from read_workbook(file, MAX_ROWS)
        return
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SheetError(_("not UTF-8: save it as “CSV UTF-8”")) from error
    try:
        yield file.stem, list(islice(csv.reader(io.StringIO(text)), MAX_ROWS + 2))
    except csv.Error as error:
        raise SheetError(_("not CSV that can be read: {error}").format(error=error)) from error


def _rows(sheet: str, lines: Iterable[Sequence[str]], wrong: list[str]) -> Iterator[Row]:
    """The rows under the line that names the fields."""
    kind = KINDS.get(sheet.rsplit(maxsplit=1)[-1] if sheet.split() else "")
    if kind is None:
        wrong.append(
            _("{sheet}: not a sheet of ours; its name ends in one of {kinds}").format(
                sheet=sheet, kinds=", ".join(KINDS)
            )
        )
        return
    names: list[str] | None = None
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line]
        if names is None and kind.SUBJECT in cells:
            names = cells
            wrong += _wrong_names(sheet, kind, names)
        elif names is None and number >= HEAD_ROWS:
            break
        elif names is not None and any(cells):
            given = {name: _plain(cell) for name, cell in zip(names, cells, strict=False) if name and cell}
            yield Row(kind.KIND, f"{sheet} {number}", given)
        if number > MAX_ROWS:
            wrong.append(
                _("{sheet}: more than {count} rows; split the file").format(sheet=sheet, count=MAX_ROWS)
            )
            return
    if names is None:
        wrong.append(
            _("{sheet}: no row names the fields ({names})").format(
                sheet=sheet, names=", ".join(kind.model_fields)
            )
        )


def _wrong_names(sheet: str, kind: type[Fact], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name and name not in kind.model_fields:
            yield _("{sheet}: there is no field {name!r}").format(sheet=sheet, name=name)
        if name and names.count(name) > 1:
            yield _("{sheet}: the field {name!r} stands twice").format(sheet=sheet, name=name)


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_GUARDED) else cell


def parse(file: str, rows: Sequence[Row], known: Facts, park: Park) -> list[Fact]:
    """The facts of rows, each judged by itself, against the others and against the park.

    Raises:
        RefusedError: with every mistake of every row.
    """
    facts: list[Fact] = []
    places: list[str] = []
    wrong: list[str] = []
    for row in rows:
        try:
            facts.append(KINDS[row.kind].model_validate(row.cells))
            places.append(row.place)
        except ValidationError as error:
            wrong += [f"{row.place}: {_said(KINDS[row.kind], item)}" for item in error.errors()]
    wrong += [f"{places[i]}: {text}" for i, text in judged(facts, known, park)]
    if wrong:
        raise RefusedError(file, wrong)
    return facts


def _said(kind: type[Fact], item: Any) -> str:
    name = str(item["loc"][0]) if item["loc"] else ""
    label = kind.model_fields[name].title if name in kind.model_fields else None
    given = f" ({item['input']!r})" if isinstance(item["input"], str) else ""
    return f"{label or name}: {sentence(item)}{given}" if name else sentence(item)


def as_json(facts: Iterable[Fact]) -> bytes:
    """Facts for machines, one object each with its kind."""
    return msgspec.json.encode([{"kind": fact.KIND, **fact.model_dump(mode="json")} for fact in facts])
