"""What the readings under a table of bindings are counted in, worked out once for as long as the table is the same."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream.batch import Table
from stream.context import Registry, Term
from stream.kernels import columns as c

if TYPE_CHECKING:
    from stream.state import State

I64 = NDArray[np.int64]
NOT_TOTALLED = -1
_NOT_HEARD = -1
"""Instead of a channel."""


class Terms:
    """The kernels' table of terms for all bindings. Its channels are filled in when a total is heard first: before, it has none."""

    def __init__(self, bindings: Table, context: Registry) -> None:
        self._of = bindings, context
        rows: list[Term] = []
        self._first = np.full(len(bindings.bindings), NOT_TOTALLED, np.int64)
        for i in np.flatnonzero(bindings.counted).tolist():
            binding = bindings.bindings[i]
            found = (
                context.terms(binding)
                if context.role((binding.meter, binding.total or "")) is not None
                else []
            )
            if found:
                self._first[i] = len(rows)
                rows += found
        self.table = np.array(rows, np.int64).reshape(-1, c.TERM_COLUMNS)
        self.segmented = bool(self.table[:, c.T_SEGMENT].any())
        """Whether any total has more than one ratio."""

    def fit(self, bindings: Table, context: Registry) -> bool:
        """Whether they are those of this table."""
        return self._of[0] is bindings and self._of[1] is context

    def first(self, which: I64, state: "State") -> I64:
        """The first term of each reading, given its binding; `NOT_TOTALLED` for what has none."""
        first = self._first[which]
        known = first if (first >= 0).all() else first[first >= 0]
        new = known[self.table[known, c.T_CHANNEL] == _NOT_HEARD]
        if new.size:
            self._take_up(set(np.unique(new).tolist()), state)
        return first

    def _take_up(self, new: set[int], state: "State") -> None:
        bindings, context = self._of
        for i in np.flatnonzero(bindings.counted).tolist():
            if self._first[i] in new:
                binding = bindings.bindings[i]
                channel = state.channel((binding.meter, binding.total or ""), context)
                first = int(self._first[i])
                self.table[first : first + len(context.terms(binding)), c.T_CHANNEL] = channel
