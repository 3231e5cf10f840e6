"""Every type in every order against a twin that is slow and obvious: bit by bit, in fractions."""

import struct
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.profile import WIRE, Register
from edge_agent.registers import decode, encode
from edge_agent.wiretypes import letters
from metering.sparkplug import DATATYPE_BY_NAME, FLOATS, SIGNED_BITS, UNSIGNED_BITS

ORDERS_OF_64 = {
    "ABCDEFGH": [0x1122, 0x3344, 0x5566, 0x7788],
    "GHEFCDAB": [0x7788, 0x5566, 0x3344, 0x1122],
    "BADCFEHG": [0x2211, 0x4433, 0x6655, 0x8877],
    "HGFEDCBA": [0x8877, 0x6655, 0x4433, 0x2211],
    "EFGHABCD": [0x5566, 0x7788, 0x1122, 0x3344],
    "CDABGHEF": [0x3344, 0x1122, 0x7788, 0x5566],
    "FEHGBADC": [0x6655, 0x8877, 0x2211, 0x4433],
    "DCBAHGFE": [0x4433, 0x2211, 0x8877, 0x6655],
}


def register(type_: str, **changes: Any) -> Register:
    row = {"reading_type": "power_active", "addr": 0, "fc": 3, "type": type_, "unit": "W", "source": ("S1",)}
    return Register.model_validate({**row, "confidence": "A", **changes})


def naive_float(bits: str) -> Fraction | None:
    """IEEE 754 by its definition; None for what is no finite number."""
    exponent_bits = {16: 5, 32: 8, 64: 11}[len(bits)]
    sign = -1 if bits[0] == "1" else 1
    exponent, mantissa = int(bits[1 : 1 + exponent_bits], 2), bits[1 + exponent_bits :]
    most, bias = 2**exponent_bits - 1, 2 ** (exponent_bits - 1) - 1
    if exponent == most:
        return None
    fraction = Fraction(int(mantissa, 2), 2 ** len(mantissa))
    if exponent == 0:
        return sign * fraction / Fraction(1 << (bias - 1))
    return sign * (1 + fraction) * Fraction(2**exponent, 2**bias)


def naive_digits(bits: str, size: int, base: int) -> int | None:
    digits = [int(bits[at : at + size], 2) for at in range(0, len(bits), size)]
    return None if any(digit >= base for digit in digits) else sum(
        digit * base**place for place, digit in enumerate(reversed(digits))
    )  # fmt: skip


