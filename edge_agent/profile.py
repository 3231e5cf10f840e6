"""Profiles: which reading type a meter model keeps at which register. TOML data, all mistakes at once."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from metering.i18n import _
from metering.mistakes import sentence
from metering.reading_types import READING_TYPES, Kind
from metering.units import UNITS

RegisterType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bcd16", "bcd32"
]
Row = Mapping[str, Any]
_Int = Annotated[int, Field(strict=True)]
_Address = Annotated[int, Field(strict=True, ge=0, le=0xFFFF)]
_Text = Annotated[str, Field(min_length=1)]

_REFERENCE_NUMBERS: Final = (range(30001, 40000), range(40001, 50000))
"""Numbers that documents print for input and holding registers; the wire carries them less 30001 or 40001."""
_ADDRESSES: Final = 0x10000


class _Wire(NamedTuple):
    """Registers a type takes, the Sparkplug datatype of its raw value, and how many raw values it has."""

    width: int
    datatype: str
    values: int


WIRE: Final[dict[str, _Wire]] = {
    "int16": _Wire(1, "Int16", 1 << 16),
    "uint16": _Wire(1, "UInt16", 1 << 16),
    "int32": _Wire(2, "Int32", 1 << 32),
    "uint32": _Wire(2, "UInt32", 1 << 32),
    "int64": _Wire(4, "Int64", 1 << 64),
    "uint64": _Wire(4, "UInt64", 1 << 64),
    "float32": _Wire(2, "Float", 1 << 32),
    "float64": _Wire(4, "Double", 1 << 64),
    "bcd16": _Wire(1, "UInt32", 10**4),
    "bcd32": _Wire(2, "UInt32", 10**8),
}
"""Eight BCD digits fit 32 bits, so both BCD types travel as UInt32."""


class ProfileError(Exception):
    """A profile that cannot be used; its author repairs it. `mistakes` are `key path: what is wrong`."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        super().__init__("\n  ".join([_("profile {name} has mistakes:").format(name=name), *mistakes]))
        self.name = name
        self.mistakes = mistakes


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Forbidden(_Model):
    """Addresses `first..last` (both included) that this model refuses to have read."""

    fc: Literal[3, 4]
    first: _Address
    last: _Address

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first > self.last:
            message = f"first {self.first} is after last {self.last}"
            raise ValueError(message)
        return self


class Limits(_Model):
    """What one read of this model may span."""

    max_registers: Annotated[int, Field(strict=True, ge=1, le=125)] = 100
    gap: Annotated[int, Field(strict=True, ge=0)] = 8
    """Unwanted registers between two wanted ones that cost less than a second request."""
    forbidden: tuple[Forbidden, ...] = ()


class Register(_Model):
    """One reading type at one place: value in `unit` = raw × 10^scale (× sign for a gauge)."""

    reading_type: str
    addr: _Address
    """Zero-based, as on the wire."""
    fc: Literal[3, 4]
    type: RegisterType
    unit: str
    scale: Annotated[int, Field(strict=True, ge=-12, le=12)] = 0
    resolution: Annotated[int, Field(strict=True, ge=-12, le=12)] | None = None
    """Float totals only: one count is 10^resolution raw; count = round half even(raw × 10^-resolution)."""
    rollover: Annotated[int, Field(strict=True, gt=0)] | None = None
    """Counts at which the total rolls over, where a source says so."""
    sign: Literal[1, -1] = 1
    source: Annotated[tuple[_Text, ...], Field(min_length=1)]
    confidence: Literal["A", "B", "C"]
    """A: vendor text or two sources agree; B: one driver in production use; C: catalogue or forum only."""
    note: str = ""
    byte_order: Literal["big", "little"] = "big"
    word_order: Literal["high_first", "low_first"] = "high_first"
    invalid: tuple[_Int, ...] = ()
    """Bit patterns, after reordering, with which the meter says "no value"."""

    @property
    def width(self) -> int:
        """Registers it takes."""
        return WIRE[self.type].width

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.addr + self.width

    @property
    def datatype(self) -> str:
        """Name of the Sparkplug datatype that carries the raw value unchanged."""
        return WIRE[self.type].datatype


