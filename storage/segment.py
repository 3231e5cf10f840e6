"""A segment: the records of one group commit, back to back, each exactly as it was received."""

import struct
from collections.abc import Iterable

import msgspec

from storage.errors import CorruptError

_HEAD = struct.Struct("<qHI")
HEAD_BYTES = _HEAD.size


class Record(msgspec.Struct, frozen=True, gc=False):
    """One message as received: topic, payload bytes, and when the server got it."""

    topic: str
    payload: bytes
    received_ms: int


def pack(record: Record) -> bytes:
    """received_ms int64, length of topic uint16, length of payload uint32, topic, payload."""
    topic = record.topic.encode()
    return _HEAD.pack(record.received_ms, len(topic), len(record.payload)) + topic + record.payload


def whole_size(data: bytes, at: int) -> int:
    """Bytes of the record that begins at `at`, of which at least `HEAD_BYTES` are there."""
    _received_ms, topic_size, payload_size = _HEAD.unpack_from(data, at)
    return HEAD_BYTES + int(topic_size) + int(payload_size)


def unpack_all(body: bytes) -> list[Record]:
    """All records of a segment body; CorruptError when it does not add up."""
    records, at = [], 0
    while at < len(body):
        if at + _HEAD.size > len(body):
            msg = f"segment body ends inside a record at byte {at}"
            raise CorruptError(msg)
        received_ms, topic_size, payload_size = _HEAD.unpack_from(body, at)
        start = at + _HEAD.size
        at = start + topic_size + payload_size
        try:
            topic = body[start : start + topic_size].decode()
        except UnicodeDecodeError as error:
            msg = f"the topic at byte {start} is not UTF-8"
            raise CorruptError(msg) from error
        records.append(Record(topic, body[start + topic_size : at], received_ms))
    if at != len(body):
        msg = f"segment body is {at - len(body)} bytes short"
        raise CorruptError(msg)
    return records


def packed(records: Iterable[Record]) -> list[bytes]:
    """Each record's bytes: the leaves of the segment's Merkle tree; joined they are its body."""
    return [pack(record) for record in records]
