"""Lines of the month document about declared factors: energy and emission, one part per factor."""

from typing import Literal

import msgspec

from verification.lines import Count, Ratio


class DeclaredLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one declared factor makes of a total, or all of them of the scope. Market-based; it leads nowhere and replaces nothing."""

    id: str
    meter: str
    """Empty: the scope by its formula, all factors together."""
    reading_type: str
    role: str
    sign: Literal[-1, 1]
    """Of the role in the formula."""
    series: str
    """Id of the series; empty for the scope, and where nothing is declared."""
    factor_kg_per_kwh: str
    """As declared; empty as above."""
    factor_ug_per_wh: Ratio | None
    energy_wh: Count | None
    """None when the month's energy is not determined; then nothing below is."""
    estimated_wh: Count | None
    """Of it, energy of which the place in time, and so the factor, is estimated or in question."""
    emission_ug: Count | None
    """None where nothing is declared; that stops the sum of the scope."""
