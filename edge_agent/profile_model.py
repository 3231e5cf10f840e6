"""What a profile is made of: fields that are read, the registers that give readings, and what is known of the model."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic import Field as Value

from edge_agent.wiretypes import WIRE, WireType, byte_order

DLT645: Final = 0x11
"""Stands as function code of what is read by DL/T 645 (its control code for reading); the address is the data identifier."""
_WORD: Final = 16
_DERIVED: Final = ("wire", "width", "shift", "wire_order", "places", "fields", "datatype", "name")
"""Cached properties."""

Row = Mapping[str, Any]
Int = Annotated[int, Value(strict=True)]
Address = Annotated[int, Value(strict=True, ge=0, le=0xFFFF)]
Exponent = Annotated[int, Value(strict=True, ge=-12, le=12)]
Text = Annotated[str, Value(min_length=1)]
ByteOrder = Literal["big", "little"]
WordOrder = Literal["high_first", "low_first"]


def _type(name: object) -> object:
    if name not in WIRE:
        raise ValueError(f"unknown type {name!r}; known are {', '.join(WIRE)}")
    return name


TypeName = Annotated[str, BeforeValidator(_type)]


def _pairs(table: object) -> object:
    """A TOML table of numbers as keys, as sorted pairs: what is frozen can be a key itself."""
    return sorted((int(key), value) for key, value in table.items()) if isinstance(table, dict) else table


class Model(BaseModel):
    """Strict and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Forbidden(Model):
    """Addresses `first..last` (both included) that this model refuses to have read."""

    fc: Literal[3, 4]
    first: Address
    last: Address

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first > self.last:
            message = f"first {self.first} is after last {self.last}"
            raise ValueError(message)
        return self


class Limits(Model):
    """What one read of this model may span."""

    max_registers: Annotated[int, Value(strict=True, ge=1, le=125)] = 100
    gap: Annotated[int, Value(strict=True, ge=0)] = 8
    """Unwanted registers between two wanted ones that cost less than a second request."""
    forbidden: tuple[Forbidden, ...] = ()


class Pattern(Model):
    """Bits with which a meter says "no value": those under `mask` are `value`. After reordering, spare bits included."""

    value: Annotated[int, Value(strict=True, ge=0)]
    mask: Annotated[int, Value(strict=True, gt=0)] = (1 << 64) - 1

    def means_nothing(self, held: int) -> bool:
        """Whether these bits are such."""
        return held & self.mask == self.value


def _pattern(item: object) -> object:
    return {"value": item} if isinstance(item, int) and not isinstance(item, bool) else item


Patterns = tuple[Annotated[Pattern, BeforeValidator(_pattern)], ...]


class Field(Model):
    """Something that is read: where it stands and how its bits are to be understood."""

    fc: Literal[3, 4, 17]
    addr: Annotated[int, Value(strict=True, ge=0, le=0xFFFFFFFF)]
    """Zero-based, as on the wire. For DL/T 645 (fc 17) the data identifier."""
    type: TypeName
    byte_order: ByteOrder = "big"
    word_order: WordOrder = "high_first"
    order: str | None = None
    """The bytes as they come, A the most significant ("CDAB", "GHEFCDAB"); instead of the two above."""
    align: Literal["low", "high"] = "low"
    """Where the value stands in registers that are wider than it (8, 24, 40, 56 bits)."""
    invalid: Patterns = ()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, nothing remembered of what its changed values mean."""
        copy = super().model_copy(update=update, deep=deep)
        for name in _DERIVED:
            copy.__dict__.pop(name, None)
        return copy

    @cached_property
    def name(self) -> str:
        """What logs call it."""
        return f"{self.fc}/{self.addr}"

    @cached_property
    def wire(self) -> WireType:
        """Its type's entry in the table of types."""
        return WIRE[self.type]

    @cached_property
    def width(self) -> int:
        """Registers it takes; bytes with DL/T 645."""
        return self.wire.size if self.fc == DLT645 else self.wire.width

    @cached_property
    def shift(self) -> int:
        """Spare bits below the value."""
        if self.align == "low" or self.fc == DLT645:
            return 0
        return self.wire.width * _WORD - self.wire.bits

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.addr + self.width

    @cached_property
    def wire_order(self) -> str:
        """Its bytes by letter, as they come."""
        return self.order or byte_order(self.width, self.byte_order, self.word_order)

    @cached_property
    def places(self) -> tuple[int, ...] | None:
        """Where each byte of the value stands on the wire, the most significant first; None where they come so."""
        places = tuple(self.wire_order.index(letter) for letter in sorted(self.wire_order))
        return None if places == tuple(range(len(places))) else places


class Part(Field):
    """A further field whose value × `factor` is added: a second tariff, or with -1 the opposite direction."""

    factor: Annotated[int, Value(strict=True)] = 1


class ScaleRegister(Field):
    """A field that holds the power of ten, or a code for one: it is added to the register's own `scale`."""

    map: Annotated[tuple[tuple[Int, Exponent], ...], BeforeValidator(_pairs)] = ()
    """Code → exponent; the value itself is the exponent where this is empty."""

    def exponent(self, raw: float) -> int | None:
        """The power of ten that a raw value stands for."""
        return dict(self.map).get(int(raw)) if self.map else int(raw)


