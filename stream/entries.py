"""Readings and declared exchanges as the entries that the kernel accumulates."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.batch import Readings
from stream.binding import LIMIT
from stream.context import Key, Registry, Swapping, Term
from stream.kernels import columns as c
from stream.kernels import order as o
from stream.state import State
from stream.terms import NOT_TOTALLED

I64 = NDArray[np.int64]
DAY_MS = 86_400_000


class Entries(NamedTuple):
    """Totals in the order in which they count; `terms` says how each is counted, by `term`."""

    term: I64
    kind: NDArray[np.int8]
    t: I64
    register: I64
    terms: I64

    @property
    def channel(self) -> I64:
        """The channel of each entry."""
        channel: I64 = self.terms[:, c.T_CHANNEL][self.term]
        return channel

    def taken(self, order: I64) -> "Entries":
        """Some of them, in another order."""
        return Entries(
            self.term[order],
            self.kind[order],
            self.t[order],
            self.register[order],
            self.terms,
        )


def totals(state: State, columns: Readings, context: Registry) -> Entries:
    """The readings that are totals with a role, in frame order, each with its channel."""
    terms = state.terms(columns.table, context)
    rows = columns.counted
    which = columns.which[rows]
    first = terms.first(which, state)
    count, held = _counts(columns, rows, which)
    held &= first != NOT_TOTALLED
    if not held.all():
        rows, first, count = rows[held], first[held], count[held]
    t = columns.t[rows]
    term = _by_time(first, t, terms.table) if terms.segmented else first
    register, held = registers(count, terms.table, term)
    held &= np.abs(register) < terms.table[:, c.T_LIMIT][term]
    kind = np.zeros(rows.size, np.int8)
    entries = Entries(term, kind, t, register, terms.table)
    return entries if held.all() else entries.taken(np.flatnonzero(held))


def joined(parts: Iterable[Entries]) -> Entries:
    """All entries under one table of terms."""
    none = np.zeros(0, np.int64)
    tables = [np.zeros((0, c.TERM_COLUMNS), np.int64)]
    begins: dict[int, int] = {}
    columns = [(none, none.astype(np.int8), none, none)]
    height = 0
    for part in parts:
        if id(part.terms) not in begins:
            begins[id(part.terms)] = height
            tables.append(part.terms)
            height += len(part.terms)
        columns.append((part.term + begins[id(part.terms)], part.kind, part.t, part.register))
    term, kind, t, register = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Entries(term, kind, t, register, tables[-1] if len(begins) == 1 else np.concatenate(tables))


def by_day(entries: Entries) -> Iterator[Entries]:
    """The entries of one day after the other."""
    day = entries.t // DAY_MS
    while day.size:
        now = day == day.min()
        if now.all():
            yield entries
            return
        yield entries.taken(np.flatnonzero(now))
        entries, day = entries.taken(np.flatnonzero(~now)), day[~now]


def _counts(columns: Readings, rows: I64, which: I64) -> tuple[I64, NDArray[np.bool_]]:
    """(what the meter counted, whether a float stays below `LIMIT`)."""
    is_float = columns.table.is_float[which]
    if not is_float.any():
        return columns.raw[rows], np.ones(rows.size, np.bool_)
    with np.errstate(over="ignore"):  # beyond every limit is beyond this one
        scaled = np.rint(columns.real[rows] * columns.table.counts_per_raw[which])
    held = ~is_float | (np.abs(scaled) < LIMIT)
    return np.where(is_float, np.where(held, scaled, 0).astype(np.int64), columns.raw[rows]), held


def _by_time(first: I64, t: I64, table: I64) -> I64:
    """The term of each entry: the first of its metric, moved on to the ratio segment that its time lies in."""
    term = first.copy()
    for later in np.flatnonzero(table[:, c.T_SEGMENT]).tolist():
        start = later - table[later, c.T_SEGMENT]
        term[(first == start) & (t > table[later, c.T_SINCE])] = later
    return term


def _of(channel: int, rows: list[Term]) -> list[Term]:
    return [[channel, *row[1:]] for row in rows]


def registers(count: I64, terms: I64, term: I64) -> tuple[I64, NDArray[np.bool_]]:
    """(floor(count × num / den) of each count under its term, whether it stays below `LIMIT`)."""
    held = np.ones(count.size, np.bool_)
    num, den = terms[:, c.T_NUM], terms[:, c.T_DEN]
    bound = (LIMIT // num)[term]
    small = (count < bound) & (count > -bound)
    out = np.where(small, count, 0) * num[term]
    if (den != 1).any():
        out //= den[term]
    for i in np.flatnonzero(~small).tolist():  # the product may leave 64 bits, so Python's integers take over
        exact = int(count[i]) * int(num[term[i]]) // int(den[term[i]])
        held[i] = abs(exact) < LIMIT
        out[i] = exact if held[i] else 0
    return out, held


def in_time_order(entries: Entries, channels: int) -> Entries:
    """The entries channel by channel, each by time, of equal times the smaller first.

    The ledger does not depend on their order, but one that comes out of it costs a restatement.
    """
    channel, order = entries.channel, np.empty(entries.t.size, np.int64)
    first, used = np.zeros((2, channels + 1), np.int64)
    if not o.in_order(channel, entries.t, entries.register, first, used, order):
        order = np.lexsort((entries.register, entries.t, channel))
    return entries.taken(order)


def with_swaps(entries: Entries, keys: Mapping[int, Key], state: State, context: Registry) -> Entries:
    """The entries with the declared exchanges of their channels (`keys`) in their places.

    An exchange comes after every reading of its moment or before, once.
    """
    channel = entries.channel
    if not context.exchanged:
        return entries
    for at, key in keys.items():
        if key[0] not in context.exchanged or not context.declared(key).swaps:
            continue
        for swap in context.swaps(key):
            if state.arrays[at, c.SWAPPED_T] >= swap.at_ms or _heard(state, at) > swap.at_ms:
                continue
            later = np.flatnonzero((channel == at) & (entries.t > swap.at_ms))
            if later.size:
                entries = _inserted(entries, int(later[0]), at, swap)
                channel = entries.channel
    return entries


def _heard(state: State, at: int) -> int:
    return int(state.arrays[at, c.HEARD_T]) if state.arrays[at, c.SEEN] else -1


def _inserted(entries: Entries, place: int, channel: int, swap: Swapping) -> Entries:
    first = len(entries.terms)
    terms = np.array(_of(channel, [*swap.closing_terms, *swap.opening_terms]), np.int64)
    term = np.array([swap.closing_segment, len(swap.closing_terms) + swap.opening_segment])
    count = np.array([swap.closing, swap.opening])
    register, _held = registers(count, terms, term)
    kind = [c.CLOSING_SWAP, c.OPENING_SWAP]
    both = [place, place]
    return Entries(
        np.insert(entries.term, both, term + first), np.insert(entries.kind, both, kind),
        np.insert(entries.t, both, [swap.at_ms, swap.at_ms]),
        np.insert(entries.register, both, register), np.vstack([entries.terms, terms]),
    )  # fmt: skip
