"""Fuel and heat factors by factor set, and the emission of the fuels an enterprise enters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
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
from metering.i18n import _

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

CO2_PER_C = Fraction(44, 12)
UG_PER_T = 10**12

BASE_UNITS: Mapping[str, tuple[str, int]] = {"1e4Nm3": ("L", 10**7), "GJ": ("kJ", 10**6)}
"""Base unit of an activity unit and how many of it there are; a mass has none.

Litres are litres at 0 degC and 101.325 kPa, so a meter's volume must be converted to that state first."""

FUEL_COLUMNS = (
    "factor_set",
    "fuel",
    "name_zh",
    "name_en",
    "activity_unit",
    "ncv_gj_per_unit",
    "carbon_tc_per_gj",
    "oxidation_pct",
    "t_co2_per_unit",
    "verified",
)
SET_COLUMNS = ("factor_set", "name_zh", "name_en", "source")
PARAMETERS: Mapping[str, Fraction] = {
    "ncv_gj_per_unit": Fraction(400),
    "carbon_tc_per_gj": Fraction(1, 10),
    "oxidation_pct": Fraction(100),
}
"""The three parameters and the largest plausible value of each; a carbon content above 0.1 lost its 10⁻³."""


class Path(StrEnum):
    """How the activity data of a fuel was entered; a fuel may take one path only."""

    MASS = "mass"
    VOLUME = "volume"
    HEAT = "heat"


PATH_OF_UNIT: Mapping[str, Path] = {"t": Path.MASS, "1e4Nm3": Path.VOLUME, "GJ": Path.HEAT}


