"""Profiles: the bundled ones hold, and a mistaken one is told all its mistakes with their key paths."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_agent.profile import Pattern, Profile, ProfileError, bundled_profiles, load_profile, parse_profile
from metering.reading_types import READING_TYPES, Kind
from metering.sparkplug import DATATYPE_BY_NAME
from metering.units import UNITS

GOOD = """
vendor = "V"
model = "M"
revision = 1
kind = "electricity"
ratio_applied_in_meter = false

[sources]
S1 = "a manual"

[[register]]
reading_type = "power_active"
addr = 10
fc = 3
type = "int32"
unit = "kW"
scale = -3
source = ["S1"]
confidence = "A"

[[register]]
reading_type = "energy_import_total"
addr = 12
fc = 3
type = "float32"
unit = "kWh"
resolution = -2
source = ["S1"]
confidence = "B"
"""


NO_TOTAL = {"kamstrup_multical403"}
"""No source names its addresses, and the profile says so."""


def mistakes_of(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        parse_profile("mine", document)
    return caught.value.mistakes


def changed(index: int, **changes: Any) -> dict[str, Any]:
    """GOOD with keys of one register replaced, or removed where the value is None."""
    document = tomllib.loads(GOOD)
    row = {**document["register"][index], **changes}
    document["register"][index] = {key: value for key, value in row.items() if value is not None}
    return document


def with_head(**changes: object) -> dict[str, Any]:
    return {**tomllib.loads(GOOD), **changes}


@pytest.mark.parametrize("name", bundled_profiles())
def test_a_bundled_profile_loads_and_keeps_to_the_contract(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert name in NO_TOTAL or any(
        READING_TYPES[item.reading_type].kind is Kind.TOTAL for item in profile.registers
    )
    for item in profile.registers:
        assert UNITS[item.unit].base == READING_TYPES[item.reading_type].unit
        assert item.datatype in DATATYPE_BY_NAME
        assert set(item.source) <= set(profile.sources)


def test_there_are_profiles_of_meters_and_of_inverters() -> None:
    profiles = [load_profile(name) for name in bundled_profiles()]
    assert len(profiles) >= 8
    assert {profile.kind for profile in profiles} >= {"electricity", "pv_inverter"}


def test_an_inverters_yield_is_generation_and_never_import() -> None:
    for profile in map(load_profile, bundled_profiles()):
        if profile.kind == "pv_inverter":
            names = {item.reading_type for item in profile.registers}
            assert "energy_generation_total" in names
            assert "energy_import_total" not in names


def reading(profile: Profile, name: str) -> dict[str, Any]:
    item = next(item for item in profile.registers if item.reading_type == name)
    return item.model_dump(
        include={"addr", "fc", "type", "scale", "word_order", "rollover", "resolution", "sign"}
    )


def test_hand_checked_totals_stand_where_the_manuals_say() -> None:
    assert reading(load_profile("acrel_dtsd1352"), "energy_import_total") == {
        "addr": 0x000A, "fc": 3, "type": "uint32", "scale": -2, "word_order": "high_first",
        "rollover": 2**32, "resolution": None, "sign": 1,
    }  # fmt: skip
    assert reading(load_profile("sungrow_sg_string"), "energy_generation_total") == {
        "addr": 0x138B, "fc": 4, "type": "uint32", "scale": 0, "word_order": "low_first",
        "rollover": 2**32, "resolution": None, "sign": 1,
    }  # fmt: skip


def test_a_total_that_overflows_at_1e12_wh_has_its_modulus_in_counts() -> None:
    total = next(
        item
        for item in load_profile("siemens_pac3200").registers
        if item.reading_type == "energy_import_total"
    )
    assert total.rollover is not None
    assert total.resolution is not None
    assert total.rollover * 10**total.resolution == 10**12
    assert [part.addr for part in total.parts] == [805]


def test_the_huawei_grid_meter_has_the_opposite_sign() -> None:
    assert reading(load_profile("huawei_sun2000_grid"), "power_active")["sign"] == -1


def test_invalid_patterns_reach_the_registers_of_their_type() -> None:
    by_name = {item.reading_type: item.invalid for item in load_profile("abb_b23").registers}
    assert by_name["power_active"] == (Pattern(value=0x7FFFFFFF),)
    assert by_name["energy_import_total"] == (Pattern(value=0xFFFFFFFFFFFFFFFF),)


def test_a_profile_of_your_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    profile = load_profile(path)
    assert (profile.name, profile.limits.max_registers, profile.limits.gap) == ("mine", 100, 8)
    assert [item.datatype for item in profile.registers] == ["Int32", "Float"]


def test_a_profile_cannot_be_changed_and_its_registers_can_be_keys() -> None:
    profile = load_profile("abb_b23")
    with pytest.raises(ValueError, match="frozen"):
        profile.revision = 2  # type: ignore[misc]  # what the test is about
    assert len(set(profile.registers)) == len(profile.registers)


def test_a_register_may_state_its_own_order() -> None:
    document = with_head(word_order="low_first")
    document["register"][0]["word_order"] = "high_first"
    assert [item.word_order for item in parse_profile("mine", document).registers] == [
        "high_first",
        "low_first",
    ]


def test_an_unknown_name_lists_the_bundled_profiles() -> None:
    with pytest.raises(ProfileError, match="abb_b23"):
        load_profile("no_such_meter")


def test_a_missing_file_and_a_file_that_is_not_toml_are_profile_errors(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        load_profile(tmp_path / "gone.toml")
    (tmp_path / "bad.toml").write_text("vendor = ", encoding="utf-8")
    with pytest.raises(ProfileError, match="not a TOML file"):
        load_profile(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("document", "mistake"),
    [
        (changed(0, addr=11), "register[1].addr: 12 overlaps register[0]"),
        (changed(0, addr=40011), "register[0].addr: 40011 looks like a reference number"),
        (changed(0, addr=30011, fc=4), "register[0].addr: 30011 looks like a reference number"),
        (changed(0, addr=400011), "register[0].addr: 400011 is beyond 65535"),
        (changed(0, addr=65535), "register[0].addr: int32 at 65535 ends beyond address 65535"),
        (changed(0, type="int20"), "register[0].type: unknown type 'int20'; known are int8, "),
        (changed(0, reading_type="power"), "register[0].reading_type: unknown reading type power"),
        (changed(0, unit="kilowatt"), "register[0].unit: unknown unit kilowatt"),
        (changed(0, unit="kWh"), "register[0].unit: kWh counts in Wh, but power_active is in W"),
        (changed(0, source=None), "register[0].source: Field required"),
        (changed(0, source=[]), "register[0].source: Tuple should have at least 1 item"),
        (changed(0, source=["S9"]), "register[0].source: S9 not in [sources]"),
        (changed(0, scale=0.01), "register[0].scale: Input should be a valid integer"),
        (changed(0, fc=6), "register[0].fc: Input should be 3, 4 or 17"),
        (changed(0, adress=3), "register[0].adress: Extra inputs are not permitted"),
        (changed(0, resolution=-2), "register[0].resolution: only a float total has one"),
        (changed(0, rollover=10), "register[0].rollover: only a total has one"),
        (changed(0, invalid=[2**32]), "register[0].invalid: 0x100000000 is wider than int32"),
        (changed(1, resolution=None), "register[1].resolution: a float total needs one"),
        (changed(1, sign=-1), "register[1].sign: a total has none"),
        (changed(1, type="uint32", resolution=None, rollover=2**33), "register[1].rollover: 8589934592 is more than"),
        (changed(1, reading_type="power_active", unit="W"), "register[1].reading_type: power_active again"),
        (with_head(register=[]), "register: at least one [[register]] table is needed"),
        (with_head(register=[3]), "register[0]: must be a table"),
        (with_head(revision=0), "revision: Input should be greater than or equal to 1"),
        (with_head(name="x"), "name: is given by the file's name"),
        (with_head(limits={"max_registers": 126}), "limits.max_registers: Input should be less than"),
        (with_head(limits={"max_registers": 1}), "register[0].type: int32 is wider than one read of 1"),
        (with_head(limits={"forbidden": [{"fc": 3, "first": 11, "last": 11}]}), "register[0].addr: lies in forbidden"),
        (with_head(limits={"forbidden": [{"fc": 3, "first": 9, "last": 8}]}), "limits.forbidden[0]: first 9 is after last 8"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_key_path(document: dict[str, Any], mistake: str) -> None:
    assert any(item.startswith(mistake) for item in mistakes_of(document)), mistakes_of(document)


def test_all_mistakes_are_told_at_once() -> None:
    document = changed(0, unit="kilowatt", addr=40011, source=None)
    document["register"][1]["type"] = "int20"
    document["kind"] = "toaster"
    assert {item.split(":")[0] for item in mistakes_of(document)} == {
        "kind", "register[0].unit", "register[0].addr", "register[0].source", "register[1].type",
    }  # fmt: skip


def test_confirmed_addresses_above_30000_are_taken() -> None:
    document = changed(0, addr=40011)
    assert parse_profile("mine", {**document, "pdu_addresses_confirmed": True}).registers[0].addr == 40011


def test_a_pair_that_no_single_read_fetches_is_a_mistake() -> None:
    document = tomllib.loads(GOOD)
    document["register"][1] |= {"type": "uint16", "factor": 1000, "parts": [{"addr": 60}]}
    del document["register"][1]["resolution"]
    assert mistakes_of(document) == ["register[1].parts: no single read fetches them with the register"]
    document["register"][1]["parts"] = [{"addr": 13}]
    assert parse_profile("mine", document).registers[1].is_pair
