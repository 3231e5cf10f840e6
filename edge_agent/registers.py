"""Registers: the 16-bit words a meter answers ↔ the raw value they carry. Pure; no scale, no ratio."""

import math
import struct
from collections.abc import Sequence

from edge_agent.profile import Register

_FLOATS = {"float32": ">f", "float64": ">d"}
_NIBBLE = 16
_DECIMAL = 10


def decode(register: Register, words: Sequence[int]) -> int | float | None:
    """The raw value in its words; None for an invalid pattern, NaN, infinity or a BCD nibble above 9."""
    if len(words) != register.width:
        message = f"{register.type} takes {register.width} words, not {len(words)}"
        raise ValueError(message)
    bits = int.from_bytes(_bytes(register, words))
    if bits in register.invalid:
        return None
    if register.type in _FLOATS:
        return _float(register, bits)
    if register.type.startswith("bcd"):
        return _from_bcd(bits)
    if register.type.startswith("int") and bits >> (16 * register.width - 1):
        return bits - (1 << 16 * register.width)
    return bits


def encode(register: Register, raw: float) -> list[int]:
    """The words that decode to `raw`; raises OverflowError for a value the type cannot carry."""
    data = _raw_bytes(register, raw)
    words = [int.from_bytes(data[at : at + 2], register.byte_order) for at in range(0, len(data), 2)]
    return words if register.word_order == "high_first" else words[::-1]


def _bytes(register: Register, words: Sequence[int]) -> bytes:
    """The value's bytes, most significant first."""
    ordered = words if register.word_order == "high_first" else words[::-1]
    return b"".join(word.to_bytes(2, register.byte_order) for word in ordered)


def _raw_bytes(register: Register, raw: float) -> bytes:
    if register.type in _FLOATS:
        return struct.pack(_FLOATS[register.type], raw)
    if not isinstance(raw, int):
        message = f"{register.type} carries integers, not {raw!r}"
        raise TypeError(message)
    size = 2 * register.width
    if register.type.startswith("bcd"):
        return _to_bcd(raw, digits=2 * size).to_bytes(size)
    return raw.to_bytes(size, signed=register.type.startswith("int"))


def _float(register: Register, bits: int) -> float | None:
    value: float = struct.unpack(_FLOATS[register.type], bits.to_bytes(2 * register.width))[0]
    return value if math.isfinite(value) else None


def _from_bcd(bits: int) -> int | None:
    digits = f"{bits:x}"
    return int(digits) if digits.isdecimal() else None


def _to_bcd(raw: int, digits: int) -> int:
    if not 0 <= raw < _DECIMAL**digits:
        message = f"{raw} does not fit {digits} BCD digits"
        raise OverflowError(message)
    return int(str(raw), _NIBBLE)
