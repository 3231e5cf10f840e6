"""Journal entries made of a few numbers. Imports no test library: a process that is killed in a test starts fast."""

from storage.journal import BirthIndex, Entry, FrameIndex, Quarantined
from storage.segment import Record

NOW_MS = 1_790_000_000_000


def index(number: int, meter: str = "m", t_ms: int | None = None, epoch: int = 1) -> FrameIndex:
    """Where frame `number` of gateway g belongs; its readings are as old as its number."""
    return FrameIndex(
        "g", meter, epoch, number, NOW_MS + number if t_ms is None else t_ms, number.to_bytes(16, "big")
    )


def frame(number: int, meter: str = "m", t_ms: int | None = None, epoch: int = 1) -> Entry:
    """A frame of gateway g that says its epoch and number."""
    record = Record(f"spBv1.0/p/DDATA/g/{meter}", f"{epoch}:{number}".encode(), NOW_MS)
    return Entry(record, index(number, meter, t_ms, epoch))


def birth(meter: str = "m", epoch: int = 1, said: bytes = b"birth") -> Entry:
    """A birth of gateway g."""
    return Entry(Record(f"spBv1.0/p/DBIRTH/g/{meter}", said, NOW_MS), BirthIndex("g", meter, epoch))


def refused(number: int, payload: bytes = b"\xff") -> Quarantined:
    """A refused message that is frame `number` of gateway g."""
    return Quarantined(
        Record("t", payload, NOW_MS + number), "g", "malformed", f"detail {number}", index(number)
    )
