"""The document's figures again, from replayed totals: every one that differs, by its place."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from math import floor
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metering.intervals import QUARTER_MS, Span, iso, local_day, to_local
from metering.quality import Quality
from metering.reading_types import READING_TYPES
from metering.roles import Role
from verification.document import Bracket, FactorLine, MeterLine, MonthDocument
from verification.evidence.replay import Key, MeterFacts, Reading, Replay, Row, Where

ELECTRIC = "Wh"
_WH_PER_KWH = 1000
_PLACES = 10_000
_SOURCES = frozenset({Role.PV_GENERATION})
_COMPARED = ("opening", "closing", "coverage_ms", "edge_read", "quality", "closed")
Formula = tuple[tuple[str, int], ...]


class Difference(NamedTuple):
    """A place where what the pack says is not what follows from its frames."""

    place: str
    said: str
    found: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pack's tables say."""

    meters: Mapping[str, MeterFacts]
    formulas: Mapping[tuple[str, str], Formula]
    factors: Mapping[str, FactorLine]
    """By use."""
    ratios: Mapping[str, Fraction]
    """Factor id → µg per base unit."""
    opening: Mapping[Key, tuple[Where, int, int]]


@dataclass(slots=True)
class Sums:
    """What the intervals of one total add up to."""

    first: Row | None = None
    last: Row | None = None
    energy: int = 0
    estimated: int = 0
    points: int = 0
    whole: bool = True
    days: dict[int, tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))
    """Start of a local day → (base units, milliseconds) of its closed intervals."""

    def add(self, row: Row, day_ms: int) -> None:
        if self.first is None:
            self.first = row
        self.last = row
        self.whole &= row.closed
        energy = row.closing - row.opening
        self.energy += energy
        self.estimated += energy if row.quality >= Quality.ESTIMATED else 0
        self.points += row.edge_read and row.closed
        if row.closed:
            known = self.days[day_ms]
            self.days[day_ms] = known[0] + energy, known[1] + QUARTER_MS


def _unlike(place: str, said: object, found: object) -> Iterator[Difference]:
    if said != found:
        yield Difference(place, _shown(said), _shown(found))


def _shown(value: object) -> str:
    return "—" if value is None else str(value)


def _count(value: int | None) -> str | None:
    return None if value is None else str(value)


