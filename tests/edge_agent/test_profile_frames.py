"""Frames and registers that real meters sent, read with the bundled profiles: from the first byte to the value in its unit.

Each was published by a user or a vendor; the place is named beside it. F06, F08, F10, F12 and F14 of the same collection
are not frames but remarks, and F07 and F09 are of meters without a profile (tests/edge_agent/test_registers.py reads them).
"""

import struct
from collections.abc import Mapping, Sequence

import pytest

from edge_agent.assemble import Assembler
from edge_agent.buses.frames import (
    Ask,
    Refusal,
    answer,
    rtu_request,
    take_rtu_frames,
    take_tcp_frame,
    tcp_request,
)
from edge_agent.profile import load_profile


def words_of(ask: Ask, reply: str) -> tuple[int, ...]:
    """The registers of an RTU reply, by the parser that the bus uses."""
    [frame] = take_rtu_frames(bytearray.fromhex(reply), ask)
    said = answer(ask, frame.pdu)
    assert isinstance(said, tuple)
    return said


def values(profile: str, fc: int, addr: int, words: Sequence[int]) -> dict[str, float]:
    """Reading type → value in the register's unit, of what these words hold."""
    held = {(fc, addr + i): word for i, word in enumerate(words)}
    readings = Assembler(load_profile(profile).registers).from_words(held)
    return {register.name: register.sign * raw * 10.0**register.scale for register, _t_ms, raw in readings}


@pytest.mark.parametrize(
    ("ask", "request_bytes"),
    [
        (Ask(1, 3, 0x5B3A, 1), "01 03 5b 3a 00 01 b7 23"),  # F01, ABB B-series (gosdm630 pull request 122)
        (Ask(1, 3, 0x5B3B, 1), "01 03 5b 3b 00 01 e6 e3"),  # F02
        (Ask(1, 3, 0x5B14, 2), "01 03 5b 14 00 02 97 2b"),  # F03
        (Ask(2, 3, 0x0018, 9), "02 03 00 18 00 09 05 f8"),  # F07 (pymodbus issue 485)
        (Ask(11, 3, 0x2006, 2), "0b 03 20 06 00 02 2f 60"),  # F09 (modbus-serial-monitor issue 4)
        (Ask(1, 3, 0x3001, 6), "01 03 30 01 00 06 9b 08"),  # F11, Acrel DTSD1352 manual p. 34
        (Ask(0xF7, 3, 0x0300, 0x7C), "f7 03 03 00 00 7c 50 f9"),  # F15, GoodWe DT (Modbus-GoodWe-DT README)
        (Ask(1, 3, 0, 10), "01 03 00 00 00 0a c5 cd"),  # TUF-2000F manual p. 21: REG1 to REG10
        # What a SUN2000 asks its DTSU666-H (DTSU666_CHINT_to_HUAWEI_translator), and SDM meters are asked (Eastron's manuals)
        (Ask(11, 3, 0x07D1, 1), "0b 03 07 d1 00 01 d5 ed"),
        (Ask(11, 3, 0x0836, 80), "0b 03 08 36 00 50 a7 32"),
        (Ask(11, 3, 0x08A6, 10), "0b 03 08 a6 00 0a 27 24"),
        (Ask(1, 4, 0, 2), "01 04 00 00 00 02 71 cb"),
        (Ask(9, 3, 16385, 2), "09 03 40 01 00 02 81 43"),  # DZG DVH4013, a driver's own test (INOA fleet)
    ],
)
def test_our_request_is_the_published_one(ask: Ask, request_bytes: str) -> None:
    assert rtu_request(ask) == bytes.fromhex(request_bytes)


