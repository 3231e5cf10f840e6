"""A device: scales that the meter names, maps that it must be asked for, its serial number and its frozen totals."""

import asyncio
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_agent.assemble import Assembler, Reading
from edge_agent.births import dbirth, frame_aliases, frame_metrics
from edge_agent.buses.errors import NoAnswer, ReadFailed, Refused, Unreachable
from edge_agent.buses.stations import Station
from edge_agent.config import PolledMeter
from edge_agent.device import FROZEN_EVERY_S, GAP_S, Device, make_device
from edge_agent.identify import Unidentified, identify
from edge_agent.outbox import Frame, Outbox
from edge_agent.plan import Block
from edge_agent.profile import Family, Limits, Profile, load_model, load_profile, parse_profile
from edge_agent.registers import encode
from edge_agent.serial_number import serial_text
from ingest.admission import Admitted, Declarations, admit, declarations
from metering.sparkplug import Metric as Told
from metering.sparkplug import Payload, decode

HEAD = """
vendor = "V"
model = "M"
revision = 1
kind = "electricity"
ratio_applied_in_meter = true
[sources]
S1 = "made up"
"""
Words = dict[tuple[int, int], int]


def profile_of(text: str, head: str = HEAD) -> Profile:
    rows = text.replace("[[register]]", '[[register]]\nsource = ["S1"]\nconfidence = "A"\nfc = 3')
    rows = rows.replace("[[frozen]]", '[[frozen]]\nsource = ["S1"]\nconfidence = "A"\nfc = 3')
    return parse_profile("mine", tomllib.loads(head + rows))


class Meter:
    """A meter by its words: what is not there is refused, what is silent is silent."""

    def __init__(self, words: Mapping[tuple[int, int], int]) -> None:
        self.words, self.asked = dict(words), list[tuple[Station, int, int, int]]()
        self.silent, self.gone = False, False

    def put(self, fc: int, addr: int, *words: int) -> None:
        self.words.update({(fc, addr + i): word for i, word in enumerate(words)})

    async def read(self, unit: Station, block: Block, *, tries: int | None = None) -> list[int]:
        self.asked.append((unit, block.fc, block.addr, block.count))
        assert tries is None or tries >= 1
        if self.gone:
            raise Unreachable("no connection")
        if self.silent:
            raise NoAnswer("silence")
        keys = [(block.fc, block.addr + i) for i in range(block.count)]
        if any(key not in self.words for key in keys):
            raise Refused("exception 02", 2)
        return [self.words[key] for key in keys]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "o.db", 100_000_000)
    yield outbox
    outbox.close()


def device_of(profile: Profile | Family, outbox: Outbox) -> Device:
    return make_device(PolledMeter(id="m", bus="b", unit=7, profile="x"), profile, outbox)


def polled(device: Device, meter: Meter, t_ms: int = 1000) -> tuple[list[Reading], ReadFailed | None]:
    return asyncio.run(device.read(meter, lambda: t_ms))


def birth(device: Device) -> dict[str, Told]:
    _meter, declared = device.outbox.declaration(device.declaration)
    return {metric.name or "": metric for metric in decode(declared).metrics}


def said(device: Device, readings: list[Reading]) -> dict[str, object]:
    """A frame as the server sees it: metric → value, by the birth that the frame was made for."""
    draft = device.draft(readings)
    assert draft.declaration == device.declaration
    names = {metric.alias: name for name, metric in birth(device).items()}
    body: Payload = decode(draft.body)
    return {names[metric.alias]: metric.value for metric in body.metrics}


def value(readings: list[Reading]) -> dict[str, float]:
    return {register.name: raw * 10.0**register.scale for register, _t_ms, raw in readings}


SCALED = profile_of("""
[[register]]
reading_type = "energy_import_total"
addr = 10
type = "uint32"
unit = "Wh"
rollover = 4294967296
scale_register = { addr = 12, invalid = [0x8000] }
[[register]]
reading_type = "power_active"
addr = 13
type = "int16"
unit = "W"
scale = -1
scale_register = { addr = 12, invalid = [0x8000] }
""")


