"""The journal meter by meter, for restatements."""

from pathlib import Path
from typing import Self

from metering.registry import Meter
from storage.journal import Offset
from storage.segment import Record
from storage.slices import JournalSlice

_FOREVER = 1 << 62


class JournalHistory:
    """Reads what the journal has of a meter before an offset. Segments read for one meter are at hand for the next."""

    def __init__(self, path: Path, end: Offset) -> None:
        self._journal = JournalSlice(path, end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.__exit__()

    def records(self, meter: Meter, after_ms: int) -> list[Record]:
        """The births of a meter, and its frames with a reading after `after_ms`, in journal order."""
        places = self._journal.births(meter.gateway, meter.id)
        frames = self._journal.between(meter.gateway, meter.id, after_ms + 1, _FOREVER)
        places += [frame.offset for frame in frames]
        return [self._journal.unpacked(place.segment)[place.index] for place in sorted(places)]
