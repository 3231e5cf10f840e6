"""From records to columns: one compiled pass over the payloads, then the meaning of each alias."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, chain
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.protobuf_wire import DecodeError
from metering.registry import Park
from metering.sparkplug import FLOATS, SIGNED_BITS, UNSIGNED_BITS, DataType, Value, decode
from metering.topics import MessageType, Topic
from storage.segment import Record
from stream.binding import Binding, bind, int64_bits, name_alias
from stream.kernels import decode as d
from stream.kernels import meaning as m
from stream.kernels import records as r
from stream.records import BIRTH, OTHER, Block, ByTopic

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
B = NDArray[np.bool_]
NO_NUMBERS, NO_ROWS = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
WIDTHS = np.full(256, m.NO_NUMBER, np.int64)
"""Data type → how a value is read (`stream.kernels.meaning.NO_NUMBER`)."""
for _datatype in DataType:
    WIDTHS[_datatype] = (
        0 if _datatype in FLOATS
        else -SIGNED_BITS[_datatype] if _datatype in SIGNED_BITS
        else UNSIGNED_BITS.get(_datatype, m.NO_NUMBER)
    )  # fmt: skip


class _Same:
    """A park as a key: the very same one. Its contents would take longer to hash than a birth to bind."""

    def __init__(self, park: Park) -> None:
        self.park = park

    def __hash__(self) -> int:
        return id(self.park)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.park is self.park


@lru_cache(maxsize=1024)
def _bound(key: _Same, gateway: str, meter: str, payload: bytes) -> dict[int, Binding]:
    """What a birth declares. A restatement asks for the same ones again, for every total."""
    return bind(key.park, gateway, meter, decode(payload))


class Data(NamedTuple):
    """Data messages in journal order, between two births."""

    block: Block

    @property
    def room(self) -> int:
        """No more readings are in them."""
        places = self.block.places
        return int((places[r.END] - places[r.PAYLOAD]).sum()) // _READING_BYTES + 1


_READING_BYTES = 6
"""No reading takes less: its metric's key and length, alias and value, each a key and a byte at least."""


class Birth(msgspec.Struct):
    """A birth: from here on the gateway's aliases mean what it says."""

    topic: Topic
    payload: bytes


class Table(NamedTuple):
    """Bindings, and what the kernels and the step have to know of each."""

    bindings: list[Binding]
    keys: list[tuple[str, str]]
    """Meter and reading type."""
    alias: I64
    width: I64
    """How a value is read (`stream.kernels.meaning.NO_NUMBER`)."""
    counted: NDArray[np.bool_]
    """Whether it makes up a total of the ledger."""
    is_float: NDArray[np.bool_]
    counts_per_raw: F64
    own_side: NDArray[np.bool_]
    """Whether the registry's ratio at a reading's time is still to come in."""
    per_raw: F64
    """Base units per raw unit."""

    @classmethod
    def of(cls, known: Mapping[int, Binding]) -> "Table":
        """From alias → binding, the aliases ascending."""
        alias = sorted(known)
        found = [known[a] for a in alias]
        datatype = np.array([b.datatype for b in found], np.int64)
        return cls(
            found, [(b.meter, b.reading_type) for b in found], np.array(alias, np.int64), WIDTHS[datatype],
            np.array([b.total is not None for b in found], np.bool_),
            np.isin(datatype, list(FLOATS)), np.array([b.counts_per_raw for b in found], np.float64),
            np.array([b.kind == "total" for b in found], np.bool_),
            np.array([b.num / b.den * b.multiplier for b in found], np.float64),
        )  # fmt: skip

    @classmethod
    def joined(cls, tables: Sequence["Table"]) -> "Table":
        """One after the other."""
        columns: list[Any]
        bindings, keys, *columns = zip(*tables, strict=True)
        joined: Any = map(np.concatenate, columns)
        return cls(list(chain(*bindings)), list(chain(*keys)), *joined)

    def bound(self, register: I64, first: I64) -> I64:
        """As the kernels search them, given the register and the first term of each (`stream.kernels.meaning`)."""
        return np.column_stack([self.alias, self.width, ~self.own_side, register, first])

    def taken(self, places: I64) -> "Table":
        """Some of them."""
        bindings, keys, *columns = self
        at = places.tolist()
        moved: Any = [column[places] for column in columns]
        return Table([bindings[i] for i in at], [keys[i] for i in at], *moved)


