"""The short way through admission says what the long way says, or nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import Admitted, Declarations, Declared, admit, read_payload
from ingest.quick import Rules, quick
from metering.frames import FRAME_EPOCH, FRAME_NUMBER, SERIAL, TIME_REQUEST
from metering.protobuf_wire import bytes_field, uint_field, varint
from metering.sparkplug import DataType, Metric, Payload, encode_metrics, mark_historical
from tests.ingest.gateway import NOW_MS

TYPES = {
    3: DataType.INT8, 4: DataType.INT16, 5: DataType.INT32, 6: DataType.INT64, 7: DataType.UINT8, 8: DataType.UINT16,
    9: DataType.UINT32, 10: DataType.UINT64, 11: DataType.FLOAT, 12: DataType.DOUBLE, 13: DataType.DATETIME,
    300: DataType.UINT32, 70_000: DataType.INT32, 5_000_000_000: DataType.UINT32,
}  # fmt: skip
BY_ALIAS = {
    1: Declared(FRAME_EPOCH, DataType.UINT64),
    2: Declared(FRAME_NUMBER, DataType.UINT64),
    14: Declared(SERIAL, DataType.STRING),
    15: Declared(TIME_REQUEST, DataType.UINT64),
    16: Declared(FRAME_NUMBER, DataType.INT32),
    **{alias: Declared(f"reading_{alias}", kind) for alias, kind in TYPES.items()},
}
DECLARED = Declarations(BY_ALIAS, {one.name: one for one in BY_ALIAS.values()}, 7)
RULES = Rules(DECLARED)

aliases = st.one_of(st.sampled_from(sorted(BY_ALIAS)), st.just(77))
times = st.one_of(
    st.integers(NOW_MS - 100_000, NOW_MS),
    st.sampled_from([0, 1, NOW_MS + 10**7, NOW_MS - 10**12, 1 << 42, (1 << 42) - 1, 1 << 63]),
)
integers = st.one_of(
    st.integers(0, 70_000),
    st.sampled_from([k + d for k in (1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 62, 1 << 63) for d in (-1, 0, 1)]),
    st.just((1 << 64) - 1),
)  # fmt: skip
floats = st.one_of(st.floats(), st.floats(width=32))


def field_of(kind: int, value: float) -> bytes:
    """A value in one of the fields for it: int, long, float, double, boolean."""
    metric = Metric(alias=0, datatype=kind, value=value)
    return encode_metrics((metric,), with_datatype=False)[4:]


values = st.one_of(
    st.builds(lambda key, value: varint(key) + varint(value), st.sampled_from([0x50, 0x58, 0x70]), integers),
    st.builds(field_of, st.sampled_from([DataType.FLOAT]), st.floats(width=32)),
    st.builds(field_of, st.sampled_from([DataType.DOUBLE]), floats),
    st.sampled_from([b"\x38\x01", b"", b"\x50\x81\x00", b"\x7a\x01x"]),
)


@st.composite
def metrics(draw: st.DrawFn) -> bytes:
    """One metric, mostly as our gateways write it."""
    body = uint_field(2, draw(aliases)) + uint_field(3, draw(times)) + draw(values)
    body += draw(st.sampled_from([b"", b"", b"\x28\x01", b"\x28\x00", b"\x20\x08", b"\x0a\x01x"]))
    return bytes_field(2, body)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of such metrics; now and then one byte of it is another one."""
    head = draw(st.sampled_from([b"", uint_field(1, NOW_MS), uint_field(1, 5)]))
    name = uint_field(2, 1) + uint_field(3, NOW_MS) + uint_field(11, 7)
    number = uint_field(2, 2) + uint_field(3, NOW_MS) + uint_field(11, draw(integers))
    named = draw(st.sampled_from([b"", bytes_field(2, name) + bytes_field(2, number)]))
    data = head + named + b"".join(draw(st.lists(metrics(), max_size=3)))
    data += draw(st.sampled_from([b"", uint_field(3, 5), uint_field(3, 200), uint_field(3, 256), b"\x18"]))
    if data and draw(st.integers(0, 4)) == 0:
        at, byte = draw(st.integers(0, len(data) - 1)), draw(st.integers(0, 255))
        data = data[:at] + bytes((byte,)) + data[at + 1 :]
    return data


