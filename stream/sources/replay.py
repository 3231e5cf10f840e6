"""The source of a recomputation: a closed range of the journal."""

from storage.journal import JournalReader, Offset
from storage.segment import Record
from stream.sources.tail import Tail


class Replay:
    """Reads on from a cursor to `end` (exclusive), which never moves, however far the journal has grown."""

    def __init__(self, journal: JournalReader, end: Offset, limit: int = 256) -> None:
        self._tail, self._end, self._limit = Tail(journal, limit), end, limit

    def read(self, cursor: Offset) -> tuple[list[Record], Offset]:
        """The records from `cursor` on and the cursor after them; no records at the end."""
        if cursor >= self._end:
            return [], cursor
        records: list[Record] = []
        for segment, body in self._tail.segments(cursor):
            if Offset(segment, 0) >= self._end:
                break
            last = self._end.index if segment == self._end.segment else len(body)
            records += body[cursor.index if segment == cursor.segment else 0 : last]
            cursor = min(Offset(segment + 1, 0), self._end)
        return records, cursor
