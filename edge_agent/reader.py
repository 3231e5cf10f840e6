"""Reads one device: its blocks, and what is left of them once the device has refused some registers."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from edge_agent.breaker import Breaker
from edge_agent.buses.errors import ReadFailed, Refused
from edge_agent.buses.stations import Station
from edge_agent.lessons import Lesson, field_names
from edge_agent.plan import Block, block_of
from edge_agent.profile_model import Field

log = logging.getLogger("tanyun.edge")

_ILLEGAL_FUNCTION: Final = 1
_CERTAIN: Final = 3
"""Refusals in a row after which a register is believed to be missing: some meters refuse while they start."""
_ASK_AGAIN_S: Final = 3600.0
"""Between two more tries of a register that is believed to be missing."""
_PAUSE_S: Final = 60.0
"""Instead, when nothing was said to such a try: silence costs the others more than a refusal."""
_SILENT_BLOCKS: Final = 2
"""Blocks without an answer after which a device that has said nothing yet is left alone until the next poll."""


class BlockBus(Protocol):
    """What a reader needs of a bus."""

    async def read(self, unit: Station, block: Block, *, tries: int | None = None) -> list[int]:
        """The words of a block; raises ReadFailed."""
        ...


class Heard(NamedTuple):
    """A block's words, and when they came."""

    block: Block
    words: Sequence[int]
    t_ms: int


class _Sorted(NamedTuple):
    """A refused block after bisection: reads that answer, and registers that are refused each for itself."""

    heard: list[Heard]
    refused: list[tuple[Block, Refused]]


class _Refusals:
    """How often a register was refused in a row, and when to ask for it again."""

    def __init__(self, times: int = 1, next_s: float = float("-inf")) -> None:
        self.times, self.next_s = times, next_s

    def again(self, now_s: float) -> bool:
        """Count one more; True when it has just become certain."""
        self.times += 1
        if self.times >= _CERTAIN:
            self.next_s = now_s + _ASK_AGAIN_S
        return self.times == _CERTAIN


