"""One process judges and writes at a time: ingest, or an import. The lock ends with its process, however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import StoreError


@contextmanager
def sole_writer(journal: Path) -> Iterator[None]:
    """Hold the journal's lock; StoreError when another process has it."""
    path = journal.with_name(f"{journal.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"{journal}: another process writes it; stop ingest for the import (gateways wait), or let the other import end"
            raise StoreError(msg) from error
        yield
