"""Accounts against worked examples: printed factors, hand arithmetic, no floating point."""

from decimal import Decimal
from fractions import Fraction
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factors.coal import load_coefficients
from factors.fuel import FuelTable
from factors.policy import LatestPublished, MissingFactor, Why, market_policy, resolve
from factors.table import FactorTable
from storage.facts.fact import Fact
from storage.facts.kinds import KINDS
from storage.facts.state import Facts
from verification.accounting.books import Books
from verification.accounting.certificates import accepted_wh, certificate_lines
from verification.accounting.coal import energy_lines, energy_total
from verification.accounting.fuels import fuel_lines, heat_lines
from verification.accounting.history import budget_state
from verification.accounting.meters import power_factor
from verification.accounting.totals import total_lines

MONTH = "2026-10"
CODE = "91350100M000100Y43"
PROOF = "ab" * 32


def fact(kind: str, **given: object) -> Fact:
    return KINDS[kind].model_validate({"enterprise": "a", **given})


def enterprise(factor_set: str = "GBT32151.34-2024-C1") -> Fact:
    return fact(
        "enterprise",
        name="甲",
        short_name="甲",
        credit_code=CODE,
        industry="3982",
        factor_set=factor_set,
        valid_from="2026-01-01",
    )


def books(*facts: Fact, scope: str = "a") -> Books:
    return Books(Facts(facts), scope, ("a",), MONTH)


def energy(name: str, unit: str, consumed: str, **more: object) -> Fact:
    return fact("energy", month=MONTH, energy=name, unit=unit, consumed=consumed, **more)


@pytest.mark.parametrize(
    ("name", "unit", "amount", "tonnes"),
    [
        # t CO2 = AD × NCV × CC × OF × 44/12; the products of GB/T 32151.34-2024 table C.1 as other people computed them.
        ("diesel", "t", "1", "3.09591"),
        ("diesel", "kg", "1000", "3.09591"),
        ("gasoline", "t", "1", "2.92506"),
        ("natural_gas", "1e4Nm3", "1", "21.62189"),
        ("natural_gas", "Nm3", "10000", "21.62189"),
        ("anthracite", "t", "1", "2.52151"),
    ],
)
def test_a_fuel_emits_what_the_printed_parameters_give(
    name: str, unit: str, amount: str, tonnes: str
) -> None:
    (line,) = fuel_lines(books(enterprise(), energy(name, unit, amount)), FuelTable.load())
    assert line.emission_ug is not None
    assert round(Fraction(int(line.emission_ug), 10**12), 5) == Fraction(tonnes)
    assert Fraction(line.activity) * Fraction(line.t_co2_per_unit) * 10**12 // 1 == int(line.emission_ug)


def test_a_measured_heat_value_takes_the_place_of_the_default_and_names_its_report() -> None:
    own = energy("diesel", "t", "2", ncv_gj_per_unit="43", ncv_source="LAB-7")
    (line,) = fuel_lines(books(enterprise(), own), FuelTable.load())
    expected = Fraction(2 * 43) * Fraction("0.0202") * Fraction(98, 100) * Fraction(44, 12)
    assert int(line.emission_ug or 0) == expected * 10**12 // 1
    assert (line.ncv_gj_per_unit, line.ncv_source) == ("43", "LAB-7")
    assert line.carbon_source.startswith("GB/T 32151.34-2024")


def test_feedstock_is_not_burnt() -> None:
    (line,) = fuel_lines(books(enterprise(), energy("diesel", "t", "3", feedstock_use="1")), FuelTable.load())
    assert line.activity == "2"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ([energy("diesel", "t", "1")], "no factor set"),
        ([enterprise(), energy("peat", "t", "1")], "has no peat"),
        ([enterprise(), energy("diesel", "1e4Nm3", "1")], "factor is per t"),
        ([enterprise(), energy("diesel", "t", "1", supplier="x"), energy("diesel", "GJ", "1")], "several paths"),
        ([enterprise(), fact("plan", parameter="diesel", method="measured", missing_data="bill", valid_from="2026-01-01")], "not reported"),
    ],
)  # fmt: skip
def test_a_fuel_without_its_factor_has_no_figure_and_says_why(facts: list[Fact], said: str) -> None:
    lines = fuel_lines(books(*facts), FuelTable.load())
    assert {line.emission_ug for line in lines} == {None}
    assert said in lines[0].missing_en
    assert lines[0].missing_zh


