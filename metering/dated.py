"""What the registry declares about one total over time: ratio segments and exchanges, in UTC milliseconds.

The raw frames never carry ratios, so a declared change applies to whatever was read after it, also years later.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metering.intervals import to_ms
from metering.reading_types import READING_TYPES
from metering.registry import Exchange, Meter, RatioChange
from metering.units import UNITS

DISPLAY_UNITS = {"Wh": "kWh", "varh": "kvarh", "L": "m3", "kJ": "GJ"}
"""Base unit → the unit in which displays and forms show a total."""


class Segment(NamedTuple):
    """Readings after `since_ms` are multiplied by `ratio`; one of the very moment belongs to the segment before."""

    since_ms: int
    ratio: Fraction


class Swap(NamedTuple):
    """An exchange as one total sees it. Totals in base units on the meter's own side, before any ratio."""

    at_ms: int
    closing: Fraction
    opening: Fraction


class DeclaredTotal(NamedTuple):
    """Everything dated about one total; segments and swaps in time order, the first segment from the beginning of time."""

    segments: tuple[Segment, ...]
    swaps: tuple[Swap, ...] = ()

    def ratio_at(self, t_ms: int) -> Fraction:
        """The ratio of a reading taken at `t_ms` ≥ 0."""
        return next(s.ratio for s in reversed(self.segments) if s.since_ms < t_ms)

    def entries(self) -> Iterator[tuple[int, str]]:
        """(time, what is declared) one by one, for comparing two registries."""
        for segment in self.segments:
            yield segment.since_ms, f"ratio {segment.ratio}"
        for swap in self.swaps:
            yield swap.at_ms, f"exchange {swap.closing} {swap.opening}"


def declared_total(meter: Meter, reading_type: str, zone: ZoneInfo) -> DeclaredTotal:
    """What the registry declares about a total of a meter."""
    dated: list[RatioChange | Exchange] = [*meter.ratio_changes, *meter.exchanges]
    changes = sorted(((moment_ms(c.at, zone), c) for c in dated), key=lambda pair: pair[0])
    ct, pt = meter.ct, meter.pt
    segments = [Segment(-1, transformer_ratio(ct, pt, reading_type))]
    for at_ms, change in changes:
        ct, pt = change.ct or ct, change.pt or pt
        ratio = transformer_ratio(ct, pt, reading_type)
        if ratio != segments[-1].ratio:
            segments.append(Segment(at_ms, ratio))
    swaps = [
        Swap(
            at_ms, _base(c.closing[reading_type], reading_type), _base(c.opening[reading_type], reading_type)
        )
        for at_ms, c in changes
        if isinstance(c, Exchange) and reading_type in c.closing
    ]
    return DeclaredTotal(tuple(segments), tuple(swaps))


class Ratios(NamedTuple):
    """Transformers of a meter after `since_ms` (−1: from the commissioning on)."""

    since_ms: int
    ct: Fraction
    pt: Fraction
    reason: str


def ratio_history(meter: Meter, zone: ZoneInfo) -> list[Ratios]:
    """The transformers of a meter over time, as the registry declares them now."""
    dated: list[RatioChange | Exchange] = [*meter.ratio_changes, *meter.exchanges]
    found = [Ratios(-1, meter.ct, meter.pt, "")]
    for at_ms, change in sorted(((moment_ms(c.at, zone), c) for c in dated), key=lambda pair: pair[0]):
        ct, pt = change.ct or found[-1].ct, change.pt or found[-1].pt
        if (ct, pt) != found[-1][1:3]:
            found.append(Ratios(at_ms, ct, pt, change.reason))
    return found


def current_serial(meter: Meter, zone: ZoneInfo) -> str:
    """The serial number of the meter that hangs there by the registry; empty while it names none."""
    if not meter.exchanges:
        return meter.serial
    return max(meter.exchanges, key=lambda exchange: moment_ms(exchange.at, zone)).serial


def moment_ms(moment: datetime, zone: ZoneInfo) -> int:
    """UTC milliseconds of a declared moment; one without offset is the park's local time."""
    return to_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))


def transformer_ratio(ct: Fraction, pt: Fraction, reading_type: str) -> Fraction:
    """CT × PT for powers and energies, CT for currents, PT for voltages, 1 for what transformers do not touch."""
    if reading_type.startswith(("energy_", "reactive_", "power_active", "power_reactive", "power_apparent")):
        return ct * pt
    if reading_type.startswith("current_"):
        return ct
    return pt if reading_type.startswith("voltage_") else Fraction(1)


def _base(shown: Decimal, reading_type: str) -> Fraction:
    return Fraction(shown) * UNITS[DISPLAY_UNITS[READING_TYPES[reading_type].unit]].factor
