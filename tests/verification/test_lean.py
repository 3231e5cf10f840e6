"""The lean reader says what the plain codec says, or says nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.protobuf_wire import DecodeError
from metering.sparkplug import DataType, Metric, Payload, decode, encode
from verification.evidence.lean import Lean, read

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
