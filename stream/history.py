"""The journal meter by meter, for restatements."""

from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from metering.registry import Meter
from storage.journal import Offset
from storage.slices import JournalSlice
from stream.kernels import records as r
from stream.records import Block

_FOREVER = 1 << 62
CHUNK_SEGMENTS = 64
CHUNKS = 64
"""Segments read for one meter are at hand for the next: 64 × 64 of them, some 80 MB of those that ingest writes under load (ours)."""


class _Chunk(NamedTuple):
    data: bytes
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    first: list[int]
    """Segment of the chunk → its first record."""


class JournalHistory:
    """Reads what the journal has of a meter before an offset."""

    def __init__(self, path: Path, end: Offset) -> None:
        self._journal = JournalSlice(path, end)
        self._chunk = lru_cache(CHUNKS)(self._read)
        self._wanted = ("", "", 0)
        self._found = Block.of(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.__exit__()

    def records(self, meter: Meter, after_ms: int) -> Block:
        """The births of a meter, and its frames with a reading after `after_ms`, in journal order."""
        wanted = (meter.gateway, meter.id, after_ms)
        if wanted != self._wanted:  # a meter's totals are computed again one after the other
            self._wanted, self._found = wanted, self._records(meter, after_ms)
        return self._found

    def _records(self, meter: Meter, after_ms: int) -> Block:
        places = self._journal.births(meter.gateway, meter.id)
        places += [
            frame.offset for frame in self._journal.between(meter.gateway, meter.id, after_ms + 1, _FOREVER)
        ]
        found: list[bytes] = []
        for number, some in groupby(sorted(places), lambda place: place.segment // CHUNK_SEGMENTS):
            chunk = self._chunk(number)
            for place in some:
                at = chunk.first[place.segment % CHUNK_SEGMENTS] + place.index
                found.append(chunk.data[chunk.begin[at] : chunk.end[at]])
        return Block.of_bodies([b"".join(found)])[0]

    def _read(self, number: int) -> _Chunk:
        segment = number * CHUNK_SEGMENTS
        bodies = self._journal.bodies(segment, segment + CHUNK_SEGMENTS - 1)
        block, counts = Block.of_bodies(bodies)
        missing = [0] if segment == 0 else []  # the first segment is number 1
        first = [*missing, *np.cumsum([0, *counts]).tolist()]
        return _Chunk(block.data, block.places[r.TOPIC] - r.HEAD_BYTES, block.places[r.END], first)
