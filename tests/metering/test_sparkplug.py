"""The plain codec against the protobuf library, both ways, and against bytes nobody meant."""

import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metering.protobuf_wire import DecodeError
from metering.sparkplug import (
    FLOATS,
    SIGNED_BITS,
    UNSIGNED_BITS,
    DataType,
    Metric,
    Payload,
    Property,
    Value,
    body_digest,
    decode,
    encode,
    encode_metrics,
    mark_historical,
    typed_value,
)
from tests.fakes import sparkplug_proto as proto

U64 = (1 << 64) - 1
WIRE_FIELD = {
    **dict.fromkeys((DataType.INT8, DataType.INT16, DataType.INT32), "int_value"),
    **dict.fromkeys((DataType.UINT8, DataType.UINT16, DataType.UINT32), "int_value"),
    **dict.fromkeys((DataType.INT64, DataType.UINT64, DataType.DATETIME), "long_value"),
    DataType.FLOAT: "float_value", DataType.DOUBLE: "double_value", DataType.BOOLEAN: "boolean_value",
    **dict.fromkeys((DataType.STRING, DataType.TEXT, DataType.UUID), "string_value"), DataType.BYTES: "bytes_value",
}  # fmt: skip
"""Data type → the one-of member that Sparkplug 3.0 (6.4.16) puts it in."""
texts = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.integers(0, U64)


def values_of(datatype: DataType) -> st.SearchStrategy[Value]:
    if datatype in SIGNED_BITS:
        bits = SIGNED_BITS[datatype]
        return st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if datatype in UNSIGNED_BITS:
        return st.integers(0, (1 << UNSIGNED_BITS[datatype]) - 1)
    if datatype in FLOATS:
        return st.floats(width=32 if datatype is DataType.FLOAT else 64, allow_nan=False)
    if datatype is DataType.BOOLEAN:
        return st.booleans()
    return st.binary(max_size=20) if datatype is DataType.BYTES else texts


properties = st.dictionaries(
    texts,
    st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | texts,
    max_size=3,
)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    datatype = draw(st.sampled_from(DataType))
    value = draw(st.none() | values_of(datatype))
    return Metric(
        name=draw(st.none() | texts), alias=draw(st.none() | times), timestamp=draw(st.none() | times), datatype=datatype,
        is_historical=draw(st.booleans()), is_null=value is None, value=value, properties=draw(st.none() | properties),
    )  # fmt: skip


payloads = st.builds(
    Payload,
    st.lists(metrics(), max_size=4).map(tuple),
    timestamp=st.none() | times,
    seq=st.none() | st.integers(0, 255),
)


def optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def as_proto(payload: Payload) -> Any:
    """The payload built with the protobuf library."""
    message = proto.Payload(timestamp=payload.timestamp, seq=payload.seq)
    for metric in payload.metrics:
        added = message.metrics.add(
            name=metric.name, alias=metric.alias, timestamp=metric.timestamp, datatype=metric.datatype,
            is_historical=metric.is_historical or None, is_null=metric.is_null or None,
        )  # fmt: skip
        if metric.value is not None and metric.datatype is not None:
            field = WIRE_FIELD[DataType(metric.datatype)]
            mask = 0xFFFF_FFFF if field == "int_value" else U64
            value = metric.value & mask if field in {"int_value", "long_value"} else metric.value  # type: ignore[operator]
            setattr(added, field, value)
        for key, item in (metric.properties or {}).items():
            added.properties.keys.append(key)
            _set_property(added.properties.values.add(), item)
    return message


def _set_property(added: Any, item: Property) -> None:
    if isinstance(item, bool):
        added.type, added.boolean_value = DataType.BOOLEAN, item
    elif isinstance(item, int):
        added.type, added.long_value = DataType.INT64, item & U64
    elif isinstance(item, float):
        added.type, added.double_value = DataType.DOUBLE, item
    else:
        added.type, added.string_value = DataType.STRING, item


def typed(payload: Payload) -> Payload:
    """What was received, with every value read as its data type, as a sender would have given it."""
    said = [
        msgspec.structs.replace(
            metric, value=typed_value(metric.value, metric.datatype), properties=metric.properties or None
        )
        for metric in payload.metrics
    ]
    return msgspec.structs.replace(payload, metrics=tuple(said))


