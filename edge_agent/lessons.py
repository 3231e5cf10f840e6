"""What was learned of a meter and would cost reads to learn again: which registers it refuses. Kept in the outbox's database."""

from collections.abc import Sequence
from typing import Self

import msgspec

from edge_agent.plan import Block, block_of

Place = tuple[int, int, int]
"""Function code, address, count."""


class Lesson(msgspec.Struct, frozen=True):
    """The reads that one reader makes, and those of one register each that the meter refuses."""

    reads: tuple[Place, ...] = ()
    refused: tuple[Place, ...] = ()

    @classmethod
    def of(cls, blocks: Sequence[Block], refused: Sequence[Block]) -> Self:
        """As a reader has them now; empty while nothing is refused."""
        return cls(_places(blocks), _places(refused)) if refused else cls()

    def blocks(self, planned: Sequence[Block]) -> tuple[list[Block], list[Block]] | None:
        """Reads and refused registers of this plan; None unless every field of it is in exactly one of them."""
        left = {
            (field.fc, field.addr, field.width): field for block in planned for field, _at in block.fields
        }
        found: list[list[Block]] = [[], []]
        for part, places in zip(found, (self.reads, self.refused), strict=True):
            for fc, addr, count in places:
                fields = [
                    left.pop(key) for key in sorted(left) if key[0] == fc and addr <= key[1] < addr + count
                ]
                if not fields or (block := block_of(fields)).count != count or block.addr != addr:
                    return None
                part.append(block)
        return None if left or any(len(block.fields) != 1 for block in found[1]) else (found[0], found[1])


class Lessons(msgspec.Struct, frozen=True):
    """Of a meter: they hold for this map (name@revision) and this serial number only."""

    profile: str
    serial: str | None
    """None: the meter keeps none, or had not said it."""
    readers: tuple[Lesson, ...]
    """Of the running values, then of the frozen totals where the map has some."""

    def text(self) -> str:
        """As it is kept."""
        return msgspec.json.encode(self).decode()


def read_lessons(text: str) -> Lessons | None:
    """What was kept; None when it is nothing, or damaged: then it is learned again."""
    try:
        return msgspec.json.decode(text, type=Lessons)
    except (msgspec.DecodeError, UnicodeError):
        return None


def field_names(blocks: Sequence[Block]) -> list[str]:
    """The reading types (or fields) of some reads."""
    return [field.name for block in blocks for field, _at in block.fields]


def _places(blocks: Sequence[Block]) -> tuple[Place, ...]:
    return tuple((block.fc, block.addr, block.count) for block in blocks)
