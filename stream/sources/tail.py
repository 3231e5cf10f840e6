"""The embedded source: the tail of the local journal."""

from storage.journal import JournalReader, Offset
from stream.records import Block, Topics
from stream.sources.source import FULL_BYTES

BATCH_SEGMENTS = 4096
BATCH_BYTES = FULL_BYTES


class Tail:
    """Reads on from a cursor, whole segments at a time, at most `limit` and about `BATCH_BYTES` per call."""

    def __init__(self, journal: JournalReader, limit: int = BATCH_SEGMENTS, times: int = 1) -> None:
        """`times` as much at once for who takes only a part of it."""
        self._journal, self._limit, self._times = journal, limit * times, times
        self._topics = Topics()

    def read(self, cursor: Offset) -> tuple[Block, Offset]:
        """The records from `cursor` on and the cursor after them; no records when the journal ends there."""
        return self.read_until(cursor, None)

    def read_until(self, cursor: Offset, end: Offset | None) -> tuple[Block, Offset]:
        """The same, and nothing from `end` on."""
        found = self._journal.bodies(cursor.segment, self._limit, BATCH_BYTES * self._times)
        found = [(segment, body) for segment, body in found if end is None or Offset(segment, 0) < end]
        block, counts = Block.of_bodies([body for _, body in found], self._topics)
        if not found:
            return block, cursor
        after, stop = Offset(found[-1][0] + 1, 0), len(block)
        if end is not None and end < after:
            after, stop = end, stop - counts[-1] + min(end.index, counts[-1])
        start = cursor.index if found[0][0] == cursor.segment else 0
        return block[start:stop], after

    def backlog(self, cursor: Offset) -> int:
        """Segments not read yet."""
        return max(0, self._journal.last_segment() + 1 - cursor.segment)