def without_empty_properties(payload: Payload) -> Payload:
    said = [
        msgspec.structs.replace(metric, properties=metric.properties or None) for metric in payload.metrics
    ]
    return msgspec.structs.replace(payload, metrics=tuple(said))


@given(payloads)
@settings(max_examples=80)
def test_the_protobuf_library_reads_what_the_codec_writes(payload: Payload) -> None:
    assert proto.parse(encode(payload)) == as_proto(payload)


@given(payloads)
@settings(max_examples=80)
def test_the_codec_reads_what_the_protobuf_library_writes(payload: Payload) -> None:
    assert typed(decode(as_proto(payload).SerializeToString())) == without_empty_properties(payload)


@pytest.mark.parametrize("datatype", DataType)
def test_extremes_of_every_data_type_survive_the_round_trip(datatype: DataType) -> None:
    for value in EXTREMES[datatype]:
        payload = Payload((Metric(name="x", datatype=datatype, value=value),))
        read = proto.parse(encode(payload)).metrics[0]
        assert read.WhichOneof("value") == WIRE_FIELD[datatype]
        assert typed_value(decode(encode(payload)).metrics[0].value, datatype) == value


EXTREMES: dict[DataType, tuple[Value, ...]] = {
    **{
        DataType(kind): (-(1 << (bits - 1)), -1, 0, (1 << (bits - 1)) - 1)
        for kind, bits in SIGNED_BITS.items()
    },
    **{DataType(kind): (0, 1, (1 << bits) - 1) for kind, bits in UNSIGNED_BITS.items()},
    DataType.FLOAT: (0.0, -1.5, math.inf, 3.4028234663852886e38),
    DataType.DOUBLE: (5e-324, -1.7976931348623157e308, -math.inf),
    DataType.BOOLEAN: (True, False),
    **dict.fromkeys((DataType.STRING, DataType.TEXT, DataType.UUID), ("", "关口 №1", "\0")),
    DataType.BYTES: (b"", b"\xff\x00"),
}


@pytest.mark.parametrize(("datatype", "wire", "value"), [
    (DataType.INT8, 0xFF, -1), (DataType.INT8, 0xFFFF_FFFF, -1), (DataType.INT8, U64, -1), (DataType.INT8, 0x80, -128),
    (DataType.INT16, 0xFFFE, -2), (DataType.INT32, 0x8000_0000, -(1 << 31)), (DataType.INT32, U64 - 4, -5),
])  # fmt: skip
def test_negative_integers_are_read_however_wide_the_sender_made_them(
    datatype: DataType, wire: int, value: int
) -> None:
    assert typed_value(wire, datatype) == value


@pytest.mark.parametrize(("datatype", "value"), [
    (DataType.INT8, 0x100), (DataType.INT16, 0x1_0000), (DataType.INT32, 1 << 32), (DataType.UINT8, 256),
    (DataType.UINT32, 1 << 32), (DataType.INT32, 1.5), (DataType.INT32, True), (DataType.UINT64, "1"), (DataType.FLOAT, 1),
    (DataType.BOOLEAN, 1), (DataType.STRING, b"x"), (DataType.BYTES, "x"), (16, 1), (99, "x"), (0, 1),
])  # fmt: skip
def test_a_value_that_is_not_of_its_type_is_refused(datatype: int, value: Value) -> None:
    with pytest.raises(DecodeError):
        typed_value(value, datatype)


@given(st.binary(max_size=120))
@settings(max_examples=200)
@example(b"\x12\x80")
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x80" * 11)
@example(b"\x00\x00")
@example(b"\x13")
def test_any_bytes_are_read_or_refused_with_a_decode_error(data: bytes) -> None:
    try:
        body_digest(decode(data))
    except DecodeError:
        return


