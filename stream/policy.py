"""The factor in force for every channel and local month, as columns. Chosen once per month; never splits an interval."""

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from factors.policy import FactorPolicy, MissingFactor, factor_for
from factors.table import FactorTable
from metering.intervals import local_month, month_of

I64 = NDArray[np.int64]


class Policy:
    """Factors by month, as of a day: the step's only knowledge of the world besides the batch. Filled month by month as needed."""

    def __init__(self, table: FactorTable, policy: FactorPolicy, zone: ZoneInfo, as_of: date) -> None:
        self._table, self._policy, self._zone, self.as_of = table, policy, zone, as_of
        self._found: dict[tuple[str, str], tuple[str | None, int, int]] = {}
        self._edges: list[tuple[int, int, str]] = []

    def factors(self, roles: Sequence[str | None], starts: I64) -> tuple[list[str | None], I64, I64]:
        """(factor id, num, den) of each interval, given the role of its total and its start; id None and num -1 when missing.

        Role None stands for a total that carries no emission of its own.
        """
        months = [self._month(int(start)) for start in starts]
        found = [self._factor(role, month) for role, month in zip(roles, months, strict=True)]
        nums = np.array([num for _, num, _ in found], np.int64)
        dens = np.array([den for _, _, den in found], np.int64)
        return [factor_id for factor_id, _, _ in found], nums, dens

    def _factor(self, role: str | None, month: str) -> tuple[str | None, int, int]:
        if role is None:
            return None, -1, 1
        key = (role, month)
        if key not in self._found:
            factor = factor_for(self._table, role, self._policy, month, self.as_of)
            self._found[key] = (
                (None, -1, 1) if isinstance(factor, MissingFactor) else (factor.id, factor.num, factor.den)
            )
        return self._found[key]

    def _month(self, t_ms: int) -> str:
        for start, end, month in self._edges:
            if start <= t_ms < end:
                return month
        month = month_of(t_ms, self._zone)
        span = local_month(month, self._zone)
        self._edges.insert(0, (span.start_ms, span.end_ms, month))
        return month