def test_two_factor_sets_give_two_emissions_of_the_same_diesel() -> None:
    found = [
        fuel_lines(books(enterprise(name), energy("diesel", "t", "1")), FuelTable.load())[0].emission_ug
        for name in ("GBT32151.34-2024-C1", "NDRC-2015-1722-other-industry")
    ]
    assert found[0] != found[1]
    assert None not in found


def test_heat_takes_the_default_or_the_suppliers_proven_factor() -> None:
    default = energy("heat", "GJ", "2.8")
    own = energy("heat", "GJ", "100", supplier="电厂", factor_t_per_gj="0.09", factor_source="report 3")
    lines = heat_lines(books(enterprise(), default, own), FuelTable.load(), {})
    # 2.8 GJ × 0.11: GB/T 32151.34 formula (13) with 1,000 kg of steam at 2,800 kJ/kg.
    assert {line.id: line.emission_ug for line in lines} == {
        "heat": str(308 * 10**9),
        "heat/电厂": str(9 * 10**12),
    }


def test_heat_that_is_metered_and_billed_too_has_no_second_figure() -> None:
    lines = heat_lines(
        books(enterprise(), energy("heat", "GJ", "5")), FuelTable.load(), {"m-heat": 5_000_000}
    )
    assert [line.emission_ug for line in lines] == [str(55 * 10**10), None]


def test_standard_coal_is_by_printed_coefficients_and_media_are_shown_but_not_added() -> None:
    facts = [
        enterprise(),
        energy("diesel", "t", "2"),
        energy("natural_gas", "Nm3", "1000"),
        energy("compressed_air", "Nm3", "500"),
    ]
    coefficients = dict(load_coefficients())
    lines = energy_lines(books(*facts), coefficients, 1_000_000, (), 3_000)
    by_id = {line.id: line.standard_coal_kgce for line in lines}
    assert by_id == {
        "electricity": "122.9", "diesel": "2914.2", "natural_gas": "1330", "compressed_air": "20", "fresh_water": "0.7713",
    }  # fmt: skip
    assert energy_total(lines, coefficients, 0).standard_coal_kgce == str(
        Decimal("122.9") + Decimal("2914.2") + 1330
    )
    assert energy_total(lines, coefficients, 0).equal_value_kgce is None


def test_equal_value_is_a_second_column_and_only_where_the_year_has_one() -> None:
    equal = KINDS["benchmark"].model_validate(
        {"scope": "a", "measure": "equal_value_kgce_per_kwh", "year": 2026, "value": "0.3", "source": "s"}
    )
    coefficients = dict(load_coefficients())
    lines = energy_lines(books(equal), coefficients, 1_000_000, (), None)
    assert (lines[0].standard_coal_kgce, lines[0].equal_value_kgce) == ("122.9", "300")
    assert energy_total(lines, coefficients, 0).equal_value_kgce == "300"


def test_an_energy_without_a_coefficient_stops_the_total() -> None:
    coefficients = dict(load_coefficients())
    lines = energy_lines(books(energy("peat", "t", "1")), coefficients, 1_000, (), None)
    assert energy_total(lines, coefficients, 0).standard_coal_kgce is None


