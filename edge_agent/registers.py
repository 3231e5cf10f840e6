"""Registers: the 16-bit words (or the bytes) a meter answers ↔ the raw value they carry. Pure; no scale, no ratio."""

import math
import struct
from collections.abc import Sequence
from typing import Final

from edge_agent.profile_model import DLT645, Field

_FLOATS: Final = {16: ">e", 32: ">f", 64: ">d"}
_WORD: Final = 16
_NIBBLE: Final = 4
_TEN_THOUSAND: Final = 10_000
_SIGNED: Final = frozenset({"signmag", "sbcd"})
"""Their top bit is the sign of the rest."""


def decode(field: Field, words: Sequence[int]) -> int | float | None:
    """The raw value in its words; None for an invalid pattern, NaN, infinity or a digit above its base."""
    if len(words) != field.width:
        message = f"{field.type} takes {field.width} words, not {len(words)}"
        raise ValueError(message)
    held = int.from_bytes(_bytes(field, words))
    for pattern in field.invalid:
        if pattern.means_nothing(held):
            return None
    return from_bits(field, held >> field.shift & (1 << field.wire.bits) - 1)


def from_bits(field: Field, bits: int) -> int | float | None:
    """The raw value of a type's own bits."""
    coding, size = field.wire.coding, field.wire.bits
    if coding == "float":
        return _float(bits, size)
    if coding == "int":
        return bits - (1 << size) if bits >> size - 1 else bits
    sign = -1 if coding in _SIGNED and bits >> size - 1 else 1
    magnitude = _magnitude(coding, bits & (1 << size - 1) - 1 if coding in _SIGNED else bits)
    return None if magnitude is None else sign * magnitude


def _magnitude(coding: str, bits: int) -> int | None:
    if coding in {"bcd", "sbcd"}:
        return _from_digits(bits, 1 << _NIBBLE)
    return _from_digits(bits, 1 << _WORD, _TEN_THOUSAND) if coding == "mod10k" else bits


def encode(field: Field, raw: float) -> list[int]:
    """The words that decode to `raw`, spare bits 0; raises OverflowError for a value the type cannot carry."""
    size = field.width if field.fc == DLT645 else 2 * field.width
    data = (to_bits(field, raw) << field.shift).to_bytes(size)
    if field.fc == DLT645:
        return list(data[::-1])
    wire = bytes(data[ord(letter) - ord("A")] for letter in field.wire_order)
    return [int.from_bytes(wire[at : at + 2]) for at in range(0, len(wire), 2)]


def to_bits(field: Field, raw: float) -> int:
    """The bits of a raw value; OverflowError when it has too many, TypeError for a float in an integer's place."""
    coding, size = field.wire.coding, field.wire.bits
    if coding == "float":
        return int.from_bytes(struct.pack(_FLOATS[size], raw))
    if not isinstance(raw, int):
        message = f"{field.type} carries integers, not {raw!r}"
        raise TypeError(message)
    sign = 1 << size - 1 if coding in _SIGNED and raw < 0 else 0
    number = abs(raw) if sign else raw
    if coding == "mod10k":
        bits = _to_digits(number, 1 << _WORD, _TEN_THOUSAND)
    elif coding in {"bcd", "sbcd"}:
        bits = _to_digits(number, 1 << _NIBBLE)
    elif coding == "int" and -(1 << size - 1) <= raw < 1 << size - 1:
        return raw & (1 << size) - 1
    else:
        bits = number
    most = (1 << size - (coding in {*_SIGNED, "int"})) - 1
    if not 0 <= bits <= most:
        message = f"{raw} does not fit {field.type}"
        raise OverflowError(message)
    return bits | sign


def _bytes(field: Field, words: Sequence[int]) -> bytes:
    """The value's bytes, most significant first. DL/T 645 sends single bytes, the lowest first."""
    if field.fc == DLT645:
        return bytes(words[::-1])
    wire = struct.pack(f">{len(words)}H", *words)
    return wire if field.places is None else bytes(wire[place] for place in field.places)


def _float(bits: int, size: int) -> float | None:
    value: float = struct.unpack(_FLOATS[size], bits.to_bytes(size // 8))[0]
    return value if math.isfinite(value) else None


def _from_digits(bits: int, room: int, base: int = 10) -> int | None:
    """A number whose digits have `room` each; None for a digit that is not below `base`."""
    value, place = 0, 1
    while bits:
        bits, digit = divmod(bits, room)
        if digit >= base:
            return None
        value, place = value + digit * place, place * base
    return value


def _to_digits(raw: int, room: int, base: int = 10) -> int:
    bits, place = 0, 1
    if raw < 0:
        return -1
    while raw:
        raw, digit = divmod(raw, base)
        bits, place = bits + digit * place, place * room
    return bits
