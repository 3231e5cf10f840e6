"""Measured + substituted = reported: of the scope's sums, of its accounts, and of every total with a substitution.

Substituted figures come out as differences, so that the sum holds to the last digit of the base unit, the kgce and the µg.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import floor

import msgspec

from factors.coal import kgce
from verification.completeness import MonthTotal
from verification.document import Energy, exact_decimal, ratio_text
from verification.lines import EmissionTotals, EnergyTotal
from verification.substitution_line import ReportedLine

PURCHASED = "purchased_wh"
STANDARD_COAL = "standard_coal_kgce"
_LABELS = {
    PURCHASED: ("购入电量", "Purchased electricity"),
    "grid_import_wh": ("关口购入电量", "Grid import"),
    "resold_wh": ("转供出电量", "Resold"),
    "pv_generation_wh": ("光伏发电量", "PV generation"),
    "export_wh": ("上网电量", "Export"),
    "pv_self_use_wh": ("光伏自用电量", "PV self-use"),
}


class TotalFill(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A total with accepted substitutions."""

    meter: str
    reading_type: str
    unit: str
    substituted: int
    reported: int | None


def fills_of(totals: Iterable[MonthTotal]) -> Iterator[TotalFill]:
    """Those of a scope."""
    for total in totals:
        if total.substituted:
            yield TotalFill(
                meter=total.meter.id,
                reading_type=total.reading_type,
                unit=total.unit,
                substituted=total.substituted,
                reported=total.reported,
            )


def reported_lines(
    reported: Energy,
    substituted: Energy,
    coal: EnergyTotal,
    accounts: Sequence[EmissionTotals],
    evidenced_wh: int,
    totals: Iterable[TotalFill],
) -> tuple[ReportedLine, ...]:
    """Electricity, standard coal, emissions by every method, and then totals."""
    bought = int(substituted.purchased_wh or 0)
    lines = [
        _line("energy", name, labels, "Wh", getattr(reported, name), getattr(substituted, name) or "0")
        for name, labels in _LABELS.items()
        if getattr(reported, name) != "0"
        or getattr(substituted, name) not in {None, "0"}
        or name == PURCHASED
    ]
    burnt = exact_decimal(kgce("electricity", bought))
    known = coal.standard_coal_kgce
    lines.append(
        _line(
            "energy",
            STANDARD_COAL,
            ("综合能源消费量（当量值）", "Energy, calorific value"),
            "kgce",
            known,
            burnt,
        )
    )
    lines += [_emission(line, reported.purchased_wh, bought, evidenced_wh) for line in accounts]
    lines += [_total(total) for total in totals]
    return tuple(lines)


def _emission(
    line: EmissionTotals, reported_wh: str | None, substituted_wh: int, evidenced_wh: int
) -> ReportedLine:
    """What the account would be without what was substituted: evidenced power is evidenced all the same."""
    part = 0
    if reported_wh is not None and line.factor_ug_per_wh is not None:
        ratio = Fraction(line.factor_ug_per_wh)
        rest = int(reported_wh) - (evidenced_wh if line.use in {"standard", "market"} else 0)
        part = floor(rest * ratio) - floor((rest - substituted_wh) * ratio)
    return _line("emission", line.use, (line.label_zh, line.label_en), "ug", line.including_ug, str(part))


def _total(fill: TotalFill) -> ReportedLine:
    name = f"{fill.meter}/{fill.reading_type}"
    whole = None if fill.reported is None else str(fill.reported)
    return _line("total", name, (fill.meter, fill.reading_type), fill.unit, whole, str(fill.substituted))


def _line(
    kind: str, name: str, labels: tuple[str, str], unit: str, reported: str | None, substituted: str
) -> ReportedLine:
    whole, part = None if reported is None else Fraction(reported), Fraction(substituted)
    return ReportedLine(
        id=name,
        kind=kind,  # type: ignore[arg-type]  # one of the three, given above
        label_zh=labels[0],
        label_en=labels[1],
        unit=unit,
        measured=None if whole is None else exact_decimal(whole - part),
        substituted=substituted,
        reported=reported,
        share=None if not whole else ratio_text(part / whole),
    )