def naive(type_: str, words: list[int], order: str, align: str) -> Fraction | None:
    """Lay the bytes out by their letters, cut the value's bits off, and read them one by one."""
    wire = [byte for word in words for byte in (word // 256, word % 256)]
    by_letter = dict(zip(order, wire, strict=True))
    bits = "".join(f"{by_letter[letter]:08b}" for letter in sorted(by_letter))
    coding, size = WIRE[type_].coding, WIRE[type_].bits
    bits = bits[:size] if align == "high" else bits[len(bits) - size :]
    if coding == "float":
        return naive_float(bits)
    if coding == "uint":
        return Fraction(int(bits, 2))
    if coding == "int":
        return Fraction(int(bits[1:] or "0", 2) - int(bits[0]) * 2 ** (size - 1))
    signed = coding in {"signmag", "sbcd"}
    sign, rest = (-1 if bits[0] == "1" else 1, "0" + bits[1:]) if signed else (1, bits)
    value = int(rest, 2) if coding == "signmag" else None
    if coding in {"bcd", "sbcd"}:
        value = naive_digits(rest, 4, 10)
    if coding == "mod10k":
        value = naive_digits(rest, 16, 10_000)
    return None if value is None else Fraction(sign * value)


def words_for(type_: str) -> st.SearchStrategy[list[int]]:
    """Words of this type's width, often made of decimal digits so that BCD has values to read."""
    digits = st.integers(0, 9_999).map(lambda number: int(str(number), 16))
    word = st.one_of(
        digits, st.integers(0, 9_999), st.integers(0, 0xFFFF), st.sampled_from([0, 0x8000, 0xFFFF])
    )
    width = WIRE[type_].width
    return st.lists(word, min_size=width, max_size=width)


def same(found: float | None, expected: Fraction | None) -> bool:
    return (found is None) == (expected is None) and (found is None or Fraction(found) == expected)


@pytest.mark.parametrize("type_", WIRE)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_words_in_any_order_read_as_the_twin_reads_them(type_: str, data: st.DataObject) -> None:
    wire = WIRE[type_]
    words = data.draw(words_for(type_))
    order = "".join(data.draw(st.permutations(letters(wire.width))))
    align = data.draw(st.sampled_from(["low", "high"])) if wire.bits % 16 else "low"
    item = register(type_, order=order, align=align)
    assert same(decode(item, words), naive(type_, words, order, align))


@pytest.mark.parametrize("type_", WIRE)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_what_was_read_is_written_as_words_that_read_the_same(type_: str, data: st.DataObject) -> None:
    item = register(type_, word_order="low_first", byte_order="little")
    raw = decode(item, data.draw(words_for(type_)))
    if raw is not None:
        assert decode(item, encode(item, raw)) == raw


@pytest.mark.parametrize("type_", WIRE)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_the_datatype_that_travels_holds_every_raw_value(type_: str, data: st.DataObject) -> None:
    raw = decode(register(type_), data.draw(words_for(type_)))
    kind = DATATYPE_BY_NAME[WIRE[type_].datatype]
    if raw is None:
        return
    if kind in FLOATS:
        form = ">f" if WIRE[type_].datatype == "Float" else ">d"
        assert struct.unpack(form, struct.pack(form, raw)) == (raw,)
    elif kind in UNSIGNED_BITS:
        assert 0 <= raw < 2 ** UNSIGNED_BITS[kind]
    else:
        assert -(2 ** (SIGNED_BITS[kind] - 1)) <= raw < 2 ** (SIGNED_BITS[kind] - 1)


@pytest.mark.parametrize("order", ORDERS_OF_64)
def test_the_orders_of_64_bits(order: str) -> None:
    item = register("uint64", order=order)
    assert decode(item, ORDERS_OF_64[order]) == 0x1122334455667788
    assert encode(item, 0x1122334455667788) == ORDERS_OF_64[order]


@pytest.mark.parametrize(
    ("type_", "words", "raw"),
    [
        ("int8", [0x12FF], -1),
        ("uint24", [0x5512, 0x3456], 0x123456),
        ("int24", [0x00FF, 0xFFFE], -2),
        ("int48", [0xFFFF, 0xFFFF, 0xFFFF], -1),
        ("uint48", [0x0001, 0x0000, 0x0000], 2**32),
        ("signmag16", [0x8005], -5),
        ("signmag32", [0x8000, 0x0000], 0),
        ("float16", [0xC000], -2.0),
        ("float16", [0x7C00], None),
        ("bcd8", [0x0042], 42),
        ("bcd48", [0x2024, 0x1111, 0x0002], 202411110002),
        ("bcd64", [0x9999, 0x9999, 0x9999, 0x9999], 10**16 - 1),
        ("sbcd16", [0x8123], -123),
        ("sbcd24", [0x00A1, 0x2345], -212345),
        ("mod10k32", [1234, 5678], 12_345_678),
        ("mod10k64", [1, 2, 3, 4], 1_000_200_030_004),
        ("mod10k48", [0, 10_000, 0], None),
    ],
)  # fmt: skip
def test_hand_worked_values(type_: str, words: list[int], raw: float | None) -> None:
    assert decode(register(type_), words) == raw


def test_a_byte_may_stand_high_or_low_in_its_register() -> None:
    high, low = register("uint8", align="high"), register("uint8")
    assert (decode(high, [0x1234]), decode(low, [0x1234])) == (0x12, 0x34)
    assert (encode(high, 0x12), encode(low, 0x34)) == ([0x1200], [0x0034])


def test_several_patterns_of_one_register_mean_no_value_also_under_a_mask() -> None:
    item = register("int32", invalid=[0x80000000, {"value": 0x7FFF0000, "mask": 0xFFFF0000}])
    assert [decode(item, words) for words in ([0x8000, 0], [0x7FFF, 0], [0x7FFF, 0xFFFF])] == [None] * 3
    assert decode(item, [0x7FFE, 0xFFFF]) == 0x7FFEFFFF


def test_a_copy_with_another_type_remembers_nothing_of_the_old_one() -> None:
    item = register("uint16")
    assert (item.width, item.wire_order, item.datatype) == (1, "AB", "UInt16")
    wider = item.model_copy(update={"type": "float64"})
    assert (wider.width, wider.wire_order, wider.datatype) == (4, "ABCDEFGH", "Double")
    assert wider.fields == (wider,)


@pytest.mark.parametrize("type_", WIRE)
def test_a_total_rolls_over_no_later_than_its_type(type_: str) -> None:
    """`values` is one more than the largest raw value of an unsigned type."""
    wire = WIRE[type_]
    if wire.coding in {"uint", "bcd", "mod10k"}:
        top = {"uint": 2**wire.bits, "bcd": 10 ** (wire.bits // 4), "mod10k": 10 ** (wire.bits // 4)}
        assert wire.values == top[wire.coding]
        assert decode(register(type_), encode(register(type_), wire.values - 1)) == wire.values - 1
        with pytest.raises(OverflowError):
            encode(register(type_), wire.values)
