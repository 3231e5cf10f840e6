"""From what was heard to readings: raw values with the scale and unit that hold for them. Keeps what it must compare with."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from edge_agent.block_values import BlockValues
from edge_agent.plan import Block
from edge_agent.profile_model import Field, Register, fields_of
from edge_agent.reader import Heard
from edge_agent.registers import decode

Reading = tuple[Register, int, int | float]
"""(register with the scale and unit of this reading, UTC ms of its read, raw value)."""
_MOST_EXPONENT: Final = 12
"""Of a scale; what is larger is a broken scale register. The registry's and the birth's limits are wider."""


class _Said(NamedTuple):
    words: Sequence[int]
    t_ms: int
    block: Block | None


_Find = Callable[[Field], _Said | None]


class Assembler:
    """Readings of some registers, poll after poll."""

    def __init__(self, registers: Iterable[Register]) -> None:
        self._registers = tuple(registers)
        canonical = {field: field for field in fields_of(self._registers)}
        self._plain: dict[int, list[int]] = {}
        """Field → the registers, by their place, that are nothing but this field."""
        self._composed: list[tuple[int, Register, tuple[Field, ...]]] = []
        """The others, each with all its fields."""
        self._canonical = tuple(canonical)
        for place, register in enumerate(self._registers):
            fields = tuple(canonical[field] for field in register.fields)
            if (
                len(fields) == 1 and register.factor == 1
            ):  # Most are so, and a gateway reads thousands a second.
                self._plain.setdefault(id(fields[0]), []).append(place)
            else:
                self._composed.append((place, register, fields))
        self._by_block: dict[Block, tuple[BlockValues, list[tuple[int, int, Register]]]] = {}
        self._resolved: dict[tuple[str, int, str], Register] = {}
        self._exponents: dict[str, int] = {}
        """Register → the exponent that its scale register held last."""

    def readings(self, heard: Iterable[Heard]) -> list[Reading]:
        """What these answers say, in the registers' order; nothing of what is incomplete, invalid or torn."""
        found: list[Reading | None] = [None] * len(self._registers)
        heard = tuple(heard)
        for block, words, t_ms in heard:
            decoder, targets = self._by_block.get(block) or self._compile(block)
            values = decoder.values(words)
            for index, place, register in targets:
                raw = values[index]
                found[place] = None if raw is None else (register, t_ms, raw)
        if self._composed:
            self._compose(heard, found)
        return [reading for reading in found if reading is not None]

    def _compile(self, block: Block) -> tuple[BlockValues, list[tuple[int, int, Register]]]:
        """How to read a block, and which of its values is which register at which place."""
        decoder = BlockValues(block, [field for field in self._canonical if id(field) in self._plain])
        targets = [
            (index, place, self._registers[place])
            for index, field in enumerate(decoder.fields)
            for place in self._plain[id(field)]
        ]
        self._by_block[block] = decoder, targets
        return decoder, targets

    def _compose(self, heard: Iterable[Heard], found: list[Reading | None]) -> None:
        """Put in what is made of more than one field."""
        said = {
            id(field): _Said(words, t_ms, block)
            for block, all_words, t_ms in heard
            for field, words in block.split(all_words)
        }
        for place, register, fields in self._composed:
            found[place] = self._reading(register, fields, lambda field: said.get(id(field)))

    def from_words(self, words: Mapping[tuple[int, int], int], t_ms: int = 0) -> list[Reading]:
        """The same of single words by function code and address, read together."""

        def find(field: Field) -> _Said | None:
            own = [words.get((field.fc, address)) for address in range(field.addr, field.end)]
            whole = [word for word in own if word is not None]
            return _Said(whole, t_ms, None) if len(whole) == field.width else None

        found = (self._reading(register, register.fields, find) for register in self._registers)
        return [reading for reading in found if reading is not None]

    def _reading(self, register: Register, fields: Sequence[Field], find: _Find) -> Reading | None:
        said = [find(field) for field in fields]
        main = said[0]
        if main is None or None in said:
            return None
        values = [decode(field, one.words) for field, one in zip(fields, said, strict=True) if one]
        raw = _sum(register, values)
        blocks = [one.block for one in said if one]
        if raw is None or (register.is_pair and any(block is not blocks[0] for block in blocks)):
            return None
        resolved = self._resolve(register, values[1 + len(register.parts) :], blocks)
        return None if resolved is None else (resolved, main.t_ms, raw)

    def _resolve(
        self, register: Register, codes: Sequence[float | None], blocks: Sequence[Block | None]
    ) -> Register | None:
        """The register under the scale and unit that the meter names; None when it names none, or may mean another read."""
        if not codes:
            return register
        scale, unit, rest = register.scale, register.unit, list(codes)
        if register.scale_register is not None:
            code = rest.pop(0)
            exponent = None if code is None else register.scale_register.exponent(code)
            if exponent is None or abs(register.scale + exponent) > _MOST_EXPONENT:
                return None
            scale += exponent
            before = self._exponents.get(register.name, exponent)
            self._exponents[register.name] = exponent
            if before != exponent and blocks[1 + len(register.parts)] is not blocks[0]:
                return None  # It changed, and was read apart from the value: whose scale it is, the next poll tells.
        if register.unit_register is not None:
            code = rest.pop(0)
            named = None if code is None else dict(register.unit_register.map).get(int(code))
            if named is None:
                return None
            unit = named
        return self._with(register, scale, unit)

    def _with(self, register: Register, scale: int, unit: str) -> Register:
        key = (register.name, scale, unit)
        if key not in self._resolved:
            self._resolved[key] = register.model_copy(update={"scale": scale, "unit": unit})
        return self._resolved[key]


def _sum(register: Register, values: Sequence[float | None]) -> int | float | None:
    raw = values[0]
    if raw is None or (not register.parts and register.factor == 1):
        return raw
    total = raw * register.factor
    for part, value in zip(register.parts, values[1:], strict=False):
        if value is None:
            return None
        total += value * part.factor
    return total
