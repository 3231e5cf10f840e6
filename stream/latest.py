"""The newest reading of every meter and type."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from storage.ledger import LatestRow
from stream.batch import Table
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
        self._heard: I64 = np.zeros((0, m.NEWEST_COLUMNS), np.int64)

    def of(self, table: Table) -> I64:
        """Where the newest readings under these bindings are written; of two with the same time, the later frame counts."""
        if table is not self._table:
            self._put_down()
            self._table, self._heard = table, np.full((len(table.keys), m.NEWEST_COLUMNS), _NONE, np.int64)
        return self._heard

    def rows(self) -> list[LatestRow]:
        """All of them."""
        self._put_down()
        return list(self._rows.values())

    def take_up(self, rows: Iterable[LatestRow]) -> None:
        """What another one had heard, before everything that this one hears."""
        self._rows = {(row.meter, row.reading_type): row for row in rows}

    def _put_down(self) -> None:
        """From columns to rows: in base units, on the primary side."""
        table, heard = self._table, np.flatnonzero(self._heard[:, m.T] != _NONE)
        if table is None or not heard.size:
            return
        t, real, received = self._heard[heard].T
        keys, times = [table.keys[i] for i in heard.tolist()], t.tolist()
        value = np.ascontiguousarray(real).view(np.float64) * table.per_raw[heard]
        for i in np.flatnonzero(table.own_side[heard]).tolist():
            value[i] *= self._context.ratio_at(keys[i], times[i])
        known = self._rows
        for key, t_ms, shown, came_ms in zip(keys, times, value.tolist(), received.tolist(), strict=True):
            before = known.get(key)
            if before is None or t_ms >= before.t_ms:
                known[key] = LatestRow(*key, t_ms, shown, came_ms)
        self._heard[:, m.T] = _NONE
