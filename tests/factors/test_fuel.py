"""Fuel and heat factors: the published products, exact ratios, and what is refused."""

import csv
import os
from fractions import Fraction
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factors.fuel import FuelEntry, FuelFactor, FuelRefused, FuelTable, Path
from factors.table import FactorDataError, bundled_data

TABLE = FuelTable.load()
STANDARD = "GBT32151.34-2024-C1"
OTHER = "NDRC-2015-1722-other-industry"


def fuel(name: str, factor_set: str = STANDARD) -> FuelFactor:
    factor = TABLE.get(factor_set, name)
    assert factor is not None
    return factor


@pytest.mark.parametrize(
    ("name", "t_per_unit"),
    [
        ("anthracite", "2.52151"),
        ("bituminous", "1.74175"),
        ("lignite", "1.17286"),
        ("coke", "2.86042"),
        ("fuel_oil", "3.17046"),
        ("gasoline", "2.92506"),
        ("diesel", "3.09591"),
        ("lng", "2.83126"),
        ("lpg", "3.10133"),
        ("natural_gas", "21.62189"),
    ],
)
def test_the_product_of_the_three_parameters_rounds_to_the_known_factor(name: str, t_per_unit: str) -> None:
    assert abs(fuel(name).t_per_unit - Fraction(t_per_unit)) <= Fraction(1, 200_000)


@given(st.sampled_from(sorted(TABLE.factors)), st.fractions(0, 10**6))
def test_num_over_den_is_the_exact_product(key: tuple[str, str], amount: Fraction) -> None:
    factor = TABLE.factors[key]
    per_base = {"t": Fraction(1), "1e4Nm3": Fraction(10**12, 10**7), "GJ": Fraction(10**12, 10**6)}
    assert Fraction(factor.num, factor.den) == factor.t_per_unit * per_base[factor.activity_unit]
    if factor.ncv_gj_per_unit:
        ncv, carbon = Fraction(factor.ncv_gj_per_unit), Fraction(factor.carbon_tc_per_gj)
        oxidised = Fraction(factor.oxidation_pct) / 100
        assert amount * factor.t_per_unit == amount * ncv * carbon * oxidised * 44 / 12


def test_gas_is_per_litre_and_a_mass_per_tonne() -> None:
    assert fuel("natural_gas").unit == "ug/L"
    assert (
        fuel("natural_gas").ratio
        == Fraction("389.31") * Fraction("0.0153") * Fraction("0.99") * 44 / 12 * 10**5
    )
    assert fuel("diesel").unit == "t/t"


def test_purchased_heat_is_0_11_t_per_gj() -> None:
    heat = fuel("heat", "GBT32150-2025")
    assert (heat.num, heat.den, heat.unit) == (110_000, 1, "ug/kJ")
    steam_gj = Fraction(1000 * 2800, 10**6)
    assert TABLE.emission_t("GBT32150-2025", [FuelEntry("heat", Path.HEAT, steam_gj)]) == Fraction("0.308")


def test_factor_sets_differ_and_an_unverified_set_is_not_official() -> None:
    assert fuel("diesel").t_per_unit != fuel("diesel", OTHER).t_per_unit
    assert fuel("diesel").official
    assert not any(f.official for f in TABLE.factors.values() if f.factor_set == OTHER)


def test_emissions_of_several_fuels_add_up_exactly() -> None:
    entries = [
        FuelEntry("diesel", Path.MASS, Fraction(3, 7)),
        FuelEntry("natural_gas", Path.VOLUME, Fraction(5)),
        FuelEntry("natural_gas", Path.VOLUME, Fraction(1)),
    ]
    expected = Fraction(3, 7) * fuel("diesel").t_per_unit + 6 * fuel("natural_gas").t_per_unit
    assert TABLE.emission_t(STANDARD, entries) == expected


def test_the_heat_path_leaves_the_calorific_value_out() -> None:
    gj = Fraction("389.31")
    by_heat = TABLE.emission_t(STANDARD, [FuelEntry("natural_gas", Path.HEAT, gj)])
    assert by_heat == TABLE.emission_t(STANDARD, [FuelEntry("natural_gas", Path.VOLUME, Fraction(1))])


def test_the_same_fuel_by_two_paths_is_refused() -> None:
    entries = [
        FuelEntry("natural_gas", Path.VOLUME, Fraction(1)),
        FuelEntry("natural_gas", Path.HEAT, Fraction(1)),
    ]
    assert TABLE.emission_t(STANDARD, entries) == FuelRefused(
        ("natural_gas: entered by several paths: heat, volume",)
    )


def test_every_reason_of_a_refusal_is_given() -> None:
    entries = [
        FuelEntry("peat", Path.MASS, Fraction(1)),
        FuelEntry("diesel", Path.VOLUME, Fraction(1)),
        FuelEntry("coke", Path.MASS, Fraction(-1)),
    ]
    answer = TABLE.emission_t(STANDARD, entries)
    assert isinstance(answer, FuelRefused)
    assert [r.split(":")[0] for r in answer.reasons] == ["peat", "diesel", "coke"]


def test_no_factor_of_another_set_is_borrowed() -> None:
    assert TABLE.get(OTHER, "coke") is None
    assert isinstance(TABLE.emission_t(OTHER, [FuelEntry("coke", Path.MASS, Fraction(1))]), FuelRefused)


def test_a_damaged_fuel_file_reports_all_mistakes(tmp_path: FilePath) -> None:
    head, first, *rest = (bundled_data() / "fuels.csv").read_text("utf-8").splitlines()
    heat = rest[-1].replace(",,,,0.11,", ",1.0,,,0.11,")
    carbon_lost_its_exponent = rest[0].replace(",0.0261,", ",26.1,")
    lines = [head, first, carbon_lost_its_exponent, first, heat, "nowhere,oil,油,Oil,barrel,x,0.02,98,,guess"]
    (tmp_path / "fuels.csv").write_text("\n".join(lines), "utf-8")
    (tmp_path / "fuel_sets.csv").write_text((bundled_data() / "fuel_sets.csv").read_text("utf-8"), "utf-8")
    with pytest.raises(FactorDataError) as caught:
        FuelTable.load(tmp_path)
    at = [m.split(": ")[0] for m in caught.value.mistakes]
    assert sorted(at) == [f"fuels.csv:{n}" for n in (3, 4, 5, 6, 6, 6, 6)]


def test_our_fuels_equal_the_shared_table() -> None:
    folder = os.environ.get("TANYUN_SHARED")
    if not folder or not FilePath(folder, "factors", "fuel_factors_cn.csv").exists():
        pytest.skip("TANYUN_SHARED names no folder with factors/fuel_factors_cn.csv")
    text = FilePath(folder, "factors", "fuel_factors_cn.csv").read_text("utf-8")
    rows = [r for r in csv.DictReader(text.splitlines()) if r["co2_factor_t_per_unit"]]
    assert len(rows) == len(TABLE.factors)
    for row in rows:
        ours = fuel(row["fuel_code"], row["factor_set"])
        assert abs(ours.t_per_unit - Fraction(row["co2_factor_t_per_unit"])) <= Fraction(1, 200_000), ours.id
        assert (ours.activity_unit, ours.verified) == (row["activity_unit"], row["verified"])