@given(payloads, st.data())
@settings(max_examples=80)
def test_damaged_payloads_are_read_or_refused_with_a_decode_error(
    payload: Payload, data: st.DataObject
) -> None:
    damaged = bytearray(encode(payload))
    for _ in range(data.draw(st.integers(1, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        read = decode(bytes(damaged[:cut]))
        for metric in read.metrics:
            typed_value(metric.value, metric.datatype)
    except DecodeError:
        return
    body_digest(read)


def test_what_the_codec_does_not_know_is_skipped() -> None:
    message = proto.Payload(timestamp=1, seq=2, uuid="u", body=b"b")
    metric = message.metrics.add(name="a", is_transient=True, int_value=7)
    metric.metadata.description = "said by somebody else"
    message.metrics.add(name="table").dataset_value.num_of_columns = 3
    assert decode(message.SerializeToString()) == Payload(
        (Metric(name="a", value=7), Metric(name="table")), timestamp=1, seq=2
    )


def test_a_property_set_whose_keys_and_values_differ_in_number_is_refused() -> None:
    message = proto.Payload()
    message.metrics.add(name="a", int_value=7).properties.keys.append("unit")
    with pytest.raises(DecodeError, match="property set"):
        decode(message.SerializeToString())


def test_a_null_property_and_a_nested_set_are_left_out() -> None:
    message = proto.Payload()
    properties = message.metrics.add(name="a", int_value=7).properties
    properties.keys.extend(["nothing", "nested", "unit"])
    properties.values.add(type=DataType.INT32, is_null=True)
    properties.values.add(type=20).propertyset_value.keys.append("inner")
    properties.values.add(type=DataType.STRING, string_value="kWh")
    assert decode(message.SerializeToString()).metrics[0].properties == {"unit": "kWh"}


def test_data_messages_may_leave_the_data_type_to_the_birth() -> None:
    """tck-id-payloads-metric-datatype-not-req: only births must carry it."""
    metrics = (Metric(alias=1, timestamp=5, datatype=DataType.INT16, value=-3),)
    [read] = proto.parse(encode_metrics(metrics, with_datatype=False)).metrics
    assert not read.HasField("datatype")
    assert read.int_value == 0xFFFF_FFFD


@given(st.lists(metrics(), max_size=4))
def test_data_sent_again_differs_only_in_its_historical_flag(said: list[Metric]) -> None:
    before, after = encode_metrics(said), mark_historical(encode_metrics(said))
    flagged = [msgspec.structs.replace(metric, is_historical=True) for metric in decode(before).metrics]
    assert list(decode(after).metrics) == flagged
    assert all(metric.is_historical for metric in proto.parse(after).metrics)
    assert mark_historical(b"") == b""


@given(payloads, st.none() | times, st.none() | st.integers(0, 255))
def test_a_frame_sent_again_has_the_same_digest(
    payload: Payload, timestamp: int | None, seq: int | None
) -> None:
    again = Payload(
        decode(mark_historical(encode_metrics(payload.metrics))).metrics, timestamp=timestamp, seq=seq
    )
    assert body_digest(again) == body_digest(decode(encode(payload)))


FIRST = Metric(name="a", alias=1, timestamp=5, value=7, properties={"unit": "kWh"})


@pytest.mark.parametrize("changes", [
    {"value": 8}, {"timestamp": 6}, {"alias": 2}, {"name": "b"}, {"value": None, "is_null": True}, {"value": 7.0},
    {"properties": {"unit": "Wh"}},
])  # fmt: skip
def test_a_frame_that_says_something_else_has_another_digest(changes: dict[str, Any]) -> None:
    other = msgspec.structs.replace(FIRST, **changes)
    assert body_digest(Payload((FIRST,))) != body_digest(Payload((other,)))


def test_the_order_of_metrics_is_part_of_what_a_frame_says() -> None:
    second = Metric(name="b", value=1)
    assert body_digest(Payload((FIRST, second))) != body_digest(Payload((second, FIRST)))


@pytest.mark.parametrize(
    ("datatype", "value"), [(99, 1), (DataType.FLOAT, 1e300), (16, 5), (DataType.INT8, U64)]
)
def test_a_data_type_that_does_not_fit_its_value_has_a_digest_all_the_same(
    datatype: int, value: Value
) -> None:
    assert len(body_digest(Payload((Metric(alias=1, datatype=datatype, value=value),)))) == 16


def test_a_float_keeps_its_bits() -> None:
    raw = struct.unpack("<f", bytes.fromhex("cdcc4c3e"))[0]
    read = decode(encode(Payload((Metric(name="v", datatype=DataType.FLOAT, value=raw),)))).metrics[0].value
    assert isinstance(read, float)
    assert struct.pack("<f", read).hex() == "cdcc4c3e"
