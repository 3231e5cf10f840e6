"""Loads: the energy that flows through a simulated meter, as a pure function of (seed, meter, time) in exact integers.

Time is cut into 15-minute slots of local time, UTC+8 without daylight saving (all of mainland China). Power is constant
within a slot. A position is energy in W·ms since the anchor; 3 600 000 W·ms are one Wh. Nothing here needs numpy.
"""

from bisect import bisect_right
from collections.abc import Callable
from datetime import date
from functools import cached_property
from itertools import accumulate
from operator import add
from typing import Final, Protocol

ANCHOR_MS: Final = 1_704_067_200_000
"""2024-01-01T00:00Z, where every load stands at zero."""
LOCAL_OFFSET_MS: Final = 8 * 3_600_000
SLOT_MS: Final = 900_000
DAY_SLOTS: Final = 96
WMS_PER_WH: Final = 3_600_000

_FIRST_YEAR: Final = 2024
_FIRST_DAY: Final = date(_FIRST_YEAR, 1, 1).toordinal()
"""A Monday. Slot 0 begins at its local midnight, eight hours before the anchor."""
_ORIGIN_MS: Final = ANCHOR_MS - LOCAL_OFFSET_MS


def slot_of(t_ms: int) -> tuple[int, int]:
    """Index of the slot that holds `t_ms`, and how many ms of it have passed; ValueError before the anchor."""
    if t_ms < ANCHOR_MS:
        message = f"{t_ms} is before the anchor {ANCHOR_MS}: a load has no past there"
        raise ValueError(message)
    return divmod(t_ms - _ORIGIN_MS, SLOT_MS)


def day_of(slot: int) -> date:
    """The local date that holds a slot."""
    return date.fromordinal(_FIRST_DAY + slot // DAY_SLOTS)


class Load(Protocol):
    """Energy over time; never negative, so its position never falls."""

    def slots(self, first: int, count: int) -> list[int]:
        """Energy in W·ms of `count` slots from slot `first` on."""
        ...

    def position(self, t_ms: int) -> int:
        """Energy in W·ms since the anchor."""
        ...


class CyclicLoad:
    """A load that repeats its slots for ever; a position costs O(1)."""

    def __init__(self, cycle: list[int]) -> None:
        self.cycle: Final = cycle
        self._prefix: Final = [0, *accumulate(cycle)]
        self._at_anchor: Final = self._from_origin(ANCHOR_MS)

    def slots(self, first: int, count: int) -> list[int]:
        """Energy in W·ms of `count` slots from slot `first` on."""
        length = len(self.cycle)
        first %= length
        return (self.cycle * ((first + count) // length + 1))[first : first + count]

    def position(self, t_ms: int) -> int:
        """Energy in W·ms since the anchor."""
        return self._from_origin(t_ms) - self._at_anchor

    def _from_origin(self, t_ms: int) -> int:
        index, passed = slot_of(t_ms)
        cycles, slot = divmod(index, len(self.cycle))
        return cycles * self._prefix[-1] + self._prefix[slot] + self.cycle[slot] * passed // SLOT_MS


class CalendarLoad:
    """A load given slot by slot for any stretch of the calendar; positions use one prefix table per year, made once."""

    def __init__(self, slots: Callable[[int, int], list[int]]) -> None:
        self._slots: Final = slots
        self._first_slots: Final = [0]
        self._totals: Final = [0]
        self._prefixes: Final[list[list[int]]] = []

    def slots(self, first: int, count: int) -> list[int]:
        """Energy in W·ms of `count` slots from slot `first` on."""
        return self._slots(first, count)

    def position(self, t_ms: int) -> int:
        """Energy in W·ms since the anchor."""
        return self._from_origin(t_ms) - self._at_anchor

    @cached_property
    def _at_anchor(self) -> int:
        return self._from_origin(ANCHOR_MS)

    def _from_origin(self, t_ms: int) -> int:
        index, passed = slot_of(t_ms)
        while index >= self._first_slots[-1]:
            self._add_year()
        year = bisect_right(self._first_slots, index) - 1
        prefix, slot = self._prefixes[year], index - self._first_slots[year]
        return self._totals[year] + prefix[slot] + (prefix[slot + 1] - prefix[slot]) * passed // SLOT_MS

    def _add_year(self) -> None:
        year = _FIRST_YEAR + len(self._prefixes)
        count = (date(year + 1, 1, 1) - date(year, 1, 1)).days * DAY_SLOTS
        prefix = [0, *accumulate(self._slots(self._first_slots[-1], count))]
        self._prefixes.append(prefix)
        self._totals.append(self._totals[-1] + prefix[-1])
        self._first_slots.append(self._first_slots[-1] + count)


class SumLoad:
    """The sum of loads: its position is the sum of theirs at every millisecond."""

    def __init__(self, parts: tuple[Load, ...]) -> None:
        self.parts: Final = parts

    def slots(self, first: int, count: int) -> list[int]:
        """Energy in W·ms of `count` slots from slot `first` on."""
        total = [0] * count
        for part in self.parts:
            total = list(map(add, total, part.slots(first, count)))
        return total

    def position(self, t_ms: int) -> int:
        """Energy in W·ms since the anchor."""
        return sum(part.position(t_ms) for part in self.parts)


NO_LOAD: Final = CyclicLoad([0])


def combine(function: Callable[..., int], *loads: Load) -> Load:
    """The load whose slot energies are `function` of the loads' slot energies, e.g. of load and pv."""
    cycle = _common_cycle(loads)
    if cycle is not None:
        return CyclicLoad(list(map(function, *(load.slots(0, cycle) for load in loads))))
    return CalendarLoad(
        lambda first, count: list(map(function, *(load.slots(first, count) for load in loads)))
    )


def _common_cycle(loads: tuple[Load, ...]) -> int | None:
    """The longest cycle when every load is a sum of cycles that divide it, else None."""
    lengths = {_cycle_length(load) for load in loads}
    longest = max((length for length in lengths if length), default=None)
    if longest is None or any(not length or longest % length for length in lengths):
        return None
    return longest


def _cycle_length(load: Load) -> int | None:
    if isinstance(load, CyclicLoad):
        return len(load.cycle)
    return _common_cycle(load.parts) if isinstance(load, SumLoad) else None


def net_import(load: int, pv: int) -> int:
    """What a slot draws from the grid: import and export of a slot are never both above zero."""
    return max(load - pv, 0)


def net_export(load: int, pv: int) -> int:
    """What a slot feeds into the grid."""
    return max(pv - load, 0)


def share(permille: int) -> Callable[[int], int]:
    """A slot's losses, or unmetered use, as thousandths of its energy."""
    return lambda energy: energy * permille // 1000
