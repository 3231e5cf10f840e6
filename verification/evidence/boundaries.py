"""The figures that add meters up, again: formulas, roles, parents, emissions, days and enterprises."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import floor
from zoneinfo import ZoneInfo

from metering.intervals import Span, to_local
from metering.reading_types import READING_TYPES
from metering.roles import Role
from verification.completeness import total_of
from verification.document import Energy, MonthDocument, count_text, exact_decimal
from verification.evidence.births import Key
from verification.evidence.facts import ELECTRIC, Difference, Facts, Formula, unlike

_WH_PER_KWH = 1000
_SOURCES = frozenset({Role.PV_GENERATION})


Of = Callable[[Key], int | None]
"""What of a total's month counts."""


class Boundaries:
    """A document's sums over meters.

    `energy` gives a total's month, or one day of it, as measured; None when it is not covered. `reported` and `substituted` give
    its month with, and the part of, substitutions.
    """

    def __init__(
        self,
        document: MonthDocument,
        facts: Facts,
        days: Sequence[Span],
        energy: Callable[[Key, Span | None], int | None],
        reported: Of,
        substituted: Of,
    ) -> None:
        self._document, self._facts, self._days, self._energy = document, facts, days, energy
        self._reported, self._substituted = reported, substituted
        self._zone = ZoneInfo(document.zone)

    def differences(self) -> Iterator[Difference]:
        """Every difference, in the order of the document."""
        yield from self._of_energy()
        yield from self._of_parents()
        yield from self._of_emissions()
        yield from self._of_days()
        yield from self._of_enterprises()

    def reported(self) -> Energy:
        """The scope's electricity as reported."""
        return self._sums(self._reported)

    def substituted(self) -> Energy:
        """What of it was substituted."""
        return self._sums(self._substituted)

    def _measured(self, key: Key) -> int | None:
        return self._energy(key, None)

    def _on(self, day: Span) -> Of:
        return lambda key: self._energy(key, day)

    def _keys(self, role: str, enterprise: str | None = None) -> list[Key]:
        return [
            (meter, kind)
            for meter, facts in self._facts.meters.items()
            for kind, its_role in facts.roles.items()
            if its_role == role
            and READING_TYPES[kind].unit == ELECTRIC
            and (enterprise is None or facts.enterprise == enterprise)
        ]

    def _role(self, role: str, of: Of) -> int | None:
        return total_of(of(key) for key in self._keys(role))

    def _formula(self, formula: Formula, of: Of, enterprise: str | None = None) -> int | None:
        terms = [(sign, key) for role, sign in formula for key in self._keys(role, enterprise)]
        if not any(sign > 0 for sign, _key in terms):
            return None
        parts = [(sign, of(key)) for sign, key in terms]
        return total_of(None if energy is None else sign * energy for sign, energy in parts)

    def _own_formula(self) -> Formula:
        scope = self._document.scope
        return self._facts.formulas.get((scope.kind, scope.id), ())

    def _sums(self, of: Of) -> Energy:
        """Everything but what is unmetered, which only the parents know."""
        purchased = self._formula(self._own_formula(), of)
        inner = {meter for meter, _kind in self._keys(Role.SUB_METER)}
        outer = [key for key in self._keys(Role.SUB_METER) if self._facts.meters[key[0]].parent not in inner]
        per_kwh = Fraction(self._document.energy.standard_coal_kgce_per_kwh)
        coal = None if purchased is None else exact_decimal(per_kwh * purchased / _WH_PER_KWH)
        return Energy(
            purchased_wh=count_text(purchased),
            grid_import_wh=count_text(self._role(Role.GRID_BOUNDARY, of)),
            resold_wh=count_text(self._role(Role.RESOLD, of)),
            pv_generation_wh=count_text(self._role(Role.PV_GENERATION, of)),
            export_wh=count_text(self._role(Role.EXPORT, of)),
            pv_self_use_wh=count_text(self._self_use(of)),
            sub_meter_wh=count_text(total_of(of(key) for key in outer)),
            unmetered_wh=None,
            standard_coal_kgce=coal,
            standard_coal_kgce_per_kwh=self._document.energy.standard_coal_kgce_per_kwh,
        )

    def _of_energy(self) -> Iterator[Difference]:
        said, found = self._document.energy, self._sums(self._measured)
        for name in said.__struct_fields__:
            if name != "unmetered_wh":
                yield from unlike(f"document.json energy.{name}", getattr(said, name), getattr(found, name))

    def _self_use(self, of: Of) -> int | None:
        if not self._keys(Role.PV_GENERATION):
            return 0
        generation, export = self._role(Role.PV_GENERATION, of), self._role(Role.EXPORT, of)
        return None if generation is None or export is None else generation - export

    def _of_parents(self) -> Iterator[Difference]:
        """What is unmetered behind each parent; not where a child belongs to another scope, whose frames are elsewhere."""
        for line in self._document.parents:
            if self._facts.meters[line.parent].children_elsewhere:
                continue
            place, (inflow, outflow) = (
                f"document.json parents[{line.parent}]",
                self._flows(line.parent, self._reported),
            )
            rest = None if inflow is None or outflow is None else inflow - outflow
            yield from unlike(f"{place}.inflow_wh", line.inflow_wh, count_text(inflow))
            yield from unlike(f"{place}.outflow_wh", line.outflow_wh, count_text(outflow))
            yield from unlike(f"{place}.unmetered_wh", line.unmetered_wh, count_text(rest))
        yield from self._of_unmetered()

    def _of_unmetered(self) -> Iterator[Difference]:
        """As measured: nothing where a parent or a child is not."""
        rests: list[int | None] = []
        for line in self._document.parents:
            inflow, outflow = self._flows(line.parent, self._measured)
            known = None if line.unmetered_wh is None else int(line.unmetered_wh)
            if not self._facts.meters[line.parent].children_elsewhere:
                known = None if inflow is None or outflow is None else inflow - outflow
            rests.append(known)
        found = count_text(total_of(rests)) if rests else None
        yield from unlike("document.json energy.unmetered_wh", self._document.energy.unmetered_wh, found)

    def _flows(self, parent: str, of: Of) -> tuple[int | None, int | None]:
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
        return total_of(map(of, into)), total_of(map(of, out))

    def _emission(self, use: str, energy: int | None) -> int | None:
        factor = self._facts.factors.get(use)
        return None if factor is None or energy is None else floor(energy * Fraction(factor.factor_ug_per_wh))

    def _of_emissions(self) -> Iterator[Difference]:
        energy = self._formula(self._own_formula(), self._reported)
        for line in self._document.emissions:
            place, factor = f"document.json emissions[{line.use}]", self._facts.factors.get(line.use)
            yield from unlike(f"{place}.factor_id", line.factor_id, factor.id if factor else None)
            yield from unlike(
                f"{place}.factor_ug_per_wh",
                line.factor_ug_per_wh,
                factor.factor_ug_per_wh if factor else None,
            )
            yield from unlike(f"{place}.energy_wh", line.energy_wh, count_text(energy))
            yield from unlike(
                f"{place}.emission_ug", line.emission_ug, count_text(self._emission(line.use, energy))
            )

    def _of_days(self) -> Iterator[Difference]:
        names = [to_local(day.start_ms, self._zone).date().isoformat() for day in self._days]
        yield from unlike("document.json daily", [line.day for line in self._document.daily], names)
        running, use = 0, self._document.scope.kind
        for line, day in zip(self._document.daily, self._days, strict=False):
            energy = self._formula(self._own_formula(), self._on(day))
            before, after = self._emission(use, running), self._emission(use, running + (energy or 0))
            known = energy is not None and before is not None and after is not None
            running += energy or 0
            place = f"document.json daily[{line.day}]"
            yield from unlike(f"{place}.energy_wh", line.energy_wh, count_text(energy))
            yield from unlike(
                f"{place}.emission_ug", line.emission_ug, str((after or 0) - (before or 0)) if known else None
            )

    def _of_enterprises(self) -> Iterator[Difference]:
        for line in self._document.enterprises:
            place = f"document.json enterprises[{line.id}]"
            formula = self._facts.formulas.get(("enterprise", line.id), ())
            said = (line.purchased_wh, line.substituted_wh, line.reported_wh)
            ways = (self._measured, self._substituted, self._reported)
            found = [self._formula(formula, of, line.id) for of in ways]
            for name, its, energy in zip(("purchased", "substituted", "reported"), said, found, strict=True):
                yield from unlike(f"{place}.{name}_wh", its, count_text(energy))
            energy = found[-1]
            yield from unlike(
                f"{place}.emission_ug", line.emission_ug, count_text(self._emission("enterprise", energy))
            )
            provincial = count_text(self._emission("park", energy))
            yield from unlike(f"{place}.provincial_emission_ug", line.provincial_emission_ug, provincial)
