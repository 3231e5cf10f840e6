"""DL/T 645-2007: the vectors of real frames, round trips, and bytes that nobody should trust."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.dlt645.exchange import (
    Next,
    Read,
    address_answer,
    address_request,
    read_next_request,
    read_request,
)
from edge_agent.dlt645.frame import (
    BROADCAST,
    WILDCARD,
    Dlt645Error,
    ErrorBits,
    Frame,
    FrameReader,
    Refused,
    encode,
)
from edge_agent.dlt645.items import ITEMS, Field, Item, Value, decode
from edge_agent.dlt645.items import encode as encode_values
from metering.reading_types import READING_TYPES
from metering.units import UNITS

METER = "202411110002"
IMPORT, EXPORT, COMBINED, VOLTS, AMPERES, WATTS = (
    0x00010000, 0x00020000, 0x00000000, 0x02010100, 0x02020100, 0x02030000,
)  # fmt: skip
REPLY = bytes.fromhex("68 02 00 11 11 24 20 68 91 08 33 33 34 33 AB 89 67 45 7E 16")
modest = settings(max_examples=150, deadline=None)


def answered(di: int, data: bytes, control: int = 0x91, address: str = METER) -> bytes:
    return encode(Frame(address, control, di.to_bytes(4, "little") + data))


def told(di: int, line: bytes, address: str = METER) -> Read:
    reading = Read(address, di)
    reading.request()
    reading.receive(line)
    return reading


@pytest.mark.parametrize(
    ("di", "wire"),
    [
        (IMPORT, "68 02 00 11 11 24 20 68 11 04 33 33 34 33 1A 16"),
        (VOLTS, "68 02 00 11 11 24 20 68 11 04 33 34 34 35 1D 16"),
    ],
)
def test_a_read_request_is_that_of_the_vector(di: int, wire: str) -> None:
    assert read_request(METER, di, wake_up=0) == bytes.fromhex(wire)
    assert read_request(METER, di) == b"\xfe\xfe\xfe\xfe" + bytes.fromhex(wire)


def test_the_vector_of_a_reply_reads_123456_78_kwh() -> None:
    reading = told(IMPORT, b"\xfe\xfe" + REPLY)
    assert reading.next is Next.DONE
    assert decode(IMPORT, reading.data) == (Decimal("123456.78"),)


def test_only_the_import_total_is_import_and_the_combined_total_has_no_reading_type() -> None:
    assert ITEMS[IMPORT].reading_type == "energy_import_total"
    assert ITEMS[EXPORT].reading_type == "energy_export_total"
    assert ITEMS[COMBINED].reading_type is None
    assert "never" in ITEMS[COMBINED].name
    assert ITEMS[IMPORT].modulus == 10**8
    named = [item.reading_type for item in ITEMS.values() if item.reading_type]
    assert len(named) == len(set(named))


def test_every_item_with_a_reading_type_has_a_unit_of_that_type() -> None:
    for item in ITEMS.values():
        if item.reading_type:
            assert UNITS[item.fields[0].unit].base == READING_TYPES[item.reading_type].unit, item


@pytest.mark.parametrize(
    ("di", "data", "values"),
    [
        (VOLTS, "05 23", (Decimal("230.5"),)),
        (AMPERES, "56 34 92", (Decimal("-123.456"),)),
        (WATTS, "56 34 12", (Decimal("12.3456"),)),
        (WATTS, "56 34 92", (Decimal("-12.3456"),)),
        (IMPORT, "78 56 34 92", (Decimal(92345678).scaleb(-2),)),  # no sign bit: 923,456.78 kWh
        (COMBINED, "00 10 00 80", (Decimal("-10.00"),)),
        (0x02060000, "87 89", (Decimal("-0.987"),)),
        (0x02800002, "02 50", (Decimal("50.02"),)),
        (0x0001FF00, "03 00 00 00 01 00 00 00 02 00 00 00", (Decimal("0.03"), Decimal("0.01"), Decimal("0.02"))),
        (0x01010000, "56 34 12 30 18 31 10 26", (Decimal("12.3456"), "2610311830")),
        (0x04000102, "59 30 12", ("123059",)),
        (0x04000306, "80 00 00", (Decimal(80),)),
        (0x04000503, "FF FF", ("ffff",)),
        (VOLTS, "FF FF", (None,)),
    ],
)  # fmt: skip
def test_data_reads_as_the_table_says(di: int, data: str, values: tuple[Value, ...]) -> None:
    assert decode(di, bytes.fromhex(data)) == values
    assert encode_values(di, values) == bytes.fromhex(data)


@pytest.mark.parametrize(
    ("di", "data"),
    [
        (VOLTS, "05"),
        (VOLTS, "05 23 00"),
        (VOLTS, "0A 23"),
        (0x0001FF00, "00 00 00 00 01"),
        (0x0001FF00, ""),
        (0x12345678, "00"),
    ],
)
def test_data_of_another_length_or_without_decimal_digits_is_refused(di: int, data: str) -> None:
    with pytest.raises(Dlt645Error):
        decode(di, bytes.fromhex(data))


@pytest.mark.parametrize(
    ("di", "values"),
    [(VOLTS, [Decimal(-1)]), (VOLTS, [Decimal("0.05")]), (VOLTS, [Decimal(1000)]), (AMPERES, [Decimal(800)]), (VOLTS, []), (VOLTS, ["x1"])],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(di: int, values: list[Value]) -> None:
    with pytest.raises(Dlt645Error):
        encode_values(di, values)


def numbers(field: Field) -> st.SearchStrategy[Value]:
    if field.kind == "bits":
        return st.binary(min_size=field.size, max_size=field.size).map(bytes.hex)
    if field.kind == "digits":
        return st.integers(0, 100**field.size - 1).map(lambda raw: f"{raw:0{2 * field.size}d}")
    most = 100**field.size * 8 // 10 - 1 if field.signed else 100**field.size - 1
    raws = st.integers(-most if field.signed else 0, most)
    return st.none() | raws.map(lambda raw: Decimal(raw).scaleb(-field.decimals))


def items() -> st.SearchStrategy[tuple[Item, tuple[Value, ...]]]:
    return st.sampled_from(list(ITEMS.values())).flatmap(
        lambda item: st.tuples(st.just(item), st.tuples(*map(numbers, item.fields)))
    )


@modest
@given(items(), st.binary(max_size=12))
def test_what_a_meter_is_told_to_say_is_what_is_read(
    case: tuple[Item, tuple[Value, ...]], noise: bytes
) -> None:
    item, values = case
    reading = told(item.di, noise + answered(item.di, encode_values(item.di, values)))
    assert reading.next is Next.DONE or reading.silence() is Next.DONE
    assert decode(item.di, reading.data) == values


@modest
@given(
    st.from_regex(r"[0-9]{12}", fullmatch=True),
    st.integers(0, 255),
    st.binary(max_size=200),
    st.integers(0, 4),
)
def test_a_frame_survives_the_wire_byte_by_byte(
    address: str, control: int, data: bytes, wake_up: int
) -> None:
    frame, reader = Frame(address, control, data), FrameReader()
    found = [item for byte in encode(frame, wake_up) for item in reader.feed(bytes([byte]))]
    assert found == [frame]


hostile = st.lists(
    st.binary(max_size=30)
    | st.sampled_from([REPLY, REPLY[:-1], REPLY[3:], b"\x68", b"\xfe", b"\x68" * 9, b"\x68\0\0\0\0\0\0\x68\x91\xff"])
    | st.tuples(st.integers(0, len(REPLY) - 1), st.integers(0, 255)).map(
        lambda change: REPLY[: change[0]] + bytes([change[1]]) + REPLY[change[0] + 1 :]
    ),
    max_size=12,
)  # fmt: skip


@modest
@given(hostile)
def test_hostile_bytes_raise_nothing_and_never_become_another_value(pieces: list[bytes]) -> None:
    reading = Read(METER, IMPORT)
    reading.request()
    for piece in pieces:
        with suppress(Refused):
            reading.receive(piece)
    with suppress(Refused):
        reading.silence()
    if reading.next is Next.DONE:
        with suppress(Dlt645Error):
            decode(IMPORT, reading.data)


@modest
@given(st.sampled_from(sorted(ITEMS)), st.binary(max_size=40))
def test_any_data_decodes_or_is_refused_by_our_own_error(di: int, data: bytes) -> None:
    with suppress(Dlt645Error):
        decode(di, data)


@modest
@given(st.binary(max_size=40))
def test_after_any_noise_the_next_frame_is_found_once_the_line_is_silent(noise: bytes) -> None:
    reader = FrameReader()
    found = reader.feed(noise + REPLY) + reader.end()
    assert Frame(METER, 0x91, bytes.fromhex("00000100 78563412")) in found


@modest
@given(st.binary(max_size=3000))
def test_no_stream_makes_the_reader_keep_more_than_one_frame(noise: bytes) -> None:
    reader = FrameReader()
    reader.feed(b"\x68\0\0\0\0\0\0\x68\x91\xc8" + noise)
    assert len(reader._kept) < 212


@pytest.mark.parametrize(
    "line",
    [
        read_request(METER, IMPORT),  # our own request, echoed
        answered(EXPORT, b"\x01\0\0\0"),
        answered(IMPORT, b"\x01\0\0\0", address="202411110003"),
        answered(IMPORT, b"\x01\0\0\0", address=BROADCAST),
        answered(IMPORT, b"\x01\0\0\0", address=WILDCARD),
        answered(IMPORT, b"\x01\0\0\0\x01", control=0x92),  # the follow-up of an earlier reading
        encode(Frame(METER, 0x91, b"\0\0\1")),
        encode(Frame(METER, 0x94)),
        REPLY[:-2] + b"\x7f\x16",
    ],
)
def test_a_frame_that_answers_another_question_is_passed_over(line: bytes) -> None:
    assert told(IMPORT, line).next is Next.RECEIVE
    reading = told(IMPORT, line + REPLY)
    assert decode(IMPORT, reading.data) == (Decimal("123456.78"),)


def test_a_reply_in_parts_is_asked_for_until_it_is_whole() -> None:
    di = 0x0001FF00
    reading = told(di, answered(di, b"\x03\0\0\0", control=0xB1))
    assert reading.next is Next.SEND
    assert reading.request() == read_next_request(METER, di, 1)
    assert reading.receive(answered(di, b"\x09\0\0\0\x02", control=0xB2)) is Next.RECEIVE  # another part
    assert reading.receive(answered(di, b"\x01\0\0\0\x01", control=0xB2)) is Next.SEND
    assert reading.request() == read_next_request(METER, di, 2)
    assert reading.receive(answered(di, b"\x02\0\0\0\x02", control=0x92)) is Next.DONE
    assert decode(di, reading.data) == (Decimal("0.03"), Decimal("0.01"), Decimal("0.02"))


def test_a_reading_without_end_is_given_up() -> None:
    reading = told(IMPORT, answered(IMPORT, b"", control=0xB1))
    for part in range(1, 255):
        reading.request()
        reading.receive(answered(IMPORT, bytes([part]), control=0xB2))
    reading.request()
    with pytest.raises(Dlt645Error, match="does not end"):
        reading.receive(answered(IMPORT, b"\xff", control=0xB2))


def test_a_refusal_says_why() -> None:
    reading = Read(METER, IMPORT)
    reading.request()
    with pytest.raises(Refused, match="no_data") as caught:
        reading.receive(encode(Frame(METER, 0xD1, b"\x02")))
    assert caught.value.bits is ErrorBits.NO_DATA


def test_the_broadcast_address_is_never_read_from() -> None:
    for ask in (lambda: read_request(BROADCAST, IMPORT), lambda: Read(BROADCAST, IMPORT)):
        with pytest.raises(Dlt645Error, match="broadcast"):
            ask()


def test_a_wildcard_takes_the_answer_of_whichever_meter_is_there() -> None:
    assert decode(IMPORT, told(IMPORT, REPLY, WILDCARD).data) == (Decimal("123456.78"),)
    assert decode(IMPORT, told(IMPORT, REPLY, "AAAAAAAA0002").data) == (Decimal("123456.78"),)
    assert told(IMPORT, REPLY, "AAAAAAAA0003").next is Next.RECEIVE


def test_the_only_meter_of_a_line_tells_its_address() -> None:
    assert address_request(0)[:10] == b"\x68" + b"\xaa" * 6 + b"\x68\x13\x00"
    (frame,) = FrameReader().feed(encode(Frame(METER, 0x93, bytes.fromhex(METER)[::-1])))
    assert address_answer(frame) == METER
    assert address_answer(Frame(METER, 0x93, b"\x01" * 6)) is None
    assert address_answer(Frame(METER, 0x91, bytes.fromhex(METER)[::-1])) is None


@pytest.mark.parametrize("address", ["", "12345", "20241111000x", "2024111100021", "12AAAAAAAAAA"])
def test_an_address_is_twelve_digits_or_a_tail_of_them(address: str) -> None:
    with pytest.raises(Dlt645Error, match="address"):
        read_request(address, IMPORT)