class Declared(dict[int, Binding]):
    """What a gateway's births declare."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[str, list[int]] = {}

    def declare(self, meter: str, bindings: Mapping[int, Binding]) -> None:
        """A meter's newest birth, in place of its older ones."""
        for alias in self._of.get(meter, ()):
            if alias in self and self[alias].meter == meter:
                del self[alias]
        self.update(bindings)
        self._of[meter] = list(bindings)
        self.__dict__.pop("table", None)

    @cached_property
    def table(self) -> Table:
        """As the kernels search it, made but once between two births."""
        return Table.of(self)


class Joined(NamedTuple):
    """The bindings of all gateways, one gateway after the other."""

    table: Table
    gateway: ByTopic
    """The number of a topic's gateway."""
    guess: ByTopic
    """The binding with which a topic's last frame began."""
    first: I64
    """Of a gateway by number: its first binding. One more number, of those that are not known, has none."""
    unheard: I64
    """The bindings as the kernels search them, where nothing is remembered of readings."""


class Aliases(dict[str, Declared]):
    """Gateway → what its births declare."""

    def declare(self, gateway: str, meter: str, bindings: Mapping[int, Binding]) -> None:
        """A meter's newest birth."""
        self.setdefault(gateway, Declared()).declare(meter, bindings)
        self.__dict__.pop("joined", None)

    @cached_property
    def joined(self) -> Joined:
        """As the kernels search it, made but once between two births: a batch takes the same time whatever else is in the park."""
        tables = [declared.table for declared in self.values()]
        ends = [0, *accumulate(len(table.alias) for table in tables)]
        table = Table.joined(tables) if tables else Table.of({})
        number = {name: i for i, name in enumerate(self)}
        of_topic = ByTopic(lambda topic: number.get("" if topic is None else topic.gateway, len(number)))
        nothing = np.full(len(table.keys), -1, np.int64)
        return Joined(
            table,
            of_topic,
            ByTopic(lambda _topic: 0),
            np.array([*ends, ends[-1]], np.int64),
            table.bound(nothing, nothing),
        )


class Readings(NamedTuple):
    """Columns of readings with a known meaning, in frame order."""

    table: Table
    """Bindings; `which` points into it."""
    which: I64
    t: I64
    raw: I64
    """Integer raw values (0 for floats)."""
    real: F64
    """Float raw values (the integer as a float otherwise)."""
    frame: I64
    """Place of the record among those of the run."""
    frame_received_ms: I64
    """By frame."""

    def compact(self) -> Self:
        """The same with those bindings only that have a reading."""
        present = np.flatnonzero(np.bincount(self.which, minlength=len(self.table.bindings)))
        place = np.zeros(len(self.table.bindings), np.int64)
        place[present] = np.arange(present.size)
        return self._replace(table=self.table.taken(present), which=place[self.which])

    @property
    def binding(self) -> list[Binding]:
        """The bindings."""
        return self.table.bindings

    @property
    def received_ms(self) -> I64:
        """When the server got each reading."""
        received: I64 = self.frame_received_ms[self.frame]
        return received


def runs(records: Sequence[Record]) -> Iterator[Data | Birth]:
    """Births one by one, the data messages between them together; nothing else."""
    block = Block.of(records)
    block = block.taken(block.topics.kinds[block.places[r.CODE]] != OTHER)
    code = block.places[r.CODE]
    start = 0
    for i in np.flatnonzero(block.topics.kinds[code] == BIRTH).tolist():
        if start < i:
            yield Data(block[start:i])
        start = i + 1
        topic = block.topics[int(code[i])]
        if topic is not None:
            yield Birth(topic, block[i].payload)
    if start < len(block):
        yield Data(block[start:])


def take_birth(aliases: Aliases, birth: Birth, park: Park) -> None:
    """Take up what a meter's birth declares, in place of its older births. An NBIRTH declares no readings of a meter."""
    gateway = birth.topic.gateway
    if birth.topic.type is MessageType.NBIRTH:
        return
    try:
        bindings = _bound(_Same(park), gateway, birth.topic.meter, birth.payload)
    except DecodeError:
        return
    aliases.declare(gateway, birth.topic.meter, bindings)


