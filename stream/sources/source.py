"""Where the loop reads from."""

from collections.abc import Iterator
from typing import Protocol

from storage.journal import Offset
from stream.records import Block

FULL_BYTES = 4 << 20
"""What a source gives at once where there is more: some 40,000 frames of 20 readings (ours). It bounds the memory of decoding:
the readings of a batch take about six times its bytes."""
AT_ONCE = 8
"""Full batches whose totals are accounted and committed together, so that a stream that catches up with a park of 1,000 meters
does not write the newest readings of all of them after every ten polls (ours)."""


class Source(Protocol):
    """Records in journal order, from a cursor on."""

    def read(self, cursor: Offset) -> tuple[Block, Offset]:
        """The next records and the cursor after them; no records where the source ends now."""
        ...


class Reach:
    """Batch after batch while they are full, and how far that went."""

    def __init__(self, source: Source, cursor: Offset) -> None:
        self._source = source
        self.cursor, self.count = cursor, 0
        self.ended = False
        """Whether the source had no more for now."""

    def batches(self) -> Iterator[Block]:
        """At least one, though it may be empty."""
        for _ in range(AT_ONCE):
            block, self.cursor = self._source.read(self.cursor)
            self.count += len(block)
            yield block
            if len(block.data) < FULL_BYTES:
                self.ended = True
                return
