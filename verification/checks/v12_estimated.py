"""V12: how much of the energy is estimated in its shape, was substituted, or comes from bills and estimates instead of meters."""

from fractions import Fraction

from verification.checks.case import Case, Rule, ids, row
from verification.checks.thresholds import limit
from verification.document import CheckLine, CheckOutcome, half_up

RULE = Rule(
    "V12", "估算与人工数据占比", "Share of estimated energy", "minor",
    "(estimated + substituted) ÷ (measured + substituted), over the boundary's meters", ("V12",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FINDING above the limit: the month is qualified."""
    roles = {term.role for term in case.boundary.formula}
    mine = [t for t in case.meters if t.electric and t.role in roles]
    substituted = sum(total.substituted for total in mine)
    energy = sum(total.counted or 0 for total in mine) + substituted
    estimated = sum(total.estimated for total in mine)
    share = Fraction(estimated + substituted, energy) if energy else Fraction(0)
    shown, alone = (f"{half_up(part * 100, 1)} %" for part in (share, Fraction(substituted, energy or 1)))
    typed = [line.id for line in case.fuels] + [line.id for line in case.heat if line.basis != "metered"]
    outcome: CheckOutcome = "FINDING" if share > limit("V12") else "PASS"
    if not mine:
        outcome = "INSUFFICIENT_DATA"
    return RULE.line(
        outcome,
        shown,
        f"边界电量中区间形状为估算（月度总量仍由表底数确定）或经数据替代的占 {shown}，其中数据替代 {alone}；人工填报的能源 {len(typed)} 项",
        f"{shown} of the boundary's electricity has an estimated shape (its sum is the meters') or was substituted ({alone}); "
        f"{len(typed)} energies were reported by hand",
        meters=ids(t for t in mine if t.estimated or t.substituted),
        inputs={
            "energy_wh": energy, "estimated_wh": estimated, "substituted_wh": substituted, "reported_by_hand": len(typed),
        },
        evidence=(row(t, t.summary.longest_gap, t.estimated + t.substituted, t.stored) for t in mine if t.estimated or t.substituted),
    )  # fmt: skip
