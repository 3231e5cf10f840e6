"""The document's figures again, from replayed totals: every one that differs, by its place."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from math import floor
from typing import NamedTuple
from zoneinfo import ZoneInfo

from factors.series import Part
from metering.dated import transformer_ratio
from metering.intervals import QUARTER_MS, Span, iso, local_day
from metering.reading_types import INTEGRATED, READING_TYPES
from metering.roles import Role
from verification.accounting.substitutions import Holes
from verification.document import Bracket, FactorLine, MeterLine, MonthDocument, count_text
from verification.evidence.births import Key
from verification.evidence.boundaries import Boundaries
from verification.evidence.declared import DeclaredRecount
from verification.evidence.facts import ELECTRIC, Difference, Facts, unlike
from verification.evidence.filling import Filling
from verification.evidence.frozen import frozen_spans, marked
from verification.evidence.judge import Event
from verification.evidence.periods import PeriodRecount
from verification.evidence.powers import PowerTotal
from verification.evidence.replay import Replay, Where
from verification.evidence.stored import NOTHING_STORED, Stored
from verification.evidence.sums import Sums
from verification.evidence.total import ADJUSTING, TOLD, Reading, Told
from verification.intervals import PeriodSum, holes_between, on_quarters
from verification.substitution_line import SubstitutionLine

_PLACES = 10_000


class Share(NamedTuple):
    """What another process found for its meters."""

    sums: dict[Key, Sums]
    told: dict[Key, Told]
    cited: dict[tuple[Key, Where], Reading | None]
    first: Difference | None
    frames: int
    intervals: int
    periods: dict[Key, dict[int, PeriodSum]]
    declared: dict[Key, dict[int, Part]]


class Recount:
    """A month's figures from replayed totals. `differences` yields in the order of the document.

    `ledger` has the rows of the replay's own meters; those of others come as a share.
    """

    def __init__(
        self, document: MonthDocument, facts: Facts, replay: Replay, ledger: Iterable[tuple[Key, Stored]]
    ) -> None:
        self._document, self._facts, self._replay, self._ledger = document, facts, replay, ledger
        self._span = Span(document.start_ms, document.end_ms)
        self._zone = ZoneInfo(document.zone)
        self._days = list(_days(self._span, self._zone))
        self._sums: dict[Key, Sums] = {}
        self._periods = PeriodRecount(document, facts)
        self._declared = DeclaredRecount(document, facts)
        self._ratios = {factor_id: ratio.as_integer_ratio() for factor_id, ratio in facts.ratios.items()}
        self._filling = Filling(self._span, ())
        self.intervals = 0
        """How many stored intervals were held against the frames."""

    def share(self) -> Share:
        """The intervals of the replay's own meters."""
        first = next(self._of_ledger(), None)
        told = {key: total.told for key, total in self._replay.totals.items()}
        return Share(
            self._sums,
            told,
            self._replay.cited,
            first,
            self._replay.frames,
            self.intervals,
            self._periods.parts(told),
            self._declared.parts(told),
        )

    def _join(self, share: Share) -> None:
        self._sums |= share.sums
        self._replay.join(share.told, share.cited, share.frames)
        self.intervals += share.intervals
        self._periods.join(share.periods)
        self._declared.join(share.declared)

    def differences(
        self,
        rest: Callable[[], Share | None] = lambda: None,
        written: Callable[[Holes], Sequence[SubstitutionLine]] = lambda _holes: (),
    ) -> Iterator[Difference]:
        """The first difference: registry, then intervals, then what is made of them.

        `rest` waits for the other process; `written` gives the substitutions of the month.
        """
        yield from self._of_registry()
        first = next(self._of_ledger(), None)
        if (share := rest()) is not None:
            self._join(share)
            first = first or share.first
        yield from self._of_opening()
        if first is not None:
            yield first
            return
        self._filling = Filling(self._span, written(self.holes))
        for line in self._document.meters:
            yield from self._of_meter(line)
            yield from self._of_balance(line)
        yield from self._periods.differences(self.energy, lambda key: self._sums[key].estimated)
        yield from self._declared.differences(self.energy)
        yield from self.boundaries.differences()

    @property
    def boundaries(self) -> Boundaries:
        """The sums over meters."""
        return Boundaries(
            self._document, self._facts, self._days, self.energy, self.reported, self.substituted
        )

    def _of_registry(self) -> Iterator[Difference]:
        listed = {(line.meter, line.reading_type) for line in self._document.meters}
        known = {(meter, kind) for meter, facts in self._facts.meters.items() for kind in facts.roles}
        yield from unlike("document.json meters", sorted(listed), sorted(known))
        for meter, facts in self._facts.meters.items():
            for kind, dated in facts.dated.items():
                first = transformer_ratio(facts.ct, facts.pt, kind)
                yield from unlike(f"registry/ratios.csv {meter}/{kind}", dated.segments[0][1], first)
        scope = self._document.scope
        said = tuple((term.role, term.sign) for term in self._document.formula)
        yield from unlike("document.json formula", said, self._facts.formulas.get((scope.kind, scope.id)))
        for line in self._document.factors:
            yield from unlike(f"document.json factors[{line.use}]", line, self._facts.factors.get(line.use))

    def _of_opening(self) -> Iterator[Difference]:
        """Each is in the frames as told; where it stands is the ledger's word, a last digit apart."""
        for key, (where, begins) in self._facts.opening.items():
            reading = self._replay.cited.get((key, where))
            found = (reading.t_ms, reading.register) if reading else None
            yield from unlike(f"opening.csv {_named(key)}", (begins.t, begins.register), found)
            above = begins.position - begins.register - begins.offset
            if reading is not None and not 0 <= above <= reading.grain:
                place = f"opening.csv {_named(key)} position"
                yield Difference(place, str(begins.position), str(begins.register + begins.offset))

    def _of_ledger(self) -> Iterator[Difference]:
        mine = self._replay.totals
        lines = {
            key: line for line in self._document.meters if (key := (line.meter, line.reading_type)) in mine
        }
        for key, stored in self._ledger:
            if key not in lines or key in self._sums:
                yield Difference("ledger.csv", _named(key), "—")
                return
            yield from self._of_total(key, stored, determined=lines[key].energy_wh is not None)
        for key, line in lines.items():
            if key not in self._sums:
                yield from self._of_total(key, NOTHING_STORED, determined=line.energy_wh is not None)
            yield from self._of_events(key, determined=line.energy_wh is not None)

    def _of_total(self, key: Key, stored: Stored, *, determined: bool) -> Iterator[Difference]:
        """Stored rows against replayed ones. A total without a figure may have been stored less far than its frames go."""
        total = self._replay.totals[key]
        if isinstance(total, PowerTotal):
            total.anchor(stored.stood())
        judged = marked(total.rows(), frozen_spans(self._facts.events.get(key, ())))
        found = judged if determined else judged.until(len(stored))
        for start_ms, name, said, replayed in stored.unlike(found, self._ratios, all_of_them=determined):
            place = f"ledger.csv {_named(key)} {self._time(start_ms)}"
            yield Difference(f"{place} {name}".rstrip(), said, replayed)
        self._sums[key] = Sums.of(found, self._days)
        self._periods.add(key, found)
        self._declared.add(key, found)
        self.intervals += min(len(found), len(stored))

    def _of_events(self, key: Key, *, determined: bool) -> Iterator[Difference]:
        """The ledger's events of the month against those of the replay. A total without a figure may know fewer."""
        said = sorted(e for e in self._facts.events.get(key, ()) if e.kind in TOLD)
        found = sorted(e for e in self._replay.totals[key].told.events if self._is_told(e))
        if not determined:
            found = [event for event in found if event in said]
        if said != found:
            at = next(i for i in range(len(said) + 1) if said[i : i + 1] != found[i : i + 1])
            yield Difference(f"events.csv {_named(key)}", _event(said[at:]), _event(found[at:]))

    def _is_told(self, event: Event) -> bool:
        return event.kind in TOLD and self._span.start_ms <= event.t < self._span.end_ms

    def _of_meter(self, line: MeterLine) -> Iterator[Difference]:
        key = line.meter, line.reading_type
        facts, place = self._facts.meters[line.meter], f"document.json meters[{_named(key)}]"
        yield from unlike(f"{place}.gateway", line.gateway, facts.gateway)
        yield from unlike(f"{place}.role", line.role, facts.roles[line.reading_type])
        yield from unlike(f"{place}.ct", line.ct, str(facts.ct))
        yield from unlike(f"{place}.pt", line.pt, str(facts.pt))
        yield from unlike(f"{place}.unit", line.unit, READING_TYPES[line.reading_type].unit)
        sums = self._sums[key]
        if sums.first is None or sums.last is None:
            for name in ("opening_wh", "closing_wh", "energy_wh", "emission_ug"):
                yield from unlike(f"{place}.{name}", getattr(line, name), None)
            return
        yield from unlike(f"{place}.opening_wh", line.opening_wh, str(sums.first.opening))
        yield from unlike(f"{place}.opening_at", line.opening_at, self._time(sums.first.start_ms))
        if line.energy_wh is not None:
            yield from self._of_figures(line, place, sums)

    def _of_figures(self, line: MeterLine, place: str, sums: Sums) -> Iterator[Difference]:
        assert sums.last is not None  # noqa: S101  the caller has looked
        yield from unlike(f"{place}.closing_wh", line.closing_wh, str(sums.last.closing))
        yield from unlike(f"{place}.closing_at", line.closing_at, self._time(sums.last.start_ms + QUARTER_MS))
        energy = self.energy((line.meter, line.reading_type))
        yield from unlike(f"{place}.energy_wh", line.energy_wh, count_text(energy))
        factor = self._factor_of(line)
        emission = (
            floor(energy * Fraction(factor.factor_ug_per_wh)) if factor and energy is not None else None
        )
        yield from unlike(f"{place}.factor_id", line.factor_id, factor.id if factor else None)
        yield from unlike(
            f"{place}.factor_ug_per_wh", line.factor_ug_per_wh, factor.factor_ug_per_wh if factor else None
        )
        yield from unlike(f"{place}.emission_ug", line.emission_ug, count_text(emission))
        expected = (self._span.end_ms - self._span.start_ms) // QUARTER_MS
        yield from unlike(f"{place}.points_read", line.points_read, sums.points)
        yield from unlike(f"{place}.points_expected", line.points_expected, expected)
        yield from unlike(
            f"{place}.completeness", line.completeness, sums.points * _PLACES // expected / _PLACES
        )
        yield from unlike(f"{place}.estimated_wh", line.estimated_wh, str(sums.estimated))

    def _factor_of(self, line: MeterLine) -> FactorLine | None:
        if line.unit != ELECTRIC:
            return None
        use = line.role if line.role in {Role.PV_GENERATION, Role.EXPORT} else self._document.scope.kind
        return self._facts.factors.get(str(use))

    def energy(self, key: Key, day: Span | None = None) -> int | None:
        """Base units of a total's month or of one day of it; None unless it is covered."""
        sums, told = self._sums[key], self._replay.totals[key].told
        asked, near = day or self._span, told.nearest
        if sums.first is None or any(
            g.start_ms < asked.end_ms and g.end_ms > asked.start_ms for g in told.gaps
        ):
            return None
        if day is not None:
            starts_here = near[0] is None and day.start_ms <= sums.first.start_ms < day.end_ms
            energy, covered = sums.days.get(day.start_ms, (0, 0))
            return energy if covered == day.end_ms - day.start_ms and not starts_here else None
        enclosed = None not in near and sums.first.start_ms == self._span.start_ms
        covered = sum(ms for _energy, ms in sums.days.values())
        return (
            sums.energy
            if enclosed and sums.whole and covered == self._span.end_ms - self._span.start_ms
            else None
        )

    def day(self, key: Key, day: Span) -> int | None:
        """Base units of a local day whose intervals are all there and closed."""
        energy, covered = self._sums[key].days.get(day.start_ms, (0, 0)) if key in self._sums else (0, 0)
        return energy if covered == day.end_ms - day.start_ms else None

    def substituted(self, key: Key) -> int:
        """Base units of the accepted substitutions."""
        return self._filling.substituted(key)

    def reported(self, key: Key) -> int | None:
        """Measured + substituted; None unless they cover the month together."""
        energy = self.energy(key)
        return self._filled(key) if energy is None else energy

    def _filled(self, key: Key) -> int | None:
        nearest = self._replay.totals[key].told.nearest
        enclosed = nearest[0] is not None, nearest[3] is not None
        if not self._filling.fills(key, self._holes(key), *enclosed):
            return None
        return self._measured(key) + self.substituted(key)

    def holes(self, meter: str, reading_type: str) -> list[Span] | None:
        """What substitutions may stand for; None for a total that is not here."""
        key = meter, reading_type
        return self._holes(key) if key in self._sums else None

    def _holes(self, key: Key) -> list[Span]:
        """What no closed interval covers; of powers, the quarter hours that a gap reaches into."""
        if key[1] in INTEGRATED.values():
            return on_quarters(sorted(self._replay.totals[key].told.gaps), self._span)
        return holes_between(self._sums[key].runs, self._span)

    def _measured(self, key: Key) -> int:
        """Base units beside substitutions: of the closed intervals; of powers, all that was integrated."""
        sums = self._sums[key]
        if key[1] in INTEGRATED.values():
            return sums.energy
        return sum(energy for energy, _covered in sums.days.values())

    def opening(self, key: Key) -> int | None:
        """Where a total's first interval begins, if that is the month's first one."""
        first = self._sums[key].first if key in self._sums else None
        return first.opening if first is not None and first.start_ms == self._span.start_ms else None

    def _of_balance(self, line: MeterLine) -> Iterator[Difference]:
        """The readings beside the edges: that they are in the frames as told, and that none lies nearer."""
        key, balance = (line.meter, line.reading_type), line.balance
        place, near = f"document.json meters[{_named(key)}].balance", self._replay.totals[key].told.nearest
        edges = (
            ("opening", balance.opening_bracket, near[:2]),
            ("closing", balance.closing_bracket, near[2:]),
        )
        for name, brackets, times in edges:
            for bracket, time in zip(brackets, times, strict=False):
                found = self._replay.cited.get((key, (bracket.segment, bracket.index)))
                yield from unlike(f"{place}.{name}_bracket", _said(bracket), _read(found))
                yield from unlike(f"{place}.{name}_bracket.t_ms", bracket.t_ms, time)
        yield from self._of_adjustments(key, line, place)
        told, sums = self._replay.totals[key].told, self._sums[key]
        if told.opening is not None:
            yield from unlike(f"{place}.journal_opening_wh", balance.journal_opening_wh, str(told.opening))
        if told.closing is not None:
            yield from unlike(f"{place}.journal_closing_wh", balance.journal_closing_wh, str(told.closing))
        if line.energy_wh is not None:
            yield from unlike(f"{place}.journal_wh", balance.journal_wh, str(sums.energy))
            yield from unlike(f"{place}.ledger_wh", balance.ledger_wh, str(sums.energy))
        elif self.reported(key) is not None:
            for name in ("journal_wh", "ledger_wh"):
                yield from unlike(f"{place}.{name}", getattr(balance, name), str(self._measured(key)))

    def _of_adjustments(self, key: Key, line: MeterLine, place: str) -> Iterator[Difference]:
        """What changed the register besides energy; a total without a figure lists what the ledger knew."""
        said = sorted((a.t_ms, a.kind, int(a.register_wh), int(a.wh)) for a in line.balance.adjustments)
        events = self._replay.totals[key].told.events
        found = sorted(
            (e.t, e.kind, e.register, e.adjustment)
            for e in events
            if self._is_told(e) and e.kind in ADJUSTING
        )
        if line.energy_wh is not None:
            yield from unlike(f"{place}.adjustments", said, found)
            turns = sum(kind == "rollover" for _t, kind, *_ in found)
            yield from unlike(f"{place}.rollovers", line.balance.rollovers, turns)

    def _time(self, t_ms: int) -> str:
        return iso(t_ms, self._zone)


def _days(span: Span, zone: ZoneInfo) -> Iterator[Span]:
    at = span.start_ms
    while at < span.end_ms:
        yield (day := local_day(at, zone))
        at = day.end_ms


def _named(key: Key) -> str:
    return "/".join(key)


def _said(bracket: Bracket) -> tuple[object, ...]:
    return bracket.t_ms, bracket.raw, int(bracket.count), int(bracket.base_wh)


def _read(reading: Reading | None) -> tuple[object, ...] | None:
    return None if reading is None else (reading.t_ms, repr(reading.raw), reading.counts, reading.shown)


def _event(events: Sequence[Event]) -> str:
    return " ".join(map(str, events[0])) if events else "—"