def test_a_scale_register_is_declared_and_the_raw_value_travels_unchanged(outbox: Outbox) -> None:
    device, meter = device_of(SCALED, outbox), Meter({})
    meter.put(3, 10, 0, 1234, 0xFFFE, 50)
    readings, error = polled(device, meter)
    assert error is None
    assert value(readings) == {
        "energy_import_total": pytest.approx(12.34),
        "power_active": pytest.approx(0.05),
    }
    assert said(device, readings) == {"energy_import_total": 1234, "power_active": 50}
    found = birth(device)
    assert (found["energy_import_total"].properties or {})["scale"] == -2
    assert (found["energy_import_total"].properties or {})["modulus"] == 2**32
    assert (found["power_active"].properties or {})["scale"] == -3
    assert len(meter.asked) == 1


def test_a_changed_scale_takes_a_new_alias_and_the_old_one_keeps_its_meaning(outbox: Outbox) -> None:
    device, meter = device_of(SCALED, outbox), Meter({})
    aliases, declared = set(), []
    for exponent in (0, 1, 0, 1):
        meter.put(3, 10, 0, 1000 // 10**exponent, exponent, 5)
        readings, _error = polled(device, meter)
        assert value(readings)["energy_import_total"] == 1000
        device.draft(readings)
        aliases.add(device.aliases.readings["energy_import_total"])
        declared.append(device.declaration)
    assert len(aliases) == 2
    assert declared[:2] == declared[2:]
    assert declared[0] != declared[1]


def test_a_scale_that_is_none_or_absurd_is_no_reading_and_costs_the_others_nothing(outbox: Outbox) -> None:
    device = device_of(SCALED, outbox)
    for broken in (0x8000, 99, 0xFF00):
        meter = Meter({})
        meter.put(3, 10, 0, 1234, broken, 50)
        assert polled(device, meter)[0] == []


APART = profile_of("""
[[register]]
reading_type = "power_active"
addr = 10
type = "uint16"
unit = "W"
scale_register = { addr = 500 }
""")


def test_a_scale_that_changed_and_was_read_apart_is_believed_only_when_it_comes_again(outbox: Outbox) -> None:
    device, meter = device_of(APART, outbox), Meter({(3, 10): 7, (3, 500): 1})
    assert value(polled(device, meter)[0]) == {"power_active": 70}
    meter.put(3, 500, 2)
    assert polled(device, meter)[0] == []
    assert value(polled(device, meter)[0]) == {"power_active": 700}


SUMS = profile_of("""
[[register]]
reading_type = "energy_import_total"
addr = 0
type = "uint32"
unit = "kWh"
parts = [{ addr = 2 }, { addr = 200 }]
[[register]]
reading_type = "power_active"
addr = 4
type = "uint16"
unit = "W"
parts = [{ addr = 5, factor = -1 }]
[[register]]
reading_type = "energy_export_total"
addr = 6
type = "uint16"
factor = 1000
unit = "kWh"
parts = [{ addr = 7 }]
""")


def test_parts_are_added_and_taken_away_and_travel_as_one_number(outbox: Outbox) -> None:
    device, meter = device_of(SUMS, outbox), Meter({(3, addr): 0 for addr in range(210)})
    meter.put(3, 0, 1, 0, 0, 5, 10, 300, 12, 345)
    meter.put(3, 200, 0, 2)
    readings, _error = polled(device, meter)
    assert value(readings) == {
        "energy_import_total": 65543,
        "power_active": -290,
        "energy_export_total": 12345,
    }
    assert {register.datatype for register, _t, _raw in readings} == {"Int64"}


def test_a_sum_lacks_no_part_and_a_pair_is_never_read_in_two() -> None:
    assembler = Assembler(SUMS.registers)
    words: Words = {(3, addr): 1 for addr in range(8)}
    assert {register.name for register, _t, _raw in assembler.from_words(words)} == {
        "power_active", "energy_export_total",
    }  # fmt: skip


def test_a_pair_whose_parts_were_read_one_after_the_other_is_no_reading(outbox: Outbox) -> None:
    """A carry between the two reads would make 1000 of it, or lose it."""
    one_by_one = SUMS.model_copy(update={"limits": Limits(max_registers=2, gap=0)})
    device, meter = device_of(one_by_one, outbox), Meter({(3, addr): 1 for addr in range(210)})
    assert value(polled(device, meter)[0]).keys() == {
        "energy_import_total",
        "power_active",
        "energy_export_total",
    }
    pair = SUMS.registers[2]
    far = pair.model_copy(update={"parts": (pair.parts[0].model_copy(update={"addr": 150}),)})
    apart = one_by_one.model_copy(update={"registers": (far,)})
    assert polled(device_of(apart, outbox), meter)[0] == []


UNITS = profile_of("""
[[register]]
reading_type = "energy_import_total"
addr = 0
type = "uint16"
unit = "kWh"
unit_register = { addr = 1, type = "uint16", map = { 2 = "Wh", 3 = "kWh", 4 = "MWh" } }
scale_register = { addr = 2, type = "uint16", map = { 0 = 0, 7 = -3 } }
""")


def test_a_code_names_the_unit_and_the_exponent(outbox: Outbox) -> None:
    device, meter = device_of(UNITS, outbox), Meter({})
    meter.put(3, 0, 42, 4, 7)
    [(register, _t_ms, raw)] = polled(device, meter)[0]
    assert (raw, register.unit, register.scale) == (42, "MWh", -3)
    device.draft([(register, 1, raw)])
    assert (birth(device)["energy_import_total"].properties or {})["engUnit"] == "MWh"
    meter.put(3, 0, 42, 5, 7)
    assert polled(device, meter)[0] == []


SERIAL = profile_of(
    """
[[register]]
reading_type = "power_active"
addr = 0
type = "uint16"
unit = "W"
""",
    HEAD + '[serial]\nfc = 3\naddr = 100\nwidth = 2\ntype = "uint"\nsource = ["S1"]\nconfidence = "A"\n',
)


def test_the_serial_number_is_read_after_every_gap_and_travels_with_the_next_frame(outbox: Outbox) -> None:
    device, meter = device_of(SERIAL, outbox), Meter({(3, 0): 5, (3, 100): 1, (3, 101): 2})

    def serials() -> int:
        return sum(asked[2] == 100 for asked in meter.asked)

    readings, _error = polled(device, meter)
    assert birth(device)["serial"].datatype == 12
    assert said(device, readings) == {"power_active": 5, "serial": "65538"}
    assert device.latest["serial"] == (1000, "65538")
    for _poll in range(3):
        assert said(device, polled(device, meter)[0]) == {"power_active": 5}
    assert serials() == 1
    meter.silent = True
    assert polled(device, meter)[0] == []
    meter.silent = False
    meter.put(3, 100, 9, 9)
    assert said(device, polled(device, meter)[0]) == {"power_active": 5, "serial": "589833"}
    assert serials() == 2


def test_an_exchanged_meter_is_logged_with_both_numbers(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    device, meter = device_of(SERIAL, outbox), Meter({(3, 0): 5, (3, 100): 0, (3, 101): 11})
    polled(device, meter)
    meter.gone = True
    polled(device, meter)
    meter.gone = False
    meter.put(3, 100, 0, 12)
    polled(device, meter)
    assert "meter_exchanged meter=m old=11 new=12" in caplog.text


class Mute(Meter):
    """Silent about one register only."""

    async def read(self, unit: Station, block: Block, *, tries: int | None = None) -> list[int]:
        if block.addr == 100:
            self.asked.append((unit, block.fc, block.addr, block.count))
            raise NoAnswer("silence")
        return await super().read(unit, block, tries=tries)


@pytest.mark.parametrize(("kind", "times"), [(Meter, 1), (Mute, 3)])
def test_a_serial_number_that_is_refused_or_met_with_silence_is_given_up_until_the_next_gap(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, kind: type[Meter], times: int
) -> None:
    device, meter = device_of(SERIAL, outbox), kind({(3, 0): 5})
    for gaps in (1, 2):
        for _poll in range(6):
            assert said(device, polled(device, meter)[0]) == {"power_active": 5}
        assert sum(asked[2] == 100 for asked in meter.asked) == gaps * times
        meter.gone = True
        polled(device, meter)
        meter.gone = False
    assert caplog.text.count("serial_unread meter=m") == 1


def test_polls_far_apart_are_gaps_themselves(outbox: Outbox) -> None:
    device, meter = device_of(SERIAL, outbox), Meter({(3, 0): 5, (3, 100): 1, (3, 101): 2})
    for _poll in range(3):
        assert "serial" in said(device, polled(device, meter)[0])
        device.heard_s -= GAP_S + 1


FROZEN = profile_of("""
[[register]]
reading_type = "energy_import_total"
addr = 0
type = "uint16"
unit = "kWh"
[[frozen]]
reading_type = "energy_import_total"
months_ago = 1
addr = 50
type = "uint16"
unit = "kWh"
""")


def test_frozen_totals_are_read_seldom_and_are_never_taken_for_the_running_one(outbox: Outbox) -> None:
    device, meter = device_of(FROZEN, outbox), Meter({(3, 0): 100, (3, 50): 90})
    assert said(device, polled(device, meter)[0]) == {
        "energy_import_total": 100,
        "energy_import_total/frozen/1": 90,
    }
    assert said(device, polled(device, meter)[0]) == {"energy_import_total": 100}
    device.frozen_s -= FROZEN_EVERY_S
    assert said(device, polled(device, meter)[0])["energy_import_total/frozen/1"] == 90


def test_frozen_totals_that_are_not_there_cost_little(outbox: Outbox) -> None:
    device, meter = device_of(FROZEN, outbox), Meter({(3, 0): 100})
    for _poll in range(5):
        assert said(device, polled(device, meter)[0]) == {"energy_import_total": 100}
    assert sum(asked[2] == 50 for asked in meter.asked) == 1


# Maps that the meter must be asked for.

DTSU666 = load_model("chint_dtsu666")


def chint(variant: str) -> Meter:
    spans = ((0, 0x200), (0x800, 0x900), (0x1000, 0x1100), (0x2000, 0x2100), (0x4000, 0x4100))
    meter = Meter({(3, addr): 0 for span in spans for addr in range(*span)})
    profile = load_profile(variant)
    volts = next(register for register in profile.registers if register.reading_type == "voltage_l1")
    raw = 230 / 10**volts.scale
    meter.put(3, volts.addr, *encode(volts, raw if volts.wire.coding == "float" else round(raw)))
    return meter


@pytest.mark.parametrize(
    "variant", ["chint_dtsu666_scaled", "chint_dtsu666_h", "huawei_dtsu666_h", "acrel_dtsd1352"]
)
def test_a_family_is_told_apart_by_what_the_meter_answers(variant: str, outbox: Outbox) -> None:
    device, meter = device_of(DTSU666, outbox), chint(variant)
    assert set(birth(device)) == {"Frame/Epoch", "Frame/Number", "Frame/Time Source"}
    readings, error = polled(device, meter)
    assert error is None
    assert device.identity is not None
    assert device.identity.name == variant
    assert value(readings)["voltage_l1"] == pytest.approx(230, rel=1e-6)
    device.draft(readings)
    assert (birth(device)["voltage_l1"].properties or {})["profile"] == f"{variant}@1"


def test_a_meter_that_fits_no_variant_is_not_read_and_told_what_to_do(outbox: Outbox) -> None:
    device, meter = device_of(DTSU666, outbox), chint("chint_dtsu666_h")
    meter.put(3, 8198, 0, 0)
    readings, error = polled(device, meter)
    assert readings == []
    assert isinstance(error, Unidentified)
    assert "answers like none of chint_dtsu666; set profile to the right one of chint_dtsu666_scaled" in str(
        error
    )


def test_a_silent_meter_stays_unidentified_and_is_asked_again(outbox: Outbox) -> None:
    device, meter = device_of(DTSU666, outbox), chint("chint_dtsu666_h")
    meter.silent = True
    assert isinstance(polled(device, meter)[1], NoAnswer)
    meter.silent = False
    assert polled(device, meter)[1] is None


def sunspec(base: int, models: Mapping[int, int], fc: int = 3) -> tuple[Meter, dict[int, int]]:
    """A SunSpec map: model → its length without header; and where each model's id register stands."""
    meter, at, places = Meter({}), base + 2, {}
    meter.put(fc, base, 0x5375, 0x6E53)
    for model, length in models.items():
        places[model] = at
        meter.put(fc, at, model, length, *[0xFFFF] * length)
        at += 2 + length
    meter.put(fc, at, 0xFFFF, 0)
    return meter, places


@pytest.mark.parametrize("base", [40000, 50000, 0])
def test_a_sunspec_meter_is_found_wherever_it_stands(base: int, outbox: Outbox) -> None:
    meter, at = sunspec(base, {1: 66, 101: 50, 203: 105})
    meter.put(3, at[1] + 50, *[int.from_bytes(b"SN-00042"[i : i + 2]) for i in range(0, 8, 2)], *[0] * 12)
    meter.put(3, at[203] + 18, 1234)
    meter.put(3, at[203] + 22, 0xFFFF)
    meter.put(3, at[203] + 46, 1, 5)
    meter.put(3, at[203] + 54, 1)
    device = device_of(load_profile("sunspec_203"), outbox)
    readings, error = polled(device, meter)
    assert error is None
    found = value(readings)
    assert found["power_active"] == pytest.approx(123.4)
    assert found["energy_import_total"] == (65536 + 5) * 10
    assert "energy_export_total" in found  # FFFFFFFF is a count like any other; 0 alone means none
    assert "current_l1" in found  # FFFFH is -1 in an int16
    assert device.serial == "SN-00042"
    assert (birth_after(device, readings)["energy_import_total"].properties or {})["modulus"] == 2**32


def birth_after(device: Device, readings: list[Reading]) -> dict[str, Any]:
    device.draft(readings)
    return birth(device)


def test_a_device_without_the_model_is_named_with_those_it_has() -> None:
    meter, _at = sunspec(40000, {1: 66, 103: 50})
    with pytest.raises(Unidentified, match="no SunSpec model 203; it has 1, 103"):
        asyncio.run(identify(meter, 1, load_profile("sunspec_203")))


def test_a_device_that_is_no_sunspec_device_is_named() -> None:
    with pytest.raises(Unidentified, match="no SunSpec map at 40000, 50000, 0"):
        asyncio.run(identify(Meter({}), 1, load_profile("sunspec_203")))


@pytest.mark.parametrize(
    ("type_", "words", "text"),
    [
        ("ascii", [0x4142, 0x4331, 0x3200, 0], "ABC12"),
        ("ascii", [0x2020, 0x4142, 0x2020, 0], "AB"),
        ("ascii", [0xFFFE, 0x4142, 0, 0], None),
        ("bcd", [0x0020, 0x2411, 0x1100, 0x0200], "0020241111000200"),
        ("bcd", [0x00A0, 0, 0, 1], None),
        ("uint", [0, 0, 0x0001, 0x0002], "65538"),
        ("hex", [0x00AB, 0, 0, 0x00CD], "00AB0000000000CD"),
        ("uint", [0, 0, 0, 0], None),
        ("uint", [0xFFFF] * 4, None),
    ],
)
def test_serial_numbers_of_every_kind(type_: str, words: list[int], text: str | None) -> None:
    head = (
        HEAD + f'[serial]\nfc = 3\naddr = 1\nwidth = 4\ntype = "{type_}"\nsource = ["S1"]\nconfidence = "A"\n'
    )
    profile = profile_of(
        '[[register]]\nreading_type = "power_active"\naddr = 0\ntype = "uint16"\nunit = "W"', head
    )
    assert profile.serial is not None
    assert serial_text(profile.serial, words) == text


def test_text_with_swapped_bytes_or_words_is_put_right() -> None:
    serial = load_profile("sunspec_203").serial
    assert serial is not None
    swapped = serial.model_copy(update={"byte_order": "little"})
    assert serial_text(swapped, [0x4241, 0x0043]) == "ABC"
    turned = serial.model_copy(update={"type": "uint", "word_order": "low_first"})
    assert serial_text(turned, [2, 1]) == "65538"


def test_ingest_takes_a_frame_with_a_serial_number(outbox: Outbox) -> None:
    device, meter = device_of(SERIAL, outbox), Meter({(3, 0): 5, (3, 100): 1, (3, 101): 2})
    readings, _error = polled(device, meter, t_ms=1_790_000_000_000)
    draft = device.draft(readings)
    _meter, declared = outbox.declaration(draft.declaration)
    accepted = declarations(dbirth(declared, outbox.epoch, device.latest, 1_790_000_000_000))
    assert isinstance(accepted, Declarations)
    frame = Frame(1, draft.declaration, draft.t_ms, draft.body)
    metrics = frame_metrics(frame_aliases(declared), outbox.epoch, frame, historical=False)
    admitted = admit(decode(metrics), accepted, 1_790_000_001_000)
    assert isinstance(admitted, Admitted)
    assert (admitted.number, admitted.serial) == (1, device.latest["serial"][1])
