"""Entries in the order in which they count: channel by channel, each by time, of equal times the smaller first."""

import numpy as np
from numpy.typing import NDArray

from stream.kernels import kernel

I64 = NDArray[np.int64]
PATIENCE = 8
"""Places that an entry may move on average before sorting by insertion is given up (ours)."""


@kernel
def in_order(channel: I64, t: I64, register: I64, first: I64, used: I64, order: I64) -> bool:
    """Into `order`, the entries by (channel, t, register), equal ones as they came; False, and no order, if too disordered.

    `first` and `used` have a zero for every channel and one more. Meters send in time order, but for a few frames:
    counting by channel and inserting within each is linear for them.
    """
    for at in channel:
        first[at + 1] += 1
    for at in range(first.size - 1):
        first[at + 1] += first[at]
    moves = PATIENCE * channel.size
    for i in range(channel.size):
        at = channel[i]
        to = first[at] + used[at]
        used[at] += 1
        while to > first[at] and moves >= 0:
            before = order[to - 1]
            if t[before] < t[i] or (t[before] == t[i] and register[before] <= register[i]):
                break
            order[to] = before
            to -= 1
            moves -= 1
        order[to] = i
    return moves >= 0
