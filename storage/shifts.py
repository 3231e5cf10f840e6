"""Declared events of a total, as the balance needs them: what changed the register other than energy."""

from collections.abc import Iterable
from typing import NamedTuple

from storage.ledger import EventRow, LedgerReader

SETTLED = frozenset({"rollover", "reset", "step_back"})
"""They hold from their own reading on."""
CUTS = frozenset({"exchange", "ratio_change"})
"""They hold after their moment, and the total stood at a known position then."""
SHIFTING = SETTLED | CUTS | {"last_digit", "transient_dropped", "conflicting_reading"}


FROZEN = frozenset({"frozen", "frozen_ended"})
"""They shift nothing: from the quarter hour of the one up to that of the other, both included, energy is in question."""


class Shift(NamedTuple):
    """An event with an adjustment."""

    t_ms: int
    kind: str
    register: int
    """Base units shown after it."""
    adjustment: int
    """Base units that the position gains over the register."""
    position: int
    """Of the last good total before it; for a cut, where the total stood at its moment."""


class Shifts(NamedTuple):
    """All of a total, in time order."""

    all: tuple[Shift, ...] = ()
    held: tuple[tuple[int, int], ...] = ()
    """(time, position): from here on the total is at least that; its last digit had gone back."""
    dropped: tuple[tuple[int, int], ...] = ()
    """(first, last) time of readings that proved transient."""
    contradicted: frozenset[tuple[int, int]] = frozenset()
    """(time, register) of readings beside a smaller one of the same time."""

    def counts(self, t_ms: int, register: int) -> bool:
        """Whether a reading is one that the intervals are drawn through."""
        dropped = any(first <= t_ms <= last for first, last in self.dropped)
        return not dropped and (t_ms, register) not in self.contradicted

    def position(self, t_ms: int, register: int) -> int:
        """Where a total stands that shows `register` at a time."""
        offset = sum(
            s.adjustment for s in self.all if s.t_ms < t_ms or (s.t_ms == t_ms and s.kind in SETTLED)
        )
        return max([register + offset, *(position for at, position in self.held if at <= t_ms)])

    def between(self, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """(time, position) of the cuts after `start_ms` and before `end_ms`."""
        return [(s.t_ms, s.position) for s in self.all if s.kind in CUTS and start_ms < s.t_ms < end_ms]

    def within(self, start_ms: int, end_ms: int) -> tuple[Shift, ...]:
        """Those that come between the totals of two edges."""
        return tuple(s for s in self.all if start_ms <= s.t_ms < end_ms)


NO_SHIFTS = Shifts()


def shifts_of(events: Iterable[EventRow]) -> Shifts:
    """The events of one total."""
    known = list(events)
    shifts = [
        Shift(
            e.t_ms,
            e.kind,
            e.detail["position"],
            e.detail.get("adjustment", 0),
            e.detail["last_good_position"],
        )
        for e in known
        if e.kind in SETTLED | CUTS
    ]
    held = [(e.t_ms, int(e.detail["last_good_position"])) for e in known if e.kind == "last_digit"]
    dropped = [
        (e.t_ms, int(e.detail.get("until_t_ms", e.t_ms))) for e in known if e.kind == "transient_dropped"
    ]
    twice = frozenset((e.t_ms, int(e.detail["position"])) for e in known if e.kind == "conflicting_reading")
    return Shifts(tuple(sorted(shifts)), tuple(sorted(held)), tuple(sorted(dropped)), twice)


def all_shifts(ledger: LedgerReader) -> dict[tuple[str, str], Shifts]:
    """What ever changed a register, by total."""
    found: dict[tuple[str, str], list[EventRow]] = {}
    for event in ledger.events_of(SHIFTING):
        found.setdefault((event.meter, event.reading_type), []).append(event)
    return {key: shifts_of(events) for key, events in found.items()}