def long_way(data: bytes) -> object:
    payload = read_payload(data)
    return admit(payload, DECLARED, NOW_MS) if isinstance(payload, Payload) else payload


@settings(max_examples=1500, deadline=None)
@given(messages())
def test_what_the_short_way_admits_the_long_way_admits_alike(data: bytes) -> None:
    found = quick(data, RULES, NOW_MS)
    assert found is None or found == long_way(data)


def frame(*readings: Metric, historical: bool = False) -> bytes:
    named = [
        Metric(alias=a, timestamp=NOW_MS, datatype=DataType.UINT64, value=v) for a, v in ((1, 7), (2, 9))
    ]
    body = encode_metrics([*named, *readings], with_datatype=False)
    return uint_field(1, NOW_MS) + (mark_historical(body) if historical else body) + uint_field(3, 255)


ordinary = st.lists(
    st.one_of(
        *(
            st.builds(
                Metric, alias=st.just(alias), timestamp=st.integers(NOW_MS - 10**9, NOW_MS), datatype=st.just(kind), value=value
            )
            for alias, kind, value in (
                (4, DataType.INT16, st.integers(0, 8191)),
                (5, DataType.INT32, st.integers(-(1 << 31), (1 << 31) - 1)),
                (6, DataType.INT64, st.integers(-(1 << 63), (1 << 63) - 1)),
                (8, DataType.UINT16, st.integers(0, 65_535)),
                (300, DataType.UINT32, st.integers(0, (1 << 32) - 1)),
                (11, DataType.FLOAT, st.floats(width=32, allow_nan=False, allow_infinity=False)),
                (12, DataType.DOUBLE, st.floats(allow_nan=False, allow_infinity=False)),
            )
        )
    ),
    max_size=5,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(ordinary, st.booleans())
def test_what_gateways_of_ours_send_goes_the_short_way(readings: list[Metric], historical: bool) -> None:
    data = frame(*readings, historical=historical)
    found = quick(data, RULES, NOW_MS)
    assert isinstance(found, Admitted)
    assert (found.epoch, found.number) == (7, 9)
    assert found == long_way(data)


@settings(max_examples=300, deadline=None)
@given(ordinary, st.data())
def test_a_message_that_lies_as_one_before_says_what_its_pattern_says(
    readings: list[Metric], data: st.DataObject
) -> None:
    """Also one that nearly does: any bytes of it may be others."""
    rules, first = Rules(DECLARED), frame(*readings)
    assert quick(first, rules, NOW_MS) is not None
    changed = bytearray(first)
    for at in data.draw(st.lists(st.integers(0, len(first) - 1), max_size=3)):
        changed[at] = data.draw(st.integers(0, 255))
    found = quick(bytes(changed), rules, NOW_MS)
    assert found == quick(bytes(changed), Rules(DECLARED), NOW_MS)
    assert found is None or found == long_way(bytes(changed))
    assert quick(first, rules, NOW_MS) == long_way(first)


def test_other_values_go_by_the_layout_of_the_message_before() -> None:
    rules, data = Rules(DECLARED), b""
    for value in (0.5, -2.25, 1e30):
        readings = [Metric(alias=11, timestamp=NOW_MS - int(abs(value) % 9), datatype=DataType.FLOAT, value=value),
                    Metric(alias=12, timestamp=NOW_MS, datatype=DataType.DOUBLE, value=value / 3),
                    Metric(alias=5, timestamp=NOW_MS, datatype=DataType.INT32, value=-int(1 + value % 7))]  # fmt: skip
        data = frame(*readings)
        assert quick(data, rules, NOW_MS) == long_way(data)
    (layout,) = rules.layouts.values()
    assert layout.read(data) is not None
    assert layout.read(data[:-1] + b"\x80") is None


def test_a_long_message_of_what_is_nearly_a_frame_is_judged_in_a_moment() -> None:
    """No pattern goes back over what it has read: twice the bytes take twice the time, not four times."""
    whole = frame(*[Metric(alias=4, timestamp=NOW_MS, datatype=DataType.INT16, value=5)] * 15_000)
    assert quick(whole, RULES, NOW_MS) is not None
    assert quick(whole[:-3] + b"\x12\x0b", RULES, NOW_MS) is None
