"""What the readings under a table of bindings are counted in, worked out once for as long as the table is the same."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream.batch import Table
from stream.context import Registry, Term
from stream.kernels import columns as c
from stream.kernels.entries import NOT_TOTALLED

if TYPE_CHECKING:
    from stream.state import State

I64 = NDArray[np.int64]


class Terms:
    """The kernels' table of terms for all bindings. Its channels are filled in when a total is heard first: before, it has none."""

    def __init__(self, bindings: Table, context: Registry) -> None:
        self._of = bindings, context
        rows: list[Term] = []
        self.first = np.full(len(bindings.bindings), NOT_TOTALLED, np.int64)
        """By binding."""
        for i in np.flatnonzero(bindings.counted).tolist():
            binding = bindings.bindings[i]
            found = (
                context.terms(binding)
                if context.role((binding.meter, binding.total or "")) is not None
                else []
            )
            if found:
                self.first[i] = len(rows)
                rows += found
        self.table = np.array(rows, np.int64).reshape(-1, c.TERM_COLUMNS)

    def fit(self, bindings: Table, context: Registry) -> bool:
        """Whether they are those of this table."""
        return self._of[0] is bindings and self._of[1] is context

    def take_up(self, state: "State") -> None:
        """Give a channel to every total that was heard first (`HEARD_FIRST`)."""
        if not (self.table[:, c.T_CHANNEL] == c.HEARD_FIRST).any():
            return
        bindings, context = self._of
        for i in np.flatnonzero(self.first >= 0).tolist():
            first = int(self.first[i])
            if self.table[first, c.T_CHANNEL] == c.HEARD_FIRST:
                binding = bindings.bindings[i]
                channel = state.channel((binding.meter, binding.total or ""), context)
                self.table[first : first + len(context.terms(binding)), c.T_CHANNEL] = channel