class Recount:
    """A month's figures from replayed totals. `differences` yields in the order of the document."""

    def __init__(
        self, document: MonthDocument, facts: Facts, replay: Replay, ledger: Iterable[Mapping[str, str]]
    ) -> None:
        self._document, self._facts, self._replay, self._ledger = document, facts, replay, ledger
        self._span = Span(document.start_ms, document.end_ms)
        self._zone = ZoneInfo(document.zone)
        self._days = list(_days(self._span, self._zone))
        self._sums: dict[Key, Sums] = {}
        self.intervals = 0
        """How many stored intervals were held against the frames."""

    def differences(self) -> Iterator[Difference]:
        """Every difference: intervals first, then what is made of them."""
        yield from self._of_registry()
        yield from self._of_opening()
        yield from self._of_ledger()
        for line in self._document.meters:
            yield from self._of_meter(line)
            yield from self._of_balance(line)
        yield from self._of_energy()
        yield from self._of_parents()
        yield from self._of_emissions()
        yield from self._of_days()
        yield from self._of_enterprises()

    def _of_registry(self) -> Iterator[Difference]:
        listed = {(line.meter, line.reading_type) for line in self._document.meters}
        known = {(meter, kind) for meter, facts in self._facts.meters.items() for kind in facts.roles}
        yield from _unlike("document.json meters", sorted(listed), sorted(known))
        scope = self._document.scope
        said = tuple((term.role, term.sign) for term in self._document.formula)
        yield from _unlike("document.json formula", said, self._facts.formulas.get((scope.kind, scope.id)))
        for line in self._document.factors:
            yield from _unlike(f"document.json factors[{line.use}]", line, self._facts.factors.get(line.use))

    def _of_opening(self) -> Iterator[Difference]:
        for key, (where, t_ms, position) in self._facts.opening.items():
            reading = self._replay.cited.get((key, where))
            found = (reading.t_ms, reading.position) if reading else None
            yield from _unlike(f"opening.csv {_named(key)}", (t_ms, position), found)

    def _of_ledger(self) -> Iterator[Difference]:
        lines = {(line.meter, line.reading_type): line for line in self._document.meters}
        groups = groupby(self._ledger, key=lambda row: (row["meter"], row["reading_type"]))
        for key, rows in groups:
            if key not in lines or key in self._sums:
                yield Difference("ledger.csv", _named(key), "—")
                return
            yield from self._of_total(key, rows, determined=lines[key].energy_wh is not None)
        for key in lines:
            if key not in self._sums:
                yield from self._of_total(key, (), determined=lines[key].energy_wh is not None)

    def _of_total(
        self, key: Key, rows: Iterable[Mapping[str, str]], *, determined: bool
    ) -> Iterator[Difference]:
        """Stored rows against replayed ones. A total without a figure may have been stored less far than its frames go."""
        sums = self._sums[key] = Sums()
        stored, days = iter(rows), iter(self._days)
        day = next(days)
        for row in self._replay.totals[key].rows():
            while row.start_ms >= day.end_ms:
                day = next(days)
            told = next(stored, None)
            if told is None and not determined:
                return
            if told is None or determined or (row.closed and told["closed"] == "1"):
                yield from self._of_row(key, row, told)
            sums.add(row, day.start_ms)
            self.intervals += told is not None
        if (more := next(stored, None)) is not None:
            yield Difference(
                f"ledger.csv {_named(key)} {self._time(int(more['start_ms']))}", more["closing"], "—"
            )

    def _of_row(self, key: Key, row: Row, told: Mapping[str, str] | None) -> Iterator[Difference]:
        place = f"ledger.csv {_named(key)} {self._time(row.start_ms)}"
        if told is None:
            yield Difference(place, "—", str(row.closing))
            return
        yield from _unlike(f"{place} start_ms", int(told["start_ms"]), row.start_ms)
        yield from _unlike(f"{place} end_ms", int(told["end_ms"]), row.start_ms + QUARTER_MS)
        for name in _COMPARED:
            yield from _unlike(f"{place} {name}", int(told[name]), int(getattr(row, name)))
        ratio = self._facts.ratios.get(told["factor_id"]) if told["factor_id"] else None
        emission = "" if ratio is None else str(floor(row.closing * ratio) - floor(row.opening * ratio))
        yield from _unlike(f"{place} emission_ug", told["emission_ug"], emission)

    def _of_meter(self, line: MeterLine) -> Iterator[Difference]:
        key = line.meter, line.reading_type
        facts, place = self._facts.meters[line.meter], f"document.json meters[{_named(key)}]"
        yield from _unlike(f"{place}.gateway", line.gateway, facts.gateway)
        yield from _unlike(f"{place}.role", line.role, facts.roles[line.reading_type])
        yield from _unlike(f"{place}.ct", line.ct, str(facts.ct))
        yield from _unlike(f"{place}.pt", line.pt, str(facts.pt))
        yield from _unlike(f"{place}.unit", line.unit, READING_TYPES[line.reading_type].unit)
        sums = self._sums[key]
        if sums.first is None or sums.last is None:
            for name in ("opening_wh", "closing_wh", "energy_wh", "emission_ug"):
                yield from _unlike(f"{place}.{name}", getattr(line, name), None)
            return
        yield from _unlike(f"{place}.opening_wh", line.opening_wh, str(sums.first.opening))
        yield from _unlike(f"{place}.opening_at", line.opening_at, self._time(sums.first.start_ms))
        if line.energy_wh is not None:
            yield from self._of_figures(line, place, sums)

    def _of_figures(self, line: MeterLine, place: str, sums: Sums) -> Iterator[Difference]:
        assert sums.last is not None  # noqa: S101  the caller has looked
        yield from _unlike(f"{place}.closing_wh", line.closing_wh, str(sums.last.closing))
        yield from _unlike(
            f"{place}.closing_at", line.closing_at, self._time(sums.last.start_ms + QUARTER_MS)
        )
        energy = self._energy((line.meter, line.reading_type))
        yield from _unlike(f"{place}.energy_wh", line.energy_wh, _count(energy))
        factor = self._factor_of(line)
        emission = (
            floor(energy * Fraction(factor.factor_ug_per_wh)) if factor and energy is not None else None
        )
        yield from _unlike(f"{place}.factor_id", line.factor_id, factor.id if factor else None)
        yield from _unlike(
            f"{place}.factor_ug_per_wh", line.factor_ug_per_wh, factor.factor_ug_per_wh if factor else None
        )
        yield from _unlike(f"{place}.emission_ug", line.emission_ug, _count(emission))
        expected = (self._span.end_ms - self._span.start_ms) // QUARTER_MS
        yield from _unlike(f"{place}.points_read", line.points_read, sums.points)
        yield from _unlike(f"{place}.points_expected", line.points_expected, expected)
        yield from _unlike(
            f"{place}.completeness", line.completeness, sums.points * _PLACES // expected / _PLACES
        )
        yield from _unlike(f"{place}.estimated_wh", line.estimated_wh, str(sums.estimated))

    def _factor_of(self, line: MeterLine) -> FactorLine | None:
        if line.unit != ELECTRIC:
            return None
        use = line.role if line.role in {Role.PV_GENERATION, Role.EXPORT} else self._document.scope.kind
        return self._facts.factors.get(str(use))

    def _energy(self, key: Key, day: Span | None = None) -> int | None:
        """Base units of a total's month or of one day of it; None unless it is covered."""
        sums, near = self._sums[key], self._replay.totals[key].nearest
        if sums.first is None:
            return None
        if day is not None:
            starts_here = near[0] is None and day.start_ms <= sums.first.start_ms < day.end_ms
            energy, covered = sums.days[day.start_ms]
            return energy if covered == day.end_ms - day.start_ms and not starts_here else None
        enclosed = None not in near and sums.first.start_ms == self._span.start_ms
        covered = sum(ms for _energy, ms in sums.days.values())
        return (
            sums.energy
            if enclosed and sums.whole and covered == self._span.end_ms - self._span.start_ms
            else None
        )

    def _of_balance(self, line: MeterLine) -> Iterator[Difference]:
        """The readings beside the edges: that they are in the frames as told, and that none lies nearer."""
        key, balance = (line.meter, line.reading_type), line.balance
        place, near = f"document.json meters[{_named(key)}].balance", self._replay.totals[key].nearest
        edges = (
            ("opening", balance.opening_bracket, near[:2]),
            ("closing", balance.closing_bracket, near[2:]),
        )
        for name, brackets, times in edges:
            for bracket, time in zip(brackets, times, strict=False):
                found = self._replay.cited.get((key, (bracket.segment, bracket.index)))
                yield from _unlike(f"{place}.{name}_bracket", _said(bracket), _read(found))
                yield from _unlike(f"{place}.{name}_bracket.t_ms", bracket.t_ms, time)
        yield from _unlike(
            f"{place}.journal_opening_wh",
            balance.journal_opening_wh,
            _at_edge(balance.opening_bracket, self._span.start_ms),
        )
        if balance.rollovers:  # The ledger holds such a total back: it has no figure.
            yield from _unlike(f"{place}.rollovers with energy_wh", line.energy_wh, None)
            return
        closing = _at_edge(balance.closing_bracket, self._span.end_ms)
        yield from _unlike(f"{place}.journal_closing_wh", balance.journal_closing_wh, closing)
        if line.energy_wh is not None:
            yield from _unlike(f"{place}.ledger_wh", balance.ledger_wh, str(self._sums[key].energy))

    def _keys(self, role: str, enterprise: str | None = None) -> list[Key]:
        return [
            (meter, kind)
            for meter, facts in self._facts.meters.items()
            for kind, its_role in facts.roles.items()
            if its_role == role
            and READING_TYPES[kind].unit == ELECTRIC
            and (enterprise is None or facts.enterprise == enterprise)
        ]

    def _role(self, role: str) -> int | None:
        return _total(self._energy(key) for key in self._keys(role))

    def _formula(
        self, formula: Formula, day: Span | None = None, enterprise: str | None = None
    ) -> int | None:
        terms = [(sign, key) for role, sign in formula for key in self._keys(role, enterprise)]
        if not any(sign > 0 for sign, _key in terms):
            return None
        parts = [(sign, self._energy(key, day)) for sign, key in terms]
        return _total(None if energy is None else sign * energy for sign, energy in parts)

    def _own_formula(self) -> Formula:
        scope = self._document.scope
        return self._facts.formulas.get((scope.kind, scope.id), ())

    def _of_energy(self) -> Iterator[Difference]:
        energy, place = self._document.energy, "document.json energy"
        purchased = self._formula(self._own_formula())
        yield from _unlike(f"{place}.purchased_wh", energy.purchased_wh, _count(purchased))
        roles = {
            "grid_import_wh": Role.GRID_BOUNDARY,
            "resold_wh": Role.RESOLD,
            "pv_generation_wh": Role.PV_GENERATION,
            "export_wh": Role.EXPORT,
        }
        for name, role in roles.items():
            yield from _unlike(f"{place}.{name}", getattr(energy, name), _count(self._role(role)))
        yield from _unlike(f"{place}.pv_self_use_wh", energy.pv_self_use_wh, _count(self._self_use()))
        inner = {meter for meter, _kind in self._keys(Role.SUB_METER)}
        outer = [key for key in self._keys(Role.SUB_METER) if self._facts.meters[key[0]].parent not in inner]
        yield from _unlike(
            f"{place}.sub_meter_wh", energy.sub_meter_wh, _count(_total(self._energy(key) for key in outer))
        )
        coal = (
            None
            if purchased is None
            else Fraction(energy.standard_coal_kgce_per_kwh) * purchased / _WH_PER_KWH
        )
        said = None if energy.standard_coal_kgce is None else Fraction(energy.standard_coal_kgce)
        yield from _unlike(f"{place}.standard_coal_kgce", said, coal)

    def _self_use(self) -> int | None:
        if not self._keys(Role.PV_GENERATION):
            return 0
        generation, export = self._role(Role.PV_GENERATION), self._role(Role.EXPORT)
        return None if generation is None or export is None else generation - export

    def _of_parents(self) -> Iterator[Difference]:
        """What is unmetered behind each parent; not where a child belongs to another scope, whose frames are elsewhere."""
        for line in self._document.parents:
            if self._facts.meters[line.parent].children_elsewhere:
                continue
            place, (inflow, outflow) = f"document.json parents[{line.parent}]", self._flows(line.parent)
            rest = None if inflow is None or outflow is None else inflow - outflow
            yield from _unlike(f"{place}.inflow_wh", line.inflow_wh, _count(inflow))
            yield from _unlike(f"{place}.outflow_wh", line.outflow_wh, _count(outflow))
            yield from _unlike(f"{place}.unmetered_wh", line.unmetered_wh, _count(rest))
        rests = [
            None if line.unmetered_wh is None else int(line.unmetered_wh) for line in self._document.parents
        ]
        found = _count(_total(rests)) if rests else None
        yield from _unlike("document.json energy.unmetered_wh", self._document.energy.unmetered_wh, found)

    def _flows(self, parent: str) -> tuple[int | None, int | None]:
        into: list[Key] = []
        out: list[Key] = []
        for meter, facts in self._facts.meters.items():
            for kind, role in facts.roles.items():
                if READING_TYPES[kind].unit != ELECTRIC:
                    continue
                export, source = role == Role.EXPORT or kind == "energy_export_total", role in _SOURCES
                if meter == parent and not source:
                    (out if export else into).append((meter, kind))
                elif facts.parent == parent and meter != parent:
                    (into if export or source else out).append((meter, kind))
        return _total(map(self._energy, into)), _total(map(self._energy, out))

    def _emission(self, use: str, energy: int | None) -> int | None:
        factor = self._facts.factors.get(use)
        return None if factor is None or energy is None else floor(energy * Fraction(factor.factor_ug_per_wh))

    def _of_emissions(self) -> Iterator[Difference]:
        energy = self._formula(self._own_formula())
        for line in self._document.emissions:
            place, factor = f"document.json emissions[{line.use}]", self._facts.factors.get(line.use)
            yield from _unlike(f"{place}.factor_id", line.factor_id, factor.id if factor else None)
            yield from _unlike(
                f"{place}.factor_ug_per_wh",
                line.factor_ug_per_wh,
                factor.factor_ug_per_wh if factor else None,
            )
            yield from _unlike(f"{place}.energy_wh", line.energy_wh, _count(energy))
            yield from _unlike(
                f"{place}.emission_ug", line.emission_ug, _count(self._emission(line.use, energy))
            )

    def _of_days(self) -> Iterator[Difference]:
        names = [to_local(day.start_ms, self._zone).date().isoformat() for day in self._days]
        yield from _unlike("document.json daily", [line.day for line in self._document.daily], names)
        running, use = 0, self._document.scope.kind
        for line, day in zip(self._document.daily, self._days, strict=False):
            energy = self._formula(self._own_formula(), day)
            before, after = self._emission(use, running), self._emission(use, running + (energy or 0))
            known = energy is not None and before is not None and after is not None
            running += energy or 0
            place = f"document.json daily[{line.day}]"
            yield from _unlike(f"{place}.energy_wh", line.energy_wh, _count(energy))
            yield from _unlike(
                f"{place}.emission_ug", line.emission_ug, str((after or 0) - (before or 0)) if known else None
            )

    def _of_enterprises(self) -> Iterator[Difference]:
        for line in self._document.enterprises:
            place = f"document.json enterprises[{line.id}]"
            energy = self._formula(self._facts.formulas.get(("enterprise", line.id), ()), None, line.id)
            yield from _unlike(f"{place}.purchased_wh", line.purchased_wh, _count(energy))
            yield from _unlike(
                f"{place}.emission_ug", line.emission_ug, _count(self._emission("enterprise", energy))
            )
            provincial = _count(self._emission("park", energy))
            yield from _unlike(f"{place}.provincial_emission_ug", line.provincial_emission_ug, provincial)

    def _time(self, t_ms: int) -> str:
        return iso(t_ms, self._zone)


def _days(span: Span, zone: ZoneInfo) -> Iterator[Span]:
    at = span.start_ms
    while at < span.end_ms:
        yield (day := local_day(at, zone))
        at = day.end_ms


def _named(key: Key) -> str:
    return "/".join(key)


def _total(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _said(bracket: Bracket) -> tuple[object, ...]:
    return bracket.t_ms, bracket.raw, int(bracket.count), int(bracket.base_wh)


def _read(reading: Reading | None) -> tuple[object, ...] | None:
    return None if reading is None else (reading.t_ms, repr(reading.raw), reading.counts, reading.position)


def _at_edge(brackets: tuple[Bracket, ...], at_ms: int) -> str | None:
    if not brackets:
        return None
    before, after = brackets
    b0, b1 = int(before.base_wh), int(after.base_wh)
    if after.t_ms == before.t_ms:
        return str(b0)
    return str(b0 + (b1 - b0) * (at_ms - before.t_ms) // (after.t_ms - before.t_ms))
