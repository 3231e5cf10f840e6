"""Words ↔ raw values: round trips in every order, and frames that real meters sent."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.profile import WIRE, Register, load_profile
from edge_agent.registers import decode, encode

ORDERS = [(byte, word) for byte in ("big", "little") for word in ("high_first", "low_first")]
INTEGERS = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
    "bcd16": (0, 9_999),
    "bcd32": (0, 99_999_999),
}


def register(type_: str, **changes: object) -> Register:
    row = {"reading_type": "power_active", "addr": 0, "fc": 3, "type": type_, "unit": "W", "source": ("S1",)}
    return Register.model_validate({**row, "confidence": "A", **changes})


def answered_words(frame: str) -> list[int]:
    """The register words of an RTU answer whose CRC is right."""
    data = bytes.fromhex(frame)
    assert crc16(data[:-2]) == data[-2:]
    assert data[2] == len(data) - 5
    return list(struct.unpack(f">{data[2] // 2}H", data[3:-2]))


def crc16(data: bytes) -> bytes:
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _bit in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


@pytest.mark.parametrize(("byte_order", "word_order"), ORDERS)
@pytest.mark.parametrize("type_", INTEGERS)
@given(data=st.data())
def test_every_integer_survives_encoding(
    type_: str, byte_order: str, word_order: str, data: st.DataObject
) -> None:
    low, high = INTEGERS[type_]
    raw = data.draw(st.one_of(st.sampled_from([low, high, 0]), st.integers(low, high)))
    item = register(type_, byte_order=byte_order, word_order=word_order)
    words = encode(item, raw)
    assert len(words) == WIRE[type_].width
    assert all(0 <= word <= 0xFFFF for word in words)
    assert decode(item, words) == raw


@pytest.mark.parametrize(("byte_order", "word_order"), ORDERS)
@pytest.mark.parametrize(("type_", "width"), [("float32", 32), ("float64", 64)])
@given(data=st.data())
def test_every_finite_float_survives_encoding(
    type_: str, width: int, byte_order: str, word_order: str, data: st.DataObject
) -> None:
    raw = data.draw(st.floats(width=32 if width == 32 else 64, allow_nan=False, allow_infinity=False))
    item = register(type_, byte_order=byte_order, word_order=word_order)
    assert decode(item, encode(item, raw)) == raw


@given(words=st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4), type_=st.sampled_from(sorted(WIRE)))
def test_any_words_decode_to_a_finite_value_or_to_none(words: list[int], type_: str) -> None:
    item = register(type_)
    raw = decode(item, words[: item.width])
    assert raw is None or math.isfinite(raw)


@pytest.mark.parametrize(
    ("byte_order", "word_order", "words"),
    [
        ("big", "high_first", [0x1122, 0x3344]),
        ("big", "low_first", [0x3344, 0x1122]),
        ("little", "high_first", [0x2211, 0x4433]),
        ("little", "low_first", [0x4433, 0x2211]),
    ],
)
def test_the_four_orders_are_abcd_cdab_badc_and_dcba(
    byte_order: str, word_order: str, words: list[int]
) -> None:
    item = register("uint32", byte_order=byte_order, word_order=word_order)
    assert decode(item, words) == 0x11223344
    assert encode(item, 0x11223344) == words


def test_a_bcd_register_reads_its_decimal_digits() -> None:
    assert decode(register("bcd32"), [0x1234, 0x5678]) == 12_345_678
    assert encode(register("bcd16"), 42) == [0x0042]


def test_a_bcd_nibble_above_nine_is_no_value() -> None:
    assert decode(register("bcd16"), [0x12A4]) is None


@pytest.mark.parametrize("words", [[0x7FC0, 0x0000], [0x7FBF, 0xFF80], [0x7F80, 0x0000], [0xFF80, 0x0000]])
def test_nan_and_infinity_are_no_value(words: list[int]) -> None:
    assert decode(register("float32"), words) is None


def test_an_invalid_pattern_is_compared_after_reordering() -> None:
    item = register("uint32", word_order="low_first", invalid=(0x80000000,))
    assert decode(item, [0x0000, 0x8000]) is None
    assert decode(item, [0x8000, 0x0000]) == 0x8000


def test_a_zero_is_a_value() -> None:
    assert decode(register("float32"), [0, 0]) == 0.0
    assert decode(register("uint32"), [0, 0]) == 0


@pytest.mark.parametrize(
    ("type_", "raw"),
    [
        ("int16", 2**15),
        ("uint16", -1),
        ("uint64", 2**64),
        ("bcd16", 10_000),
        ("bcd32", -1),
        ("float32", 1e39),
    ],
)
def test_a_value_beyond_the_type_is_refused(type_: str, raw: float) -> None:
    with pytest.raises(OverflowError):
        encode(register(type_), raw)


def test_an_integer_register_refuses_a_float() -> None:
    with pytest.raises(TypeError, match="carries integers"):
        encode(register("int32"), 1.5)


def test_the_number_of_words_must_be_the_width() -> None:
    with pytest.raises(ValueError, match="takes 2 words, not 1"):
        decode(register("float32"), [0])


@pytest.mark.parametrize(
    ("profile", "reading_type", "answer", "raw"),
    [
        ("abb_b23", "power_factor", "01 03 02 01 b3 f8 61", 435),
        ("abb_b23", "power_factor", "01 03 02 7f ff d8 34", None),
        ("abb_b23", "power_active", "01 03 04 00 00 00 36 7a 25", 54),
        ("huawei_sun2000", "energy_generation_total", "01 03 04 00 00 C7 C8 A9 95", 51_144),
        ("huawei_sun2000", "power_active", "01 03 04 00 00 00 00 FA 33", 0),
    ],
)
def test_published_answers_decode_with_the_bundled_profile(
    profile: str, reading_type: str, answer: str, raw: int | None
) -> None:
    """F01..F05: gosdm630 pull request 122 (ABB), Tasmota issue 17659 (Huawei).

    F02 was sent for the power factor of L1, which is no reading type; the pattern is the same.
    """
    item = next(r for r in load_profile(profile).registers if r.reading_type == reading_type)
    assert decode(item, answered_words(answer)) == raw


def test_a_published_float_answer_decodes() -> None:
    """F09: sourceperl/modbus-serial-monitor issue 4, unit 11 at 0x2006."""
    raw = decode(register("float32"), answered_words("0b 03 04 40 9b f8 a1 b6 64"))
    assert raw == pytest.approx(4.8741, abs=5e-5)


def test_a_published_answer_with_a_cut_crc_still_holds_its_words() -> None:
    """F07: pymodbus issue 485. A stray 00 before, the last CRC byte missing; framing belongs to the bus."""
    received = bytes.fromhex("00 02 03 12 00 00 00 00 00 00 00 14 53 f0 00 14 53 f0 00 00 00 14 6f")
    words = list(struct.unpack(">9H", received[4:22]))
    assert crc16(received[1:22])[:1] == received[22:]
    assert decode(register("uint32"), words[3:5]) == 0x1453F0
    assert decode(register("uint32"), words[5:7]) == 0x1453F0
