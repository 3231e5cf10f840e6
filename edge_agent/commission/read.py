"""Reads every register of a meter once, and shows the words beside the values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from edge_agent.assemble import Assembler
from edge_agent.bus import ModbusBus, ReadFailed, Refused
from edge_agent.buses.stations import Station
from edge_agent.config import Bus, PolledMeter
from edge_agent.identify import identify, needs_identifying
from edge_agent.plan import Block, plan, select
from edge_agent.profile import Family, Profile, Register
from edge_agent.profile_model import DLT645
from edge_agent.reader import BlockBus
from edge_agent.serial_number import serial_text
from metering.units import UNITS

Words = Mapping[tuple[int, int], int]
"""(function code, address) → word, as read."""


class Reader(BlockBus, Protocol):
    """A bus as commissioning uses it."""

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


async def identified(bus: Reader, polled: PolledMeter, model: Profile | Family) -> Profile:
    """The map that the meter answers, without what its `read` leaves out; raises ReadFailed."""
    profile = await identify(bus, polled.station, model) if needs_identifying(model) else model
    assert isinstance(profile, Profile)  # noqa: S101  a family is identified
    return profile.model_copy(update={"registers": select(profile, polled.read)})


async def read_serial(bus: Reader, station: Station, profile: Profile) -> str:
    """The serial number that the meter itself says; empty where it says none."""
    if profile.serial is None:
        return ""
    serial = profile.serial
    try:
        words = await bus.read(station, Block(serial.fc, serial.addr, serial.width, ()))
    except ReadFailed:
        return ""
    return serial_text(serial, words) or ""


async def read_registers(bus: Reader, station: Station, profile: Profile) -> list[RegisterReading]:
    """Every register of the profile, in the order of the addresses; values under the scale that the meter itself names."""
    words: dict[tuple[int, int], int] = {}
    rows: list[tuple[Register, Sequence[int], str | None]] = []
    for block in plan(profile.registers, profile.limits):
        rows += await _read_block(bus, station, block, words)
    said = {
        register.name: (register, raw)
        for register, _t_ms, raw in Assembler(profile.registers).from_words(words)
    }
    return [_row(register, own, error, said.get(register.name)) for register, own, error in rows]


async def _read_block(
    bus: Reader, station: Station, block: Block, words: dict[tuple[int, int], int]
) -> list[tuple[Register, Sequence[int], str | None]]:
    try:
        heard = await bus.read(station, block)
    except ReadFailed as error:
        if isinstance(error, Refused) and len(block.registers) > 1:
            return [row for part in single(block) for row in await _read_block(bus, station, part, words)]
        return [(register, (), str(error)) for register, _offset in block.registers]
    words.update({(block.fc, block.addr + offset): word for offset, word in enumerate(heard)})
    return [(field, own, None) for field, own in block.split(heard) if isinstance(field, Register)]


def single(block: Block) -> Iterator[Block]:
    """The block's registers one by one: a refused one costs its neighbours nothing."""
    for register, _offset in block.registers:
        yield Block(register.fc, register.addr, register.width, ((register, 0),))


def _row(
    register: Register, words: Sequence[int], error: str | None, said: tuple[Register, int | float] | None
) -> RegisterReading:
    shown, raw = said if said is not None else (register, None)
    return RegisterReading(
        reading_type=register.name,
        fc=register.fc,
        address=register.addr,
        type=register.type,
        words=tuple(f"{word:0{2 if register.fc == DLT645 else 4}X}" for word in words),
        raw=raw,
        value=None if raw is None else value_in_unit(shown, raw),
        unit=shown.unit,
        invalid=bool(words) and raw is None,
        error=error,
    )
