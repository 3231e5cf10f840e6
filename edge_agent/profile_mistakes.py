"""Every mistake of a profile at once, as `key path: what is wrong`. Pure."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from edge_agent.profile_fields import field_mistakes, reference_number
from edge_agent.profile_model import DLT645, Family, Profile, Register
from edge_agent.profile_rows import TABLES, head_of, nested_fields, profile_rows, rows_of
from edge_agent.wiretypes import WIRE
from metering.i18n import _
from metering.mistakes import sentence
from metering.reading_types import INTEGRATED, READING_TYPES, Kind
from metering.units import UNITS

Row = Mapping[str, Any]
_INTEGERS: Final = frozenset({"int", "uint", "signmag", "bcd", "sbcd"})
_FLOAT_COUNTS: Final = 1 << 53
"""A double tells no more apart."""


def mistakes_of(name: str, document: Row) -> list[str]:
    """Those of a profile's document."""
    head = head_of(document)
    mistakes = [
        _("{key}: is given by the file's name").format(key=key)
        for key in ("name", "registers")
        if key in document
    ]
    tables = profile_rows(name, document)
    mistakes += _model_mistakes(Profile, {**tables, "registers": (), "frozen": ()}, "")
    mistakes += _table_mistakes(document)
    rows = [(table, path, row) for table in TABLES for path, row in rows_of(document, table)]
    for table, path, row in rows:
        mistakes += _model_mistakes(Register, row, path)
        mistakes += [path + text for text in _row_mistakes(row, tables)]
        mistakes += [path + text for text in _frozen_mistakes(row, frozen=table == "frozen")]
    mistakes += _stated_orders(document)
    mistakes += [f"serial.{text}" for text in _serial_mistakes(tables)]
    mistakes += _head_mistakes(head)
    mistakes += _clashes([(path, row) for _table, path, row in rows])
    return mistakes


def family_mistakes(values: Row) -> Iterator[str]:
    """Those of a family's values, but for the profiles that it names."""
    renamed = (text.replace("variants", "variant", 1) for text in _model_mistakes(Family, values, ""))
    yield from renamed
    variants = values.get("variants")
    for index, variant in enumerate(variants if isinstance(variants, list) else ()):
        conditions = variant.get("match", ()) if isinstance(variant, dict) else ()
        for at, condition in enumerate(conditions if isinstance(conditions, list) else ()):
            if isinstance(condition, dict):
                path = f"variant[{index}].match[{at}]."
                yield from (path + text for text in field_mistakes(condition, {}))


def _table_mistakes(document: Row) -> Iterator[str]:
    rows = document.get("register")
    if not isinstance(rows, list) or not rows:
        yield _("register: at least one [[register]] table is needed")
    for table in TABLES:
        rows = document.get(table, [])
        if not isinstance(rows, list):
            yield _("{table}: must be [[{table}]] tables").format(table=table)
            continue
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                yield _("{table}[{index}]: must be a table").format(table=table, index=index)


def _model_mistakes(model: type[BaseModel], values: Row, path: str) -> list[str]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return [f"{path}{_key(item['loc'])}: {sentence(item)}" for item in error.errors()]
    return []


