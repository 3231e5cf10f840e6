"""What the step is told about the world: the registry with everything dated in it, and the factors in force."""

from bisect import bisect_left, bisect_right
from fractions import Fraction
from math import ceil

import msgspec

from metering.dated import DeclaredTotal, Swap, declared_total
from metering.reading_types import INTEGRATED, READING_TYPES
from metering.registry import Meter, Park
from stream.binding import LIMIT, Binding, Power
from stream.kernels import columns as c
from stream.policy import Policy

Key = tuple[str, str]
"""Meter and reading type."""
Term = list[int]
"""A row of the kernels' table of terms, its channel left open."""

_PER_HOUR = {"Wh": Fraction(1), "varh": Fraction(1), "kJ": Fraction("3.6")}
"""Base units that 1 W makes in an hour. No power bounds a volume."""


MOST_POWER = 1 << 50
"""Of mW: a terawatt. Centuries of it stay below 2^62 Wh."""


class Swapping(msgspec.Struct, frozen=True):
    """An exchange as the kernels take it: each side's count, the terms of its display, and the segment it falls into."""

    at_ms: int
    closing: int
    closing_terms: list[Term]
    closing_segment: int
    opening: int
    opening_terms: list[Term]
    opening_segment: int


class Registry:
    """The park and everything dated in it. What follows from a declaration is worked out once and kept."""

    def __init__(self, park: Park) -> None:
        self.park = park
        self.meters: dict[str, Meter] = {meter.id: meter for meter in park.meters}
        self.exchanged = {meter.id for meter in park.meters if meter.exchanges}
        """Meters with a declared exchange."""
        self._declared: dict[Key, DeclaredTotal] = {}
        self._shown: dict[Key, list[float]] = {}
        self._terms: dict[Binding, list[Term]] = {}
        self._swaps: dict[Key, list[Swapping]] = {}

    def role(self, key: Key) -> str | None:
        """The role of a total; None when the registry gives it none."""
        meter = self.meters.get(key[0])
        return None if meter is None else meter.roles.get(key[1])

    def declared(self, key: Key) -> DeclaredTotal:
        """What the registry declares about a total of one of its meters."""
        if key not in self._declared:
            self._declared[key] = declared_total(self.meters[key[0]], key[1], self.park.tz)
        return self._declared[key]

    def ratio_at(self, key: Key, t_ms: int) -> float:
        """CT × PT of a total at a moment, to show it."""
        if key not in self._shown:
            self._shown[key] = [float(segment.ratio) for segment in self.declared(key).segments]
        ratios = self._shown[key]
        return ratios[0] if len(ratios) == 1 else float(self.declared(key).ratio_at(t_ms))

    def entries(self, key: Key) -> list[tuple[int, str]]:
        """Everything that the rows of a total are made with, by the time from which it counts."""
        first = [(-1, f"role {self.role(key)}")]
        if key[1] in INTEGRATED.values():
            first.append((-1, f"gap {self.meters[key[0]].power_gap_s} s"))
        return [*first, *self.declared(key).entries()]

    def terms(self, binding: Binding) -> list[Term]:
        """How a total is counted, one row per ratio segment; none when it leaves 62 bits under one of them."""
        if binding not in self._terms:
            if binding.power is None:
                base, key = Fraction(binding.num, binding.den), (binding.meter, binding.reading_type)
                self._terms[binding] = self._segments(key, base, binding.modulus)
            else:
                self._terms[binding] = self._power_terms(binding, binding.power)
        return self._terms[binding]

    def _power_terms(self, binding: Binding, power: Power) -> list[Term]:
        """As of a total, in mW; with the flow's direction and the longest gap."""
        key, gap_ms = (binding.meter, binding.total or ""), self.meters[binding.meter].power_gap_s * 1000
        rows = self._segments(key, Fraction(power.num, power.den), 0)
        return [[*row[: c.T_LIMIT], MOST_POWER, power.sign, gap_ms] for row in rows]

    def swaps(self, key: Key) -> list[Swapping]:
        """The declared exchanges of a total, in time order."""
        if key not in self._swaps:
            self._swaps[key] = [self._swapping(key, swap) for swap in self.declared(key).swaps]
        return self._swaps[key]

    def _swapping(self, key: Key, swap: Swap) -> Swapping:
        closing, opening = self._side(key, swap.closing), self._side(key, swap.opening)
        since = [segment.since_ms for segment in self.declared(key).segments]
        before, after = bisect_left(since, swap.at_ms) - 1, bisect_right(since, swap.at_ms) - 1
        return Swapping(swap.at_ms, *closing, before, *opening, after)

    def _side(self, key: Key, shown: Fraction) -> tuple[int, list[Term]]:
        count, parts = shown.as_integer_ratio()
        terms = self._segments(key, Fraction(1, parts), 0)
        if not terms or max(shown * segment.ratio for segment in self.declared(key).segments) >= LIMIT:
            msg = (
                f"meter {key[0]}: the registry's exchange shows a {key[1]} that cannot be counted in 62 bits"
            )
            raise ValueError(msg)
        return count, terms

    def _segments(self, key: Key, base: Fraction, modulus: int) -> list[Term]:
        meter, segments = self.meters[key[0]], self.declared(key).segments
        per_hour = _PER_HOUR.get(READING_TYPES[key[1]].unit, Fraction(0)) * (meter.max_power_w or 0)
        out = []
        for i, (since, ratio) in enumerate(segments):
            unit, step = base * ratio, ratio / segments[i - 1].ratio if i else Fraction(1)
            turn = int(modulus * unit)
            row = [
                -1,
                i,
                since,
                *unit.as_integer_ratio(),
                *step.as_integer_ratio(),
                ceil(per_hour),
                ceil(unit),
            ]
            within = min(int(LIMIT * ratio / earlier.ratio) for earlier in segments[: i + 1])
            out.append([*row, turn if turn < LIMIT else 0, min(within, LIMIT), 0, 0])
        return [] if any(max(row[c.T_NUM : c.T_POWER]) >= LIMIT for row in out) else out


class Context(Registry):
    """Registry and factors."""

    def __init__(self, park: Park, policy: Policy) -> None:
        super().__init__(park)
        self.policy = policy
