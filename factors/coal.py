"""Standard coal: how many kgce an amount of energy stands for, by printed coefficients."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, cast

import msgspec

from factors.table import (
    FactorDataError,
    Row,
    Verified,
    bundled_data,
    index_rows,
    mark_mistakes,
    read_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

BASE_UNITS: Mapping[str, tuple[str, int]] = {
    "kWh": ("Wh", 1000),
    "MJ": ("kJ", 1000),
    "m3": ("L", 1000),
    "kg": ("kg", 1),
    "t": ("kg", 1000),
}
"""Base unit of a printed unit and how many of it there are; what is weighed is counted in kg."""

COLUMNS = (
    "energy",
    "name_zh",
    "name_en",
    "kgce_per_unit",
    "unit",
    "edition",
    "annex",
    "medium",
    "verified",
)


class CoalCoefficient(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The printed standard-coal coefficient of an energy."""

    energy: str
    label_zh: str
    label_en: str
    kgce_per_unit: str
    """As printed: electricity is 0.1229, not 3600/29307.6, which is 0.06 % less."""
    unit: str
    source: str
    medium: bool
    """An energy-carrying medium (water, compressed air): shown apart, never in an enterprise's total."""
    verified: Verified

    @property
    def official(self) -> bool:
        return self.verified != "unverified"

    @property
    def kgce_per_base_unit(self) -> Fraction:
        return Fraction(self.kgce_per_unit) / BASE_UNITS[self.unit][1]


def load_coefficients(folder: Traversable | None = None) -> Mapping[str, CoalCoefficient]:
    """The coefficients of the bundled data, or of another folder, by energy code.

    Raises:
        FactorDataError: with every mistake of the file.
    """
    mistakes: list[str] = []
    rows = read_rows(bundled_data() if folder is None else folder, "coal.csv", COLUMNS, mistakes)
    index = index_rows(rows, "energy", mistakes)
    mistakes += [m for row in index.values() for m in _mistakes(row)]
    if mistakes:
        raise FactorDataError(mistakes)
    return {energy: _coefficient(row) for energy, row in index.items()}


@cache
def _bundled() -> Mapping[str, CoalCoefficient]:
    return load_coefficients()


def kgce(energy_code: str, base_units: int | Fraction) -> Fraction:
    """Exactly the kgce of an amount in base units (Wh, kJ, L, or kg for what is weighed).

    Raises:
        KeyError: there is no coefficient for this energy.
    """
    return _bundled()[energy_code].kgce_per_base_unit * base_units


def _mistakes(row: Row) -> Iterator[str]:
    if not re.fullmatch(r"[0-9]+\.[0-9]{4,5}", row["kgce_per_unit"]) or not Fraction(row["kgce_per_unit"]):
        yield row.mistake(f"kgce_per_unit {row['kgce_per_unit']!r} is not a coefficient of 4 or 5 decimals")
    if row["unit"] not in BASE_UNITS:
        yield row.mistake(f"unit {row['unit']!r} is none of {', '.join(BASE_UNITS)}")
    if row["medium"] not in ("yes", "no"):
        yield row.mistake(f"medium {row['medium']!r} is neither yes nor no")
    if not all(row[column] for column in ("name_zh", "name_en", "edition", "annex")):
        yield row.mistake("a name, the edition or the annex is empty")
    yield from mark_mistakes(row)


def _coefficient(row: Row) -> CoalCoefficient:
    return CoalCoefficient(
        energy=row["energy"],
        label_zh=row["name_zh"],
        label_en=row["name_en"],
        kgce_per_unit=row["kgce_per_unit"],
        unit=row["unit"],
        source=f"{row['edition']} {row['annex']}",
        medium=row["medium"] == "yes",
        verified=cast("Verified", row["verified"]),
    )
