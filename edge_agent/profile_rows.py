"""From a TOML document to the values of the models: tables in place, defaults of the head filled in. Judges nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from edge_agent.profile_model import DLT645
from edge_agent.wiretypes import WIRE

Row = Mapping[str, Any]
TABLES: Final = {"register": "registers", "frozen": "frozen"}
"""Table in the file → field of the profile."""
_NESTED: Final = ("scale_register", "unit_register", "parts")
_ORDERS: Final = ("byte_order", "word_order")


def head_of(document: Row) -> dict[str, Any]:
    """Everything but the tables of registers, and what the file's name gives."""
    return {key: value for key, value in document.items() if key not in {*TABLES, "name", "registers"}}


def rows_of(document: Row, table: str) -> list[tuple[str, dict[str, Any]]]:
    """(key path, row with defaults) of every sound row of a table."""
    rows = document.get(table)
    head = head_of(document)
    return [
        (f"{table}[{index}].", register_row(row, head))
        for index, row in enumerate(rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    ]


def register_row(row: Row, head: Row) -> dict[str, Any]:
    """A row with the head's orders and invalid patterns, and those of its nested fields, which stand like it itself."""
    whole = _field(row, head)
    for key in _NESTED:
        nested = whole.get(key)
        own: dict[str, Any] = {name: whole[name] for name in ("fc", *_ORDERS) if name in whole}
        if key == "parts":
            own |= {name: whole[name] for name in ("type", "order", "align") if name in whole}
        if isinstance(nested, dict):
            whole[key] = _field(
                {**own, **({"type": "int16"} if key == "scale_register" else {}), **nested}, head
            )
        elif isinstance(nested, list):
            whole[key] = [
                _field({**own, **part}, head) if isinstance(part, dict) else part for part in nested
            ]
    return whole


def _field(row: Row, head: Row) -> dict[str, Any]:
    orders = {key: head[key] for key in _ORDERS if key in head}
    invalid, type_ = head.get("invalid"), row.get("type")
    known = isinstance(invalid, dict) and isinstance(type_, str) and type_ in WIRE
    patterns = invalid.get(type_, ()) if known and isinstance(invalid, dict) else ()
    return placed({**orders, "invalid": patterns, **row})


def placed(row: Row) -> dict[str, Any]:
    """A row that names a DL/T 645 data identifier, as one with function code and address."""
    if "di" not in row:
        return dict(row)
    number = di_number(row["di"])
    rest = {key: value for key, value in row.items() if key != "di"}
    return {"fc": DLT645, "addr": row["di"] if number is None else number, **rest}


def di_number(di: object) -> int | None:
    """A data identifier, written as eight hexadecimal digits or as a number; None for anything else."""
    if isinstance(di, int) and not isinstance(di, bool):
        return di
    try:
        return int(di, 16) if isinstance(di, str) and len(di) == 8 else None  # noqa: PLR2004  four bytes
    except ValueError:
        return None


def profile_rows(name: str, document: Row) -> dict[str, Any]:
    """The values of the Profile that a document describes."""
    tables = {field: [row for _path, row in rows_of(document, table)] for table, field in TABLES.items()}
    return {**_head(document), "name": name, **tables}


def _head(document: Row) -> dict[str, Any]:
    head = head_of(document)
    serial = head.get("serial")
    return {**head, "serial": placed(serial)} if isinstance(serial, dict) else head


def nested_fields(row: Row) -> Iterator[tuple[str, Row]]:
    """(key path within the row, values) of the row itself and of every field inside it."""
    yield "", row
    for key in _NESTED:
        nested = row.get(key)
        if isinstance(nested, dict):
            yield f"{key}.", nested
        elif isinstance(nested, list):
            yield from ((f"{key}[{i}].", part) for i, part in enumerate(nested) if isinstance(part, dict))
