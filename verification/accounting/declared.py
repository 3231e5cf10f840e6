"""The market-based figure by declared factors: of every total that the formula counts one part per factor, and the scope's sum."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from factors.series import MISSING, DeclaredFactor, Part
from verification.completeness import Boundary, total_of
from verification.declared_lines import DeclaredLine
from verification.document import count_text, ratio_text


@dataclass(frozen=True, slots=True)
class TotalParts:
    """A total of a formula and what the declared factors make of it."""

    meter: str
    reading_type: str
    role: str
    sign: int
    energy: int | None
    """Base units of the month; None when it is not determined."""
    parts: Mapping[int, Part]
    factors: Sequence[DeclaredFactor]
    """By the parts' numbers."""


def declared_lines(boundary: Boundary) -> tuple[DeclaredLine, ...]:
    """The enterprise's sum and then its totals; none where nothing is declared. A park is no party to a contract: none for it."""
    if boundary.scope.kind == "park":
        return ()
    found = [
        (term.sign, total, total.declared)
        for term in boundary.formula
        for total in boundary.of_role(term.role)
    ]
    return lines_of(
        [
            TotalParts(total.meter.id, total.reading_type, total.role.value, sign, total.energy, told.parts, told.factors)
            for sign, total, told in found
            if told is not None
        ]
    )  # fmt: skip


def lines_of(totals: Sequence[TotalParts]) -> tuple[DeclaredLine, ...]:
    """The same from totals, wherever they come from."""
    if not any(total.sign > 0 for total in totals):
        return ()
    return (_scope(totals), *(line for total in totals for line in _total(total)))


def _scope(totals: Sequence[TotalParts]) -> DeclaredLine:
    """Signed sums; a part without a factor, or an energy that is not determined, stops the number."""
    known = all(total.energy is not None for total in totals)
    parts = [(total.sign, part) for total in totals for part in total.parts.values()]
    emission = total_of(None if p.emission_ug is None else sign * p.emission_ug for sign, p in parts)
    return DeclaredLine(
        id="scope", meter="", reading_type="", role="", sign=1, series="", factor_kg_per_kwh="", factor_ug_per_wh=None,
        energy_wh=str(sum(sign * part.energy for sign, part in parts)) if known else None,
        estimated_wh=str(sum(part.estimated for _sign, part in parts)) if known else None,
        emission_ug=count_text(emission) if known else None,
    )  # fmt: skip


def _total(total: TotalParts) -> Iterator[DeclaredLine]:
    known = total.energy is not None
    for code, part in sorted(total.parts.items()):
        factor = None if code == MISSING else total.factors[code]
        yield DeclaredLine(
            id=f"{total.meter}/{factor.series if factor else ''}/{factor.value_text if factor else ''}",
            meter=total.meter,
            reading_type=total.reading_type,
            role=total.role,
            sign=1 if total.sign > 0 else -1,
            series=factor.series if factor else "",
            factor_kg_per_kwh=factor.value_text if factor else "",
            factor_ug_per_wh=ratio_text(factor.ratio) if factor else None,
            energy_wh=str(part.energy) if known else None,
            estimated_wh=str(part.estimated) if known else None,
            emission_ug=count_text(part.emission_ug) if known else None,
        )
