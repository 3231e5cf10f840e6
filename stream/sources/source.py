"""Where the loop reads from."""

from typing import Protocol

from storage.journal import Offset
from stream.records import Block


class Source(Protocol):
    """Records in journal order, from a cursor on."""

    def read(self, cursor: Offset) -> tuple[Block, Offset]:
        """The next records and the cursor after them; no records where the source ends now."""
        ...
