"""Scope 1: fuels by AD × NCV × CC × OF × 44/12 with the factor set of the enterprise's standard; and purchased heat.

Feedstock is not burnt: it is no activity data of combustion, and process emissions are not accounted here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Literal

from factors.fuel import CO2_PER_C, PATH_OF_UNIT, UG_PER_T, FuelFactor, FuelTable, Path
from storage.facts.kinds import EnergyFact
from verification.accounting.books import Books
from verification.document import exact_decimal, ratio_text
from verification.lines import FuelLine, HeatLine

HEAT = "heat"
HEAT_SET = "GBT32150-2025"
"""The heat factor is the same in both standards: GB/T 32150-2025 7.5.6, GB/T 32151.34-2024 table C.3."""
KJ_PER_GJ = 1_000_000
_TO_ACTIVITY: dict[str, tuple[str, Fraction]] = {
    "t": ("t", Fraction(1)), "kg": ("t", Fraction(1, 1000)), "1e4Nm3": ("1e4Nm3", Fraction(1)),
    "Nm3": ("1e4Nm3", Fraction(1, 10_000)), "GJ": ("GJ", Fraction(1)),
}  # fmt: skip
"""Unit of a row → (activity unit, how many of it one is)."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Burnt amount of a row, in the activity unit."""

    unit: str
    amount: Fraction


def activity(fact: EnergyFact) -> Activity:
    """What was burnt: consumption less feedstock."""
    unit, ratio = _TO_ACTIVITY[fact.unit]
    burnt = Fraction(fact.consumed) - Fraction(fact.feedstock_use or Decimal(0))
    return Activity(unit, burnt * ratio)


def fuel_lines(books: Books, table: FuelTable) -> tuple[FuelLine, ...]:
    """Every fuel reported for the month, and every one that a control plan names and nobody reported."""
    facts = [fact for fact in books.energies() if fact.energy != HEAT]
    lines = [_fuel_line(books, table, fact, _paths(facts, fact)) for fact in facts]
    return (*lines, *_unreported(books, table, facts))


def _paths(facts: Sequence[EnergyFact], fact: EnergyFact) -> int:
    """By how many paths an enterprise gave this fuel."""
    mine = [f for f in facts if (f.enterprise, f.energy) == (fact.enterprise, fact.energy)]
    return len({PATH_OF_UNIT[_TO_ACTIVITY[f.unit][0]] for f in mine})


def _fuel_line(books: Books, table: FuelTable, fact: EnergyFact, paths: int) -> FuelLine:
    record = books.enterprise(fact.enterprise)
    factor_set = record.factor_set if record else ""
    factor = table.get(factor_set, fact.energy)
    done = activity(fact)
    path = PATH_OF_UNIT[done.unit]
    missing = _missing(factor, factor_set, fact.energy, path, paths)
    ncv = (
        str(fact.ncv_gj_per_unit)
        if fact.ncv_gj_per_unit is not None
        else factor.ncv_gj_per_unit
        if factor
        else ""
    )
    per_unit = None if factor is None or missing else _t_per_unit(factor, ncv, path)
    source = factor.source if factor else ""
    return FuelLine(
        id=_id(books, fact),
        label_zh=factor.label_zh if factor else fact.energy,
        label_en=factor.label_en if factor else fact.energy,
        unit=done.unit,
        activity=exact_decimal(done.amount),
        path=path.value,
        factor_set=factor_set,
        ncv_gj_per_unit=ncv,
        ncv_source=fact.ncv_source or source,
        carbon_tc_per_gj=factor.carbon_tc_per_gj if factor else "",
        carbon_source=source,
        oxidation_pct=factor.oxidation_pct if factor else "",
        oxidation_source=source,
        t_co2_per_unit=ratio_text(per_unit) if per_unit is not None else "0",
        verified=factor.verified if factor else "",
        emission_ug=None if per_unit is None else str(floor(done.amount * per_unit * UG_PER_T)),
        missing_zh=missing[0] if missing else "",
        missing_en=missing[1] if missing else "",
    )


def _id(books: Books, fact: EnergyFact) -> str:
    parts = [fact.energy] if books.scope == fact.enterprise else [fact.enterprise, fact.energy]
    return "/".join([*parts, *([fact.supplier] if fact.supplier else [])])