def decode_columns(payloads: Sequence[bytes]) -> tuple[I64, I64]:
    """(rows × COLUMNS, status per payload) from the compiled decoder."""
    buf = np.frombuffer(b"".join([*payloads, bytes(d.PADDING)]), np.uint8)
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    ends = np.cumsum(sizes)
    out = np.empty((buf.size // 2 + 1, d.COLUMNS), np.int64)
    status = np.empty(len(payloads), np.int64)
    used = d.decode_frames(buf, ends - sizes, ends, out, status)
    return out[:used], status


class Ears(NamedTuple):
    """Who wants readings, as `stream.kernels.meaning.understand` takes them; what is empty is not wanted."""

    columns: m.Columns = (NO_NUMBERS, NO_NUMBERS, NO_NUMBERS, NO_NUMBERS.view(np.float64), NO_NUMBERS)
    memory: m.Memory = (NO_ROWS, NO_ROWS, NO_ROWS, NO_NUMBERS)
    entries: m.Entries = (NO_ROWS, NO_ROWS)


def read(data: Data, aliases: Aliases, bindings: I64, ears: Ears) -> tuple[int, int]:
    """Decode a run of data messages for all `ears`; how many readings and entries. What has no binding is left aside."""
    block, (table, gateway, guess, first, _unheard) = data.block, aliases.joined
    places = block.places[r.PAYLOAD], block.places[r.END], block.places[r.RECEIVED], block.places[r.CODE]
    known = (gateway(block.topics), guess(block.topics)), bindings, first, table.counts_per_raw
    rows = np.empty((int((places[1] - places[0]).max(initial=0)) // 2 + 1, d.COLUMNS), np.int64)
    at, n, k, given = 0, 0, 0, -1
    while True:
        at, n, k = m.read_frames(
            block.buf, places, at, rows, given, *known, ears.columns, n, ears.memory, ears.entries, k
        )
        if at == len(block):
            return n, k
        topic = block.topics[int(block.places[r.CODE, at])]
        plain = plain_columns(block[at].payload, at, "" if topic is None else topic.meter)
        given = len(plain)
        rows[:given] = plain


def readings(data: Data, aliases: Aliases) -> Readings:
    """The readings of a run of data messages whose alias has a binding; everything else is left aside."""
    which, t, raw, real, frame = np.empty((5, data.room), np.int64)
    shown = real.view(np.float64)
    n, _entries = read(data, aliases, aliases.joined.unheard, Ears((which, t, raw, shown, frame)))
    received = data.block.places[r.RECEIVED]
    return Readings(aliases.joined.table, which[:n], t[:n], raw[:n], shown[:n], frame[:n], received)


def plain_columns(payload: bytes, frame: int, meter: str) -> I64:
    """A payload by the plain codec, as the compiled decoder would give it; metrics without alias get `name_alias`."""
    try:
        decoded = decode(payload)
    except DecodeError:
        return np.empty((0, d.COLUMNS), np.int64)
    rows = []
    for metric in decoded.metrics:
        alias = int64_bits(metric.alias) if metric.alias is not None else name_alias(meter, metric.name or "")
        t_ms = metric.timestamp if metric.timestamp is not None else decoded.timestamp
        rows.append([frame, alias, _time(t_ms), *_bits(metric.value)])
    return np.array(rows, np.int64).reshape(-1, d.COLUMNS)


def _time(t_ms: int | None) -> int:
    if t_ms is None:
        return d.NO_TIME
    return d.BEYOND if t_ms >> 63 else t_ms


def _bits(value: Value) -> tuple[int, int]:
    """(kind, bits) as the compiled decoder would give them."""
    if isinstance(value, float):
        return d.REAL64, int(np.float64(value).view(np.int64))
    if isinstance(value, bool):
        return d.TRUTH, int(value)
    if isinstance(value, int):
        return d.INTEGER, int64_bits(value)
    return (d.NULL if value is None else d.OTHER), 0
