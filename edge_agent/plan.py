"""Plan: the fewest Modbus reads that fetch a set of registers. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge_agent.profile import Limits, Profile, Register


@dataclass(frozen=True, slots=True)
class Block:
    """One read: `count` registers from `addr`, and the profile registers in it with their offset in words."""

    fc: int
    addr: int
    count: int
    registers: tuple[tuple[Register, int], ...]

    def split(self, words: Sequence[int]) -> Iterator[tuple[Register, Sequence[int]]]:
        """Each register with its own words of this block's answer."""
        for register, offset in self.registers:
            yield register, words[offset : offset + register.width]


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
    """The fewest reads within `limits`, in address order.

    Taking each register into the open block whenever it may join is optimal: every part of an allowed run is
    itself allowed, so by induction the n-th greedy block ends no earlier than the n-th of any other plan.
    """
    runs: list[list[Register]] = []
    for register in sorted(registers, key=lambda item: (item.fc, item.addr)):
        if register.width > limits.max_registers:
            message = f"{register.reading_type} is wider than one read of {limits.max_registers}"
            raise ValueError(message)
        if runs and _may_join(runs[-1], register, limits):
            runs[-1].append(register)
        else:
            runs.append([register])
    return tuple(block_of(run) for run in runs)


def _may_join(run: list[Register], register: Register, limits: Limits) -> bool:
    first, last = run[0], run[-1]
    if register.fc != first.fc or register.end - first.addr > limits.max_registers:
        return False
    return register.addr - last.end <= limits.gap and not any(
        area.fc == register.fc and area.first < register.addr and last.end <= area.last
        for area in limits.forbidden
    )


def block_of(run: Sequence[Register]) -> Block:
    """One read of registers in address order, gaps included."""
    addr = run[0].addr
    placed = tuple((register, register.addr - addr) for register in run)
    return Block(run[0].fc, addr, run[-1].end - addr, placed)