@pytest.mark.parametrize(
    ("profile", "ask", "reply", "expected"),
    [
        ("abb_b23", Ask(1, 3, 0x5B3A, 1), "01 03 02 01 b3 f8 61", {"power_factor": 0.435}),
        ("abb_b23", Ask(1, 3, 0x5B3A, 1), "01 03 02 7f ff d8 34", {}),  # F02: not available, not 32.767
        ("abb_b23", Ask(1, 3, 0x5B14, 2), "01 03 04 00 00 00 36 7a 25", {"power_active": 0.54}),
        ("huawei_sun2000", Ask(1, 3, 0x7D6A, 2), "01 03 04 00 00 c7 c8 a9 95", {"energy_generation_total": 511.44}),
        ("huawei_sun2000", Ask(1, 3, 0x7D50, 2), "01 03 04 00 00 00 00 fa 33", {"power_active": 0.0}),
        # SDM120 and SDM630 (Eastron's manuals, Tasmota's drivers), and an SDM's line with glitch bytes around the frame
        ("eastron_sdm630", Ask(1, 4, 0, 2), "01 04 04 43 66 33 34 1b 38", {"voltage_l1": 230.2}),
        ("eastron_sdm120", Ask(1, 4, 0, 2), "01 04 04 43 66 33 34 1b 38", {"voltage_l1": 230.2}),
        ("eastron_sdm120", Ask(1, 4, 0, 2), "00 01 04 04 43 69 69 78 10 6e 00", {"voltage_l1": 233.412}),
    ],
)  # fmt: skip
def test_a_published_reply_reads_as_its_owner_says(
    profile: str, ask: Ask, reply: str, expected: Mapping[str, float]
) -> None:
    """F01 to F05. F02 was sent for L1, which is no reading type; the pattern is the same."""
    assert values(profile, ask.fc, ask.addr, words_of(ask, reply)) == pytest.approx(expected)


def test_the_event_record_of_an_acrel_meter_is_framed_as_its_manual_prints_it() -> None:
    """F11: 2018-01-08 10:01:01, power on. Bytes, not a reading: only the framing is ours."""
    words = words_of(Ask(1, 3, 0x3001, 6), "01 03 0c 12 01 08 0a 01 01 01 00 00 00 00 00 80 23")
    assert b"".join(struct.pack(">H", word) for word in words) == bytes(
        [18, 1, 8, 10, 1, 1, 1, 0, 0, 0, 0, 0]
    )


def test_a_wrong_address_is_refused_by_a_converter_over_tcp() -> None:
    """F13, Hager ECR380D: transaction 6400h, unit 12, exception 02, for 13BFh instead of B000h."""
    ask = Ask(12, 3, 0x13BF, 4)
    assert tcp_request(0x6400, ask) == bytes.fromhex("64 00 00 00 00 06 0c 03 13 bf 00 04")
    frame = take_tcp_frame(bytearray.fromhex("64 00 00 00 00 03 0c 83 02"))
    assert frame is not None
    assert (frame.transaction, frame.unit, answer(ask, frame.pdu)) == (0x6400, 12, Refusal(2))


def test_the_first_registers_of_a_goodwe_inverter_read_as_its_owner_says() -> None:
    """F15: registers 768 to 787; the published reply's CRC does not check, its registers do."""
    words = [6200, 6235, 27, 28, 2318, 2403, 2391, 51, 50, 49, 4998, 4998, 4999, 3561, 1, 429, 0, 0, 0, 278]
    found = values("goodwe_dt", 3, 768, words)
    assert found == pytest.approx(
        {
            "voltage_l1": 231.8, "voltage_l2": 240.3, "voltage_l3": 239.1,
            "current_l1": 5.1, "current_l2": 5.0, "current_l3": 4.9,
            "frequency": 49.98, "power_active": 3561, "energy_generation_total": 27.8,
        }
    )  # fmt: skip
    by_phase = sum(found[f"voltage_l{i}"] * found[f"current_l{i}"] for i in (1, 2, 3))
    assert by_phase == pytest.approx(found["power_active"], rel=0.01)


def test_a_meter_without_a_neutral_shows_no_phase_voltage_and_all_the_same_a_power() -> None:
    """SDM630 on a three-wire delta (github.com/niobos/eastron): the zeros are values, not faults."""
    words = [0] * 80
    for addr, number in ((52, 614.885), (70, 50.0278), (72, 244.022)):
        words[addr : addr + 2] = struct.unpack(">2H", struct.pack(">f", number))
    found = values("eastron_sdm630", 4, 0, words)
    assert (found["voltage_l1"], found["voltage_l2"], found["voltage_l3"]) == (0, 0, 0)
    assert found["power_active"] == pytest.approx(614.885)
    assert found["frequency"] == pytest.approx(50.0278)
    assert found["energy_import_total"] == pytest.approx(244.022)


