"""What an alias means: the birth's declaration and the registry's ratios as integers."""

from fractions import Fraction

import pytest

from metering import frames
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property
from stream.binding import Binding, bind, int64_bits, name_alias

ROLES = {"energy_import_total": "grid_boundary", "volume_total": "sub_meter", "heat_total": "sub_meter"}


def registry(ct: str = "400/5", pt: str = "35000/100") -> Park:
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": "g", "site": "s"}, {"id": "h", "site": "s"}],
            "meters": [{"id": "m", "gateway": "g", "roles": ROLES, "ct": ct, "pt": pt}],
        }
    )  # fmt: skip


def declared(
    name: str,
    unit: str | int,
    datatype: int | None = DataType.UINT32,
    alias: int | None = 1,
    **more: Property,
) -> Metric:
    properties: dict[str, Property] = {frames.PROPERTY_UNIT: unit, **more}
    return Metric(name=name, alias=alias, datatype=datatype, is_null=True, properties=properties)


def bound(
    *metrics: Metric, gateway: str = "g", meter: str = "m", park: Park | None = None
) -> dict[int, Binding]:
    return bind(park or registry(), gateway, meter, Payload(metrics))


def test_a_total_counts_in_base_units_on_the_meters_own_side() -> None:
    (binding,) = bound(declared("energy_import_total", "kWh", scale=-2)).values()
    assert (binding.kind, binding.num, binding.den) == ("total", 10, 1)


def test_a_scale_that_is_no_whole_number_stays_exact() -> None:
    (binding,) = bound(declared("energy_import_total", "Wh", scale=-4)).values()
    assert Fraction(binding.num, binding.den) == Fraction(1, 10_000)


@pytest.mark.parametrize(
    ("modulus", "known"),
    [(10**8, 10**8), (1 << 32, 1 << 32), (0, 0), (-5, 0), (1 << 62, 0), ("8 digits", 0), ("1000", 1000)],
)
def test_a_declared_modulus_is_taken_up_when_it_can_be_one(modulus: Property, known: int) -> None:
    (binding,) = bound(declared("energy_import_total", "kWh", modulus=modulus)).values()
    assert binding.modulus == known


@pytest.mark.parametrize(
    ("name", "unit", "base"), [("volume_total", "m3", 1000), ("heat_total", "GJ", 10**6)]
)
def test_transformers_touch_neither_water_nor_heat(name: str, unit: str, base: int) -> None:
    (binding,) = bound(declared(name, unit)).values()
    assert (binding.num, binding.den) == (base, 1)


def test_a_float_total_counts_at_its_resolution_times_its_scale() -> None:
    (binding,) = bound(
        declared("energy_import_total", "kWh", DataType.FLOAT, resolution=-2, scale=3),
        park=registry("1", "1"),
    ).values()
    assert (binding.num, binding.den, binding.multiplier) == (10_000, 1, 100.0)


@pytest.mark.parametrize(
    ("name", "unit", "multiplier"),
    [
        ("power_active", "kW", 28e6),
        ("current_l1", "A", 80.0),
        ("voltage_l1", "V", 350.0),
        ("frequency", "Hz", 1.0),
        ("power_factor", "1", 1.0),
    ],
)
def test_a_gauge_takes_the_ratio_of_its_quantity(name: str, unit: str, multiplier: float) -> None:
    (binding,) = bound(declared(name, unit)).values()
    assert (binding.kind, binding.multiplier) == ("gauge", multiplier)


def test_a_gauge_may_count_the_other_direction() -> None:
    (binding,) = bound(
        declared("power_active", "W", DataType.INT32, sign=-1), park=registry("1", "1")
    ).values()
    assert binding.multiplier == -1.0


@pytest.mark.parametrize(
    "metric",
    [
        declared("no_such_type", "kWh"), declared("energy_import_total", "furlong"), declared("energy_import_total", "m3"),
        declared("energy_import_total", 5), declared("energy_import_total", "kWh", DataType.STRING),
        declared("energy_import_total", "kWh", None), declared("energy_import_total", "kWh", 99), declared("energy_export_total", "kWh"),
        declared("energy_import_total", "kWh", scale=19), declared("energy_import_total", "kWh", scale=-(10**12)),
        declared("energy_import_total", "MWh", scale=14),
        Metric(name="energy_import_total", alias=1, datatype=DataType.UINT32, is_null=True),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_has_no_binding(metric: Metric) -> None:
    good = declared("energy_import_total", "kWh", alias=2)
    assert list(bound(metric, good)) == [2]


def test_an_unconfirmed_meter_or_another_gateway_binds_nothing() -> None:
    metric = declared("energy_import_total", "kWh")
    assert bound(metric)
    assert not bound(metric, meter="stranger")
    assert not bound(metric, gateway="h")


def test_names_stand_in_for_aliases_and_never_meet_across_meters() -> None:
    (alias,) = bound(declared("energy_import_total", "kWh", alias=None))
    assert alias == name_alias("m", "energy_import_total")
    assert alias != name_alias("n", "energy_import_total")
    assert 1 << 60 <= alias < 1 << 61


def test_an_alias_beyond_int64_is_kept_by_its_bits() -> None:
    assert list(bound(declared("energy_import_total", "kWh", alias=(1 << 64) - 1))) == [-1]
    assert [int64_bits(v) for v in (5, (1 << 63) - 1, 1 << 63)] == [5, (1 << 63) - 1, -(1 << 63)]
