"""The factor in force for every channel and local month, as columns. Chosen once per month; never splits an interval."""

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from factors.policy import FactorPolicy, MissingFactor, factor_for
from factors.table import FactorTable
from metering.intervals import local_month, month_of, next_month, previous_month

I64 = NDArray[np.int64]
DEADLINE_DAYS = 40
"""A month is reported within 40 days of its end; a factor published later changes it only by decision."""


class Policy:
    """Factors by month, as of a day: the step's only knowledge of the world besides the batch. Filled month by month as needed."""

    def __init__(self, table: FactorTable, policy: FactorPolicy, zone: ZoneInfo, as_of: date) -> None:
        self._table, self._policy, self._zone, self.as_of = table, policy, zone, as_of
        self._found: dict[tuple[str, str], tuple[str | None, int, int]] = {}
        self._edges: list[tuple[int, int, str]] = []

    @property
    def made_of(self) -> str:
        """Everything that its answers follow from."""
        return repr((self._policy, self._zone.key, self.as_of, sorted(self._table.factors.items())))

    def factors(
        self, roles: Sequence[str | None], which: I64, starts: I64
    ) -> tuple[list[str | None], I64, I64]:
        """(factor id, num, den) of each interval, given the number of its total's role and its start; id None, num -1 when missing.

        Role None stands for a total that carries no emission of its own.
        """
        months = self._months_between(int(starts.min()), int(starts.max())) if starts.size else []
        month = np.searchsorted(np.array([end for _start, end, _name in months], np.int64), starts, "right")
        case = which * len(months) + month
        ids: list[str | None] = [None] * (len(roles) * len(months))
        num, den = np.full(len(ids), -1, np.int64), np.ones(len(ids), np.int64)
        for i in np.flatnonzero(np.bincount(case)).tolist():
            ids[i], num[i], den[i] = self.factor(roles[i // len(months)], months[i % len(months)][2])
        return [ids[i] for i in case.tolist()], num[case], den[case]

    def _months_between(self, first_ms: int, last_ms: int) -> list[tuple[int, int, str]]:
        """(start, end, name) of the local months from one moment to another."""
        months = [self.month_at(first_ms)]
        while months[-1][1] <= last_ms:
            months.append(self.month_at(months[-1][1]))
        return months

    @property
    def months(self) -> set[str]:
        """Those that it was asked about and that may still be reported."""
        return {month for _role, month in self._found if self._known_by(month) == self.as_of}

    def reportable(self) -> list[str]:
        """The month of its day and those before that may still be reported, oldest first."""
        months = [self.as_of.isoformat()[:7]]
        while self._known_by(before := previous_month(months[0])) == self.as_of:
            months.insert(0, before)
        return months

    def factor(self, role: str | None, month: str) -> tuple[str | None, int, int]:
        """(factor id, num, den) of a role's energy in a month; id None and num -1 when there is none."""
        if role is None:
            return None, -1, 1
        key = (role, month)
        if key not in self._found:
            factor = factor_for(self._table, role, self._policy, month, self._known_by(month))
            self._found[key] = (
                (None, -1, 1) if isinstance(factor, MissingFactor) else (factor.id, factor.num, factor.den)
            )
        return self._found[key]

    def _known_by(self, month: str) -> date:
        """The day whose factors a month takes: today's while it may still be reported, those of its deadline ever after."""
        return min(
            self.as_of, date.fromisoformat(f"{next_month(month)}-01") + timedelta(days=DEADLINE_DAYS - 1)
        )

    def month_at(self, t_ms: int) -> tuple[int, int, str]:
        """(start, end, name) of the local month that holds a moment."""
        for edges in self._edges:
            if edges[0] <= t_ms < edges[1]:
                return edges
        month = month_of(t_ms, self._zone)
        self._edges.insert(0, (*local_month(month, self._zone), month))
        return self._edges[0]
