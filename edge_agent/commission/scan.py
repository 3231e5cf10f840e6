"""Scans a bus: which units answer, and which bundled profiles what they say would fit."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal

import msgspec

from edge_agent.bus import ReadFailed, Unreachable
from edge_agent.commission.physics import Expected, Outcome, judge
from edge_agent.commission.read import Reader, values_of
from edge_agent.plan import Block, plan
from edge_agent.profile import Profile

Answer = Literal["words", "refused", "silent"]
_FUNCTION_CODES: Sequence[Literal[3, 4]] = (3, 4)
_FALLBACK_ADDRESS = 0
_FOR_A_SILENT_UNIT = ("exception 0A", "exception 0B")


class Fit(msgspec.Struct, frozen=True):
    """A profile whose registers the unit has, with values that physics allows."""

    profile: str
    held: int
    judged: int


class Found(msgspec.Struct, frozen=True):
    """A unit that answered."""

    unit: int
    answers: dict[int, Answer]
    """Function code → what it answered."""
    fits: list[Fit]
    """Best first; empty for a meter that no bundled profile describes."""


async def scan_units(
    bus: Reader, units: Iterable[int], profiles: Sequence[Profile], expected: Expected
) -> AsyncIterator[tuple[int, Found | None]]:
    """Each unit in turn and what was found there; None for silence."""
    for unit in units:
        answers: dict[int, Answer] = {
            fc: await _ask(bus, unit, _question(fc, profiles)) for fc in _FUNCTION_CODES
        }
        if not {"words", "refused"} & set(answers.values()):
            yield unit, None
            continue
        device = _Unit(bus, unit)
        fits = [fit for profile in profiles if (fit := await _fit(device, profile, expected)) is not None]
        yield unit, Found(unit, answers, sorted(fits, key=lambda fit: (-fit.held, fit.profile)))


def _question(fc: int, profiles: Iterable[Profile]) -> Block:
    """One register that some bundled profile has: a harmless read, and an answer even from meters that lack it."""
    addresses = [item.addr for profile in profiles for item in profile.registers if item.fc == fc]
    return Block(fc, min(addresses, default=_FALLBACK_ADDRESS), 1, ())


async def _ask(bus: Reader, unit: int, block: Block) -> Answer:
    try:
        await bus.read(unit, block)
    except Unreachable:
        raise
    except ReadFailed as error:
        return "refused" if _spoke(error) else "silent"
    return "words"


def _spoke(error: ReadFailed) -> bool:
    """Whether the unit itself said no. A converter says 0AH or 0BH for a unit that does not answer it."""
    text = str(error)
    return "exception" in text and not text.endswith(_FOR_A_SILENT_UNIT)


class _Unit:
    """A unit that remembers what it was asked: profiles share registers, lines are slow."""

    def __init__(self, bus: Reader, unit: int) -> None:
        self._bus, self._unit = bus, unit
        self._told: dict[tuple[int, int, int], list[int] | None] = {}

    async def read(self, block: Block) -> list[int] | None:
        """The words of a block; None for one that it does not have."""
        key = (block.fc, block.addr, block.count)
        if key not in self._told:
            try:
                self._told[key] = await self._bus.read(self._unit, block)
            except ReadFailed:
                self._told[key] = None
        return self._told[key]


async def _fit(device: _Unit, profile: Profile, expected: Expected) -> Fit | None:
    words: dict[tuple[int, int], int] = {}
    for block in plan(profile.registers, profile.limits):
        read = await device.read(block)
        if read is None:
            return None
        words.update({(block.fc, block.addr + offset): word for offset, word in enumerate(read)})
    checks = judge(values_of(profile.registers, words), expected)
    outcomes = [check.outcome for check in checks if check.outcome is not Outcome.NOT_JUDGED]
    if not outcomes or Outcome.BROKEN in outcomes:
        return None
    return Fit(profile.name, len(outcomes), len(checks))
