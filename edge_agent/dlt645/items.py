"""DL/T 645-2007 data: which data identifier holds what, and how its BCD bytes read. Pure.

Three totals are easily taken for one another: 00000000 is the combined total, whose meaning a meter setting decides (net, or
import plus export); it is never activity data and has no reading type here. 00010000 is import, 00020000 export.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from edge_agent.dlt645.frame import Dlt645Error

Value = Decimal | str | None
"""A number; the digits of a date, an address or status bits (hex); None where the meter says it has none (all bytes FF)."""
_SIGN: Final = 0x80


@dataclass(frozen=True, slots=True)
class Field:
    """One value of an item: `size` bytes, low byte first; a number in `unit` with `decimals`."""

    size: int
    decimals: int = 0
    unit: str = "1"
    signed: bool = False
    """The highest bit is the sign, not a digit."""
    kind: Literal["number", "digits", "bits"] = "number"


@dataclass(frozen=True, slots=True)
class Item:
    """What a data identifier holds."""

    di: int
    name: str
    fields: tuple[Field, ...]
    confidence: Literal["A", "B", "C"]
    """As in profiles. C: the standard as remembered; compare with the display before relying on it."""
    reading_type: str | None = None
    repeated: bool = False
    """A block: the fields come as often as the data is long (the total, then the tariffs)."""

    @property
    def modulus(self) -> int | None:
        """Counts at which a total rolls over: 4 BCD bytes."""
        field = self.fields[0]
        total = field.unit in {"kWh", "kvarh"} and not field.signed
        return 10 ** (2 * field.size) if total else None


_KWH, _KVARH = Field(4, 2, "kWh"), Field(4, 2, "kvarh")
_SIGNED_KWH, _SIGNED_KVARH = Field(4, 2, "kWh", signed=True), Field(4, 2, "kvarh", signed=True)
_VOLT, _AMPERE, _HERTZ = Field(2, 1, "V"), Field(3, 3, "A", signed=True), Field(2, 2, "Hz")
_KW, _KVAR, _KVA = (Field(3, 4, unit, signed=True) for unit in ("kW", "kvar", "kVA"))
_FACTOR = Field(2, 3, "1", signed=True)


def _energies() -> list[Item]:
    items = [
        Item(0x00000000, "combined active total (never activity data)", (_SIGNED_KWH,), "C"),
        Item(0x00010000, "import active total", (_KWH,), "A", "energy_import_total"),
        Item(0x00020000, "export active total", (_KWH,), "B", "energy_export_total"),
        Item(0x0001FF00, "import active, total and tariffs", (_KWH,), "B", repeated=True),
        Item(0x0002FF00, "export active, total and tariffs", (_KWH,), "B", repeated=True),
        Item(0x00030000, "combined reactive 1 total", (_SIGNED_KVARH,), "B"),
        Item(0x00040000, "combined reactive 2 total", (_SIGNED_KVARH,), "B"),
        Item(0x05060101, "daily frozen import active, total and tariffs", (_KWH,), "B", repeated=True),
    ]
    items += [Item(0x00010000 + (i << 8), f"import active tariff {i}", (_KWH,), "A") for i in range(1, 5)]
    items += [Item(0x00040000 + (q << 16), f"reactive Q{q} total", (_KVARH,), "B") for q in range(1, 5)]
    items += [
        Item(0x00010000 + day, f"import active total at settlement day -{day}", (_KWH,), "B" if day == 1 else "C")
        for day in range(1, 13)
    ]  # fmt: skip
    return items


def _gauges() -> list[Item]:
    items = [
        Item(0x02030000, "active power", (_KW,), "A", "power_active"),
        Item(0x02040000, "reactive power", (_KVAR,), "B", "power_reactive"),
        Item(0x02050000, "apparent power", (_KVA,), "B", "power_apparent"),
        Item(0x02060000, "power factor", (_FACTOR,), "B", "power_factor"),
        Item(0x02800002, "frequency", (_HERTZ,), "B", "frequency"),
        Item(0x01010000, "import maximum demand and its time", (Field(3, 4, "kW"), Field(5, kind="digits")), "C"),
    ]  # fmt: skip
    for phase in (1, 2, 3):
        step, name = phase << 8, f"l{phase}"
        items += [
            Item(0x02010000 + step, f"voltage {name}", (_VOLT,), "A", f"voltage_{name}"),
            Item(0x02020000 + step, f"current {name}", (_AMPERE,), "A", f"current_{name}"),
            Item(0x02030000 + step, f"active power {name}", (_KW,), "C", f"power_active_{name}"),
        ]
    return items


_PARAMETERS = (
    Item(0x04000101, "date and weekday", (Field(4, kind="digits"),), "C"),
    Item(0x04000102, "time", (Field(3, kind="digits"),), "B"),
    Item(0x04000306, "current transformer ratio", (Field(3),), "C"),
    Item(0x04000307, "voltage transformer ratio", (Field(3),), "C"),
    Item(0x04000401, "address", (Field(6, kind="digits"),), "B"),
    Item(0x04000503, "status word 3", (Field(2, kind="bits"),), "B"),
)
ITEMS: Final[dict[int, Item]] = {item.di: item for item in [*_energies(), *_gauges(), *_PARAMETERS]}
"""Data identifier → item."""


def decode(di: int, data: bytes) -> tuple[Value, ...]:
    """The values of an item's data (as in a reply, behind the identifier); Dlt645Error for what the item cannot hold."""
    item = ITEMS.get(di)
    if item is None:
        raise Dlt645Error(f"data identifier {di:08X} is not in the table")
    once = sum(field.size for field in item.fields)
    times = max(1, len(data) // once) if item.repeated else 1
    if len(data) != once * times:
        raise Dlt645Error(f"{di:08X} takes {once} bytes, not {len(data)}")
    values, at = [], 0
    for field in item.fields * times:
        values.append(_value(field, data[at : at + field.size]))
        at += field.size
    return tuple(values)


def encode(di: int, values: Sequence[Value]) -> bytes:
    """The data that decodes to these values; Dlt645Error for what does not fit. For tests and simulated meters."""
    item = ITEMS.get(di)
    times = len(values) // len(item.fields) if item else 0
    if (
        item is None
        or times * len(item.fields) != len(values)
        or not (times == 1 or (times and item.repeated))
    ):
        raise Dlt645Error(f"{di:08X} does not hold {len(values)} values")
    fields = item.fields * times
    return b"".join(_bytes(field, value) for field, value in zip(fields, values, strict=True))


def _value(field: Field, low_first: bytes) -> Value:
    data = low_first[::-1]
    if field.kind == "bits":
        return data.hex()
    if data.strip(b"\xff") == b"":
        return None
    negative = field.signed and bool(data[0] & _SIGN)
    if negative:
        data = bytes([data[0] & ~_SIGN, *data[1:]])
    digits = data.hex()
    if not digits.isdecimal():
        raise Dlt645Error(f"{low_first.hex(' ')} is not BCD")
    if field.kind == "digits":
        return digits
    return Decimal(-int(digits) if negative else int(digits)).scaleb(-field.decimals)


def _bytes(field: Field, value: Value) -> bytes:
    if value is None:
        return b"\xff" * field.size
    digits = value if isinstance(value, str) else _digits(field, value)
    try:
        data = bytearray.fromhex(digits)
    except ValueError as error:
        raise Dlt645Error(f"{value!r} is not made of digits") from error
    if len(data) != field.size or (field.signed and data[0] & _SIGN):
        raise Dlt645Error(f"{value} does not fit {field.size} bytes")
    if isinstance(value, Decimal) and value < 0:
        data[0] |= _SIGN
    return bytes(data[::-1])


def _digits(field: Field, value: Decimal) -> str:
    raw = value.scaleb(field.decimals)
    if raw != raw.to_integral_value() or (value < 0 and not field.signed):
        raise Dlt645Error(f"{value} is not a value with {field.decimals} decimals")
    return f"{abs(int(raw)):0{2 * field.size}d}"
