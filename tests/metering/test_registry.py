"""Configuration files: every mistake at once, by its key path; units and reading types as the standards have them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from metering.config import ConfigError, ConfigPath, Strict, load_toml, validate
from metering.mqtt import BrokerSettings
from metering.reading_types import READING_TYPES, Kind
from metering.registry import RegistryError, load_registry, parse_registry
from metering.roles import ROLE_LABELS, Role
from metering.units import UNITS, Unit


def park(**changes: Any) -> dict[str, Any]:
    return {
        "id": "demo", "name": "园区", "grid_scope": "CN-AH",
        "enterprises": [{"id": "e1", "name": "一"}, {"id": "e2", "name": "二"}],
        "sites": [{"id": "s1", "enterprise": "e1", "name": "东"}, {"id": "s2", "enterprise": "e2", "name": "西"}],
        "gateways": [{"id": "g1", "site": "s1"}, {"id": "g2", "site": "s2"}],
        "meters": [meter("m1"), meter("m2", gateway="g2"), meter("m3", parent="m1")],
        **changes,
    }  # fmt: skip


def meter(id: str, **changes: Any) -> dict[str, Any]:
    return {"id": id, "gateway": "g1", "roles": {"energy_import_total": "grid_boundary"}, **changes}


def mistakes_in(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_registry(data, "park.toml")
    assert str(caught.value).startswith("park.toml")
    return caught.value.mistakes


def test_a_part_of_a_park_does_not_know_the_rest_whatever_was_asked_before() -> None:
    whole = parse_registry(park())
    assert whole.meter("m2") is not None
    assert [whole.enterprise_of(meter) for meter in whole.meters] == ["e1", "e2", "e1"]
    part = whole.model_copy(update={"meters": whole.meters[:1], "gateways": whole.gateways[:1]})
    assert part.meter("m2") is None
    with pytest.raises(KeyError):
        part.enterprise_of(whole.meters[1])
    assert whole.meter("m2") is not None


def test_a_meter_belongs_to_the_enterprise_of_its_site() -> None:
    found = parse_registry(park())
    assert [found.enterprise_of(item) for item in found.meters] == ["e1", "e2", "e1"]
    assert [item.id for item in found.meters_of("e1")] == ["m1", "m3"]
    second = found.meter("m2")
    assert second is not None
    assert second.gateway == "g2"
    assert found.meter("m9") is None
    assert str(found.tz) == "Asia/Shanghai"


@pytest.mark.parametrize(("written", "ratio"), [
    (80, Fraction(80)), ("400/5", Fraction(80)), (1.5, Fraction(3, 2)), ("10000/100", Fraction(100)), (0.1, Fraction(1, 10)),
])  # fmt: skip
def test_a_ratio_is_exact_however_it_is_written(written: object, ratio: Fraction) -> None:
    [found] = parse_registry(park(meters=[meter("m1", ct=written)])).meters
    assert found.ct == ratio


@pytest.mark.parametrize("written", [0, -1, "80:1", "5/0", "", True, float("inf"), float("nan")])
def test_what_is_no_ratio_is_refused_with_an_example(written: object) -> None:
    assert mistakes_in(park(meters=[meter("m1", pt=written)])) == [
        'meters[0].pt: a ratio is positive, e.g. 80 or "400/5"'
    ]


def test_all_mistakes_of_form_come_at_once_with_their_key_paths() -> None:
    data = park(
        zone="Asia/Hefei",
        metres=[],
        gateways=[{"id": "g 1", "site": "s1"}],
        meters=[
            meter("m1", ct=0, roles={"power_active": "grid_boundary", "steam": "sub_meter"}),
            meter("m2", roles={"energy_import_total": "main"}, max_power_w=0),
            {"id": "m3"},
        ],
    )
    found = {line.split(":")[0]: line for line in mistakes_in(data)}
    assert set(found) == {
        "zone", "metres", "gateways[0].id", "meters[0].ct", "meters[0].roles", "meters[1].roles.energy_import_total",
        "meters[1].max_power_w", "meters[2].gateway", "meters[2].roles",
    }  # fmt: skip
    assert "not a total: steam" in found["meters[0].roles"]
    assert "'Asia/Hefei'" in found["zone"]


def test_all_mistakes_of_reference_come_at_once() -> None:
    data = park(
        sites=[{"id": "s1", "enterprise": "nobody", "name": "东"}],
        meters=[meter("m1", gateway="g9"), meter("m1", parent="m7"), meter("m1")],
    )
    assert mistakes_in(data) == [
        "meters: id 'm1' is given 3 times",
        "sites[0].enterprise: there is no 'nobody'",
        "gateways[1].site: there is no 's2'",
        "meters[0].gateway: there is no 'g9'",
        "meters[1].parent: there is no 'm7'",
    ]
    with pytest.raises(RegistryError):
        parse_registry(data)


def test_a_registry_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "park.toml"
    file.write_text(
        'id = "demo"\nname = "园区"\ngrid_scope = "CN-AH"\nenterprises = []\nsites = []\ngateways = []\nmeters = []\n',
        encoding="utf-8",
    )
    assert load_registry(file).name == "园区"


@pytest.mark.parametrize("text", [b"id = ", b"id = 1\nid = 2", b"name = '\xff'"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "park.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=r"park\.toml has mistakes:\n  not TOML"):
        load_registry(file)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_registry(tmp_path / "park.toml")


class Paths(Strict):
    near: ConfigPath
    far: ConfigPath = Path("/elsewhere")


def test_a_relative_path_starts_at_the_folder_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('near = "data/journal.db"\nfar = "/srv/x"\n', encoding="utf-8")
    assert load_toml(file, Paths) == Paths.model_construct(
        near=tmp_path / "data/journal.db", far=Path("/srv/x")
    )


def broker(**settings: Any) -> BrokerSettings:
    return validate({"user": "host", "password_file": "secret", **settings}, BrokerSettings, "server.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_plain_text_is_allowed_within_this_machine(host: str) -> None:
    assert broker(host=host).tls() is None


@pytest.mark.parametrize(
    "host", ["10.0.0.7", "broker.example", "0.0.0.1", "::", "localhost.example", "192.168.1.9"]
)
def test_a_plain_text_broker_on_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="ca_file is needed"):
        broker(host=host)
    assert broker(host=host, ca_file="ca.pem").ca_file == Path("ca.pem")


@pytest.mark.parametrize(("settings", "says"), [
    ({"cert_file": "c.pem"}, "belong together"), ({"port": 0}, "port"), ({"port": 65536}, "port"), ({"passwort": "x"}, "passwort"),
])  # fmt: skip
def test_other_mistakes_of_a_broker_table_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        broker(**settings)


def test_a_password_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n", encoding="utf-8")
    assert broker(password_file=str(tmp_path / "secret")).password() == "s3cret"


PREFIXES = {
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(1000),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
}


@pytest.mark.parametrize("name", [name for name in UNITS if name[-1] in "hWAVzJr" and "/" not in name])
def test_a_unit_with_an_si_prefix_is_exactly_that_power_of_ten(name: str) -> None:
    base = UNITS[name].base
    prefixed = {
        f"{prefix}{stem}": PREFIXES[prefix] / PREFIXES[own]
        for own, stem in _stems(base)
        for prefix in PREFIXES
    }
    assert UNITS[name].factor == prefixed[name]


def _stems(base: str) -> list[tuple[str, str]]:
    """The base unit's own prefix and what is left without it: kJ counts in k."""
    return [("k", "J")] if base == "kJ" else [("", base)]


@pytest.mark.parametrize(("name", "base", "factor"), [
    ("m3", "L", 1000), ("m3/h", "L/h", 1000), ("L", "L", 1), ("%", "1", Fraction(1, 100)), ("degC", "degC", 1), ("GJ", "kJ", 10**6),
])  # fmt: skip
def test_other_units_are_exact_too(name: str, base: str, factor: Fraction) -> None:
    assert UNITS[name] == Unit(base, Fraction(factor))


def test_every_reading_type_counts_in_a_base_unit() -> None:
    for reading_type in READING_TYPES.values():
        assert UNITS[reading_type.unit] == Unit(reading_type.unit, Fraction(1))
        assert reading_type.name.endswith("_total") is (reading_type.kind is Kind.TOTAL)
        assert reading_type.label_zh
        assert reading_type.label_en


def test_a_total_counts_in_whole_base_units() -> None:
    totals = {item.unit for item in READING_TYPES.values() if item.kind is Kind.TOTAL}
    assert all(unit.factor.denominator == 1 for unit in UNITS.values() if unit.base in totals)


def test_every_role_has_a_label_in_both_languages() -> None:
    assert set(ROLE_LABELS) == set(Role)
    assert all(zh and en for zh, en in ROLE_LABELS.values())
