"""What proves a transformer ratio: something that does not hang on the meter. Pure.

A meter behind transformers cannot know them. Its ratio counts as proven when a clamp or the utility's own meter in series says the
same as meter × ratio, and a photo of the name plate is named by its digest. Everything less is told as unproven. The bands are ours.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, Literal

import msgspec

from edge_agent.commission.probe import RatioState
from metering.i18n import _

UNPROVEN: Final = "变比未证实 / ratio unproven"
"""In both languages wherever it appears: sheets and reports repeat it."""
_BAND: Final = Fraction(5, 100)
"""Clamps are of class 2 to 3, the load moves while one reads; neighbouring ratios are 20 % apart."""
_LEAST_COUNTS: Final = 20
"""Of the meter's own display: below it its rounding is wider than the band."""

Kind = Literal["clamp", "utility_power", "utility_energy"]
Why = Literal["no_comparison", "no_photo", "pt_needs_utility", "disagrees", "too_coarse", "no_ratio"]


class Comparison(msgspec.Struct, frozen=True):
    """Something read elsewhere beside what this meter showed at the same time, both in `unit`."""

    kind: Kind
    reference: float
    """On the primary side: by the clamp, or by the utility's meter with its own ratio."""
    shown: float
    """By this meter, as it shows it."""
    unit: str
    count: float = 0.0
    """The finest step that the meter shows; 0 where it does not matter."""
    phase: str = ""

    @property
    def fine_enough(self) -> bool:
        """The meter showed enough counts to compare."""
        return abs(self.shown) > 0 and abs(self.shown) >= _LEAST_COUNTS * self.count

    def ratio_of(self, ct: Fraction, pt: Fraction) -> Fraction:
        """What the shown value has to be multiplied by."""
        return ct if self.kind == "clamp" else ct * pt

    def agrees(self, ct: Fraction, pt: Fraction) -> bool:
        """Whether the meter's value times the ratio is what was read elsewhere. Directions are not compared."""
        expected = abs(Fraction(self.shown)) * self.ratio_of(ct, pt)
        return abs(expected - abs(Fraction(self.reference))) <= _BAND * abs(Fraction(self.reference))


class Photo(msgspec.Struct, frozen=True):
    """A photo of the name plate: the file stays with the installer, its digest is in the sheet."""

    name: str
    sha256: str


class Ratios(msgspec.Struct, frozen=True):
    """The ratios of the name plates as entered, e.g. `400/5`; None where nobody entered one."""

    ct: str | None = None
    pt: str = "1"
    direct: bool = False
    """The meter has no current transformer: its name plate says so."""
    in_meter: bool = False
    """The meter shows primary values: the server applies nothing."""

    @property
    def to_apply(self) -> tuple[Fraction, Fraction]:
        """CT and PT that the server multiplies by."""
        if self.in_meter or self.direct:
            return Fraction(1), Fraction(1)
        return parse_ratio(self.ct or "1"), parse_ratio(self.pt)


def parse_ratio(text: str) -> Fraction:
    """A ratio as it stands on a name plate; ValueError when it is none."""
    msg = _('a ratio is positive, e.g. 80 or "400/5"')
    try:
        ratio = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(msg) from error
    if ratio <= 0:
        raise ValueError(msg)
    return ratio


class Proof(msgspec.Struct, frozen=True):
    """The ratio and everything that speaks for it."""

    state: RatioState
    ratios: Ratios
    comparisons: list[Comparison]
    photo: Photo | None
    missing: list[Why]
    """Why it is not proven; empty when it is."""


def prove(ratios: Ratios, comparisons: Sequence[Comparison], photo: Photo | None) -> Proof:
    """Judge a ratio by what was entered."""
    ct, pt = ratios.to_apply
    fine = [item for item in comparisons if item.fine_enough]
    missing: list[Why] = []
    if any(not item.agrees(ct, pt) for item in fine) and (ratios.ct or ratios.direct or ratios.in_meter):
        missing.append("disagrees")
    if not (ratios.ct or ratios.direct or ratios.in_meter):
        missing.append("no_ratio")
    if not fine and not ratios.direct:
        missing.append("too_coarse" if comparisons else "no_comparison")
    if parse_ratio(ratios.pt) != 1 and fine and all(item.kind == "clamp" for item in fine):
        missing.append("pt_needs_utility")
    if photo is None:
        missing.append("no_photo")
    state = RatioState.CONTRADICTED if "disagrees" in missing else RatioState.UNPROVEN
    return Proof(RatioState.PROVEN if not missing else state, ratios, list(comparisons), photo, missing)