class Profile(_Model):
    """Register map of a meter model. `revision` grows with every change of meaning; births carry it."""

    name: _Text
    vendor: _Text
    model: _Text
    revision: Annotated[int, Field(strict=True, ge=1)]
    kind: Literal["electricity", "pv_inverter", "heat", "flow"]
    ratio_applied_in_meter: Annotated[bool, Field(strict=True)]
    """True: registers hold primary values. False: the registry's PT × CT ratio is applied by the step."""
    byte_order: Literal["big", "little"] = "big"
    word_order: Literal["high_first", "low_first"] = "high_first"
    pdu_addresses_confirmed: bool = False
    """Set after a frame or vendor text has shown that addresses above 30000 are what the wire carries."""
    note: str = ""
    sources: Annotated[dict[str, _Text], Field(min_length=1)]
    limits: Limits = Limits()
    invalid: dict[RegisterType, tuple[_Int, ...]] = {}
    registers: tuple[Register, ...] = ()


def bundled_profiles() -> list[str]:
    """Names of the profiles that come with tanyun."""
    folder = resources.files("edge_agent") / "profiles"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_profile(name_or_path: str | Path) -> Profile:
    """A bundled profile by name, or one from a `.toml` file; raises ProfileError with every mistake in it."""
    name = Path(name_or_path).name.removesuffix(".toml")
    try:
        return parse_profile(name, tomllib.loads(_text(name_or_path)))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(name, [_("not a TOML file: {error}").format(error=error)]) from error