@pytest.mark.parametrize(
    ("profile", "name", "fc", "addr", "words", "expected"),
    [
        # low word first
        ("carlogavazzi_em340", "energy_import_total", 4, 52, [0x86A0, 0x0001], 10_000.0),
        ("carlogavazzi_em340", "voltage_l1", 4, 0, [2304, 0], 230.4),
        ("carlogavazzi_em340", "voltage_l1", 4, 0, [0xFFFF, 0x7FFF], None),  # overflow: high word 7FFFh
        ("carlogavazzi_em340", "voltage_l1", 4, 0, [0, 0x7FFF], None),
        ("carlogavazzi_em340", "power_active", 4, 40, [0xFFFF, 0xFFFF], -0.1),
        ("tuf2000_flow", "volume_total", 3, 8, [0x86A0, 0x0001], 100_000),
        ("tuf2000_flow", "flow", 3, 0, [0x0000, 0x41A4], 20.5),
        ("sungrow_sg_string", "energy_generation_total", 4, 5003, [1, 2], 131_073),
        # the sign is taken from a second register
        ("dzg_dvh4013", "power_active", 3, 0, [0, 0, 0, 12_345], -1234.5),
        ("dzg_dvh4013", "energy_import_total", 3, 16384, [0xFFFF, 0xFFFF], 4_294_967.295),
        # two tariffs
        ("siemens_pac3200", "energy_import_total", 3, 801,
         [*struct.unpack(">4H", struct.pack(">d", 1000.0)), *struct.unpack(">4H", struct.pack(">d", 234.0))], 1234),
        # scaled floats, and unscaled ones
        ("chint_dtsu666_scaled", "voltage_l1", 3, 8198, [0x450C, 0x5000], 224.5),
        ("chint_dtsu666_h", "voltage_l1", 3, 8198, [0x4360, 0x8000], 224.5),
        ("chint_dtsu666_h", "energy_import_total", 3, 16414, [0x4360, 0x8000], 224.5),
        # 64 bits and their "no value"
        ("abb_b23", "energy_import_total", 3, 20480, [0, 1, 0, 0], 42_949_672.96),
        ("abb_b23", "energy_import_total", 3, 20480, [0xFFFF] * 4, None),
        ("schneider_iem3000", "energy_import_total", 3, 3203, [0, 0, 1, 5], 65_541),
        # sign against ours
        ("huawei_sun2000_grid", "power_active", 3, 37113, [0, 500], -500),
        # 50.0 Hz and -0.428 of a user's readings (huawei-solar-lib): not the other way round
        ("huawei_sun2000_grid", "frequency", 3, 37118, [5000], 50.0),
        ("huawei_sun2000_grid", "power_factor", 3, 37117, [0xFE54], -0.428),
        ("huawei_dtsu666_h", "energy_import_total", 3, 2166, [0x4360, 0x8000], 224.5),
        ("huawei_dtsu666_h", "energy_export_total", 3, 2174, [0x4360, 0x8000], 224.5),
        ("huawei_dtsu666_h", "voltage_l1", 3, 2110, [0x4360, 0x8000], 224.5),
        ("janitza_umg96rm", "energy_import_total", 3, 19068, [0x4E80, 0x0000], 2.0**30),
        ("inepro_pro380", "power_active", 3, 20498, [0x3FC0, 0x0000], 1.5),
        ("eastron_sdm120", "energy_export_total", 4, 74, [0x42F6, 0xE979], 123.456),
        ("kamstrup_multical403", "temperature_1", 3, 6, [0x428B, 0x8000], 69.75),
        ("kamstrup_multical403", "temperature_1", 3, 6, [0x7FC0, 0x0000], None),
        ("acrel_adw300", "power_active", 3, 36, [0xFFFF, 0xFC18], -1000),
        ("acrel_dtsd1352", "energy_import_total", 3, 10, [0, 12_345], 123.45),
        ("acrel_adl400_primary", "energy_import_total", 3, 2124, [0, 12_345], 1234.5),
    ],
)  # fmt: skip
def test_hand_worked_registers_of_every_meter(
    profile: str, name: str, fc: int, addr: int, words: list[int], expected: float | None
) -> None:
    found = values(profile, fc, addr, words).get(name)
    assert found == (expected if expected is None else pytest.approx(expected, rel=1e-6))
