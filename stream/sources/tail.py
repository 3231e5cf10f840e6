"""The embedded source: the tail of the local journal."""

from storage.journal import JournalReader, Offset
from storage.segment import Record


class Tail:
    """Reads on from a cursor, whole segments at a time, at most `limit` per call."""

    def __init__(self, journal: JournalReader, limit: int = 256) -> None:
        self._journal, self._limit = journal, limit

    def read(self, cursor: Offset) -> tuple[list[Record], Offset]:
        """The records from `cursor` on and the cursor after them; no records when the journal ends there."""
        records: list[Record] = []
        for segment, body in self.segments(cursor):
            records += body[cursor.index :] if segment == cursor.segment else body
            cursor = Offset(segment + 1, 0)
        return records, cursor

    def segments(self, cursor: Offset) -> list[tuple[int, list[Record]]]:
        """Whole segments from the cursor's on."""
        return self._journal.segments(cursor, self._limit)

    def backlog(self, cursor: Offset) -> int:
        """Segments not read yet."""
        return max(0, self._journal.last_segment() + 1 - cursor.segment)
