"""The source of a recomputation: a closed range of the journal."""

from storage.journal import JournalReader, Offset
from stream.records import Block
from stream.sources.tail import BATCH_SEGMENTS, Tail


class Replay:
    """Reads on from a cursor to `end` (exclusive), which never moves, however far the journal has grown."""

    def __init__(
        self, journal: JournalReader, end: Offset, limit: int = BATCH_SEGMENTS, times: int = 1
    ) -> None:
        self._tail, self._end = Tail(journal, limit, times), end

    def read(self, cursor: Offset) -> tuple[Block, Offset]:
        """The records from `cursor` on and the cursor after them; no records at the end."""
        if cursor >= self._end:
            return Block.of(()), cursor
        block, after = self._tail.read_until(cursor, self._end)
        return block, min(after, self._end)
