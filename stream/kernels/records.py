"""Records as the journal stores them, back to back in one buffer: where each part lies, and which topics are the same.

The buffer has `storage.segment` records and `PADDING` bytes more, so that eight bytes may be read from anywhere in them.
"""

import numpy as np
from numpy.typing import NDArray

from stream.kernels import kernel, part
from stream.kernels.decode import PADDING, word

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

RECEIVED, TOPIC, PAYLOAD, END, CODE = range(5)
"""Rows of the table of places, one column per record: UTC ms, first byte of topic and payload, end, number of the topic."""
PLACES = 5
HEAD_BYTES = 14
"""`storage.segment.HEAD_BYTES`: time int64, length of topic uint16, length of payload uint32."""


@kernel
def split(buf: U8, ends: I64, counts: I64, found: I64) -> int:
    """Body i ends at ends[i] and has counts[i] records; the records in all, or -1 - i when body i does not add up.

    `found` gets a row per record, so that of its room only as much is touched as is used.
    """
    n = at = 0
    for i in range(ends.size):
        before, end = n, ends[i]
        while at < end:
            start = at + HEAD_BYTES
            if start > end:
                return -1 - i
            sizes = word(buf, at + 8)
            payload = start + (sizes & 0xFFFF)
            stop = payload + (sizes >> 16 & 0xFFFFFFFF)
            if stop > end:
                return -1 - i
            found[n, RECEIVED], found[n, TOPIC] = word(buf, at), start
            found[n, PAYLOAD], found[n, END] = payload, stop
            n += 1
            at = stop
        counts[i] = n - before
    return n


@kernel
def number_topics(
    buf: U8, places: I64, first: int, text: U8, ends: I64, slots: I64, after: I64, known: int
) -> tuple[int, int]:
    """Number the topics of the records from `first` on; (the first record for whose topic there is no room, topics known then).

    Topic n is `text[ends[n]:ends[n + 1]]`; equal ones get equal numbers, in the order in which they first come. `slots` is a hash
    table, a power of two of which at most half are used, the others -1; after[n] is a topic that came after n, which is tried
    first: gateways poll their meters in turn.
    """
    code = 0
    for i in range(first, places.shape[1]):
        start, size = places[TOPIC, i], places[PAYLOAD, i] - places[TOPIC, i]
        found = after[code]
        if found >= known or not same_bytes(buf, start, size, text, ends[found], ends[found + 1]):
            slot = topic_hash(buf, start, size) & (slots.size - 1)
            while slots[slot] >= 0 and not same_bytes(
                buf, start, size, text, ends[slots[slot]], ends[slots[slot] + 1]
            ):
                slot = (slot + 1) & (slots.size - 1)
            found = slots[slot]
            if found < 0:
                begin = ends[known]
                if 2 * known + 2 > slots.size or begin + size + PADDING > text.size:
                    return i, known
                for j in range(size):
                    text[begin + j] = buf[start + j]
                slots[slot] = found = known
                ends[known + 1] = begin + size
                known += 1
        after[code] = found
        places[CODE, i] = code = found
    return places.shape[1], known


@part
def topic_hash(buf: U8, start: int, size: int) -> int:
    """Mixes four bytes at a time; the multiplier is that of splitmix64's first round, cut to 31 bits (ours)."""
    mixed = size
    for at in range(0, size, 4):
        left = min(size - at, 4)
        part = word(buf, start + at) & ((1 << (8 * left)) - 1)
        mixed = ((mixed ^ part) * 0x3F58476D) & 0x7FFFFFFF
        mixed ^= mixed >> 15
    return mixed


@part
def same_bytes(buf: U8, start: int, size: int, text: U8, begin: int, end: int) -> bool:
    """Whether a topic is a known one."""
    if end - begin != size:
        return False
    for i in range(0, size, 8):
        differ, left = word(buf, start + i) ^ word(text, begin + i), size - i
        if (differ if left >= 8 else differ & ((1 << (8 * left)) - 1)) != 0:
            return False
    return True
