"""The journal meter by meter, for restatements."""

from pathlib import Path

from metering.registry import Meter
from storage.journal import Offset
from storage.segment import Record, unpack_all
from storage.slices import JournalSlice

_FOREVER = 1 << 62


class JournalHistory:
    """Reads what the journal has of a meter before an offset."""

    def __init__(self, path: Path, end: Offset) -> None:
        self._path, self._end = path, end

    def records(self, meter: Meter, after_ms: int) -> list[Record]:
        """The births of a meter, and its frames with a reading after `after_ms`, in journal order."""
        with JournalSlice(self._path, self._end) as journal:
            places = journal.births(meter.gateway, meter.id)
            frames = journal.between(meter.gateway, meter.id, after_ms + 1, _FOREVER)
            places += [frame.offset for frame in frames]
            return [
                record
                for place in sorted(places)
                for record in unpack_all(journal.records(place.segment)[place.index])
            ]
