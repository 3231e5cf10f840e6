"""Everything the stream remembers between two batches: channels, their arrays, and what each gateway's aliases mean."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.registry import Park
from stream.binding import Binding, transformer_ratio
from stream.kernels.accumulate import LAST_POS, LAST_T, PENDING, STATE_COLUMNS

SCHEMA = 2


class StateError(Exception):
    """A stored state cannot be used (ours). The message names the cure."""


class Channel(msgspec.Struct, frozen=True, gc=False):
    """A total of a meter, with the registry's role and transformer ratio that its rows were made with."""

    meter: str
    reading_type: str
    role: str
    ratio: str


class _Stored(msgspec.Struct):
    schema: int
    channels: list[Channel]
    aliases: dict[str, dict[int, Binding]]
    columns: int
    arrays: bytes


class State:
    """The step's state. `snapshot` and `restore` put it down and pick it up without loss."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.index: dict[tuple[str, str], int] = {}
        self.aliases: dict[str, dict[int, Binding]] = {}
        """Gateway → alias → binding, from the newest births before the cursor."""
        self.arrays: NDArray[np.int64] = np.zeros((0, STATE_COLUMNS), np.int64)

    def channel(self, binding: Binding, role: str) -> int:
        """The row of a total, a new one when it is met first; StateError when its role or ratio is no longer what made its rows.

        Unit, scale and resolution may change with a birth: positions are in base units.
        """
        key = (binding.meter, binding.reading_type)
        wanted = Channel(binding.meter, binding.reading_type, role, binding.ratio)
        row = self.index.get(key)
        if row is None:
            row = self.index[key] = len(self.channels)
            self.channels.append(wanted)
            self.arrays = np.vstack([self.arrays, np.zeros((1, STATE_COLUMNS), np.int64)])
        else:
            _refuse_change(self.channels[row], wanted)
        return row

    def check(self, park: Park) -> None:
        """StateError when the registry now gives a known total another role or ratio; one that it no longer has rests."""
        for known in self.channels:
            meter = park.meter(known.meter)
            if meter is not None and known.reading_type in meter.roles:
                ratio = str(transformer_ratio(meter, known.reading_type))
                _refuse_change(
                    known, Channel(known.meter, known.reading_type, meter.roles[known.reading_type], ratio)
                )

    def progress(self, row: int) -> tuple[int, int, bool]:
        """(time, position, pending) of a channel's last good total."""
        s = self.arrays[row]
        return int(s[LAST_T]), int(s[LAST_POS]), bool(s[PENDING])

    def snapshot(self) -> bytes:
        """All of it as bytes."""
        stored = _Stored(SCHEMA, self.channels, self.aliases, STATE_COLUMNS, self.arrays.tobytes())
        return msgspec.msgpack.encode(stored)

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
        state.channels, state.aliases = stored.channels, stored.aliases
        state.index = {(c.meter, c.reading_type): i for i, c in enumerate(stored.channels)}
        state.arrays = np.frombuffer(stored.arrays, np.int64).reshape(-1, STATE_COLUMNS).copy()
        return state


def _refuse_change(known: Channel, wanted: Channel) -> None:
    if known != wanted:
        msg = (
            f"meter {known.meter}, {known.reading_type}: role {known.role}, transformer ratio {known.ratio} made the ledger; "
            f"the registry now says {wanted.role}, {wanted.ratio}. "
            "Stop the stream, move the ledger file away and start again: it is rebuilt from the journal."
        )
        raise StateError(msg)