class FuelFactor(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The emission factor of a fuel, or of purchased heat, in one factor set."""

    factor_set: str
    fuel: str
    label_zh: str
    label_en: str
    activity_unit: str
    ncv_gj_per_unit: str
    carbon_tc_per_gj: str
    oxidation_pct: str
    """The three parameters as printed; empty where the standard gives the factor itself."""
    t_co2_per_unit_text: str
    """The factor as printed; empty where it follows from the three parameters."""
    source: str
    verified: Verified

    @property
    def id(self) -> str:
        return f"{self.factor_set}-{self.fuel}"

    @property
    def official(self) -> bool:
        return self.verified != "unverified"

    @property
    def t_per_gj(self) -> Fraction:
        """Exactly tCO2 per GJ of heat value: carbon content x oxidation x 44/12."""
        if self.t_co2_per_unit_text:
            return Fraction(self.t_co2_per_unit_text)
        return Fraction(self.carbon_tc_per_gj) * Fraction(self.oxidation_pct) / 100 * CO2_PER_C

    @property
    def t_per_unit(self) -> Fraction:
        """Exactly tCO2 per activity unit."""
        return self.t_per_gj * Fraction(self.ncv_gj_per_unit or 1)

    @property
    def unit(self) -> str:
        base = BASE_UNITS.get(self.activity_unit)
        return f"ug/{base[0]}" if base else f"t/{self.activity_unit}"

    @property
    def ratio(self) -> Fraction:
        """The factor in `unit`: ug per base unit where there is one, else t per activity unit."""
        base = BASE_UNITS.get(self.activity_unit)
        return self.t_per_unit * UG_PER_T / base[1] if base else self.t_per_unit

    @property
    def num(self) -> int:
        return self.ratio.numerator

    @property
    def den(self) -> int:
        return self.ratio.denominator


class FuelEntry(msgspec.Struct, frozen=True, gc=False):
    """Activity data of one fuel: t by mass, 10⁴ Nm³ by volume, GJ by heat."""

    fuel: str
    path: Path
    amount: Fraction


class FuelRefused(msgspec.Struct, frozen=True, gc=False):
    """Fuel entries that give no emission, with every reason."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FuelTable:
    """All fuel factors, by factor set and fuel."""

    factors: Mapping[tuple[str, str], FuelFactor]

    @classmethod
    def load(cls, folder: Traversable | None = None) -> FuelTable:
        """Reads the bundled data, or another folder of the same layout.

        Raises:
            FactorDataError: with every mistake of both files.
        """
        folder = bundled_data() if folder is None else folder
        mistakes: list[str] = []
        sets = index_rows(read_rows(folder, "fuel_sets.csv", SET_COLUMNS, mistakes), "factor_set", mistakes)
        rows = read_rows(folder, "fuels.csv", FUEL_COLUMNS, mistakes)
        mistakes += [m for row in rows for m in _fuel_mistakes(row, sets)]
        mistakes += _repeated(rows)
        if mistakes:
            raise FactorDataError(mistakes)
        return cls({(row["factor_set"], row["fuel"]): _fuel(row, sets) for row in rows})

    def get(self, factor_set: str, fuel: str) -> FuelFactor | None:
        return self.factors.get((factor_set, fuel))

    def emission_t(self, factor_set: str, entries: Iterable[FuelEntry]) -> Fraction | FuelRefused:
        """Exactly the tCO2 of all entries by one factor set, or why there is none."""
        entries = tuple(entries)
        reasons = [r for entry in entries for r in self._entry_reasons(factor_set, entry)]
        reasons += _double_paths(entries)
        if reasons:
            return FuelRefused(tuple(reasons))
        return sum((self._emission_t(factor_set, entry) for entry in entries), Fraction(0))

    def _emission_t(self, factor_set: str, entry: FuelEntry) -> Fraction:
        factor = self.factors[factor_set, entry.fuel]
        return entry.amount * (factor.t_per_gj if entry.path is Path.HEAT else factor.t_per_unit)

    def _entry_reasons(self, factor_set: str, entry: FuelEntry) -> Iterator[str]:
        factor = self.get(factor_set, entry.fuel)
        if factor is None:
            yield _("{fuel}: no factor in {factor_set}").format(fuel=entry.fuel, factor_set=factor_set)
            return
        own = PATH_OF_UNIT[factor.activity_unit]
        if entry.path not in (own, Path.HEAT):
            text = _("{fuel}: entered by {path}, but its factor is per {unit}")
            yield text.format(fuel=entry.fuel, path=entry.path, unit=factor.activity_unit)
        if entry.amount < 0:
            yield _("{fuel}: amount is negative").format(fuel=entry.fuel)


def _double_paths(entries: tuple[FuelEntry, ...]) -> list[str]:
    # GB/T 32151.34-2024 5.2.1: the mass, volume and heat formulas exclude one another for a fuel.
    paths: dict[str, set[Path]] = {}
    for entry in entries:
        paths.setdefault(entry.fuel, set()).add(entry.path)
    text = _("{fuel}: entered by several paths: {paths}")
    return [text.format(fuel=f, paths=", ".join(sorted(p))) for f, p in paths.items() if len(p) > 1]


def _repeated(rows: list[Row]) -> list[str]:
    first: dict[tuple[str, str], Row] = {}
    return [
        row.mistake(f"{row['fuel']} of {row['factor_set']} is already on line {earlier.line}")
        for row in rows
        if (earlier := first.setdefault((row["factor_set"], row["fuel"]), row)) is not row
    ]


def _fuel_mistakes(row: Row, sets: Mapping[str, Row]) -> Iterator[str]:
    if row["factor_set"] not in sets:
        yield row.mistake(f"factor_set {row['factor_set']!r} is not in fuel_sets.csv")
    if not (row["fuel"] and row["name_zh"] and row["name_en"]):
        yield row.mistake("fuel or a name is empty")
    if row["activity_unit"] not in PATH_OF_UNIT:
        yield row.mistake(f"activity_unit {row['activity_unit']!r} is none of {', '.join(PATH_OF_UNIT)}")
    if row["t_co2_per_unit"]:
        yield from _direct_mistakes(row)
    else:
        yield from _parameter_mistakes(row)
    yield from mark_mistakes(row)


def _direct_mistakes(row: Row) -> Iterator[str]:
    if not _is_decimal(row["t_co2_per_unit"]):
        yield row.mistake(f"t_co2_per_unit {row['t_co2_per_unit']!r} is not a decimal")
    if any(row[name] for name in PARAMETERS):
        yield row.mistake("gives both the factor and its parameters")
    if row["activity_unit"] != "GJ":
        yield row.mistake("gives a factor without parameters, which only heat may")


def _parameter_mistakes(row: Row) -> Iterator[str]:
    for name, largest in PARAMETERS.items():
        if not _is_decimal(row[name]):
            yield row.mistake(f"{name} {row[name]!r} is not a decimal")
        elif not 0 < Fraction(row[name]) <= largest:
            yield row.mistake(f"{name} {row[name]} is not within 0-{float(largest):g}")


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is not None


def _fuel(row: Row, sets: Mapping[str, Row]) -> FuelFactor:
    return FuelFactor(
        factor_set=row["factor_set"],
        fuel=row["fuel"],
        label_zh=row["name_zh"],
        label_en=row["name_en"],
        activity_unit=row["activity_unit"],
        ncv_gj_per_unit=row["ncv_gj_per_unit"],
        carbon_tc_per_gj=row["carbon_tc_per_gj"],
        oxidation_pct=row["oxidation_pct"],
        t_co2_per_unit_text=row["t_co2_per_unit"],
        source=sets[row["factor_set"]]["source"],
        verified=cast("Verified", row["verified"]),
    )
