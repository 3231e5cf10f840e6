"""Purchased electricity under one factor."""

from math import floor

from factors.policy import LatestPublished, MissingFactor
from factors.table import Factor
from verification.document import EmissionLine, FactorLine, Use, count_text, ratio_text


def emission(energy: int | None, factor: Factor | MissingFactor) -> int | None:
    """Energy × factor, exactly; rounded down where the factor is no integer per base unit."""
    return None if energy is None or isinstance(factor, MissingFactor) else floor(energy * factor.ratio)


def emission_line(
    use: Use, primary: bool, policy: LatestPublished, factor: Factor | MissingFactor, energy: int | None
) -> EmissionLine:
    """A scope's purchased energy under one policy, or why there is no figure."""
    missing = factor if isinstance(factor, MissingFactor) else None
    known = None if isinstance(factor, MissingFactor) else factor
    return EmissionLine(
        use="enterprise" if use == "enterprise" else "park",
        primary=primary,
        label_zh=policy.label_zh,
        label_en=policy.label_en,
        factor_id=known.id if known else None,
        factor_ug_per_wh=ratio_text(known.ratio) if known else None,
        energy_wh=count_text(energy),
        emission_ug=count_text(emission(energy, factor)),
        missing_zh=missing.reason_zh if missing else "",
        missing_en=missing.reason if missing else "",
    )


def factor_line(use: Use, factor: Factor) -> FactorLine:
    """A factor as the document shows it."""
    return FactorLine(
        use=use,
        id=factor.id,
        scope_code=factor.scope_code,
        data_year=factor.data_year,
        value_kg_per_kwh=factor.value_text,
        factor_ug_per_wh=ratio_text(factor.ratio),
        notice=factor.notice,
        published=factor.published.isoformat() if factor.published else None,
        verified=factor.verified,
        label_zh=factor.label_zh,
        label_en=factor.label_en,
    )
