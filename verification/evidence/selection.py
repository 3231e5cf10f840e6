"""Which of a meter's records a pack needs, and which total of each kind the month begins with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from metering.intervals import Span
from storage.ledger import EventRow
from storage.shifts import FROZEN, SETTLED, SHIFTING, Shifts, shifts_of
from storage.slices import JournalSlice, Place
from verification.evidence.births import Key, MeterFacts
from verification.evidence.integral import Integral
from verification.evidence.judge import WITNESSES, Begins, Entry, Judge, Unit
from verification.evidence.replay import Reader, Where
from verification.evidence.total import Reading

WARM_UP = 16
"""Frames looked at around an edge to begin with; twice as many each time that does not do."""
PENDING = frozenset({"pending_fall", "pending_rise"})
DECIDING = SHIFTING | PENDING | FROZEN | {"unexplained"}
"""Kinds of events that say which readings count, and for how much."""


class Said(NamedTuple):
    """A reading and where it stands."""

    t: int
    register: int
    where: Where
    unit: Unit


class Known(NamedTuple):
    """What the ledger's events say of a total."""

    shifts: Shifts
    pending_ms: int | None
    """Readings from here on are not judged yet."""

    def begins(self, said: Iterable[Said], at_ms: int) -> Said | None:
        """The last reading at or before a time that counts, and not only because of readings after that time."""
        counting = sorted(
            (s for s in said if s.t <= at_ms and self._counts(s)), key=lambda s: (s.t, -s.register)
        )
        times = sorted({s.t for s in counting})
        return next((s for s in reversed(counting) if not self._is_witness(s.t, times)), None)

    def _counts(self, said: Said) -> bool:
        return self.shifts.counts(said.t, said.register) and (
            self.pending_ms is None or said.t < self.pending_ms
        )

    def _is_witness(self, t_ms: int, times: Sequence[int]) -> bool:
        """Whether it is among the readings that settle an event: the judge has to begin before those."""
        return any(
            sum(shift.t_ms <= t <= t_ms for t in times) < WITNESSES
            for shift in self.shifts.all
            if shift.kind in SETTLED and shift.t_ms <= t_ms
        )

    def beginning(self, said: Said) -> Begins:
        """Where the total stands with that reading."""
        offset = sum(
            s.adjustment
            for s in self.shifts.all
            if s.t_ms < said.t or (s.t_ms == said.t and s.kind in SETTLED)
        )
        return Begins(said.t, said.register, self.shifts.position(said.t, said.register), offset)


def known_of(events: Iterable[EventRow]) -> Known:
    """The events of one total."""
    rows = list(events)
    resolved = {row.t_ms for row in rows if row.kind in SETTLED or row.kind == "transient_dropped"}
    open_ = [row.t_ms for row in rows if row.kind in PENDING and row.t_ms not in resolved]
    return Known(shifts_of(rows), max(open_, default=None))


@dataclass(frozen=True, slots=True)
class Selection:
    """A meter's records in a pack, and the total that counted last before the month, per reading type."""

    places: set[Where]
    opening: dict[Key, tuple[Where, Begins]]