def _text(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    try:
        if name.endswith(".toml"):
            return Path(name_or_path).read_text(encoding="utf-8")
        return (resources.files("edge_agent") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(bundled_profiles())
        text = _("cannot be read ({reason}); bundled profiles: {known}").format(
            reason=error.strerror, known=known
        )
        raise ProfileError(name, [text]) from error


def parse_profile(name: str, document: Mapping[str, Any]) -> Profile:
    """The profile that a parsed TOML document describes; raises ProfileError with every mistake in it."""
    head = {key: value for key, value in document.items() if key != "register"}
    mistakes = [
        _("{key}: is given by the file's name").format(key=key)
        for key in ("name", "registers")
        if key in head
    ]
    head = {key: value for key, value in head.items() if key not in {"name", "registers"}}
    mistakes += _model_mistakes(Profile, {**head, "name": name}, "")
    rows = _rows(document.get("register"), mistakes)
    registers = [(f"register[{index}].", _with_defaults(row, head)) for index, row in rows]
    for path, row in registers:
        mistakes += _model_mistakes(Register, row, path)
        mistakes += [path + text for text in _row_mistakes(row, head)]
    mistakes += _clashes(registers)
    if mistakes:
        raise ProfileError(name, mistakes)
    return Profile.model_validate({**head, "name": name, "registers": [row for _path, row in registers]})


def _rows(value: object, mistakes: list[str]) -> list[tuple[int, dict[str, Any]]]:
    if not isinstance(value, list) or not value:
        mistakes.append(_("register: at least one [[register]] table is needed"))
        return []
    mistakes += [
        _("register[{index}]: must be a table").format(index=index)
        for index, row in enumerate(value)
        if not isinstance(row, dict)
    ]
    return [(index, row) for index, row in enumerate(value) if isinstance(row, dict)]


def _with_defaults(row: dict[str, Any], head: Row) -> dict[str, Any]:
    """The row with the profile's orders and invalid patterns where it states none itself."""
    orders = {key: head[key] for key in ("byte_order", "word_order") if key in head}
    invalid = head.get("invalid")
    patterns = invalid.get(row.get("type"), ()) if isinstance(invalid, dict) and _known_type(row) else ()
    return {**orders, "invalid": patterns, **row}


def _model_mistakes(model: type[BaseModel], values: Row, path: str) -> list[str]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return [f"{path}{_key(item['loc'])}: {sentence(item)}" for item in error.errors()]
    return []


def _key(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _known_type(row: Row) -> bool:
    return isinstance(row.get("type"), str) and row["type"] in WIRE


def _row_mistakes(row: Row, head: Row) -> Iterator[str]:
    """What the models cannot see: a row against the contract, its own type and its profile's head."""
    yield from _meaning_mistakes(row)
    yield from _address_mistakes(row, head)
    if _known_type(row):
        yield from _type_mistakes(row)
    sources = head.get("sources")
    given = row.get("source")
    if isinstance(sources, dict) and isinstance(given, list):
        unknown = [str(item) for item in given if item not in sources]
        if unknown:
            yield _("source: {keys} not in [sources]").format(keys=", ".join(unknown))


def _meaning_mistakes(row: Row) -> Iterator[str]:
    reading_type, unit = (READING_TYPES.get(str(row.get("reading_type"))), UNITS.get(str(row.get("unit"))))
    if "reading_type" in row and reading_type is None:
        yield _("reading_type: unknown reading type {name}").format(name=row["reading_type"])
    if "unit" in row and unit is None:
        yield _("unit: unknown unit {name}").format(name=row["unit"])
    if reading_type is None:
        return
    if unit is not None and unit.base != reading_type.unit:
        text = _("unit: {unit} counts in {base}, but {name} is in {expected}")
        yield text.format(
            unit=row["unit"], base=unit.base, name=reading_type.name, expected=reading_type.unit
        )
    is_total = reading_type.kind is Kind.TOTAL
    is_float = str(row.get("type")).startswith("float")
    if is_total and is_float and row.get("resolution") is None:
        yield _("resolution: a float total needs one (the power of ten of one count)")
    if row.get("resolution") is not None and _known_type(row) and not (is_total and is_float):
        yield _("resolution: only a float total has one")
    if row.get("rollover") is not None and not is_total:
        yield _("rollover: only a total has one")
    if is_total and row.get("sign", 1) != 1:
        yield _("sign: a total has none; choose the import or export reading type instead")


def _address_mistakes(row: Row, head: Row) -> Iterator[str]:
    addr = row.get("addr")
    if not isinstance(addr, int):
        return
    if not head.get("pdu_addresses_confirmed", False) and any(
        addr in numbers for numbers in _REFERENCE_NUMBERS
    ):
        text = _("addr: {addr} looks like a reference number; give the zero-based wire address, or set {key}")
        yield text.format(addr=addr, key="pdu_addresses_confirmed = true")
    if not _known_type(row):
        return
    limits = _limits(head)
    width = WIRE[row["type"]].width
    end = addr + width
    if end > _ADDRESSES:
        yield _("addr: {type} at {addr} ends beyond address 65535").format(type=row["type"], addr=addr)
    if width > limits.max_registers:
        yield _("type: {type} is wider than one read of {limit}").format(
            type=row["type"], limit=limits.max_registers
        )
    for area in limits.forbidden:
        if area.fc == row.get("fc") and addr <= area.last and area.first < end:
            yield _("addr: lies in forbidden {first}..{last}").format(first=area.first, last=area.last)


def _limits(head: Row) -> Limits:
    """The limits of a head; the default ones where they are mistaken, which is reported as such."""
    try:
        return Limits.model_validate(head.get("limits", {}))
    except ValidationError:
        return Limits()


def _type_mistakes(row: Row) -> Iterator[str]:
    wire = WIRE[row["type"]]
    patterns = row.get("invalid", ())
    for pattern in patterns if isinstance(patterns, list | tuple) else ():
        if isinstance(pattern, int) and not 0 <= pattern < 1 << 16 * wire.width:
            yield _("invalid: {pattern} is wider than {type}").format(pattern=hex(pattern), type=row["type"])
    modulus = row.get("rollover")
    if isinstance(modulus, int) and not row["type"].startswith("float") and modulus > wire.values:
        yield _("rollover: {modulus} is more than {type} can hold").format(modulus=modulus, type=row["type"])


def _clashes(registers: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """Two rows for one reading type, and rows that share a register."""
    seen: dict[str, str] = {}
    for path, row in registers:
        name = str(row.get("reading_type"))
        if name in seen and name in READING_TYPES:
            yield _("{path}reading_type: {name} again, first in {first}").format(
                path=path, name=name, first=seen[name].removesuffix(".")
            )
        seen.setdefault(name, path)
    spans = sorted(
        (str(row.get("fc")), row["addr"], row["addr"] + WIRE[row["type"]].width, path)
        for path, row in registers
        if isinstance(row.get("addr"), int) and _known_type(row)
    )
    for (fc, _addr, end, first), (next_fc, addr, _end, path) in pairwise(spans):
        if fc == next_fc and addr < end:
            yield _("{path}addr: {addr} overlaps {first}").format(
                path=path, addr=addr, first=first.removesuffix(".")
            )
