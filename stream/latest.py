"""The newest reading of every meter and type."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from storage.ledger import LatestRow
from stream.batch import Readings, Table
from stream.context import Key, Registry
from stream.kernels import meaning as m

I64 = NDArray[np.int64]
_NONE = -1


class Newest:
    """What was heard last of each binding. By column, for as long as the bindings are the same: a row is made only when asked for."""

    def __init__(self, context: Registry) -> None:
        self._context = context
        self._rows: dict[Key, LatestRow] = {}
        self._table: Table | None = None
        none = np.zeros(0, np.int64)
        self._t, self._real, self._received = none, none.astype(np.float64), none

    def hear(self, columns: Readings) -> None:
        """Take up readings; of two with the same time, the later frame counts."""
        if columns.table is not self._table:
            self._put_down()
            size = len(columns.table.bindings)
            self._table, self._t = columns.table, np.full(size, _NONE, np.int64)
            self._real, self._received = np.empty(size), np.empty(size, np.int64)
        last = np.empty(self._t.size, np.int64)
        m.newest(columns.which, columns.t, last)
        heard = np.flatnonzero(last >= 0)
        at = last[heard]
        t = columns.t[at]
        newer = t >= self._t[heard]
        heard, at = heard[newer], at[newer]
        self._t[heard], self._real[heard] = t[newer], columns.real[at]
        self._received[heard] = columns.frame_received_ms[columns.frame[at]]

    def rows(self) -> list[LatestRow]:
        """All of them."""
        self._put_down()
        return list(self._rows.values())

    def take_up(self, rows: Iterable[LatestRow]) -> None:
        """What another one had heard, before everything that this one hears."""
        self._rows = {(row.meter, row.reading_type): row for row in rows}

    def _put_down(self) -> None:
        """From columns to rows: in base units, on the primary side."""
        heard = np.flatnonzero(self._t != _NONE)
        if self._table is None or not heard.size:
            return
        table = self._table.taken(heard)
        times = self._t[heard].tolist()
        value = self._real[heard] * table.per_raw
        for i in np.flatnonzero(table.own_side).tolist():
            value[i] *= self._context.ratio_at(table.keys[i], times[i])
        received = self._received[heard].tolist()
        for key, t, shown, received_ms in zip(table.keys, times, value.tolist(), received, strict=True):
            known = self._rows.get(key)
            if known is None or t >= known.t_ms:
                self._rows[key] = LatestRow(*key, t, shown, received_ms)
        self._t[:] = _NONE
