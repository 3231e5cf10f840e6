"""The raw values of many fields of one block at once: what `registers.decode` says of each, without a step for each. Pure."""

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from edge_agent.plan import Block
from edge_agent.profile_model import DLT645, Field
from edge_agent.registers import decode, from_bits

_CODES: Final = {
    ("int", 16): "h", ("int", 32): "i", ("int", 64): "q",
    ("uint", 16): "H", ("uint", 32): "I", ("uint", 64): "Q",
    ("float", 16): "e", ("float", 32): "f", ("float", 64): "d",
}  # fmt: skip
"""What `struct` unpacks by itself, given the bytes in order."""

Raw = int | float | None


class BlockValues:
    """Compiled for some fields of a block: those that stand as `struct` reads them by one call, the others by `decode`."""

    def __init__(self, block: Block, wanted: Iterable[Field]) -> None:
        """`wanted`: fields of the block, by identity."""
        self._size = block.count
        self._pack = struct.Struct(f">{block.count}H").pack if block.fc != DLT645 else None
        chosen = {id(field) for field in wanted}
        placed = [(field, offset) for field, offset in block.fields if id(field) in chosen]
        self.fields: tuple[Field, ...] = ()
        """In the order of the values."""
        shape, end = ">", 0
        plain: list[Field] = []
        self._checks: list[tuple[int, Callable[[float], bool]]] = []
        slow = []
        for field, offset in placed:
            code = _code(field)
            if code is None or offset < end:
                slow.append((field, offset))
                continue
            shape += f"{2 * (offset - end)}x{code}"
            end = offset + field.width
            check = _check(field)
            if check is not None:
                self._checks.append((len(plain), check))
            plain.append(field)
        self._unpack = struct.Struct(shape).unpack_from
        self._slow = slow
        self.fields = (*plain, *(field for field, _offset in slow))

    def values(self, words: Sequence[int]) -> list[Raw]:
        """The raw value of each of `fields`; None where it says nothing."""
        if len(words) != self._size:
            message = f"a block of {self._size} registers is not {len(words)} words"
            raise ValueError(message)
        found: list[Raw] = list(self._unpack(self._pack(*words))) if self._pack is not None else []
        for place, says_something in self._checks:
            raw = found[place]
            if raw is not None and not says_something(raw):
                found[place] = None
        found += [decode(field, words[at : at + field.width]) for field, at in self._slow]
        return found


def _code(field: Field) -> str | None:
    """The `struct` code of a field that needs no more than that."""
    if field.fc == DLT645 or field.places is not None:
        return None
    code = _CODES.get((field.wire.coding, field.wire.bits))
    whole = (1 << field.wire.bits) - 1
    for pattern in field.invalid:
        if pattern.mask & whole != whole or pattern.value > whole:
            return None
        if field.wire.coding == "float" and from_bits(field, pattern.value) is not None:
            return None  # A number: 0.0 equals -0.0, whose bits are others.
    return code


def _check(field: Field) -> Callable[[float], bool] | None:
    if field.wire.coding == "float":
        return math.isfinite
    nothing = frozenset(from_bits(field, pattern.value) for pattern in field.invalid)
    return (lambda raw: raw not in nothing) if nothing else None
