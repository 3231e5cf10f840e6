"""Sealed segments: which bodies are sealed, and what ingest wrote there. The blocks themselves: `storage/blocks.py`."""

import sqlite3
import struct

from storage.errors import CorruptError

_LENGTHS = b"\xff" * 6
"""Of a topic and a payload that no body holds: a program that knows of no sealing finds the segment damaged, and stops."""
BLOCK_TAG = b"\xffTYBLK1\x7f" + _LENGTHS
PART_TAG = b"\xffTYPRT1\x7f" + _LENGTHS
TAG_BYTES = len(BLOCK_TAG)
_PART = struct.Struct("<QI")


def is_sealed(body: bytes) -> bool:
    """Whether a stored body is a block or part of one."""
    return body[:TAG_BYTES] in {BLOCK_TAG, PART_TAG}


def part(first: int, place: int) -> bytes:
    """The body of a segment that stands in the block of segment `first`."""
    return PART_TAG + _PART.pack(first, place)


Blocks = dict[int, tuple[bytes, ...]]
"""First segment of a block → the bodies in it."""


def opened(db: sqlite3.Connection, segment: int, body: bytes, known: Blocks | None = None) -> bytes:
    """A segment's body as ingest wrote it, given as it is stored. Who reads on gives `known`, so that a block is read once."""
    if not is_sealed(body):
        return body
    first, place = _PART.unpack(body[TAG_BYTES:]) if body.startswith(PART_TAG) else (segment, 0)
    from storage.blocks import unsealed  # noqa: PLC0415  numpy, which a gateway has not and never needs

    known = {} if known is None else known
    if first not in known:
        row = db.execute("SELECT body FROM segment WHERE id=?", (first,)).fetchone()
        known[first] = unsealed(row[0]) if row and row[0].startswith(BLOCK_TAG) else ()
    bodies = known[first]
    if place >= len(bodies):
        msg = f"journal segment {segment} is sealed in a block that segment {first} does not hold"
        raise CorruptError(msg)
    return bodies[int(place)]