class UnitRegister(Field):
    """A field that holds a code for the unit."""

    map: Annotated[tuple[tuple[Int, Text], ...], BeforeValidator(_pairs)]
    """Code → unit."""


class Register(Field):
    """One reading type at one place: value in `unit` = raw × 10^scale (× sign for a gauge)."""

    reading_type: str
    unit: str
    scale: Exponent = 0
    scale_register: ScaleRegister | None = None
    unit_register: UnitRegister | None = None
    factor: Annotated[int, Value(strict=True, ge=1)] = 1
    """Of its own field in a sum with `parts`."""
    parts: tuple[Part, ...] = ()
    resolution: Exponent | None = None
    """Float totals only: one count is 10^resolution raw; count = round half even(raw × 10^-resolution)."""
    rollover: Annotated[int, Value(strict=True, gt=0)] | None = None
    """Counts at which the total rolls over, where a source says so."""
    sign: Literal[1, -1] = 1
    months_ago: Annotated[int, Value(strict=True, ge=0, le=24)] = 0
    """Of a frozen total: 1 is the one of the settlement day before now. 0: a running value."""
    source: Annotated[tuple[Text, ...], Value(min_length=1)]
    confidence: Literal["A", "B", "C"]
    """A: vendor text or two sources agree; B: one driver in production use; C: catalogue or forum only."""
    note: str = ""

    @cached_property
    def name(self) -> str:
        """The metric that carries it."""
        return f"{self.reading_type}/frozen/{self.months_ago}" if self.months_ago else self.reading_type

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """All that must be read for it, itself first."""
        more = (self.scale_register, self.unit_register)
        return (self, *self.parts, *(field for field in more if field is not None))

    @property
    def is_pair(self) -> bool:
        """High and low part of one number: read apart, a carry between the reads would tear it."""
        return bool(self.parts) and (self.factor != 1 or any(abs(part.factor) != 1 for part in self.parts))

    @cached_property
    def datatype(self) -> str:
        """Name of the Sparkplug datatype that carries the raw value unchanged."""
        if not self.parts and self.factor == 1:
            return self.wire.datatype
        return "Double" if self.wire.coding == "float" else "Int64"


class SerialNumber(Model):
    """Where the meter keeps its own number."""

    fc: Literal[3, 4, 17]
    addr: Annotated[int, Value(strict=True, ge=0, le=0xFFFFFFFF)]
    width: Annotated[int, Value(strict=True, ge=1, le=64)]
    """Registers; bytes with DL/T 645."""
    type: Literal["ascii", "bcd", "uint", "hex"]
    byte_order: ByteOrder = "big"
    word_order: WordOrder = "high_first"
    sunspec_model: Annotated[int, Value(strict=True, ge=1)] | None = None
    """`addr` counts from this model's id register, as the registers' do from theirs."""
    source: Annotated[tuple[Text, ...], Value(min_length=1)]
    confidence: Literal["A", "B", "C"]
    note: str = ""


class SunSpec(Model):
    """Addresses count from the id register of a SunSpec model, which is searched for at the meter."""

    model: Annotated[int, Value(strict=True, ge=1, le=0xFFFE)]


class Profile(Model):
    """Register map of a meter model. `revision` grows with every change of meaning; births carry it."""

    name: Text
    vendor: Text
    model: Text
    revision: Annotated[int, Value(strict=True, ge=1)]
    kind: Literal["electricity", "pv_inverter", "heat", "flow"]
    protocol: Literal["modbus", "dlt645"] = "modbus"
    ratio_applied_in_meter: Annotated[bool, Value(strict=True)]
    """True: registers hold primary values. False: the registry's PT × CT ratio is applied by the step."""
    byte_order: ByteOrder = "big"
    word_order: WordOrder = "high_first"
    pdu_addresses_confirmed: bool = False
    """Set after a frame or vendor text has shown that addresses above 30000 are what the wire carries."""
    note: str = ""
    unverified: tuple[Text, ...] = ()
    """What this profile says or leaves open without a source, as sentences for whoever commissions the meter."""
    sources: Annotated[dict[str, Text], Value(min_length=1)]
    limits: Limits = Limits()
    invalid: dict[TypeName, Patterns] = {}
    sunspec: SunSpec | None = None
    serial: SerialNumber | None = None
    registers: tuple[Register, ...] = ()
    frozen: tuple[Register, ...] = ()
    """Totals that the meter itself froze at its settlement days."""


class Condition(Field):
    """Holds when the raw value is within `least..most`."""

    least: float = float("-inf")
    most: float = float("inf")


class Variant(Model):
    """One of several maps that share a model name."""

    profile: Text
    """A bundled one by name; a `.toml` file from the family's own folder."""
    match: tuple[Condition, ...] = ()
    """All must hold. Without any, it has to be named in the configuration."""
    note: str = ""


class Family(Model):
    """A model name that stands for several maps: told apart by what the meter answers, or named in the configuration."""

    name: Text
    vendor: Text
    model: Text
    revision: Annotated[int, Value(strict=True, ge=1)] = 1
    note: str = ""
    sources: Annotated[dict[str, Text], Value(min_length=1)]
    variants: Annotated[tuple[Variant, ...], Value(min_length=2)]


def fields_of(registers: Iterable[Register]) -> list[Field]:
    """Every field of some registers once, in their order."""
    return list(dict.fromkeys(field for register in registers for field in register.fields))
