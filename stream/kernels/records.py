"""Records as the journal stores them, back to back in one buffer: where each part lies, and which topics are the same.

The buffer has `storage.segment` records and `PADDING` bytes more, so that eight bytes may be read from anywhere in them.
"""

import numpy as np
from numpy.typing import NDArray

from stream.kernels import kernel, part
from stream.kernels.decode import word

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

RECEIVED, TOPIC, PAYLOAD, END, CODE = range(5)
"""Rows of the table of places, one column per record: UTC ms, first byte of topic and payload, end, number of the topic."""
PLACES = 5
HEAD_BYTES = 14
"""`storage.segment.HEAD_BYTES`: time int64, length of topic uint16, length of payload uint32."""


@kernel
def split(buf: U8, ends: I64, counts: I64, places: I64) -> int:
    """Body i ends at ends[i] and has counts[i] records; the records in all, or -1 - i when body i does not add up."""
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
            places[RECEIVED, n], places[TOPIC, n] = word(buf, at), start
            places[PAYLOAD, n], places[END, n] = payload, stop
            n += 1
            at = stop
        counts[i] = n - before
    return n


@kernel
def number_topics(buf: U8, places: I64, slots: I64, firsts: I64) -> int:
    """Equal topics get equal numbers, in the order in which they first come: firsts[code] is the first record that has it.

    `slots` is a hash table with room to spare: a power of two, at least twice the records, all -1. The number of topics.
    """
    known = 0
    for i in range(places.shape[1]):
        start, end = places[TOPIC, i], places[PAYLOAD, i]
        slot = topic_hash(buf, start, end) & (slots.size - 1)
        while slots[slot] >= 0 and not same_bytes(buf, start, end, places, firsts[slots[slot]]):
            slot = (slot + 1) & (slots.size - 1)
        if slots[slot] < 0:
            slots[slot], firsts[known] = known, i
            known += 1
        places[CODE, i] = slots[slot]
    return known


@part
def topic_hash(buf: U8, start: int, end: int) -> int:
    """Mixes eight bytes at a time; the multiplier is that of splitmix64's first round, cut to 31 bits (ours)."""
    mixed = end - start
    for at in range(start, end, 4):
        left = min(end - at, 4)
        part = word(buf, at) & ((1 << (8 * left)) - 1)
        mixed = ((mixed ^ part) * 0x3F58476D) & 0x7FFFFFFF
        mixed ^= mixed >> 15
    return mixed


@part
def same_bytes(buf: U8, start: int, end: int, places: I64, other: int) -> bool:
    """Whether a topic is that of another record."""
    at = places[TOPIC, other]
    if places[PAYLOAD, other] - at != end - start:
        return False
    for i in range(0, end - start, 8):
        differ, left = word(buf, start + i) ^ word(buf, at + i), end - start - i
        if (differ if left >= 8 else differ & ((1 << (8 * left)) - 1)) != 0:
            return False
    return True
