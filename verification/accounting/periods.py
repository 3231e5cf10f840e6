"""Energy by time-of-use period: of every total that the formula counts, and of the scope. The periods add up to the month."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from zoneinfo import ZoneInfo

from metering.intervals import HOUR_MS, QUARTER_MS, iso
from metering.periods import CODES, NONE
from verification.completeness import Boundary
from verification.document import count_text, ratio_text
from verification.intervals import PeriodSum
from verification.tariff_lines import PeriodLine

ORDER = (*range(1, len(CODES)), NONE)
"""Dearest first; what no calendar covers last."""


@dataclass(frozen=True, slots=True)
class TotalPeriods:
    """A total of a formula and what it counted by period."""

    meter: str
    reading_type: str
    role: str
    sign: int
    energy: int | None
    """Base units of the month; None when it is not determined."""
    estimated: int
    parts: Mapping[int, PeriodSum] | None
    """By code; None without a calendar."""

    def of(self, code: int) -> PeriodSum | None:
        """What belongs to a period. Without a calendar everything belongs to none."""
        if self.parts is None:
            return PeriodSum(self.energy or 0, self.estimated) if code == NONE else None
        return self.parts.get(code)


def period_lines(boundary: Boundary, zone: ZoneInfo) -> tuple[PeriodLine, ...]:
    """The scope's lines and then those of its totals; none where nothing has a calendar."""
    return lines_of(
        [
            TotalPeriods(
                total.meter.id, total.reading_type, total.role.value, term.sign, total.energy, total.estimated,
                total.summary.periods,
            )
            for term in boundary.formula
            for total in boundary.of_role(term.role)
        ],
        zone,
    )  # fmt: skip


def lines_of(totals: Sequence[TotalPeriods], zone: ZoneInfo) -> tuple[PeriodLine, ...]:
    """The same from totals, wherever they come from."""
    if all(total.parts is None for total in totals):
        return ()
    return (*_scope(totals), *(line for total in totals for line in _total(total, zone)))


def _scope(totals: Sequence[TotalPeriods]) -> Iterator[PeriodLine]:
    if not any(total.sign > 0 for total in totals):
        return
    known = all(total.energy is not None for total in totals)
    whole = sum(total.sign * (total.energy or 0) for total in totals)
    for code in ORDER:
        parts = [(total.sign, part) for total in totals if (part := total.of(code)) is not None]
        if parts:
            energy = sum(sign * part.energy for sign, part in parts)
            yield PeriodLine(
                id=f"scope/{CODES[code] or ''}",
                meter="",
                reading_type="",
                role="",
                period=CODES[code] or "",
                energy_wh=count_text(energy) if known else None,
                estimated_wh=str(sum(part.estimated for _sign, part in parts)) if known else None,
                share=_share(energy, whole) if known else None,
            )


def _total(total: TotalPeriods, zone: ZoneInfo) -> Iterator[PeriodLine]:
    for code in ORDER if total.parts is not None else ():
        part = total.of(code)
        if part is not None:
            known = total.energy is not None
            peak = part.peak if known else None
            yield PeriodLine(
                id=f"{total.meter}/{CODES[code] or ''}",
                meter=total.meter,
                reading_type=total.reading_type,
                role=total.role,
                period=CODES[code] or "",
                energy_wh=str(part.energy) if known else None,
                estimated_wh=str(part.estimated) if known else None,
                share=_share(part.energy, total.energy),
                max_demand_w=None if peak is None else str(peak.energy * HOUR_MS // QUARTER_MS),
                max_demand_at="" if peak is None else iso(peak.start_ms, zone),
            )


def _share(energy: int, whole: int | None) -> str | None:
    return ratio_text(Fraction(energy, whole)) if whole else None
