"""The source of workers when one process reads the journal for all of them, into memory that they share.

A chunk of whole segments goes into a slot, with the places of the records in it. Every worker is told, takes in what it needs,
and gives the slot back; the reader fills it again once everybody has.
"""

import mmap
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle
from typing import IO, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.errors import CorruptError
from storage.journal import JournalReader, Offset
from storage.segment import unpack_all
from stream.kernels import decode as d
from stream.kernels import records as r
from stream.messages import put, take
from stream.records import Block, Topics

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
CHUNK_BYTES = 8 << 20
"""As a chunk has (ours): what is done once per chunk and topic does not count, and processor caches hold a part of it."""
DATA_BYTES = 64 << 20
"""A chunk has no more."""
SLOT_BYTES = DATA_BYTES + DATA_BYTES // r.HEAD_BYTES * r.PLACES * 8
"""With the places of as many records as that may be. Only what is used of it takes memory: a chunk, and its last segment."""
SLOTS = 4
MEMORY_BYTES = SLOTS * SLOT_BYTES


class Chunk(msgspec.Struct):
    """What a worker is told: how many records are in a slot; no slot when there are no more."""

    slot: int
    records: int
    after: Offset
    """Of the journal, everything before it is in this chunk or one before."""
    topics: list[bytes]
    """New ones; they get the next numbers."""


class Range(NamedTuple):
    """What the reader reads: `[begin, end)`; no chunk goes beyond a segment in `stops`, where workers may begin."""

    begin: Offset
    end: Offset
    stops: frozenset[int]
    chunk_bytes: int
    """A chunk is full with so much."""


class Handed:
    """The worker's side: all records, chunk after chunk."""

    def __init__(self, memory: mmap.mmap, told: IO[bytes], done: IO[bytes]) -> None:
        """`done` takes the numbers of slots that are not needed any more."""
        self._memory, self._told, self._done = memory, told, done
        self._buf = np.frombuffer(memory, np.uint8)
        self._buf.flags.writeable = False  # as bytes are, for which the kernels are compiled
        self._slot: int | None = None
        self._topics = Topics()

    def read(self, cursor: Offset) -> tuple[Block, Offset]:
        """The next records behind a cursor. What was given before is not valid any more."""
        while True:
            if self._slot is not None:
                self._done.write(bytes([self._slot]))
                self._done.flush()
            chunk = msgspec.msgpack.decode(take(self._told), type=Chunk)
            self._slot = chunk.slot
            if chunk.slot < 0:
                self._slot = None
                return Block.of(()), cursor
            _learn(self._topics, chunk.topics)
            if chunk.records and chunk.after > cursor:
                data = cast("bytes", self._memory)  # a slice of it is bytes
                places = _places(self._memory, chunk.slot, chunk.records)
                return Block(data, self._buf, places, self._topics), chunk.after
            cursor = max(cursor, chunk.after)


def _places(memory: mmap.mmap, slot: int, records: int) -> I64:
    """The table of places in a slot: (`PLACES`, records), in bytes of the whole memory."""
    first = slot * SLOT_BYTES + DATA_BYTES
    return np.frombuffer(memory, np.int64, r.PLACES * records, first).reshape(r.PLACES, records)


def _learn(topics: Topics, names: list[bytes]) -> None:
    """Number topics that are new, in their order."""
    ends = np.cumsum([len(name) for name in names], dtype=np.int64)
    places = np.zeros((r.PLACES, len(names)), np.int64)
    places[r.TOPIC, 1:], places[r.PAYLOAD] = ends[:-1], ends
    topics.number(np.frombuffer(b"".join([*names, bytes(d.PADDING)]), np.uint8), places)


class Reader:
    """The reader's side: fills slots and tells every worker."""

    def __init__(
        self, journal: JournalReader, memory: mmap.mmap, workers: Sequence[IO[bytes]], done: IO[bytes]
    ) -> None:
        self._journal, self._memory, self._workers, self._done = journal, memory, workers, done
        self._topics = Topics()
        self._in_use = [0] * SLOTS
        """Slot → workers that still need it."""

    def serve(self, span: Range) -> None:
        """Read a range to its end."""
        cursor = span.begin
        for slot in cycle(range(SLOTS)):
            while self._in_use[slot]:
                self._in_use[self._next_done()] -= 1
            chunk = self._fill(slot, cursor, span)
            if chunk is None:
                break
            cursor, self._in_use[slot] = chunk.after, len(self._workers)
            self._tell(chunk)
        self._tell(Chunk(-1, 0, cursor, []))
        while any(self._in_use):
            self._in_use[self._next_done()] -= 1

    def _tell(self, chunk: Chunk) -> None:
        for pipe in self._workers:
            put(pipe, msgspec.msgpack.encode(chunk))

    def _next_done(self) -> int:
        told = self._done.read(1)
        if not told:
            msg = "all workers left"
            raise EOFError(msg)
        return told[0]

    def _fill(self, slot: int, cursor: Offset, span: Range) -> Chunk | None:
        """The segments from a cursor on; None at the end."""
        first, at, ends = slot * SLOT_BYTES, 0, list[int]()
        with closing(self._journal.each_body(cursor.segment)) as bodies:
            for segment, body in bodies:
                full = at >= span.chunk_bytes or (ends and segment in span.stops)
                if full or Offset(segment, 0) >= span.end or _beyond(at + len(body), segment, at):
                    break
                self._memory[first + at : first + at + len(body)] = body
                at += len(body)
                ends.append(at)
        if not ends:
            return None
        after = Offset(cursor.segment + len(ends), 0)
        counts = np.zeros(len(ends), np.int64)
        buf = np.frombuffer(self._memory, np.uint8, at + d.PADDING, first)
        rows = _split(buf, np.array(ends, np.int64), counts)
        if span.end < after:
            after, left = span.end, int(counts[-1]) - min(span.end.index, int(counts[-1]))
            rows = rows[: len(rows) - left]
        places = _places(self._memory, slot, len(rows))
        places[:] = rows.T
        topics = self._numbered(buf, places)
        for row in (r.TOPIC, r.PAYLOAD, r.END):
            places[row] += first
        return Chunk(slot, len(rows), after, topics)

    def _numbered(self, buf: U8, places: I64) -> list[bytes]:
        """Number the topics in `places`; those that are new."""
        known = len(self._topics)
        self._topics.number(buf, places)
        if len(self._topics) == known:
            return []
        new = np.flatnonzero(places[r.CODE] >= known)
        firsts = new[np.unique(places[r.CODE, new], return_index=True)[1]]
        starts, ends = places[r.TOPIC : r.PAYLOAD + 1, firsts].tolist()
        return [buf[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]


def _beyond(size: int, segment: int, before: int) -> bool:
    """Whether a slot has no room for so much; CorruptError when it would not hold the segment alone."""
    if size <= DATA_BYTES - d.PADDING:
        return False
    if not before:
        msg = f"journal segment {segment} has {size} bytes, more than a rebuild takes at once"
        raise CorruptError(msg)
    return True


def _split(buf: U8, ends: I64, counts: I64) -> I64:
    """A row for each record of the bodies that end at `ends`; `counts` are their numbers."""
    buf.flags.writeable = False
    rows = np.empty((buf.size // r.HEAD_BYTES, r.PLACES), np.int64)
    found = r.split(buf, ends, counts, rows)
    if found < 0:
        at = -1 - found
        unpack_all(buf[ends[at - 1] if at else 0 : ends[at]].tobytes())  # tells what is wrong
        msg = "a segment body does not add up"
        raise CorruptError(msg)
    return rows[:found]
