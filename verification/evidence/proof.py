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
_LEAF_HEAD = 1 + _SIZE.size


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


def blocks(chunks: Iterator[bytes], *, hashed: bool = True) -> Iterator[Block]:
    """The blocks of `journal/records.bin`; memory holds one of them and a chunk. ProofError when the bytes are none.

    Where somebody else checks the roots, they need not be `hashed`: they are empty then.
    """
    data, enough = b"", 0
    for chunk in chunks:
        data += chunk
        if len(data) >= enough:
            at = 0
            while (found := _block(data, at, hashed)) is not None:
                block, at = found
                yield block
            data = data[at:]
            enough = 2 * len(data)  # so that a block of many chunks is not begun again at each of them
    at = 0
    while at < len(data):
        if (found := _block(data, at, hashed)) is None:
            raise ProofError("it ends within a block")
        block, at = found
        yield block


def _block(data: bytes, at: int, hashed: bool) -> tuple[Block, int] | None:
    """The block that begins at a place, and where it ends; None when the data ends before."""
    if len(data) - at < _BLOCK.size:
        return None
    segment, count = _BLOCK.unpack_from(data, at)
    if count == 0:
        raise ProofError(f"segment {segment} without records")
    tree = _Tree(data, at + _BLOCK.size, hashed)
    try:
        root = tree.root(count)
    except (IndexError, struct.error):
        return None
    return Block(segment, tree.records, root), tree.at


class _Tree:
    """A pruned tree being read; IndexError or struct.error where the data ends before it."""

    def __init__(self, data: bytes, at: int, hashed: bool) -> None:
        self._data, self.at, self._hashed = data, at, hashed
        self.records: list[tuple[int, bytes]] = []

    def root(self, size: int) -> bytes:
        """Of a tree of so many leaves. A left subtree comes before its right one."""
        data, at, low, hashed = self._data, self.at, 0, self._hashed
        left: list[bytes] = []
        right: list[int] = []
        """Of every node whose subtrees are being read: the size of its right one, 0 from where that one begins."""
        while True:
            while data[at] == _NODE and size > 1:
                right.append(size - split(size))
                size, at = size - right[-1], at + 1
            value, at = self._leaf(at, low, size)
            low += size
            while right and not right[-1]:
                right.pop()
                value = sha256(b"\x01" + left.pop() + value).digest() if hashed else left.pop()
            if not right:
                self.at = at
                return value
            left.append(value)
            size, right[-1] = right[-1], 0

    def _leaf(self, at: int, low: int, size: int) -> tuple[bytes, int]:
        """The hash of a record, or of a subtree of some size without any; and where it ends."""
        data = self._data
        tag = data[at]
        if tag == _RECORD and size == 1:
            begin = at + _LEAF_HEAD
            end = begin + _SIZE.unpack_from(data, at + 1)[0]
            record = data[begin:end]
            self.records.append((low, record))
            value = sha256(b"\x00" + record).digest() if self._hashed else b""
        elif tag == _HASH:
            end = at + 1 + _DIGEST_SIZE
            value = data[at + 1 : end]
        else:
            raise ProofError(f"tag {tag} where none such can stand")
        if end > len(data):
            raise IndexError
        return value, end
