"""Compile every kernel that Python calls, for the types that the step calls it with: each is called with nothing to do.

In two halves of the same length, because numba compiles in one thread: `tanyun.kernels` gives each a process.
"""

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from stream.entries import joined
from stream.kernels import accumulate, decode, meaning, order, power, records, still
from stream.kernels import columns as c
from stream.kernels import entries as made

NONE = np.zeros(0, np.int64)
REALS = NONE.astype(np.float64)
PAYLOADS = np.frombuffer(bytes(decode.PADDING), np.uint8)
"""Read only, as those of the journal are."""


def table(columns: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Without rows."""
    return np.zeros((0, columns), np.int64)


def one_half() -> None:
    """What totals and powers become."""
    entries, state, rows, events = (
        joined([]),
        table(c.STATE_COLUMNS),
        table(c.ROW_COLUMNS),
        table(c.EVENT_COLUMNS),
    )
    order.in_order(NONE, NONE, NONE, np.zeros(1, np.int64), NONE, NONE)
    accumulate.count_rows(NONE, NONE, NONE, NONE)
    accumulate.accumulate(*entries, state, rows, events)
    power.integrate(*entries, state, rows, 0, events, 0)
    accumulate.emissions(NONE, NONE, NONE, NONE, NONE)


def other_half() -> None:
    """How they are made of payloads."""
    places = np.zeros((records.PLACES, 0), np.int64)
    records.split(PAYLOADS, NONE, NONE, table(records.PLACES))
    records.number_topics(PAYLOADS, places, 0, NONE.astype(np.uint8), NONE, NONE, NONE, 0)
    registers, meters, newest = (
        table(n) for n in (still.REGISTER_COLUMNS, still.METER_COLUMNS, meaning.NEWEST_COLUMNS)
    )
    bindings, terms, entries = (table(n) for n in (meaning.FIRST + 1, c.TERM_COLUMNS, made.ENTRY_COLUMNS))
    meaning.read_frames(
        PAYLOADS, (NONE, NONE, NONE, NONE), 0, table(decode.COLUMNS), -1, (NONE, NONE), bindings, NONE, REALS,
        (NONE, NONE, NONE, REALS, NONE), 0, (newest, registers, meters, NONE), (entries, terms), 0,
    )  # fmt: skip
    made.enter(NONE, NONE, NONE, REALS, NONE, NONE, REALS, terms, entries)


@contextmanager
def no_garbage() -> Iterator[None]:
    """Compilation makes few cycles, and looking for them takes a tenth of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main() -> None:
    """The other half in a process of its own, into the folder that NUMBA_CACHE_DIR names. It leaves with who started it."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with no_garbage():
        other_half()


def _leave_with_parent() -> None:
    """Whoever started this one holds its stdin open for as long as it lives."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)
