"""Records by the block: the bytes of whole segments as they are stored, and where each record lies in them."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from metering.topics import MessageType, Topic, parse_topic
from storage.errors import CorruptError
from storage.segment import Record, packed, unpack_all
from stream.kernels import decode as d
from stream.kernels import records as r

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


OTHER, DATA, BIRTH = range(3)
"""What a message is to the step."""
_KINDS = {MessageType.DDATA: DATA, MessageType.DBIRTH: BIRTH, MessageType.NBIRTH: BIRTH}
_TEXT = 4096
"""Bytes of topics that there is room for at first."""


@lru_cache(maxsize=1 << 16)
def _parsed(topic: bytes) -> Topic | None:
    """The same topics come again and again."""
    return parse_topic(topic.decode())


class Topics(Sequence[Topic | None]):
    """Topics by number, in the order in which they first came. A source keeps them, so what one says is worked out once."""

    def __init__(self, room: int = 32, text: int = _TEXT) -> None:
        self._said: list[Topic | None] = []
        self.kinds: I64 = np.zeros(0, np.int64)
        """By number: `DATA`, `BIRTH` or `OTHER`."""
        self._text, self._ends = np.zeros(text, np.uint8), np.zeros(room + 1, np.int64)
        self._slots, self._after = np.full(2 * room, -1, np.int64), np.zeros(room, np.int64)

    def number(self, buf: U8, places: I64) -> None:
        """Fill in the numbers of the records' topics."""
        at = 0
        while at < places.shape[1]:
            tables = self._text, self._ends, self._slots, self._after
            at, known = r.number_topics(buf, places, at, *tables, len(self._said))
            if known > len(self._said):
                self._learn(known)
            if at < places.shape[1]:
                self._make_room(int(places[r.PAYLOAD, at] - places[r.TOPIC, at]))

    def _learn(self, known: int) -> None:
        edges = self._ends[len(self._said) : known + 1].tolist()
        try:
            self._said += [_parsed(self._text[start:end].tobytes()) for start, end in pairwise(edges)]
        except UnicodeDecodeError as error:
            self._make_room(0)  # without what was not learnt
            msg = "a topic in the journal is not UTF-8"
            raise CorruptError(msg) from error
        new = self._said[len(self.kinds) :]
        kinds = [OTHER if topic is None else _KINDS.get(topic.type, OTHER) for topic in new]
        self.kinds = np.concatenate([self.kinds, np.array(kinds, np.int64)])

    def _make_room(self, size: int) -> None:
        """For twice as many topics, one of them of so many bytes."""
        known = len(self._said)
        larger = Topics(self._slots.size, 2 * self._text.size + size)
        places = np.zeros((r.PLACES, known), np.int64)
        places[r.TOPIC], places[r.PAYLOAD] = self._ends[:known], self._ends[1 : known + 1]
        tables = larger._text, larger._ends, larger._slots, larger._after
        text = self._text.view()
        text.flags.writeable = False  # as a buffer of records is: the kernel is compiled for no other
        r.number_topics(text, places, 0, *tables, 0)
        self._text, self._ends, self._slots, self._after = tables

    def __len__(self) -> int:
        return len(self._said)

    @overload
    def __getitem__(self, at: int) -> Topic | None: ...
    @overload
    def __getitem__(self, at: slice) -> list[Topic | None]: ...
    def __getitem__(self, at: int | slice) -> Topic | list[Topic | None] | None:
        return self._said[at]


class ByTopic:
    """A number that follows from a topic, worked out once for each."""

    def __init__(self, of: Callable[[Topic | None], int]) -> None:
        self._of = of
        self._topics: Topics | None = None
        self._found: I64 = np.zeros(0, np.int64)

    def __call__(self, topics: Topics) -> I64:
        """By the topic's number."""
        if topics is not self._topics:
            self._topics, self._found = topics, np.zeros(0, np.int64)
        new = topics[len(self._found) :]
        if new:
            self._found = np.concatenate([self._found, np.array([*map(self._of, new)], np.int64)])
        return self._found


class Block(Sequence[Record]):
    """Records in journal order. One of its own is made only when it is asked for: making all takes longer than the step."""

    def __init__(self, data: bytes, buf: U8, places: I64, topics: Topics) -> None:
        self.data, self.buf, self.places = data, buf, places
        self.topics = topics
        """By the number that `places[CODE]` has."""

    @classmethod
    def of_bodies(cls, bodies: Sequence[bytes], topics: Topics | None = None) -> tuple["Block", list[int]]:
        """(the records of segment bodies, how many each has); CorruptError when one does not add up. `topics` are its source's."""
        data = b"".join([*bodies, bytes(d.PADDING)])
        buf = np.frombuffer(data, np.uint8)
        ends = np.cumsum([len(body) for body in bodies], dtype=np.int64)
        counts = np.zeros(len(bodies), np.int64)
        rows = np.empty((len(data) // r.HEAD_BYTES, r.PLACES), np.int64)
        found = r.split(buf, ends, counts, rows)
        if found < 0:
            unpack_all(bodies[-1 - found])  # tells what is wrong
            msg = "a segment body does not add up"
            raise CorruptError(msg)
        places = np.ascontiguousarray(rows[:found].T)
        topics = Topics() if topics is None else topics
        topics.number(buf, places)
        return cls(data, buf, places, topics), counts.tolist()

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
