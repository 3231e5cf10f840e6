"""Mistakes of a single field: its address, its order, its alignment, its patterns. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from edge_agent.profile_model import DLT645, Limits
from edge_agent.wiretypes import WIRE, WireType, letters
from metering.i18n import _

Row = Mapping[str, Any]
_REFERENCE_NUMBERS: Final = (range(30001, 40000), range(40001, 50000))
"""Numbers that documents print for input and holding registers; the wire carries them less 30001 or 40001."""
_ADDRESSES: Final = 0x10000
_WORD: Final = 16


def field_mistakes(field: Row, head: Row, width: int | None = None) -> Iterator[str]:
    """Those of a row's field, under its profile's head. `width`: registers, where no type says it."""
    wire = WIRE.get(str(field.get("type")))
    if head.get("protocol") == "dlt645" or field.get("fc") == DLT645:
        yield from _dlt645_mistakes(field, head, wire)
        return
    span = width or (wire.width if wire else None)
    addr = field.get("addr")
    if isinstance(addr, int):
        yield from _address_mistakes(field, addr, head, span)
    if wire is not None and width is None:
        yield from _order_mistakes(field, wire)
        yield from _pattern_mistakes(field, wire)


def reference_number(addr: int) -> bool:
    """Whether an address looks like the number that documents print."""
    return any(addr in numbers for numbers in _REFERENCE_NUMBERS)


def _dlt645_mistakes(field: Row, head: Row, wire: WireType | None) -> Iterator[str]:
    if head.get("protocol") != "dlt645":
        yield _("di: needs protocol = dlt645")
    elif field.get("fc") != DLT645:
        yield _("di: is needed instead of fc and addr: eight hexadecimal digits")
    elif not isinstance(field.get("addr"), int):
        yield _("di: {di!r} is not made of eight hexadecimal digits").format(di=field.get("addr"))
    yield from (
        _("{key}: DL/T 645 has none").format(key=key) for key in ("order", "align", "parts") if field.get(key)
    )
    if wire is not None and wire.coding not in {"bcd", "sbcd", "uint"}:
        yield _("type: DL/T 645 carries bcd, sbcd and uint, not {type}").format(type=field.get("type"))


def _address_mistakes(field: Row, addr: int, head: Row, width: int | None) -> Iterator[str]:
    confirmed = head.get("pdu_addresses_confirmed", False) or head.get("sunspec")
    if not confirmed and reference_number(addr):
        text = _("addr: {addr} looks like a reference number; give the zero-based wire address, or set {key}")
        yield text.format(addr=addr, key="pdu_addresses_confirmed = true")
    if addr >= _ADDRESSES:
        text = _(
            "addr: {addr} is beyond 65535; a document's six-digit number less 300001 or 400001 is the address"
        )
        yield text.format(addr=addr)
    if width is None:
        return
    limits = _limits(head)
    end = addr + width
    what = field.get("type") or _("the field")
    if addr < _ADDRESSES < end:
        yield _("addr: {type} at {addr} ends beyond address 65535").format(type=what, addr=addr)
    if width > limits.max_registers:
        yield _("type: {type} is wider than one read of {limit}").format(
            type=what, limit=limits.max_registers
        )
    for area in limits.forbidden:
        if area.fc == field.get("fc") and addr <= area.last and area.first < end:
            yield _("addr: lies in forbidden {first}..{last}").format(first=area.first, last=area.last)


def _limits(head: Row) -> Limits:
    """The limits of a head; the default ones where they are mistaken, which is reported as such."""
    try:
        return Limits.model_validate(head.get("limits", {}))
    except ValidationError:
        return Limits()


def _order_mistakes(field: Row, wire: WireType) -> Iterator[str]:
    order, plain = field.get("order"), letters(wire.width)
    if isinstance(order, str) and sorted(order) != list(plain):
        text = _("order: {order} does not name each of the {count} bytes {letters} of {type} once")
        yield text.format(order=order, count=len(plain), letters=plain, type=field["type"])
    if "align" in field and wire.bits % _WORD == 0:
        yield _("align: {type} fills its registers").format(type=field["type"])


def _pattern_mistakes(field: Row, wire: WireType) -> Iterator[str]:
    patterns = field.get("invalid", ())
    for pattern in patterns if isinstance(patterns, list | tuple) else ():
        value, mask = _bits(pattern)
        if not 0 <= value < 1 << _WORD * wire.width:
            yield _("invalid: {pattern} is wider than {type}").format(pattern=hex(value), type=field["type"])
        elif value & ~mask:
            yield _("invalid: {pattern} has bits outside its mask").format(pattern=hex(value))


def _bits(pattern: object) -> tuple[int, int]:
    if isinstance(pattern, dict):
        value, mask = pattern.get("value", 0), pattern.get("mask", -1)
        return (value if isinstance(value, int) else 0), (mask if isinstance(mask, int) else -1)
    return (pattern if isinstance(pattern, int) else 0), -1
