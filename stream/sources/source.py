"""Where the loop reads from."""

from typing import Protocol

from storage.journal import Offset
from storage.segment import Record


class Source(Protocol):
    """Records in journal order, from a cursor on."""

    def read(self, cursor: Offset) -> tuple[list[Record], Offset]:
        """The next records and the cursor after them; no records where the source ends now."""
        ...
