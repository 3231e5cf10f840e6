"""Standard-coal coefficients: printed values, exact amounts, and the editions they belong to."""

import csv
import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factors.coal import kgce, load_coefficients
from factors.table import FactorDataError, bundled_data

COEFFICIENTS = load_coefficients()


def test_electricity_takes_the_printed_coefficient_as_equivalent_value() -> None:
    electricity = COEFFICIENTS["electricity"]
    assert kgce("electricity", 1_000_000) == Fraction("122.9")
    assert electricity.kgce_per_base_unit != Fraction(3600) / Fraction("29307.6") / 1000
    assert "当量值" in electricity.label_zh
    assert "等价值" not in electricity.label_zh


@pytest.mark.parametrize(
    ("energy", "printed"),
    [
        ("natural_gas", "1.3300"),
        ("diesel", "1.4571"),
        ("gasoline", "1.4714"),
        ("lpg", "1.7143"),
        ("lng", "1.7572"),
        ("raw_coal", "0.7143"),
        ("washed_coking_coal", "0.9000"),
        ("coke", "0.9714"),
        ("fuel_oil", "1.4286"),
        ("coal_tar", "1.1429"),
        ("blast_furnace_gas", "0.1286"),
        ("heat", "0.03412"),
        ("fresh_water", "0.2571"),
        ("compressed_air", "0.0400"),
    ],
)
def test_printed_coefficients_with_their_leading_digits(energy: str, printed: str) -> None:
    assert COEFFICIENTS[energy].kgce_per_unit == printed


def test_the_gas_field_value_belongs_to_the_2008_edition() -> None:
    at_1_2143 = [c for c in COEFFICIENTS.values() if c.kgce_per_unit == "1.2143"]
    assert [c.source for c in at_1_2143] == ["GB/T 2589-2008 附录A"]
    assert COEFFICIENTS["natural_gas"].source == "GB/T 2589-2020 附录A"


@given(st.sampled_from(sorted(COEFFICIENTS)), st.integers(0, 10**15), st.integers(0, 10**15))
def test_amounts_are_exact_and_additive(energy: str, one: int, other: int) -> None:
    assert kgce(energy, one) + kgce(energy, other) == kgce(energy, one + other)


def test_amounts_are_in_base_units() -> None:
    assert kgce("heat", 10**6) == Fraction("34.12")
    assert kgce("natural_gas", 1000) == Fraction("1.33")
    assert kgce("diesel", 1000) == Fraction("1457.1")
    assert kgce("fresh_water", 1000) == Fraction("0.2571")


def test_media_are_marked_so_that_totals_leave_them_out() -> None:
    media = {c.energy for c in COEFFICIENTS.values() if c.medium}
    assert media == {"fresh_water", "softened_water", "deaerated_water", "compressed_air"}


def test_an_unknown_energy_gives_no_number() -> None:
    with pytest.raises(KeyError, match="peat"):
        kgce("peat", 1)


def test_a_damaged_file_reports_all_mistakes(tmp_path: Path) -> None:
    lines = (bundled_data() / "coal.csv").read_text("utf-8").splitlines()[:2]
    lines += [
        "lpg,液化石油气,LPG,.7143,ton,GB/T 2589-2020,,no,one_source",
        "air,空气,Air,0.0000,m3,e,a,maybe,sure",
    ]
    (tmp_path / "coal.csv").write_text("\n".join(lines), "utf-8")
    with pytest.raises(FactorDataError) as caught:
        load_coefficients(tmp_path)
    at = [m.split(": ")[0] for m in caught.value.mistakes]
    assert at == ["coal.csv:3"] * 3 + ["coal.csv:4"] * 3


def test_our_coefficients_equal_the_shared_table() -> None:
    folder = os.environ.get("TANYUN_SHARED")
    if not folder or not Path(folder, "factors", "fuel_factors_cn.csv").exists():
        pytest.skip("TANYUN_SHARED names no folder with factors/fuel_factors_cn.csv")
    text = Path(folder, "factors", "fuel_factors_cn.csv").read_text("utf-8")
    base_units = {"t": 1000, "1e4Nm3": 10**7, "GJ": 10**6, "kWh": 1000, "m3": 1000}
    rows = [r for r in csv.DictReader(text.splitlines()) if r["kgce_per_unit"]]
    assert len(rows) == len(COEFFICIENTS)
    for row in rows:
        ours = COEFFICIENTS[row["fuel_code"]]
        assert kgce(ours.energy, base_units[row["activity_unit"]]) == Fraction(row["kgce_per_unit"])
        assert ours.verified == row["kgce_verified"]