def batch(**given: object) -> Fact:
    least = {
        "first": "G001", "last": "G003", "production_month": "2026-09", "status": "retired", "retired_on": "2026-11-01", "month": MONTH,
        "evidence_sha256": PROOF,
    }  # fmt: skip
    return fact("certificate", **{**least, **given})


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({}, ""),
        ({"status": "held"}, "not retired"),
        ({"retired_on": None}, "not retired"),
        ({"production_month": "2026-11"}, "produced after"),
        ({"production_month": "2024-11"}, ""),
        ({"production_month": "2024-10"}, "expired"),
        ({"production_month": "2023-12"}, "expired"),
        ({"evidence_sha256": ""}, "no digest"),
    ],
)
def test_a_certificate_counts_only_with_its_evidence(given: dict[str, object], refused: str) -> None:
    (line,) = certificate_lines(books(batch(**given)), 10**9)
    assert refused in line.refused_en
    assert bool(line.refused_en) == bool(refused)
    assert line.accepted_wh == ("0" if refused else str(3_000_000))


def test_each_kilowatt_hour_is_covered_once_deliveries_first() -> None:
    green = fact(
        "green", contract="C1", month=MONTH, energy_kwh="4000", settlement="S1", evidence_sha256=PROOF
    )
    lines = certificate_lines(books(batch(), green), 5_000_000)
    assert [(line.kind, line.accepted_wh) for line in lines] == [
        ("green_power", "4000000"),
        ("gec", "1000000"),
    ]
    assert "exceeds" in lines[1].refused_en
    assert accepted_wh(lines) == 5_000_000


def national() -> dict[str, object]:
    table = FactorTable.load()
    from datetime import date  # noqa: PLC0415

    day = date(2026, 11, 2)
    found = {
        "national": resolve(table, LatestPublished("CN", "average"), MONTH, day),
        "provincial": resolve(table, LatestPublished("CN-AH", "average"), MONTH, day),
        "market": resolve(table, market_policy(), MONTH, day),
    }
    return dict(found)


def test_all_methods_stand_side_by_side() -> None:
    lines = {line.use: line for line in total_lines("enterprise", 10_000_000, 4_000_000, (), (), national())}  # type: ignore[arg-type]
    assert lines["standard"].electricity_ug == str(6_000_000 * 530_600)
    assert lines["location_national"].electricity_ug == str(10_000_000 * 530_600)
    assert lines["location_provincial"].electricity_ug == str(10_000_000 * 655_300)
    assert lines["market"].electricity_ug == str(6_000_000 * 609_600)
    assert [use for use, line in lines.items() if line.primary] == ["standard"]
    assert {line.excluding_ug for line in lines.values()} == {"0"}
    park = total_lines("park", 10_000_000, 0, (), (), national())  # type: ignore[arg-type]
    assert [line.use for line in park if line.primary] == ["location_provincial"]


def test_a_missing_factor_stops_its_own_figure_only() -> None:
    factors = {**national(), "market": MissingFactor(Why.NOTHING_KNOWN, "none", "无")}
    lines = {line.use: line for line in total_lines("enterprise", 1_000, 0, (), (), factors)}  # type: ignore[arg-type]
    assert lines["market"].including_ug is None
    assert lines["market"].missing_en == "none"
    assert lines["standard"].including_ug is not None


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_the_power_factor_is_rounded_half_up_without_a_root(active: int, reactive: int) -> None:
    found = power_factor(active, reactive)
    if (active, reactive) == (0, 0):
        assert found is None
        return
    cosine = active / sqrt(active**2 + reactive**2)
    assert abs(float(found or 0) - cosine) <= 0.005 + 1e-9


@pytest.mark.parametrize(("reactive", "found"), [(0, "1.00"), (100, "0.71"), (75, "0.80"), (48, "0.90")])
def test_power_factors_of_a_hundred(reactive: int, found: str) -> None:
    assert power_factor(100, reactive) == found


@pytest.mark.parametrize(
    ("used", "forecast", "state"),
    [
        (None, None, "unknown"),
        (51, 90, "red"),
        (49, 101, "forecast_over"),
        (45, 100, "yellow"),
        (44, 99, "green"),
    ],
)
def test_a_budget_tells_its_worst_news_first(used: int | None, forecast: int | None, state: str) -> None:
    amounts = [None if value is None else Fraction(value) for value in (used, forecast)]
    assert budget_state(amounts[0], Fraction(50), Fraction(100), amounts[1]) == state
