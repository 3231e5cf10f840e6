"""Readings and declared exchanges as the entries that the kernel accumulates."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.batch import Readings
from stream.context import Key, Registry, Swapping, Term
from stream.kernels import columns as c
from stream.kernels import entries as e
from stream.kernels import order as o
from stream.state import State
from stream.terms import Terms

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
    table, terms = columns.table, state.terms(columns.table, context)
    rows = np.empty((columns.which.size, e.ENTRY_COLUMNS), np.int64)
    known = terms.first, table.width, table.counts_per_raw, terms.table
    k = e.enter(columns.which, columns.t, columns.raw, columns.real, *known, rows)
    return entered(state, terms, rows[:k])


def entered(state: State, terms: Terms, rows: I64) -> Entries:
    """The entries that a kernel made, each with its channel."""
    terms.take_up(state)
    return scaled(rows, terms.table)


def scaled(rows: I64, table: I64) -> Entries:
    """A kernel's rows as entries. Products beyond 62 bits are Python's; what leaves a register's limit is left out."""
    term, t, register, kind = rows.T.copy()
    made = Entries(term, kind.astype(np.int8), t, register, table)
    held = np.ones(len(rows), np.bool_)
    for i in np.flatnonzero(made.kind == c.UNSCALED).tolist():
        row = table[term[i]]
        exact = _scaled(int(register[i]), row)
        held[i] = abs(exact) < int(row[c.T_LIMIT])
        register[i], made.kind[i] = exact if held[i] else 0, c.READING
    return made if held.all() else made.taken(np.flatnonzero(held))


def _scaled(count: int, row: Sequence[int] | I64) -> int:
    """floor(count × num / den) of a count under its term."""
    return count * int(row[c.T_NUM]) // int(row[c.T_DEN])


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


def _of(channel: int, rows: list[Term]) -> list[Term]:
    return [[channel, *row[1:]] for row in rows]


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
    rows = _of(channel, [*swap.closing_terms, *swap.opening_terms])
    term = np.array([swap.closing_segment, len(swap.closing_terms) + swap.opening_segment])
    register = [
        _scaled(count, rows[at])
        for count, at in zip((swap.closing, swap.opening), term.tolist(), strict=True)
    ]
    kind = [c.CLOSING_SWAP, c.OPENING_SWAP]
    both = [place, place]
    return Entries(
        np.insert(entries.term, both, term + first), np.insert(entries.kind, both, kind),
        np.insert(entries.t, both, [swap.at_ms, swap.at_ms]),
        np.insert(entries.register, both, register), np.vstack([entries.terms, np.array(rows, np.int64)]),
    )  # fmt: skip
