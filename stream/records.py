"""Records by the block: the bytes of whole segments as they are stored, and where each record lies in them."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

from metering.topics import Topic, parse_topic
from storage.errors import CorruptError
from storage.segment import Record, packed, unpack_all
from stream.kernels import decode as d
from stream.kernels import records as r

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@lru_cache(maxsize=1 << 16)
def _parsed(topic: bytes) -> Topic | None:
    """The same topics come again and again."""
    return parse_topic(topic.decode())


class Block(Sequence[Record]):
    """Records in journal order. One of its own is made only when it is asked for: making all takes longer than the step."""

    def __init__(self, data: bytes, buf: U8, places: I64, topics: list[Topic | None]) -> None:
        self.data, self.buf, self.places = data, buf, places
        self.topics = topics
        """By the number that `places[CODE]` has."""

    @classmethod
    def of_bodies(cls, bodies: Sequence[bytes]) -> tuple["Block", list[int]]:
        """(the records of segment bodies, how many each has); CorruptError when one does not add up."""
        data = b"".join([*bodies, bytes(d.PADDING)])
        buf = np.frombuffer(data, np.uint8)
        ends = np.cumsum([len(body) for body in bodies], dtype=np.int64)
        counts = np.zeros(len(bodies), np.int64)
        places = np.empty((r.PLACES, len(data) // r.HEAD_BYTES), np.int64)
        found = r.split(buf, ends, counts, places)
        if found < 0:
            unpack_all(bodies[-1 - found])  # tells what is wrong
            msg = "a segment body does not add up"
            raise CorruptError(msg)
        places = np.ascontiguousarray(places[:, :found])
        return cls(data, buf, places, _topics(data, buf, places)), counts.tolist()

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Block":
        """Records that were made one by one, as a block; a block as it is."""
        return records if isinstance(records, Block) else cls.of_bodies([b"".join(packed(records))])[0]

    def taken(self, which: NDArray[np.bool_]) -> "Block":
        """Some of its records. A table in which rows are contiguous, for which kernels are compiled: `places[:, which]` is none."""
        if which.all():
            return self
        return Block(self.data, self.buf, self.places.take(np.flatnonzero(which), axis=1), self.topics)

    def __len__(self) -> int:
        return int(self.places.shape[1])

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> "Block": ...
    def __getitem__(self, at: int | slice) -> "Record | Block":
        if isinstance(at, slice):
            return Block(self.data, self.buf, self.places[:, at], self.topics)
        received_ms, topic, payload, end, _code = self.places[:, at].tolist()
        return Record(self.data[topic:payload].decode(), self.data[payload:end], received_ms)


def _topics(data: bytes, buf: U8, places: I64) -> list[Topic | None]:
    """Number the topics in `places`; by number, what each says."""
    size = 1 << (2 * places.shape[1]).bit_length()
    firsts = np.empty(places.shape[1], np.int64)
    known = r.number_topics(buf, places, np.full(size, -1, np.int64), firsts)
    starts, ends = places[r.TOPIC : r.PAYLOAD + 1, firsts[:known]].tolist()
    try:
        return [_parsed(data[start:end]) for start, end in zip(starts, ends, strict=True)]
    except UnicodeDecodeError as error:
        msg = "a topic in the journal is not UTF-8"
        raise CorruptError(msg) from error
