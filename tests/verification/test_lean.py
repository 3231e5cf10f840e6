"""The lean reader says what the plain codec says, or says nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.protobuf_wire import DecodeError
from metering.sparkplug import DataType, Metric, Payload, decode, encode
from verification.evidence.lean import Lean, Shapes, read

NUMBERS = st.one_of(
    st.tuples(st.just(DataType.UINT64), st.integers(0, 2**63 - 1)),
    st.tuples(st.just(DataType.INT32), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(DataType.FLOAT), st.floats(width=32, allow_nan=False)),
    st.tuples(st.just(DataType.DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(DataType.BOOLEAN), st.booleans()),
    st.tuples(st.just(DataType.STRING), st.text(max_size=5)),
    st.tuples(st.just(DataType.UINT32), st.none()),
)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    datatype, value = draw(NUMBERS)
    return Metric(
        alias=draw(st.integers(0, 300)),
        name=draw(st.one_of(st.none(), st.none(), st.just("energy"))),
        timestamp=draw(st.one_of(st.none(), st.integers(0, 2**62))),
        datatype=datatype,
        value=value,
        is_null=value is None,
        is_historical=draw(st.booleans()),
    )


def plain(data: bytes, wanted: frozenset[int]) -> tuple[int | None, list[Lean]]:
    payload = decode(data)
    found = [Lean(m.alias, m.timestamp, m.value) for m in payload.metrics if m.alias in wanted]  # type: ignore[arg-type]
    return payload.timestamp, found


@settings(max_examples=200, deadline=None)
@given(st.lists(metrics(), max_size=6), st.frozensets(st.integers(0, 300)), st.integers(0, 2**62))
def test_the_wanted_metrics_are_those_of_the_plain_codec(
    found: list[Metric], wanted: frozenset[int], t_ms: int
) -> None:
    data = encode(Payload(tuple(found), t_ms))
    lean = read(data, wanted)
    usual = all(m.name is None and m.datatype is not DataType.STRING for m in found)
    if usual:
        assert lean is not None
    if lean is not None:
        assert lean == plain(data, wanted)


@settings(max_examples=300, deadline=None)
@given(st.lists(metrics(), max_size=3), st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))
def test_damaged_bytes_are_read_alike_or_left_to_the_plain_codec(
    found: list[Metric], place: int, byte: int, cut: int
) -> None:
    data = bytearray(encode(Payload(tuple(found), 1_790_000_000_000)))
    if place < len(data):
        data[place] = byte
    damaged, wanted = bytes(data[: max(cut, 1)]), frozenset(range(301))
    lean = read(damaged, wanted)
    if lean is None:
        return
    try:
        expected = plain(damaged, wanted)
    except DecodeError:
        raise AssertionError(f"read {damaged.hex()} as {lean}, the plain codec refuses it") from None
    assert repr(lean) == repr(expected)  # NaN is not equal to itself


@settings(max_examples=200, deadline=None)
@given(
    st.lists(metrics(), max_size=4),
    st.frozensets(st.integers(0, 300)),
    st.lists(st.tuples(st.integers(0, 2**62), st.binary(max_size=9), st.integers(0, 200)), max_size=6),
)
def test_a_frame_read_by_its_shape_says_what_one_read_by_itself_says(
    found: list[Metric], wanted: frozenset[int], variations: list[tuple[int, bytes, int]]
) -> None:
    """Frames of one meter: other times, and some bytes overwritten anywhere."""
    mine = wanted | {m.alias for m in found[:1] if m.alias is not None}
    shapes = Shapes(mine)
    for t_ms, other, place in [(1_790_000_000_000, b"", 0), *variations]:
        data = bytearray(encode(Payload(tuple(found), t_ms)))
        if place + len(other) <= len(data):
            data[place : place + len(other)] = other
        assert repr(shapes.read(bytes(data))) == repr(read(bytes(data), mine))


def test_most_frames_of_a_meter_have_one_shape() -> None:
    shapes = Shapes({7})
    for t_ms in range(1_790_000_000_000, 1_790_000_900_000, 1000):
        energy = Metric(alias=7, timestamp=t_ms, datatype=DataType.UINT32, value=t_ms % 7 + 1000)
        data = encode(Payload((energy, Metric(alias=8, datatype=DataType.FLOAT, value=230.5)), t_ms))
        assert shapes.read(data) == (t_ms, [Lean(7, t_ms, t_ms % 7 + 1000)])
    assert sum(map(len, shapes._known.values())) == 1
