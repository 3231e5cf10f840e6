"""Direct and indirect emissions and both totals, once per method: a missing factor stops its number, and only its own."""

from collections.abc import Sequence

from factors.policy import MissingFactor
from factors.table import Factor
from verification.accounting.electricity import emission
from verification.completeness import total_of
from verification.document import count_text, ratio_text
from verification.lines import EmissionTotals, FuelLine, HeatLine

_LABELS = {
    "standard": ("标准口径（非化石电力凭证部分计零，其余按全国平均）", "Standard: evidenced non-fossil at 0, rest national average"),
    "location_national": ("位置法，全国平均", "Location-based, national average"),
    "location_provincial": ("位置法，省级平均", "Location-based, provincial average"),
    "market": ("市场法（剩余电量因子）", "Market-based, residual factor"),
}  # fmt: skip


def total_lines(
    kind: str,
    purchased_wh: int | None,
    evidenced_wh: int,
    fuels: Sequence[FuelLine],
    heat: Sequence[HeatLine],
    factors: dict[str, Factor | MissingFactor],
) -> tuple[EmissionTotals, ...]:
    """All methods side by side. The standard one leads for an enterprise, the provincial one for the park."""
    rest = None if purchased_wh is None else purchased_wh - evidenced_wh
    methods = (
        ("standard", rest, factors["national"]),
        ("location_national", purchased_wh, factors["national"]),
        ("location_provincial", purchased_wh, factors["provincial"]),
        ("market", rest, factors["market"]),
    )
    direct = _sum(line.emission_ug for line in fuels)
    warm = _sum(line.emission_ug for line in heat)
    leading = "standard" if kind == "enterprise" else "location_provincial"
    return tuple(_line(use, use == leading, wh, factor, direct, warm) for use, wh, factor in methods)


def _sum(values: object) -> int | None:
    return total_of(None if value is None else int(value) for value in values)  # type: ignore[attr-defined]  # an iterable of texts


def _line(
    use: str,
    primary: bool,
    wh: int | None,
    factor: Factor | MissingFactor,
    direct: int | None,
    warm: int | None,
) -> EmissionTotals:
    zh, en = _LABELS[use]
    known = factor if isinstance(factor, Factor) else None
    missing = factor if isinstance(factor, MissingFactor) else None
    electric = emission(wh, factor)
    return EmissionTotals(
        use=use,  # type: ignore[arg-type]  # one of the labels' keys
        primary=primary,
        label_zh=zh,
        label_en=en,
        factor_id=known.id if known else None,
        factor_ug_per_wh=ratio_text(known.ratio) if known else None,
        direct_ug=count_text(direct),
        electricity_ug=count_text(electric),
        heat_ug=count_text(warm),
        excluding_ug=count_text(direct),
        including_ug=count_text(total_of((direct, electric, warm))),
        missing_zh=missing.reason_zh if missing else "",
        missing_en=missing.reason if missing else "",
    )
