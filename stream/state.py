"""Everything the stream remembers between two batches: its channels and their arrays. What aliases mean is in the journal."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.batch import Aliases, Table
from stream.context import Key, Registry
from stream.kernels.columns import LAST_POS, LAST_T, PENDING, STATE_COLUMNS, SWAPPED_T
from stream.terms import Terms
from stream.watch import Watch, WatchData

SCHEMA = 5
I64 = NDArray[np.int64]


class StateError(Exception):
    """A stored state cannot be used (ours). The message names the cure."""


class Channel(msgspec.Struct, frozen=True, gc=False):
    """A total of a meter, with everything declared that its rows were made with (`Registry.entries`)."""

    meter: str
    reading_type: str
    declared: list[tuple[int, str]]

    @property
    def key(self) -> Key:
        """Meter and reading type."""
        return self.meter, self.reading_type


class _Stored(msgspec.Struct):
    schema: int
    channels: list[Channel]
    columns: int
    arrays: bytes
    watch: WatchData = msgspec.field(default_factory=WatchData)


class State:
    """The step's state. `snapshot` and `restore` put it down and pick it up without loss, aliases apart."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.index: dict[Key, int] = {}
        self.aliases = Aliases()
        """Gateway → alias → binding, from the newest births before the cursor."""
        self.arrays: I64 = np.zeros((0, STATE_COLUMNS), np.int64)
        self._room = self.arrays
        """What `arrays` is the beginning of; the rest are fresh rows."""
        self.watch = Watch()
        self._terms: Terms | None = None
        self._bound: tuple[Terms, I64, I64] | None = None

    def take_in(self, other: "State") -> None:
        """Take over the channels and meters of another one; none may be in both. Aliases stay as they are."""
        first = len(self.channels)
        self.channels += other.channels
        self.index |= {channel.key: first + i for i, channel in enumerate(other.channels)}
        self.arrays = self._room = np.vstack([self.arrays, other.arrays])
        self.watch.take_in(other.watch)

    def terms(self, bindings: Table, context: Registry) -> Terms:
        """What readings under these bindings are counted in."""
        if self._terms is None or not self._terms.fit(bindings, context):
            self._terms = Terms(bindings, context)
        return self._terms

    def bound(self, bindings: Table, context: Registry) -> I64:
        """The bindings as the kernels search them, with what is remembered of their readings."""
        terms, rows = self.terms(bindings, context), self.watch.rows(bindings, context)
        if self._bound is None or self._bound[0] is not terms or self._bound[1] is not rows:
            self._bound = terms, rows, bindings.bound(rows, terms.first)
        return self._bound[2]

    def channel(self, key: Key, context: Registry) -> int:
        """The row of a total, a new one when it is met first."""
        row = self.index.get(key)
        if row is None:
            row = self.index[key] = len(self.channels)
            self.channels.append(Channel(*key, context.entries(key)))
            if row >= len(self._room):
                self._room = np.vstack([self.arrays, np.tile(fresh(), (row + 1, 1))])
            self.arrays = self._room[: row + 1]
        return row

    def declared_anew(self, context: Registry) -> dict[Key, int]:
        """Total → the time from which the registry now declares something else than what made its rows.

        The channels take up what is declared now; the caller computes them again from there. One that the registry no
        longer has rests.
        """
        found: dict[Key, int] = {}
        for row, known in enumerate(self.channels):
            if context.role(known.key) is None:
                continue
            now = context.entries(known.key)
            changed = set(now) ^ set(known.declared)
            if changed:
                found[known.key] = min(changed)[0]
                self.channels[row] = Channel(*known.key, now)
        return found

    def progress(self, row: int) -> tuple[int, int, bool]:
        """(time, position, pending) of a channel's last good total."""
        s = self.arrays[row]
        return int(s[LAST_T]), int(s[LAST_POS]), bool(s[PENDING])

    def snapshot(self) -> bytes:
        """Channels and arrays as bytes."""
        arrays, watch = self.arrays.tobytes(), self.watch.stored()
        return msgspec.msgpack.encode(_Stored(SCHEMA, self.channels, STATE_COLUMNS, arrays, watch))

    @classmethod
    def restore(cls, data: bytes) -> "State":
        """The state that `snapshot` put down; StateError when another version wrote it."""
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
        except msgspec.DecodeError as error:
            msg = f"the ledger's state cannot be read ({error}); move the ledger file away to rebuild it from the journal"
            raise StateError(msg) from error
        if stored.schema != SCHEMA or stored.columns != STATE_COLUMNS:
            msg = f"the ledger's state has schema {stored.schema}, this program reads {SCHEMA}; move the ledger file away to rebuild it"
            raise StateError(msg)
        if len(stored.arrays) != len(stored.channels) * STATE_COLUMNS * np.dtype(np.int64).itemsize:
            msg = "the ledger's state is damaged: its arrays do not fit its channels; move the ledger file away to rebuild it"
            raise StateError(msg)
        state = cls()
        state.channels = stored.channels
        state.index = {channel.key: i for i, channel in enumerate(stored.channels)}
        state.arrays = np.frombuffer(stored.arrays, np.int64).reshape(-1, STATE_COLUMNS).copy()
        state._room = state.arrays
        try:
            state.watch = Watch.restored(stored.watch)
        except ValueError as error:
            msg = "the ledger's state is damaged: its watch does not fit its meters; move the ledger file away to rebuild it"
            raise StateError(msg) from error
        return state


def fresh() -> I64:
    """The row of a channel that has heard nothing yet."""
    row = np.zeros(STATE_COLUMNS, np.int64)
    row[SWAPPED_T] = -1
    return row
