"""Sparkplug B payloads through the protobuf library: a decoder and encoder that share nothing with `metering.sparkplug`.

The descriptor is built here, field by field as `sparkplug_b.proto` of Eclipse Sparkplug 3.0 (6.4) lists them.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

__all__ = ["DecodeError", "Payload", "parse", "properties_of", "value_of"]

_TYPES = {
    "u32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "u64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "text": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}
_PACKAGE = "org.eclipse.tahu.protobuf"
_MESSAGES = {
    "Payload": "timestamp:u64=1 metrics:*Metric=2 seq:u64=3 uuid:text=4 body:bytes=5",
    "Metric": (
        "name:text=1 alias:u64=2 timestamp:u64=3 datatype:u32=4 is_historical:bool=5 is_transient:bool=6 is_null:bool=7 "
        "metadata:MetaData=8 properties:PropertySet=9 int_value:?u32=10 long_value:?u64=11 float_value:?float=12 "
        "double_value:?double=13 boolean_value:?bool=14 string_value:?text=15 bytes_value:?bytes=16 dataset_value:?DataSet=17"
    ),
    "MetaData": (
        "is_multi_part:bool=1 content_type:text=2 size:u64=3 seq:u64=4 file_name:text=5 file_type:text=6 md5:text=7 description:text=8"
    ),
    "PropertySet": "keys:*text=1 values:*PropertyValue=2",
    "PropertyValue": (
        "type:u32=1 is_null:bool=2 int_value:?u32=3 long_value:?u64=4 float_value:?float=5 double_value:?double=6 "
        "boolean_value:?bool=7 string_value:?text=8 propertyset_value:?PropertySet=9"
    ),
    "DataSet": "num_of_columns:u64=1 columns:*text=2 types:*u32=3",
}
"""Message → `name:type=number`; `*` repeated, `?` member of the one-of `value`."""


def _add_field(message: descriptor_pb2.DescriptorProto, text: str) -> None:
    declared, number = text.split("=")
    name, kind = declared.split(":")
    field = message.field.add(name=name, number=int(number), label=1)
    if kind.startswith("*"):
        field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    if kind.startswith("?"):
        field.oneof_index = 0
    kind = kind.lstrip("*?")
    if kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if "?" in fields:
            message.oneof_decl.add(name="value")
        for field in fields.split():
            _add_field(message, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call, unused-ignore]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))  # type: ignore[no-untyped-call, unused-ignore]


Payload: Any = _payload_class()
"""The message class: `Payload(timestamp=…, seq=…)`, `.metrics.add(name=…, long_value=…)`, `.SerializeToString()`."""


def parse(data: bytes) -> Any:
    """The payload as the protobuf library reads it; DecodeError."""
    return Payload.FromString(data)


def value_of(metric: Any) -> Any:
    """What stands in the one-of of a metric or property; None when nothing does."""
    field = metric.WhichOneof("value")
    return None if field is None else getattr(metric, field)


def properties_of(metric: Any) -> dict[str, Any]:
    """The properties of a metric, by key."""
    properties = metric.properties
    return dict(zip(properties.keys, map(value_of, properties.values), strict=True))
