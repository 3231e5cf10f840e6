"""Births, frames and wills of ours, as the protobuf library reads them. Ids: Eclipse Sparkplug 3.0."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent import births
from edge_agent.device import Device, make_device
from edge_agent.outbox import Frame, Outbox
from edge_agent.profile import Profile, bundled_profiles, load_profile
from edge_agent.readings_body import readings_body
from metering.protobuf_wire import uint_field
from metering.sparkplug import encode
from tests.fakes.gateway import config_for, toy_profile
from tests.fakes.sparkplug_proto import parse, properties_of, value_of

T = 1_793_462_400_000
METERS = tuple(f"m{i}" for i in range(len(bundled_profiles())))


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "o.db", 1_000_000_000)
    yield outbox
    outbox.close()


@pytest.fixture
def devices(outbox: Outbox, tmp_path: Path) -> list[Device]:
    """A device of every bundled profile."""
    meters = config_for(tmp_path, 1883, METERS).meters
    return [
        make_device(meter, load_profile(name), outbox)
        for meter, name in zip(meters, bundled_profiles(), strict=True)
    ]


def node_birth(outbox: Outbox) -> Any:
    return parse(encode(births.nbirth(outbox, 7, T)))


def device_birth(outbox: Outbox, device: Device) -> Any:
    _meter, declared = outbox.declaration(device.declaration)
    return parse(encode(births.dbirth(declared, outbox.epoch, device.latest, T)))


def serial_of(device: Device) -> set[str]:
    """The metric of the serial number, where the profile has one and the meter is known."""
    return {"serial"} if device.identity is not None and device.identity.serial is not None else set()


def raw(device: Device) -> list[tuple[Any, int, int | float]]:
    """A reading of every register, each at a time of its own; negative where the type allows it."""
    examples: dict[str, int | float] = {"Float": -230.5, "Double": 1e9 + 0.125}
    return [
        (r, T + i, examples.get(r.datatype, -(i + 1) if r.datatype.startswith("Int") else 60_000 + i))
        for i, r in enumerate(device.registers)
    ]


def frame(outbox: Outbox, device: Device, *, historical: bool = False) -> Any:
    body = readings_body(device.aliases, raw(device))
    aliases = births.frame_aliases(outbox.declaration(device.declaration)[1])
    metrics = births.frame_metrics(
        aliases, outbox.epoch, Frame(42, device.declaration, T, body), historical=historical
    )
    return parse(uint_field(1, T) + metrics)


def test_a_node_birth_names_session_commands_and_frame_metrics(outbox: Outbox) -> None:
    """tck-id-payloads-nbirth-bdseq, -nbirth-rebirth-req, -nbirth-timestamp, tck-id-topics-nbirth-rebirth-metric."""
    payload = node_birth(outbox)
    metrics = {metric.name: metric for metric in payload.metrics}
    assert payload.timestamp == T
    assert (value_of(metrics["bdSeq"]), metrics["bdSeq"].datatype) == (7, 4)
    assert (value_of(metrics["Node Control/Rebirth"]), metrics["Node Control/Rebirth"].datatype) == (
        False,
        11,
    )
    assert value_of(metrics["Frame/Epoch"]) == outbox.epoch
    assert metrics["Frame/Lost From"].is_null


def test_every_birth_metric_has_name_data_type_and_time(outbox: Outbox, devices: list[Device]) -> None:
    """tck-id-payloads-metric-datatype-req, -metric-datatype-value, -name-requirement, -name-birth-data-requirement."""
    for payload in (node_birth(outbox), *(device_birth(outbox, device) for device in devices)):
        assert payload.timestamp == T
        for metric in payload.metrics:
            assert metric.name
            assert 1 <= metric.datatype <= 17
            assert metric.timestamp == T
            assert metric.is_null == (value_of(metric) is None)


def test_aliases_are_unique_over_the_whole_edge_node(outbox: Outbox, devices: list[Device]) -> None:
    """tck-id-payloads-alias-uniqueness, tck-id-payloads-alias-birth-requirement (all metrics that data refers to)."""
    payloads = [node_birth(outbox), *(device_birth(outbox, device) for device in devices)]
    aliases = [metric.alias for payload in payloads for metric in payload.metrics if metric.HasField("alias")]
    assert len(aliases) == len(set(aliases)) > 100
    for payload in payloads[1:]:
        assert all(metric.alias for metric in payload.metrics)


def test_a_meter_birth_declares_what_its_raw_values_mean(outbox: Outbox, devices: list[Device]) -> None:
    """tck-id-payloads-propertyset-keys-array-size, -propertyset-values-array-size, -metric-propertyvalue-type-req."""
    for device in devices:
        metrics = {metric.name: metric for metric in device_birth(outbox, device).metrics}
        assert set(metrics) == {
            "Frame/Epoch",
            "Frame/Number",
            "Frame/Time Source",
            *(r.name for r in device.registers),
            *serial_of(device),
        }
        for register in device.registers:
            sets = metrics[register.name].properties
            assert len(sets.keys) == len(sets.values)
            assert all(item.type in {4, 10, 12} for item in sets.values)
            found = properties_of(metrics[register.name])
            assert (found["engUnit"], _signed(found["scale"])) == (register.unit, register.scale)
            assert found["profile"] == f"{device.profile.name}@{device.profile.revision}"
            assert found.get("modulus") == register.rollover


def test_a_meter_birth_carries_the_newest_values_with_their_own_times(
    outbox: Outbox, devices: list[Device]
) -> None:
    """tck-id-topics-dbirth-metrics: a birth has the current value of every metric, null where there is none yet."""
    for device in devices:
        assert all(
            metric.is_null for metric in device_birth(outbox, device).metrics if metric.name != "Frame/Epoch"
        )
        readings = raw(device)
        device.latest.update({register.name: (t_ms, value) for register, t_ms, value in readings})
        metrics = {metric.name: metric for metric in device_birth(outbox, device).metrics}
        for register, t_ms, value in readings:
            metric = metrics[register.name]
            assert (metric.timestamp, _typed(metric, register.datatype)) == (t_ms, value)


def test_a_frame_carries_aliases_values_and_times_and_nothing_that_the_birth_said(
    outbox: Outbox, devices: list[Device]
) -> None:
    """tck-id-payloads-alias-data-cmd-requirement, -metric-datatype-not-req, -name-birth-data-requirement, -ddata-timestamp."""
    for device in devices:
        payload = frame(outbox, device)
        names = {metric.alias: metric.name for metric in device_birth(outbox, device).metrics}
        assert payload.timestamp == T
        for metric in payload.metrics:
            assert not any(metric.HasField(field) for field in ("name", "datatype", "properties"))
            assert metric.HasField("timestamp")
            assert not metric.is_historical
        found = {names[metric.alias]: metric for metric in payload.metrics}
        assert (value_of(found["Frame/Epoch"]), value_of(found["Frame/Number"])) == (outbox.epoch, 42)
        for register, t_ms, value in raw(device):
            metric = found[register.name]
            assert (metric.timestamp, _typed(metric, register.datatype)) == (t_ms, value)


def test_a_frame_sent_late_is_flagged_historical_and_otherwise_the_same(
    outbox: Outbox, devices: list[Device]
) -> None:
    """Sparkplug 6.4.6: is_historical on every metric of old data."""
    for device in devices:
        late, fresh = frame(outbox, device, historical=True), frame(outbox, device)
        assert all(metric.is_historical for metric in late.metrics)
        for metric in late.metrics:
            metric.ClearField("is_historical")
        assert late == fresh


def test_a_will_carries_the_session_number_and_no_seq() -> None:
    """tck-id-payloads-ndeath-bdseq, tck-id-payloads-ndeath-seq."""
    payload = parse(encode(births.ndeath(255)))
    assert [(metric.name, value_of(metric)) for metric in payload.metrics] == [("bdSeq", 255)]
    assert not payload.HasField("seq")


@pytest.mark.parametrize(
    "changed",
    [
        toy_profile(scale=-1),
        toy_profile(unit="MWh"),
        toy_profile(type="uint64"),
        toy_profile().model_copy(update={"revision": 2}),
    ],
)
def test_a_changed_declaration_takes_a_new_alias_and_old_frames_keep_theirs(
    outbox: Outbox, tmp_path: Path, changed: Profile
) -> None:
    [meter] = config_for(tmp_path, 1883).meters
    old = make_device(meter, toy_profile(), outbox)
    same, new = make_device(meter, toy_profile(), outbox), make_device(meter, changed, outbox)
    assert (same.aliases, same.declaration) == (old.aliases, old.declaration)
    assert new.aliases.readings["energy_import_total"] != old.aliases.readings["energy_import_total"]
    assert (new.aliases.epoch, new.aliases.number) == (old.aliases.epoch, old.aliases.number)
    declared = {metric.alias: metric for metric in device_birth(outbox, old).metrics}
    total = declared[old.aliases.readings["energy_import_total"]]
    assert (total.datatype, properties_of(total)["engUnit"]) == (7, "kWh")


def test_a_lost_range_is_declared_under_the_number_of_its_last_frame(outbox: Outbox) -> None:
    names = {metric.alias: metric.name for metric in node_birth(outbox).metrics if metric.HasField("alias")}
    payload = parse(births.lost_metrics(outbox, 3, 9, T))
    found = {names[metric.alias]: value_of(metric) for metric in payload.metrics}
    assert found == {"Frame/Epoch": outbox.epoch, "Frame/Number": 9, "Frame/Lost From": 3}
    assert all(metric.timestamp == T for metric in payload.metrics)


def _signed(value: int, bits: int = 64) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _typed(metric: Any, datatype: str) -> int | float:
    """The value as a host reads it: integers of the declared type out of int_value or long_value."""
    value: int | float = value_of(metric)
    if datatype in {"Float", "Double"}:
        return float(struct.unpack("<f", struct.pack("<f", value))[0]) if datatype == "Float" else value
    bits = 64 if metric.WhichOneof("value") == "long_value" else 32
    assert isinstance(value, int)
    return _signed(value, bits) if datatype.startswith("Int") else value