def _key(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _row_mistakes(row: Row, head: Row) -> Iterator[str]:
    """What the models cannot see: a row against the contract, its own type and its profile's head."""
    yield from _meaning_mistakes(row)
    for path, field in nested_fields(row):
        yield from (path + text for text in field_mistakes(field, head))
    yield from _scale_mistakes(row)
    yield from _unit_mistakes(row)
    yield from _source_mistakes(row, head)


def _source_mistakes(row: Row, head: Row) -> Iterator[str]:
    sources, given = head.get("sources"), row.get("source")
    if isinstance(sources, dict) and isinstance(given, list):
        unknown = [str(item) for item in given if item not in sources]
        if unknown:
            yield _("source: {keys} not in [sources]").format(keys=", ".join(unknown))


def _meaning_mistakes(row: Row) -> Iterator[str]:
    reading_type, unit = (READING_TYPES.get(str(row.get("reading_type"))), UNITS.get(str(row.get("unit"))))
    if reading_type is not None and reading_type.name in INTEGRATED.values():
        reading_type = None
    if "reading_type" in row and reading_type is None:
        yield _("reading_type: unknown reading type {name}").format(name=row["reading_type"])
    if "unit" in row and unit is None:
        yield _("unit: unknown unit {name}").format(name=row["unit"])
    if reading_type is None:
        return
    if unit is not None and unit.base != reading_type.unit:
        yield _other_unit("unit", str(row["unit"]), unit.base, reading_type.name, reading_type.unit)
    yield from _total_mistakes(row, is_total=reading_type.kind is Kind.TOTAL)


def _other_unit(key: str, unit: str, base: str, name: str, expected: str) -> str:
    text = _("{key}: {unit} counts in {base}, but {name} is in {expected}")
    return text.format(key=key, unit=unit, base=base, name=name, expected=expected)


def _total_mistakes(row: Row, *, is_total: bool) -> Iterator[str]:
    is_float = str(row.get("type")).startswith("float")
    if is_total and is_float and row.get("resolution") is None:
        yield _("resolution: a float total needs one (the power of ten of one count)")
    if row.get("resolution") is not None and row.get("type") in WIRE and not (is_total and is_float):
        yield _("resolution: only a float total has one")
    if row.get("rollover") is not None and not is_total:
        yield _("rollover: only a total has one")
    if is_total and row.get("sign", 1) != 1:
        yield _("sign: a total has none; choose the import or export reading type instead")
    parts = row.get("parts")
    negative = isinstance(parts, list) and any(isinstance(p, dict) and _below(p, "factor", 0) for p in parts)
    if is_total and negative:
        yield _("parts: a total takes nothing away; a difference may fall")
    yield from _rollover_mistakes(row)


def _rollover_mistakes(row: Row) -> Iterator[str]:
    modulus, wire = row.get("rollover"), WIRE.get(str(row.get("type")))
    if not isinstance(modulus, int) or wire is None:
        return
    factor = row.get("factor", 1)
    most = (wire.values or _FLOAT_COUNTS) * (factor if isinstance(factor, int) else 1)
    if not row.get("parts") and modulus > most:
        yield _("rollover: {modulus} is more than {type} can hold").format(modulus=modulus, type=row["type"])


def _below(row: Row, key: str, limit: int) -> bool:
    value = row.get(key)
    return isinstance(value, int) and value < limit


def _scale_mistakes(row: Row) -> Iterator[str]:
    for key in ("scale_register", "unit_register"):
        field = row.get(key)
        wire = WIRE.get(str(field.get("type"))) if isinstance(field, dict) else None
        if wire is not None and wire.coding not in _INTEGERS:
            yield _("{key}.type: {type} is no integer").format(key=key, type=field["type"] if field else "")


def _unit_mistakes(row: Row) -> Iterator[str]:
    field, reading_type = row.get("unit_register"), READING_TYPES.get(str(row.get("reading_type")))
    units = field.get("map") if isinstance(field, dict) else None
    for code, name in units.items() if isinstance(units, dict) else ():
        unit, key = UNITS.get(str(name)), f"unit_register.map.{code}"
        if unit is None:
            yield _("{key}: unknown unit {name}").format(key=key, name=name)
        elif reading_type is not None and unit.base != reading_type.unit:
            yield _other_unit(key, str(name), unit.base, reading_type.name, reading_type.unit)


def _frozen_mistakes(row: Row, *, frozen: bool) -> Iterator[str]:
    reading_type = READING_TYPES.get(str(row.get("reading_type")))
    if frozen and reading_type is not None and reading_type.kind is not Kind.TOTAL:
        yield _("reading_type: only totals are frozen")
    if frozen and not row.get("months_ago"):
        yield _("months_ago: a frozen total needs one (1: the settlement day before now)")
    if not frozen and row.get("months_ago"):
        yield _("months_ago: belongs to [[frozen]] tables")


def _stated_orders(document: Row) -> Iterator[str]:
    """Orders that a row states itself and that mean nothing there."""
    for table in TABLES:
        rows = document.get(table)
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            for path, field in nested_fields(row) if isinstance(row, dict) else ():
                wire = WIRE.get(str(field.get("type")))
                key = f"{table}[{index}].{path}"
                if wire is not None and wire.width == 1 and "word_order" in field:
                    yield _("{key}word_order: {type} is one word").format(key=key, type=field["type"])
                if "order" in field and ("byte_order" in field or "word_order" in field):
                    yield _("{key}order: says it all; leave byte_order and word_order out").format(key=key)


def _serial_mistakes(head: Row) -> Iterator[str]:
    serial = head.get("serial")
    if not isinstance(serial, dict):
        return
    yield from _source_mistakes(serial, head)
    if serial.get("sunspec_model") is not None and not head.get("sunspec"):
        yield _("sunspec_model: needs [sunspec]")
    # It is read as so many registers, so what holds for addresses of a field holds for it.
    width = serial.get("width")
    if isinstance(width, int):
        yield from (text for text in field_mistakes(serial, head, width))


def _head_mistakes(head: Row) -> Iterator[str]:
    if head.get("protocol") == "dlt645":
        yield from (
            _("{key}: belongs to Modbus").format(key=key)
            for key in ("sunspec", "limits", "byte_order", "word_order", "pdu_addresses_confirmed")
            if key in head
        )


def _clashes(rows: list[tuple[str, Row]]) -> Iterator[str]:
    """Two rows for one reading type, and fields that share a register."""
    seen: dict[tuple[str, object], str] = {}
    for path, row in rows:
        name = str(row.get("reading_type"))
        key = (name, row.get("months_ago", 0))
        if key in seen and name in READING_TYPES:
            yield _("{path}reading_type: {name} again, first in {first}").format(
                path=path, name=name, first=seen[key].removesuffix(".")
            )
        seen.setdefault(key, path)
    yield from _overlaps(rows)


def _overlaps(rows: list[tuple[str, Row]]) -> Iterator[str]:
    spans: dict[tuple[str, int, int, str, bool], str] = {}
    for path, row in rows:
        for inside, field in nested_fields(row):
            wire, addr = WIRE.get(str(field.get("type"))), field.get("addr")
            if wire is None or not isinstance(addr, int):
                continue
            end = addr + (1 if field.get("fc") == DLT645 else wire.width)
            half = str(field.get("align", "low")) if wire.bits % 16 else ""
            shared = inside.startswith(("scale_register", "unit_register"))
            key = (str(field.get("fc")), addr, end, half, shared)
            if key in spans and shared:  # Several values have one scale.
                continue
            if key in spans:
                yield _overlap(path + inside, field, spans[key])
            spans.setdefault(key, path + inside)
    for (key, first), (next_key, path) in pairwise(sorted(spans.items())):
        apart = key[3] != next_key[3] and key[1:3] == next_key[1:3]
        if key[0] == next_key[0] and next_key[1] < key[2] and not apart:
            yield _overlap(path, {"addr": next_key[1], "fc": next_key[0]}, first)


def _overlap(path: str, field: Row, first: str) -> str:
    addr = f"{field['addr']:08X}" if str(field.get("fc")) == str(DLT645) else field["addr"]
    return _("{path}addr: {addr} overlaps {first}").format(
        path=path, addr=addr, first=first.removesuffix(".")
    )


__all__ = ["family_mistakes", "mistakes_of", "reference_number"]