def _t_per_unit(factor: FuelFactor, ncv: str, path: Path) -> Fraction:
    if path is Path.HEAT or factor.t_co2_per_unit_text:
        return factor.t_per_gj
    carbon, oxidation = Fraction(factor.carbon_tc_per_gj), Fraction(factor.oxidation_pct) / 100
    return Fraction(ncv) * carbon * oxidation * CO2_PER_C


def _missing(
    factor: FuelFactor | None, factor_set: str, energy: str, path: Path, paths: int
) -> tuple[str, str] | None:
    if not factor_set:
        return "企业未选定因子集", "the enterprise has chosen no factor set"
    if factor is None:
        return f"因子集 {factor_set} 没有 {energy}", f"factor set {factor_set} has no {energy}"
    if paths > 1:
        # GB/T 32151.34-2024 5.2.1: the formulas by mass, volume and heat exclude one another.
        return "同一燃料按多种口径填报", "the same fuel is given by several paths"
    if path not in (PATH_OF_UNIT[factor.activity_unit], Path.HEAT):
        return f"因子按 {factor.activity_unit} 给出", f"its factor is per {factor.activity_unit}"
    return None


def _unreported(books: Books, table: FuelTable, facts: Sequence[EnergyFact]) -> list[FuelLine]:
    """What a control plan names and nobody reported is missing, not zero."""
    known = {fuel for _factor_set, fuel in table.factors} - {HEAT}
    reported = {(fact.enterprise, fact.energy) for fact in facts}
    planned = [(e, p.parameter) for e in books.enterprises for p in books.plan(e) if p.parameter in known]
    return [_absent(books, e, fuel) for e, fuel in planned if (e, fuel) not in reported]


def _absent(books: Books, enterprise: str, fuel: str) -> FuelLine:
    name = fuel if books.scope == enterprise else f"{enterprise}/{fuel}"
    return FuelLine(
        id=name, label_zh=fuel, label_en=fuel, unit="t", activity="0", path="mass", factor_set="", ncv_gj_per_unit="",
        ncv_source="", carbon_tc_per_gj="", carbon_source="", oxidation_pct="", oxidation_source="", t_co2_per_unit="0",
        verified="", emission_ug=None, missing_zh="数据质量控制计划列有、本月未填报",
        missing_en="named by the control plan, not reported for this month",
    )  # fmt: skip


def heat_lines(books: Books, table: FuelTable, metered_kj: dict[str, int | None]) -> tuple[HeatLine, ...]:
    """Purchased heat: by meter where a boundary meter measures it, else by bill."""
    factor = table.get(HEAT_SET, HEAT)
    metered = [_heat(meter, "metered", kj, None, factor, "") for meter, kj in metered_kj.items()]
    facts = [fact for fact in books.energies() if fact.energy == HEAT]
    return (*metered, *(_billed(books, fact, factor, doubled=bool(metered)) for fact in facts))


def _billed(books: Books, fact: EnergyFact, factor: FuelFactor | None, *, doubled: bool) -> HeatLine:
    """A row of heat. Where meters measure it too, it has no figure: one of the two must go."""
    own = None if fact.factor_t_per_gj is None else Fraction(fact.factor_t_per_gj)
    known = not doubled and fact.unit == "GJ"
    kj = floor(Fraction(fact.consumed) * KJ_PER_GJ) if known else None
    return _heat(_id(books, fact), fact.basis, kj, own, factor, fact.factor_source)


def _heat(
    name: str, basis: Literal["metered", "bill", "estimated"], kj: int | None, own: Fraction | None,
    factor: FuelFactor | None, source: str,
) -> HeatLine:  # fmt: skip
    per_gj = own if own is not None else factor.t_per_gj if factor else None
    ug = None if kj is None or per_gj is None else floor(kj * per_gj * UG_PER_T / KJ_PER_GJ)
    return HeatLine(
        id=name,
        label_zh="外购热力",
        label_en="Purchased heat",
        basis=basis,
        heat_kj=None if kj is None else str(kj),
        t_co2_per_gj=None if per_gj is None else ratio_text(per_gj),
        factor_id="supplier" if own is not None else factor.id if factor else "",
        factor_source=source or (factor.source if factor else ""),
        verified="" if own is not None or factor is None else factor.verified,
        emission_ug=None if ug is None else str(ug),
    )
