"""The fast lane takes nothing that `judge` and `accept` would take otherwise: with it and without, the same rows, events and state."""

from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.intervals import QUARTER_MS
from stream.kernels import accumulate as a
from stream.kernels import columns as c
from tests.stream.strategies import uncompiled
from tests.stream.test_accumulate import run

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 15_000, 60_000, 60_000, QUARTER_MS - 60_000, QUARTER_MS, 5 * QUARTER_MS, -60_000]),
        st.sampled_from([0, 1, 7, 7, 7, 200, 100_000, -1, -2, -5000]),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([0, 500, 1_000_000]), st.sampled_from([1, 80]))
def test_the_lane_changes_nothing(steps: list[tuple[int, int]], power: int, grain: int) -> None:
    totals, t, register = [], 0, 10_000
    for after, rise in steps:
        t, register = max(t + after, 0), register + rise
        totals.append((t, register))
    fast = run(*totals, max_power=power, grain=grain)
    with uncompiled(), patch.object(a, "ordinary", lambda i, *_: i):
        slow = run(*totals, max_power=power, grain=grain)
    assert fast[:2] == slow[:2]
    assert (fast[2] == slow[2]).all()


def test_most_totals_take_the_lane() -> None:
    """Else the test above would compare nothing: sixty minutes, of which only the four that pass an edge do not."""
    taken: list[int] = []
    with uncompiled():
        lane: Any = vars(a)["ordinary"]

        def counted(i: int, *others: Any) -> int:
            to = lane(i, *others)
            taken.append(to - i)
            return int(to)

        with patch.object(a, "ordinary", counted):
            _, _, state = run(*((minute * 60_000, 100 * minute) for minute in range(61)))
    assert sum(taken) == 60 - 4
    assert state[0, c.LAST_POS] == 6000
