"""V06: what the children measured against what their parent did. A loss within the band is normal, and shown."""

from fractions import Fraction

from verification.checks.case import Case, Rule
from verification.checks.thresholds import limit
from verification.completeness import as_reported, pv_self_use
from verification.document import CheckLine, CheckOutcome, ParentLine, half_up
from verification.lines import Evidence

RULE = Rule(
    "V06", "总表与分表平衡", "Parent meters against their children", "minor",
    "|inflow − outflow| ÷ inflow, per parent; the largest decides", ("V06",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FINDING beyond the band, or when more is exported than generated."""
    exceeds = (pv_self_use(case.boundary, as_reported) or 0) < 0
    shares = {line.parent: _unmetered_share(line) for line in case.parents}
    wide = [parent for parent, share in shares.items() if share is not None and abs(share) > limit("V06")]
    unknown = [parent for parent, share in shares.items() if share is None]
    largest = max((abs(share) for share in shares.values() if share is not None), default=Fraction(0))
    outcome: CheckOutcome = "FINDING" if wide or exceeds else "PASS"
    if unknown:
        outcome = "INSUFFICIENT_DATA"
    extra_zh = "；上网电量大于计量的光伏发电量" if exceeds else ""
    extra_en = "; export exceeds metered PV generation" if exceeds else ""
    return RULE.line(
        outcome,
        f"{half_up(largest * 100, 1)} %" if case.parents else "—",
        f"{len(case.parents)} 块总表，{len(wide)} 块的未计量/损耗超过 5 %{extra_zh}",
        f"{len(case.parents)} parents, {len(wide)} with more than 5 % unmetered{extra_en}",
        meters=(*wide, *unknown),
        inputs={"parents": len(case.parents), "beyond_band": len(wide), "unknown": len(unknown)},
        evidence=(
            Evidence(meter=line.parent, found=line.outflow_wh or "—", expected=line.inflow_wh or "—")
            for line in case.parents if line.parent in {*wide, *unknown}
        ),
    )  # fmt: skip


def _unmetered_share(line: ParentLine) -> Fraction | None:
    if line.inflow_wh is None or line.unmetered_wh is None:
        return None
    inflow, rest = int(line.inflow_wh), int(line.unmetered_wh)
    if inflow == 0:
        return Fraction(0) if rest == 0 else Fraction(1)
    return Fraction(rest, inflow)