@dataclass(frozen=True, slots=True)
class Selector:
    """Looks at a meter's frames around the edges of a month."""

    journal: JournalSlice
    meter: str
    facts: MeterFacts
    known: Mapping[Key, Known]
    """Of every total of the meter."""
    span: Span

    def select(self, cited: Iterable[Where]) -> Selection:
        """From the last frame that counts before the month to the first that carries every total past it; births in force."""
        opening = self._begins(self.span.start_ms)
        first_ms = min((begins.t for _where, begins in opening.values()), default=self.span.start_ms)
        frames = self.journal.between(self.facts.gateway, self.meter, first_ms, self.span.end_ms)
        places = {_where(place) for place in [*frames, *self._closing()]} | set(cited)
        places |= {where for where, _begins in opening.values()}
        if places:
            births, first, last = self._births(), min(places), max(places)
            in_force = [birth for birth in births if birth < first][-1:]
            places |= {*in_force, *(birth for birth in births if first < birth < last)}
        return Selection(places, opening)

    def _begins(self, at_ms: int) -> dict[Key, tuple[Where, Begins]]:
        """Per total the last one at or before an edge that counts."""
        found: dict[Key, tuple[Where, Begins]] = {}
        for chunk in self._backwards(at_ms):
            for key, said in self._said(chunk).items():
                best = self._last(key, said, at_ms) if key not in found else None
                if best is not None:
                    found[key] = best.where, self._beginning(key, best)
            if len(found) == len(self.known):
                break
        return found

    def _last(self, key: Key, said: Sequence[Said], at_ms: int) -> Said | None:
        """The last reading at or before a time that counts."""
        if not self.facts.dated[key[1]].gap_ms:
            return self.known[key].begins(said, at_ms)
        counting = []
        for _t_ms, group in groupby(sorted(s for s in said if s.t <= at_ms), key=lambda s: s.t):
            smallest, integral = next(group), Integral(self.facts.dated[key[1]])
            integral.take([Entry(smallest.t, smallest.register, smallest.unit)])
            counting += [smallest] if integral.points else []
        return counting[-1] if counting else None

    def _beginning(self, key: Key, said: Said) -> Begins:
        """Where the total stands with a reading; what was integrated before a power, only the ledger knows."""
        if self.facts.dated[key[1]].gap_ms:
            return Begins(said.t, said.register, said.register, 0)
        return self.known[key].beginning(said)

    def _backwards(self, at_ms: int) -> Iterator[Sequence[Place]]:
        """Frames beside an edge, those of one time together; the first one after it too: it bears the time of its last block."""
        gateway, until_ms, limit = self.facts.gateway, at_ms + 1, WARM_UP
        beside: Sequence[Place] = self.journal.after(gateway, self.meter, until_ms, 1)
        while chunk := self.journal.before(gateway, self.meter, until_ms, limit):
            first_ms = chunk[-1].t_ms
            yield [*beside, *self.journal.between(gateway, self.meter, first_ms, until_ms)]
            beside, until_ms, limit = (), first_ms, limit * 2
        yield beside

    def _closing(self) -> list[Place]:
        """The frames after the month up to the one that carries every total past its end."""
        end = self.span.end_ms
        begins = self._begins(end)
        judges = {
            key: Integral(dated)
            if (dated := self.facts.dated[key[1]]).gap_ms
            else Judge(dated, begins[key][1] if key in begins else None)
            for key in self.known
        }
        first_ms = min((b.t for _where, b in begins.values()), default=end)
        before = self.journal.between(self.facts.gateway, self.meter, first_ms, end)
        _judge(judges, self._said(before))
        taken: list[Place] = []
        for places, said in self._forwards(end):
            taken += places
            _judge(judges, said)
            waiting = [key for key in judges if not judges[key].points or judges[key].points[-1].t < end]
            undecided = all(
                not judges[key].points or self._is_pending(key, places[-1].t_ms) for key in waiting
            )
            if not waiting or (undecided and len(taken) >= WARM_UP):
                break
        return taken

    def _is_pending(self, key: Key, t_ms: int) -> bool:
        """Whether no frame after a time decides what happened to a total."""
        pending_ms = self.known[key].pending_ms
        return pending_ms is not None and pending_ms <= t_ms

    def _forwards(self, at_ms: int) -> Iterator[tuple[list[Place], dict[Key, list[Said]]]]:
        """The frames from a time on, those of one time together: the smaller of their readings counts, whichever came first."""
        limit = WARM_UP
        while chunk := self.journal.after(self.facts.gateway, self.meter, at_ms, limit):
            last_ms = chunk[-1].t_ms
            whole = self.journal.between(self.facts.gateway, self.meter, at_ms, last_ms + 1)
            said = self._said(whole)
            for _t_ms, group in groupby(whole, key=lambda place: place.t_ms):
                places = list(group)
                of = set(map(_where, places))
                yield places, {key: [s for s in known if s.where in of] for key, known in said.items()}
            at_ms, limit = last_ms + 1, limit * 2

    def _said(self, places: Sequence[Place]) -> dict[Key, list[Said]]:
        """The readings in frames, by total."""
        found: dict[Key, list[Said]] = {key: [] for key in self.known}

        def take(key: Key, where: Where, reading: Reading, unit: Unit) -> None:
            found[key].append(Said(reading.t_ms, reading.register, where, unit))

        reader = Reader({self.meter: self.facts}, take)
        for where in sorted({*self._births(), *map(_where, places)}):
            reader.feed(where, self.journal.records(where[0])[where[1]])
        return found

    def _births(self) -> list[Where]:
        return [
            (offset.segment, offset.index) for offset in self.journal.births(self.facts.gateway, self.meter)
        ]


def _judge(judges: Mapping[Key, Judge | Integral], said: Mapping[Key, Sequence[Said]]) -> None:
    for key, readings in said.items():
        judges[key].take(Entry(s.t, s.register, s.unit) for s in sorted(readings))


def _where(place: Place) -> Where:
    return place.offset.segment, place.offset.index
