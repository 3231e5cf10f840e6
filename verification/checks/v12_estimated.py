"""V12: how much of the energy is estimated in its shape, or comes from bills and estimates instead of meters."""

from fractions import Fraction

from verification.checks.case import Case, Rule, ids, row
from verification.checks.thresholds import limit
from verification.document import CheckLine, CheckOutcome, half_up

RULE = Rule(
    "V12", "估算与人工数据占比", "Share of estimated energy", "minor", "estimated ÷ energy, over the boundary's meters", ("V12",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FINDING above the limit: the month is qualified."""
    roles = {term.role for term in case.boundary.formula}
    mine = [t for t in case.meters if t.electric and t.role in roles]
    energy = sum(total.stored or 0 for total in mine)
    estimated = sum(total.estimated for total in mine)
    share = Fraction(estimated, energy) if energy else Fraction(0)
    typed = [line.id for line in case.fuels] + [line.id for line in case.heat if line.basis != "metered"]
    outcome: CheckOutcome = "FINDING" if share > limit("V12") else "PASS"
    if not mine:
        outcome = "INSUFFICIENT_DATA"
    return RULE.line(
        outcome,
        f"{half_up(share * 100, 1)} %",
        f"边界电量中区间形状为估算的占 {half_up(share * 100, 1)} %（月度总量仍由表底数确定）；人工填报的能源 {len(typed)} 项",
        f"{half_up(share * 100, 1)} % of the boundary's electricity has an estimated shape (its sum is the meters'); "
        f"{len(typed)} energies were reported by hand",
        meters=ids(t for t in mine if t.estimated),
        inputs={"energy_wh": energy, "estimated_wh": estimated, "reported_by_hand": len(typed)},
        evidence=(row(t, t.summary.longest_gap, t.estimated, t.stored) for t in mine if t.estimated),
    )