class Reader:
    """The reads of one device. It remembers which registers the device refuses; the device keeps that over a restart."""

    def __init__(self, meter: str, unit: Station, blocks: Sequence[Block]) -> None:
        self._meter, self._unit = meter, unit
        self._planned = tuple(blocks)
        self.blocks = list(blocks)
        self._refused: dict[Block, _Refusals] = {}
        """Reads of one register each that were refused."""
        self._breakers: dict[Block, Breaker] = {}
        self.lesson = Lesson()
        """What is certain, for those who keep it."""

    @property
    def refused(self) -> list[str]:
        """What is believed to be missing."""
        return field_names([block for block, known in self._refused.items() if known.times >= _CERTAIN])

    def recall(self, lesson: Lesson) -> None:
        """Start with what was learned before, if it fits; what was refused is asked for again in a minute, then every hour."""
        found = lesson.blocks(self._planned)
        if found is None or not lesson.refused:
            return
        self.blocks, refused = found
        next_s = time.monotonic() + _PAUSE_S
        self._refused = {block: _Refusals(_CERTAIN, next_s) for block in refused}
        self.lesson = lesson

    def forget(self) -> None:
        """Another meter hangs on the line: it may have what the one before lacked."""
        self.blocks, self.lesson = list(self._planned), Lesson()
        self._refused.clear()
        self._breakers.clear()

    async def read(
        self, bus: BlockBus, now_ms: Callable[[], int], *, probe: bool = False
    ) -> tuple[list[Heard], ReadFailed | None]:
        """What every block says, and the last error. A failing block costs the others nothing.

        Args:
            probe: One try, and nothing more until it has answered.
        """
        heard: list[Heard] = []
        sorted_out: dict[Block, _Sorted] = {}
        failure: ReadFailed | None = None
        silent = 0
        for block in self._due():
            begun = time.monotonic()
            tries = 1 if (probe or silent) and not heard else None
            try:
                heard += await self._block(bus, block, now_ms, sorted_out, tries)
            except ReadFailed as error:
                failure = error
                silent += error.silent
                self._breakers.setdefault(block, Breaker()).failed(time.monotonic() - begun, time.monotonic())
                if not error.reached or (not heard and (probe or silent >= _SILENT_BLOCKS)):
                    break
            else:
                self._breakers.pop(block, None)
        if heard:
            heard += await self._ask_again(bus, now_ms)
            self._remember(sorted_out)
        else:  # One that answers nothing at all is another matter than one that lacks a register.
            self._breakers.clear()
            failure = failure or next((r.refused[0][1] for r in sorted_out.values() if r.refused), None)
        return heard, failure

    def _due(self) -> list[Block]:
        now_s = time.monotonic()
        return [
            block
            for block in self.blocks
            if (breaker := self._breakers.get(block)) is None or breaker.allows(now_s)
        ]

    async def _block(
        self,
        bus: BlockBus,
        block: Block,
        now_ms: Callable[[], int],
        sorted_out: dict[Block, _Sorted],
        tries: int | None,
    ) -> list[Heard]:
        try:
            return [Heard(block, await bus.read(self._unit, block, tries=tries), now_ms())]
        except Refused as error:
            found = await self._bisect(bus, block, error, now_ms)
        sorted_out[block] = found
        return found.heard

    async def _bisect(
        self, bus: BlockBus, block: Block, error: Refused, now_ms: Callable[[], int]
    ) -> _Sorted:
        """Cut a refused block into the longest reads that answer, and single registers that do not."""
        found = _Sorted([], [])
        left = [field for field, _offset in block.fields]
        if error.code == _ILLEGAL_FUNCTION:
            found.refused.extend((block_of([field]), error) for field in left)
            return found
        refusal: Refused | None = error
        while left:
            if refusal is None:
                try:
                    found.heard.append(await self._part(bus, left, now_ms))
                    break
                except Refused as said:
                    refusal = said
            best, refusal = await self._longest(bus, left, refusal, now_ms)
            if best is None:
                found.refused.append((block_of(left[:1]), refusal))
                left = left[1:]
            else:
                found.heard.append(best)
                left = left[len(best.block.fields) :]
            refusal = None
        return found

    async def _longest(
        self, bus: BlockBus, left: Sequence[Field], refusal: Refused, now_ms: Callable[[], int]
    ) -> tuple[Heard | None, Refused]:
        """The longest read from the first register on that answers, of registers refused together; the last refusal."""
        best, good, bad = None, 0, len(left)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                best, good = await self._part(bus, left[:middle], now_ms), middle
            except Refused as said:
                bad, refusal = middle, said
        return best, refusal

    async def _part(self, bus: BlockBus, fields: Sequence[Field], now_ms: Callable[[], int]) -> Heard:
        block = block_of(fields)
        return Heard(block, await bus.read(self._unit, block), now_ms())

    def _remember(self, sorted_out: dict[Block, _Sorted]) -> None:
        for block, found in sorted_out.items():
            at = self.blocks.index(block)
            self.blocks[at : at + 1] = [heard.block for heard in found.heard]
            self._refused.update({refused: _Refusals() for refused, _error in found.refused})

    async def _ask_again(self, bus: BlockBus, now_ms: Callable[[], int]) -> list[Heard]:
        heard = []
        now_s = time.monotonic()
        for block, refusals in list(self._refused.items()):
            if now_s < refusals.next_s:
                continue
            try:
                heard.append(Heard(block, await bus.read(self._unit, block, tries=1), now_ms()))
            except Refused as error:
                if refusals.again(now_s):
                    self._log("register_refused", block, f"error={error}")
                    self.lesson = Lesson.of(self.blocks, list(self._refused))
            except ReadFailed:
                refusals.next_s = now_s + _PAUSE_S
            else:
                self._answers_again(block, refusals)
        return heard

    def _answers_again(self, block: Block, refusals: _Refusals) -> None:
        del self._refused[block]
        self.blocks = [*self.blocks, block] if self._refused else list(self._planned)
        if refusals.times >= _CERTAIN:
            self._log("register_answers", block)
            self.lesson = Lesson.of(self.blocks, list(self._refused))

    def _log(self, event: str, block: Block, more: str = "") -> None:
        text = "%s meter=%s reading_type=%s fc=%d addr=%d count=%d %s"
        name = block.fields[0][0].name
        log.warning(text, event, self._meter, name, block.fc, block.addr, block.count, more)
