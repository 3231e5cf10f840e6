"""The compiled decoder against the plain codec, on good payloads and on bad ones."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metering import protobuf_wire as wire
from metering.protobuf_wire import DecodeError
from metering.sparkplug import (
    FLOATS,
    SIGNED_BITS,
    UNSIGNED_BITS,
    DataType,
    Metric,
    Value,
    decode,
    encode_metrics,
    typed_value,
)
from stream.batch import I64, WIDTHS, decode_columns, plain_columns
from stream.binding import int64_bits
from stream.kernels import decode as d
from stream.kernels.meaning import typed
from tests.stream.strategies import uncompiled

U64 = st.one_of(
    st.integers(0, (1 << 64) - 1), st.integers(0, 300), st.integers((1 << 64) - 300, (1 << 64) - 1)
)
Said = tuple[int, int, object]
"""(alias, time or -1 or -2, value)"""


def any_field(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """A field of any number and any wire type."""
    return st.one_of(
        st.builds(wire.uint_field, numbers, U64),
        st.builds(wire.bytes_field, numbers, st.binary(max_size=6)),
        st.builds(wire.float_field, numbers, st.floats(width=32)),
        st.builds(wire.double_field, numbers, st.floats()),
    )


VALUE = st.one_of(
    st.builds(wire.uint_field, st.sampled_from([10, 11, 14]), U64),
    st.builds(wire.float_field, st.just(12), st.floats(width=32)),
    st.builds(wire.double_field, st.just(13), st.floats()),
    st.builds(wire.uint_field, st.just(7), st.integers(0, 1)),
)
TEXT = st.one_of(
    st.builds(lambda text: wire.bytes_field(1, text.encode()), st.text(max_size=4)),
    st.builds(lambda text: wire.bytes_field(15, text.encode()), st.text(max_size=4)),
    st.builds(
        lambda key, value: encode_metrics([Metric(properties={key: value}, is_null=True)])[2:-2],
        st.text(max_size=3),
        st.integers(0, 9),
    ),
)
NUMBER = st.one_of(st.integers(1, 20), st.integers(1, (1 << 29) - 1))
COMMON = st.one_of(
    st.builds(wire.uint_field, st.just(2), U64), st.builds(wire.uint_field, st.just(3), U64), VALUE
)
METRIC = st.lists(st.one_of(COMMON, COMMON, TEXT, any_field(NUMBER)), max_size=6).map(b"".join)
PLAIN_METRIC = st.tuples(
    U64.map(lambda alias: wire.uint_field(2, alias >> 1)), st.lists(COMMON, max_size=3).map(b"".join)
).map(b"".join)
PAYLOAD = st.lists(
    st.one_of(
        st.one_of(METRIC, PLAIN_METRIC, PLAIN_METRIC).map(lambda body: wire.bytes_field(2, body)),
        st.builds(wire.uint_field, st.sampled_from([1, 3]), U64),
        any_field(NUMBER.filter(lambda number: number != 2)),
    ),
    max_size=6,
).map(b"".join)
NOW = 1_793_458_800_000
TIMES = st.sampled_from(
    [NOW, NOW, NOW, NOW + 1, NOW + (1 << 35), NOW & ~127, 1 << 35, (1 << 42) - 1, 1 << 42, 5]
)
SPUN_OUT = TIMES.map(lambda t: (head := wire.uint_field(3, t))[:-1] + bytes([head[-1] | 0x80, 0x80, 0]))
"""The same time in more bytes than it needs."""
AS_SENT = st.lists(
    st.tuples(
        st.integers(0, 20_000).map(lambda alias: wire.uint_field(2, alias)),
        st.one_of(TIMES.map(lambda t: wire.uint_field(3, t)), SPUN_OUT, st.just(b"")),
        st.sampled_from([b"", wire.uint_field(4, 9), wire.uint_field(4, 300)]),
        VALUE,
    ).map(lambda parts: wire.bytes_field(2, b"".join(parts))),
    max_size=8,
).map(b"".join)
"""Frames as gateways send them: metric after metric of one time, but for some."""
FUZZED = st.one_of(
    st.binary(max_size=40),
    st.tuples(PAYLOAD, st.integers(0, 60)).map(lambda pair: pair[0][: pair[1]]),
    st.tuples(PAYLOAD.filter(bool), st.integers(0, 999), st.integers(0, 255)).map(
        lambda t: t[0][: t[1] % len(t[0])] + bytes([t[2]]) + t[0][t[1] % len(t[0]) + 1 :]
    ),
    PAYLOAD.map(lambda body: wire.bytes_field(2, body)),
)


def by_plain_codec(payload: bytes) -> list[tuple[Metric, int]] | None:
    try:
        decoded = decode(payload)
    except DecodeError:
        return None
    times = [
        decoded.timestamp if metric.timestamp is None else metric.timestamp for metric in decoded.metrics
    ]
    return [
        (m, -1 if t is None else -2 if t >> 63 else t) for m, t in zip(decoded.metrics, times, strict=True)
    ]


def shown(row: list[int]) -> Said:
    """A row of columns as the plain codec would have said it; NaNs made equal."""
    _, alias, t, kind, bits = row
    if kind == d.INTEGER:
        return alias, t, bits
    if kind in {d.REAL32, d.REAL64}:
        raw = np.int64(bits)
        real = (
            float(raw.astype(np.uint32).view(np.float32)) if kind == d.REAL32 else float(raw.view(np.float64))
        )
        return alias, t, "NaN" if math.isnan(real) else ("float", real)
    return alias, t, {d.NULL: None, d.OTHER: None, d.TRUTH: bool(bits)}[kind]


def said(metric: Metric, t: int) -> Said:
    assert metric.alias is not None
    value = metric.value
    if isinstance(value, float):
        return metric.alias, t, "NaN" if math.isnan(value) else ("float", value)
    if isinstance(value, bool) or not isinstance(value, int):
        return metric.alias, t, value if isinstance(value, bool) else None
    return metric.alias, t, int64_bits(value)


def agree(payload: bytes, columns: I64, status: int) -> None:
    """Both refuse; or both accept and say the same; or the compiled one leaves it to the plain one, for a reason."""
    plain = by_plain_codec(payload)
    if status == d.OK:
        assert plain is not None
        assert [shown(row) for row in columns.tolist()] == [said(metric, t) for metric, t in plain]
        return
    assert not len(columns)
    if status == d.MALFORMED:
        assert plain is None
    elif plain is not None:
        assert any(m.alias is None or m.alias >> 63 or _has_text(payload) for m, _ in plain)
        assert len(plain_columns(payload, 0, "m")) == len(plain)


def _has_text(payload: bytes) -> bool:
    metrics = [
        (at, end) for number, kind, at, end in wire.fields(payload) if (number, kind) == (2, wire.BYTES)
    ]
    fields = [field for at, end in metrics for field in wire.fields(payload, at, end)]
    return any(number in {1, 9, 15} and kind == wire.BYTES for number, kind, _, _ in fields)


@settings(max_examples=200, deadline=None)
@given(st.lists(PAYLOAD, max_size=4))
def test_payloads_of_every_shape_decode_as_by_the_plain_codec(payloads: list[bytes]) -> None:
    columns, status = decode_columns(payloads)
    for i, payload in enumerate(payloads):
        agree(payload, columns[columns[:, d.FRAME] == i], status[i])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(AS_SENT, st.integers(0, 200)), max_size=4))
def test_frames_as_gateways_send_them_and_their_beginnings_do_too(frames: list[tuple[bytes, int]]) -> None:
    payloads = [payload[: cut or None] for payload, cut in frames]
    columns, status = decode_columns(payloads)
    for i, payload in enumerate(payloads):
        agree(payload, columns[columns[:, d.FRAME] == i], status[i])


@given(FUZZED)
@example(b"")
@example(b"\x12\x00")
def test_damaged_bytes_are_judged_alike_and_never_read_beyond_their_end(payload: bytes) -> None:
    columns, status = decode_columns([payload])
    agree(payload, columns, status[0])
    with uncompiled():  # the plain function runs under numpy's bounds checks
        again, same = decode_columns([payload])
    assert (again.tolist(), same.tolist()) == (columns.tolist(), status.tolist())


@settings(max_examples=100, deadline=None)
@given(PAYLOAD, FUZZED, PAYLOAD)
def test_a_bad_payload_leaves_its_neighbours_alone(before: bytes, bad: bytes, after: bytes) -> None:
    columns, status = decode_columns([before, bad, after])
    for i, payload in ((0, before), (2, after)):
        alone, verdict = decode_columns([payload])
        assert columns[columns[:, d.FRAME] == i][:, 1:].tolist() == alone[:, 1:].tolist()
        assert status[i] == verdict[0]


@pytest.mark.parametrize("datatype", [*SIGNED_BITS, *UNSIGNED_BITS, *FLOATS])
def test_every_numeric_type_reads_as_by_the_plain_codec(datatype: DataType) -> None:
    edges = {
        0,
        1,
        *(s * (1 << n) + o for n in (7, 8, 15, 16, 31, 32, 62, 63, 64) for s in (1, -1) for o in (-1, 0, 1)),
    }
    masks = ((1 << 8) - 1, (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1)
    wires = sorted({edge & mask for edge in edges for mask in masks})
    values: list[tuple[int, Value]] = [
        *((d.INTEGER, value) for value in wires),
        *((d.TRUTH, flag) for flag in (False, True)),
        (d.NULL, None),
    ]
    reals = (0.0, -1.5, 3e38, math.inf, math.nan, 1e300)
    values += [(d.REAL64, real) for real in reals]
    bits = [
        int(np.float64(v).view(np.int64)) if isinstance(v, float) else int64_bits(int(v or 0))
        for _, v in values
    ]
    for (kind, value), shown_bits in zip(values, bits, strict=True):
        valid, raw, real = typed(kind, shown_bits, int(WIDTHS[datatype]))
        try:
            expected = typed_value(value, datatype)
        except DecodeError:
            expected = None
        if (
            not isinstance(expected, int | float)
            or not math.isfinite(expected)
            or (isinstance(expected, int) and expected >> 63 > 0)
        ):
            assert not valid, (datatype, value)
        else:
            assert valid, (datatype, value)
            assert (real if datatype in FLOATS else raw) == expected


def test_a_32_bit_float_keeps_its_value() -> None:
    payload = encode_metrics([Metric(alias=1, timestamp=5, datatype=DataType.FLOAT, value=230.1)])
    columns, _ = decode_columns([payload])
    valid, _, real = typed(int(columns[0, d.KIND]), int(columns[0, d.BITS]), int(WIDTHS[DataType.FLOAT]))
    assert valid
    assert real == np.float64(np.float32(230.1))


def test_no_payloads_make_no_columns() -> None:
    columns, status = decode_columns([])
    assert columns.shape == (0, d.COLUMNS)
    assert not status.size


HOSTILE = {
    "a length of 2^63": b"\x12" + b"\xff" * 9 + b"\x01",
    "a length that leaves the payload": b"\x12\x7f\x10\x01",
    "a metric whose field leaves the metric": b"\x12\x02\x0a\x05hello",
    "a varint of eleven bytes": b"\x08" + b"\x80" * 10 + b"\x01",
    "a varint without end": b"\x08\x80\x80",
    "field number 0": b"\x00\x01",
    "a field number of 30 bits": wire.varint((1 << 29) << 3) + b"\x01",
    "a field number of 61 bits": wire.varint((1 << 61) << 3) + b"\x01",
    "a group": b"\x0b\x0c",
    "wire type 7": b"\x0f\x01",
    "half a double": b"\x12\x05\x69\x00\x00\x00\x00",
    "a name that is not UTF-8": wire.bytes_field(2, wire.uint_field(2, 1) + wire.bytes_field(1, b"\xff\xfe")),
    "a text that is not UTF-8": wire.bytes_field(2, wire.uint_field(2, 1) + wire.bytes_field(15, b"\xff")),
    "properties without values": wire.bytes_field(
        2, wire.uint_field(2, 1) + wire.bytes_field(9, wire.bytes_field(1, b"k"))
    ),
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_hostile_payloads_are_refused_by_both(payload: bytes) -> None:
    columns, status = decode_columns([payload])
    assert by_plain_codec(payload) is None
    assert not len(columns)
    assert status[0] == d.MALFORMED or not len(plain_columns(payload, 0, "m"))


def test_an_alias_or_time_beyond_int64_harms_nothing() -> None:
    top = (1 << 64) - 1
    payload = encode_metrics(
        [Metric(alias=top, timestamp=5, value=7), Metric(alias=3, timestamp=top, value=8)]
    )
    assert plain_columns(payload, 0, "m").tolist() == [
        [0, -1, 5, d.INTEGER, 7],
        [0, 3, d.BEYOND, d.INTEGER, 8],
    ]
    assert decode_columns([payload])[1].tolist() == [d.PLAIN]


def test_ten_thousand_empty_metrics_fit_the_space_made_for_them() -> None:
    columns, status = decode_columns([b"\x12\x00" * 10_000, wire.bytes_field(2, wire.uint_field(2, 1))])
    assert status.tolist() == [d.PLAIN, d.OK]
    assert len(columns) == 1
