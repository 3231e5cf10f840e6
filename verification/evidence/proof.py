"""Records with their inclusion proofs: per segment one pruned Merkle tree (RFC 6962), the records in it byte for byte.

A block is the segment's number (uint64) and number of records (uint32), then the tree from its root, big-endian:
tag 0 and 32 bytes: the hash of a subtree without any record of ours; tag 1, a length (uint32) and a record's bytes;
tag 2: a node, its left subtree and its right one follow. A tree of n leaves has the largest power of two below n on its left.
"""

import struct
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

_BLOCK = struct.Struct(">QI")
_SIZE = struct.Struct(">I")
_HASH, _RECORD, _NODE = 0, 1, 2
_DIGEST_SIZE = 32


class ProofError(Exception):
    """The bytes are no pruned tree; `args[0]` says where."""


class Block(NamedTuple):
    """A segment's records that a pack carries, and the root that they lead to."""

    segment: int
    records: list[tuple[int, bytes]]
    """(index in the segment, record bytes)"""
    root: bytes


def leaf_hash(record: bytes) -> bytes:
    return sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def encode_block(segment: int, leaves: Sequence[bytes], wanted: Collection[int]) -> bytes:
    """The block of a segment that carries the wanted records."""
    return _BLOCK.pack(segment, len(leaves)) + b"".join(_tree(leaves, 0, len(leaves), sorted(wanted)))


def _tree(leaves: Sequence[bytes], low: int, high: int, wanted: Sequence[int]) -> Iterator[bytes]:
    if bisect_left(wanted, low) == bisect_left(wanted, high):
        yield bytes([_HASH]) + _root(leaves, low, high)
    elif high - low == 1:
        yield bytes([_RECORD]) + _SIZE.pack(len(leaves[low])) + leaves[low]
    else:
        middle = low + split(high - low)
        yield bytes([_NODE])
        yield from _tree(leaves, low, middle, wanted)
        yield from _tree(leaves, middle, high, wanted)


def _root(leaves: Sequence[bytes], low: int, high: int) -> bytes:
    if high - low == 1:
        return leaf_hash(leaves[low])
    middle = low + split(high - low)
    return node_hash(_root(leaves, low, middle), _root(leaves, middle, high))


def blocks(chunks: Iterator[bytes]) -> Iterator[Block]:
    """The blocks of `journal/records.bin`, in bounded memory; ProofError when the bytes are none."""
    stream = _Stream(chunks)
    while not stream.at_end():
        segment, count = _BLOCK.unpack(stream.take(_BLOCK.size))
        if count == 0:
            raise ProofError(f"segment {segment} without records")
        records: list[tuple[int, bytes]] = []
        root = _read_tree(stream, 0, count, records)
        yield Block(segment, records, root)


class _Stream:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = b""
        self._at = 0

    def at_end(self) -> bool:
        return self._at == len(self._data) and not self._more()

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._data, self._at = self._data[self._at :] + chunk, 0
        return bool(chunk) or self._more()

    def take(self, size: int) -> bytes:
        start, end = self._at, self._at + size
        if end > len(self._data):
            while len(self._data) - self._at < size:
                if not self._more():
                    raise ProofError("it ends within a block")
            start, end = self._at, self._at + size
        self._at = end
        return self._data[start:end]


def _read_tree(stream: _Stream, low: int, high: int, records: list[tuple[int, bytes]]) -> bytes:
    tag = stream.take(1)[0]
    if tag == _RECORD and high - low == 1:
        record = stream.take(int.from_bytes(stream.take(_SIZE.size)))
        records.append((low, record))
        return sha256(b"\x00" + record).digest()
    if tag == _HASH:
        return stream.take(_DIGEST_SIZE)
    if tag != _NODE or high - low == 1:
        raise ProofError(f"tag {tag} where none such can stand")
    middle = low + split(high - low)
    left = _read_tree(stream, low, middle, records)
    return node_hash(left, _read_tree(stream, middle, high, records))
