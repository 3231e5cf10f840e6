"""Reads every register of a meter once, and shows the words beside the values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from edge_agent.assemble import Assembler
from edge_agent.bus import ModbusBus, ReadFailed, Refused
from edge_agent.config import Bus
from edge_agent.plan import Block, plan
from edge_agent.profile import Profile, Register
from edge_agent.registers import decode
from metering.units import UNITS

Words = Mapping[tuple[int, int], int]
"""(function code, address) → word, as read."""


class Reader(Protocol):
    """A bus as commissioning uses it."""

    async def read(self, unit: int, block: Block) -> list[int]:
        """The words of a block; raises ReadFailed."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class RegisterReading(msgspec.Struct, frozen=True):
    """One register as it stands now."""

    reading_type: str
    fc: int
    address: int
    type: str
    words: tuple[str, ...]
    """Hexadecimal, in the order of the wire; empty when it was not read."""
    raw: int | float | None
    value: float | None
    unit: str
    invalid: bool
    """The meter answered, with a pattern that means "no value"."""
    error: str | None


def open_bus(settings: Bus) -> ModbusBus:
    """The bus of a configuration, for one visit."""
    return ModbusBus(settings)


def value_in_unit(register: Register, raw: float) -> float:
    """The value in the register's own unit; exact decimals for integers."""
    if register.scale >= 0:
        return float(register.sign * raw * 10**register.scale)
    # Division, not multiplication, by a power of ten: 29 / 100 is 0.29, 29 * 0.01 is not.
    return float(register.sign * raw / 10**-register.scale)


def values_of(registers: Iterable[Register], words: Words) -> dict[str, float]:
    """Reading type → value in base units, of every register that was read whole and means something."""
    return {
        register.name: value_in_unit(register, raw) * float(UNITS[register.unit].factor)
        for register, _t_ms, raw in Assembler(registers).from_words(words)
    }


async def read_registers(bus: Reader, unit: int, profile: Profile) -> list[RegisterReading]:
    """Every register of the profile, in the order of the addresses."""
    rows: list[RegisterReading] = []
    for block in plan(profile.registers, profile.limits):
        rows += await _read_block(bus, unit, block)
    return rows


async def _read_block(bus: Reader, unit: int, block: Block) -> list[RegisterReading]:
    try:
        words = await bus.read(unit, block)
    except ReadFailed as error:
        if isinstance(error, Refused) and len(block.registers) > 1:
            return [row for part in single(block) for row in await _read_block(bus, unit, part)]
        return [_row(register, (), str(error)) for register, _offset in block.registers]
    split = ((field, own) for field, own in block.split(words) if isinstance(field, Register))
    return [_row(register, own, None) for register, own in split]


def single(block: Block) -> Iterator[Block]:
    """The block's registers one by one: a refused one costs its neighbours nothing."""
    for register, _offset in block.registers:
        yield Block(register.fc, register.addr, register.width, ((register, 0),))


def _row(register: Register, words: Sequence[int], error: str | None) -> RegisterReading:
    raw = decode(register, words) if words else None
    return RegisterReading(
        reading_type=register.reading_type,
        fc=register.fc,
        address=register.addr,
        type=register.type,
        words=tuple(f"{word:04X}" for word in words),
        raw=raw,
        value=None if raw is None else value_in_unit(register, raw),
        unit=register.unit,
        invalid=bool(words) and raw is None,
        error=error,
    )
