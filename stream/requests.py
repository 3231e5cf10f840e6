"""Requests to restate, as files beside the ledger: whoever runs the stream carries them out and leaves the answer there."""

import os
import time
from pathlib import Path
from uuid import uuid4

import msgspec

from storage.ledger import IntervalRow


class Request(msgspec.Struct, frozen=True):
    """Compute totals again from a moment on."""

    from_ms: int
    reason: str
    meter: str | None = None
    """None: all."""


class Difference(msgspec.Struct, frozen=True):
    """One interval that a restatement changed."""

    meter: str
    reading_type: str
    start_ms: int
    revision: int
    energy_before: int | None
    """Base units; None: there was no such interval."""
    energy_after: int
    emission_before_ug: int | None
    emission_after_ug: int | None
    factor_before: str | None
    factor_after: str | None


class Answer(msgspec.Struct, frozen=True):
    """What came of a request."""

    totals: int
    """Computed again."""
    differences: list[Difference]
    error: str | None = None


def difference(old: IntervalRow | None, new: IntervalRow) -> Difference:
    """Two revisions of an interval side by side."""
    return Difference(
        new.meter, new.reading_type, new.start_ms, new.revision,
        None if old is None else old.energy, new.energy,
        None if old is None else old.emission_ug, new.emission_ug,
        None if old is None else old.factor_id, new.factor_id,
    )  # fmt: skip


class Requests:
    """The folder of requests and answers."""

    def __init__(self, ledger: Path) -> None:
        self.folder = ledger.with_name(f"{ledger.name}.requests")

    def put(self, request: Request) -> str:
        """Leave a request; its id."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns()}-{uuid4().hex[:8]}"
        self._write(f"{name}.request", msgspec.json.encode(request))
        return name

    def waiting(self) -> list[tuple[str, Request]]:
        """Requests without an answer, oldest first. A file that is none is answered as such."""
        found = []
        for path in sorted(self.folder.glob("*.request")) if self.folder.is_dir() else ():
            try:
                found.append((path.stem, msgspec.json.decode(path.read_bytes(), type=Request)))
            except msgspec.DecodeError as error:
                self.answer(path.stem, Answer(0, [], f"{path}: not a request ({error})"))
        return found

    def answer(self, name: str, answer: Answer) -> None:
        """Leave the answer, then take the request away: a crash between the two only answers twice."""
        self._write(f"{name}.answer", msgspec.json.encode(answer))
        (self.folder / f"{name}.request").unlink(missing_ok=True)

    def take(self, name: str) -> Answer | None:
        """The answer, once; None while there is none."""
        path = self.folder / f"{name}.answer"
        if not path.exists():
            return None
        answer = msgspec.json.decode(path.read_bytes(), type=Answer)
        path.unlink()
        return answer

    def _write(self, name: str, data: bytes) -> None:
        part = self.folder / f".{name}.part"
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / name)
