"""DL/T 645-2007 frames that real meters sent, as their owners published them: from the first byte to the value in its unit.

Meter 000000000161 and what its readings mean: a log of requests and answers in a parser's notes (2017), printed also in a
document on frame analysis. The others: comments and tests of drivers, each with the meter's own address.
"""

from decimal import Decimal
from math import hypot

import pytest

from edge_agent.assemble import Assembler
from edge_agent.dlt645.exchange import Next, Read, address_answer, read_request
from edge_agent.dlt645.frame import FrameReader
from edge_agent.dlt645.items import decode
from edge_agent.plan import block_of
from edge_agent.profile import load_profile
from edge_agent.reader import Heard

LAB = "000000000161"
LOGGED = {
    0x00010000: ("33 33 34 33 14", "08 33 33 34 33 59 33 33 33 8A", "0.26"),
    0x02010100: ("33 34 34 35 17", "06 33 34 34 35 34 43 10", "100.1"),
    0x02020100: ("33 34 35 35 18", "07 33 34 35 35 CC 7C 33 16", "4.999"),
    0x02030000: ("33 33 36 35 18", "07 33 33 36 35 45 58 33 6B", "0.2512"),
    0x02040000: ("33 33 37 35 19", "07 33 33 37 35 64 76 33 A9", "0.4331"),
    0x02050000: ("33 33 38 35 1A", "07 33 33 38 35 39 83 33 8C", "0.5006"),
    0x02060000: ("33 33 39 35 1B", "06 33 33 39 35 34 38 09", "0.501"),
}
"""Data identifier → from the identifier on, the request and the answer; the value that the log prints."""
HEAD = "68 61 01 00 00 00 00 68"


def answer_of(address: str, di: int, wire: str) -> Decimal | str | None:
    reading = Read(address, di)
    reading.request()
    reading.receive(bytes.fromhex(wire))
    assert reading.next is Next.DONE
    [value] = decode(di, reading.data)
    return value


@pytest.mark.parametrize("di", LOGGED)
def test_our_request_and_their_answer_are_those_of_the_log(di: int) -> None:
    asked, answered, value = LOGGED[di]
    assert read_request(LAB, di, wake_up=0) == bytes.fromhex(f"{HEAD} 11 04 {asked} 16")
    assert answer_of(LAB, di, f"{HEAD} 91 {answered} 16") == Decimal(value)


def test_the_profile_reads_the_log_and_its_values_fit_each_other() -> None:
    """U × I ≈ S, P² + Q² ≈ S², P / S ≈ the power factor: the decimals are right."""
    profile, heard = load_profile("dlt645_2007"), []
    for register in profile.registers:
        if register.addr in LOGGED:
            data = bytes.fromhex(LOGGED[register.addr][1])[5:-1]
            heard.append(Heard(block_of([register]), [(byte - 0x33) % 256 for byte in data], 0))
    found = {one.name: raw * 10.0**one.scale for one, _t, raw in Assembler(profile.registers).readings(heard)}
    assert found["energy_import_total"] == pytest.approx(0.26)
    power, apparent = found["power_active"], found["voltage_l1"] * found["current_l1"] / 1000
    assert apparent == pytest.approx(0.5006, rel=0.001)
    assert hypot(power, 0.4331) == pytest.approx(0.5006, rel=0.001)
    assert power / apparent == pytest.approx(found.get("power_factor", 0.501), rel=0.005)


@pytest.mark.parametrize(
    ("address", "di", "wire", "value"),
    [
        ("201709320072", 0x00010000, "FE FE 68 72 00 32 09 17 20 68 91 08 33 33 34 33 B9 34 33 33 6D 16", "1.86"),
        ("398192000337", 0x00010000, "68 37 03 00 92 81 39 68 91 08 33 33 34 33 37 33 33 33 8C 16", "0.04"),
        ("202107300049", 0x00010000, "68 49 00 30 07 21 20 68 91 08 33 33 34 33 33 33 33 33 C3 16", "0.00"),
        ("071801024091", 0x00010000, "FE FE FE FE 68 91 40 02 01 18 07 68 91 08 33 33 34 33 33 33 33 33 F5 16", "0.00"),
        ("100023669245", 0x02010100, "68 45 92 66 23 00 10 68 91 06 33 34 34 35 66 55 62 16", "223.3"),
        ("123456789012", 0x00010000, "FE FE 68 12 90 78 56 34 12 68 91 08 33 33 34 33 89 67 45 33 54 16", "1234.56"),
        ("123456789012", 0x02010100, "FE FE 68 12 90 78 56 34 12 68 91 06 33 34 34 35 38 56 7B 16", "230.5"),
        ("223002000066", 0x02010100, "FE FE FE FE 68 66 00 00 02 30 22 68 91 06 33 34 34 35 83 56 CA 16", "235.0"),
        ("000000190101", 0x02010100, "FE FE FE FE 68 01 01 19 00 00 00 68 91 06 33 34 34 35 77 55 1E 16", "224.4"),
        # A radio module's own address before the frame, and a meter that wakes the line with a single byte
        ("170516665384", 0x02010100, "D8 B0 4C BD D1 47 FE FE FE FE 68 84 53 66 16 05 17 68 91 06 33 34 34 35 49 55 44 16", "221.6"),
        ("000016818505", 0x02010100, "FE 68 05 85 81 16 00 00 68 91 06 33 34 34 35 BC 55 69 16", "228.9"),
    ],
)  # fmt: skip
def test_a_published_answer_reads_as_its_bytes_say(address: str, di: int, wire: str, value: str) -> None:
    assert answer_of(address, di, wire) == Decimal(value)


def test_a_published_answer_with_a_wrong_check_sum_is_not_taken() -> None:
    """A slip of whoever typed it: the sum is another. A line that garbles looks the same."""
    reading = Read("398192000337", 0x02010100)
    reading.request()
    reading.receive(bytes.fromhex("68 37 03 00 92 81 39 68 91 06 33 34 34 35 C7 56 B6 16"))
    assert reading.next is Next.RECEIVE


def test_a_meter_tells_its_address_as_a_real_one_did() -> None:
    [frame] = FrameReader().feed(bytes.fromhex("68 01 01 19 00 00 00 68 93 06 34 34 4C 33 33 33 D1 16"))
    assert address_answer(frame) == "000000190101"


def test_a_reply_to_another_question_is_not_this_ones() -> None:
    """The combined total (what drivers take for the meter's reading) does not answer for the import total."""
    reading = Read("910004920760", 0x00010000)
    reading.request()
    reading.receive(bytes.fromhex("FE FE FE FE 68 60 07 92 04 00 91 68 91 08 33 33 33 33 97 35 A8 33 6A 16"))
    assert reading.next is Next.RECEIVE
