"""Plan: the fewest Modbus reads that fetch a set of registers. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as part

from edge_agent.profile_model import DLT645, Field, Limits, Profile, Register, fields_of


@dataclass(frozen=True, slots=True)
class Block:
    """One read: `count` registers from `addr` (bytes with DL/T 645), and the fields in it with their offset."""

    fc: int
    addr: int
    count: int
    fields: tuple[tuple[Field, int], ...] = part(hash=False)

    @property
    def registers(self) -> tuple[tuple[Register, int], ...]:
        """The fields that are readings of their own, with their offsets."""
        return tuple((field, offset) for field, offset in self.fields if isinstance(field, Register))

    def split(self, words: Sequence[int]) -> Iterator[tuple[Field, Sequence[int]]]:
        """Each field with its own words of this block's answer."""
        for field, offset in self.fields:
            yield field, words[offset : offset + field.width]


def select(profile: Profile, names: Iterable[str] | None) -> tuple[Register, ...]:
    """The profile's registers of the named reading types, in profile order; all of them for None.

    Raises:
        ValueError: naming every reading type that the profile does not have.
    """
    if names is None:
        return profile.registers
    wanted = set(names)
    missing = wanted - {register.reading_type for register in profile.registers}
    if missing:
        message = f"profile {profile.name} has no {', '.join(sorted(missing))}"
        raise ValueError(message)
    return tuple(register for register in profile.registers if register.reading_type in wanted)


def plan(registers: Iterable[Register], limits: Limits) -> tuple[Block, ...]:
    """The fewest reads within `limits` that fetch every field of the registers, in address order.

    Taking each field into the open block whenever it may join is optimal: every part of an allowed run is
    itself allowed, so by induction the n-th greedy block ends no earlier than the n-th of any other plan.
    """
    runs: list[list[Field]] = []
    for field in sorted(fields_of(registers), key=lambda item: (item.fc, item.addr)):
        if field.fc != DLT645 and field.width > limits.max_registers:
            message = f"{field.name} is wider than one read of {limits.max_registers}"
            raise ValueError(message)
        if runs and _may_join(runs[-1], field, limits):
            runs[-1].append(field)
        else:
            runs.append([field])
    return tuple(block_of(run) for run in runs)


def _may_join(run: list[Field], field: Field, limits: Limits) -> bool:
    first, end = run[0], max(item.end for item in run)
    if field.fc == DLT645 or field.fc != first.fc or field.end - first.addr > limits.max_registers:
        return False
    return field.addr - end <= limits.gap and not any(
        area.fc == field.fc and area.first < field.addr and end <= area.last for area in limits.forbidden
    )


def block_of(run: Sequence[Field]) -> Block:
    """One read of fields in address order, gaps included."""
    addr = run[0].addr
    placed = tuple((field, field.addr - addr) for field in run)
    return Block(run[0].fc, addr, max(field.end for field in run) - addr, placed)
