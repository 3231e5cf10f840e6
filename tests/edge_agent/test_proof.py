"""What proves a transformer ratio, and what does not."""

from fractions import Fraction

import pytest

from edge_agent.commission.probe import RatioState
from edge_agent.commission.proof import Comparison, Photo, Ratios, Why, parse_ratio, prove

PHOTO = Photo("plate.jpg", "ab" * 32)
CT = Ratios("400/5")
CLAMP = Comparison("clamp", 212.0, 2.65, "A", 0.001, "l1")


def test_a_clamp_that_agrees_and_a_photo_prove_the_ratio() -> None:
    proof = prove(CT, [CLAMP], PHOTO)
    assert (proof.state, proof.missing) == (RatioState.PROVEN, [])


@pytest.mark.parametrize(
    ("ratios", "comparisons", "photo", "missing"),
    [
        (CT, [CLAMP], None, ["no_photo"]),
        (CT, [], PHOTO, ["no_comparison"]),
        (CT, [], None, ["no_comparison", "no_photo"]),
        (Ratios(), [CLAMP], PHOTO, ["no_ratio"]),
        (CT, [Comparison("clamp", 0.8, 0.01, "A", 0.001, "l1")], PHOTO, ["too_coarse"]),
        (CT, [Comparison("clamp", 212.0, 0.0, "A", 0.0, "l1")], PHOTO, ["too_coarse"]),
        (Ratios("75/5", "10000/100"), [Comparison("clamp", 39.75, 2.65, "A", 0.001, "l1")], PHOTO, ["pt_needs_utility"]),
        (Ratios(direct=True), [], None, ["no_photo"]),
    ],
)  # fmt: skip
def test_anything_less_leaves_it_unproven_and_says_why(
    ratios: Ratios, comparisons: list[Comparison], photo: Photo | None, missing: list[Why]
) -> None:
    proof = prove(ratios, comparisons, photo)
    assert (proof.state, proof.missing) == (RatioState.UNPROVEN, missing)


@pytest.mark.parametrize("wrong", ["300/5", "500/5", "400/1"])
def test_a_neighbouring_ratio_is_contradicted_even_with_a_photo(wrong: str) -> None:
    proof = prove(Ratios(wrong), [CLAMP], PHOTO)
    assert proof.state is RatioState.CONTRADICTED
    assert proof.missing == ["disagrees"]


def test_one_comparison_that_disagrees_outweighs_one_that_agrees() -> None:
    other = Comparison("utility_power", 200.0, 1.0, "kW", 0.001)
    assert prove(CT, [CLAMP, other], PHOTO).state is RatioState.CONTRADICTED


def test_the_utilitys_meter_proves_ct_and_pt_together() -> None:
    ratios = Ratios("75/5", "10000/100")
    power = Comparison("utility_power", 1_500.0, 1.0, "kW", 0.001)
    energy = Comparison("utility_energy", 3_000.0, 2.0, "kWh", 0.01)
    for item in (power, energy):
        assert prove(ratios, [item], PHOTO).state is RatioState.PROVEN
    assert prove(Ratios("100/5", "10000/100"), [power], PHOTO).state is RatioState.CONTRADICTED


def test_a_meter_that_applies_its_ratio_is_compared_as_it_is() -> None:
    ratios = Ratios("400/5", in_meter=True)
    assert ratios.to_apply == (Fraction(1), Fraction(1))
    assert (
        prove(ratios, [Comparison("clamp", 212.0, 211.0, "A", 0.1, "l1")], PHOTO).state is RatioState.PROVEN
    )
    assert prove(ratios, [CLAMP], PHOTO).state is RatioState.CONTRADICTED


def test_a_meter_without_transformers_needs_only_its_name_plate() -> None:
    assert prove(Ratios(direct=True), [], PHOTO).state is RatioState.PROVEN
    assert prove(Ratios(direct=True), [CLAMP], PHOTO).state is RatioState.CONTRADICTED


@pytest.mark.parametrize(
    ("reference", "agrees"), [(100.0, True), (95.3, True), (105.2, True), (94.9, False), (106.0, False)]
)
def test_the_band_is_five_percent_of_what_was_read_elsewhere(reference: float, agrees: bool) -> None:
    assert Comparison("clamp", reference, 1.0, "A").agrees(Fraction(100), Fraction(1)) == agrees


@pytest.mark.parametrize("text", ["", "0", "-5", "400/0", "x", "400:5"])
def test_a_ratio_is_positive(text: str) -> None:
    with pytest.raises(ValueError, match="a ratio is positive"):
        parse_ratio(text)
