"""Types that meters keep values in: how many registers each takes, and what travels for it. Pure data."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

Coding = Literal["int", "uint", "signmag", "float", "bcd", "sbcd", "mod10k"]
_WORD: Final = 16
_NIBBLE: Final = 4
_WIDE: Final = 32


class WireType(NamedTuple):
    """One type. Of registers that are wider than the value only `bits` count, the low ones unless a profile aligns them high."""

    coding: Coding
    bits: int
    datatype: str
    """The Sparkplug datatype that carries every raw value unchanged."""
    values: int
    """How many raw values there are from 0 on: a total cannot roll over later. 0: a float has no such limit."""

    @property
    def width(self) -> int:
        """Modbus registers that hold it."""
        return -(-self.bits // _WORD)

    @property
    def size(self) -> int:
        """Bytes that hold it where bytes are counted (DL/T 645)."""
        return self.bits // 8


def _types() -> Iterator[tuple[str, WireType]]:
    for bits in (8, 16, 24, 32, 48, 64):
        size = next(size for size in (16, 32, 64) if bits <= size)
        # A signed total is counted modulo 2^bits, too: behind the largest number comes the smallest.
        yield f"int{bits}", WireType("int", bits, f"Int{size}", 1 << bits)
        yield f"uint{bits}", WireType("uint", bits, f"UInt{size}", 1 << bits)
        yield f"signmag{bits}", WireType("signmag", bits, f"Int{size}", 1 << bits - 1)
    for bits, datatype in ((16, "Float"), (32, "Float"), (64, "Double")):
        yield f"float{bits}", WireType("float", bits, datatype, 0)
    for bits in range(8, 65, 8):
        size = 32 if bits <= _WIDE else 64
        values = 10 ** (bits // _NIBBLE)
        yield f"bcd{bits}", WireType("bcd", bits, f"UInt{size}", values)
        yield f"sbcd{bits}", WireType("sbcd", bits, f"Int{size}", values * 8 // 10)
    for words in (2, 3, 4):
        size = 32 if words * _WORD <= _WIDE else 64
        yield (
            f"mod10k{words * _WORD}",
            WireType("mod10k", words * _WORD, f"UInt{size}", 10 ** (_NIBBLE * words)),
        )


WIRE: Final[dict[str, WireType]] = dict(_types())
"""Name → type.

intN, uintN: two's complement and unsigned. signmagN: the top bit is the sign, the others the magnitude. floatN: IEEE 754.
bcdN: four bits a decimal digit; sbcdN: the same, its top bit the sign. mod10kN: each 16-bit register counts 0..9999.
"""


def letters(width: int) -> str:
    """The bytes of `width` registers by letter, A the most significant."""
    return "".join(chr(ord("A") + i) for i in range(2 * width))


def byte_order(width: int, byte_order: str, word_order: str) -> str:
    """The letters in the order of the wire for the two usual settings."""
    plain = letters(width)
    words = [plain[at : at + 2] for at in range(0, len(plain), 2)]
    ordered = words if word_order == "high_first" else words[::-1]
    return "".join(word if byte_order == "big" else word[::-1] for word in ordered)
