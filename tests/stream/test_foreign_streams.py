"""Streams that were made up from the requirement alone: the ledger equals the naive twin's, and no way of delivery changes it.

More of them: `python -m tests.stream.test_foreign_streams FIRST LAST`.
"""

import sys
from itertools import pairwise

import pytest

from tests.stream.foreign import delivered, stream
from tests.stream.strategies import context, follow, naive
from tests.stream.test_step import assert_twins, told


def examine(seed: int) -> int:
    """Compare; how many rows."""
    made = stream(seed)
    world = context(made.park)
    whole = follow([*made.births, *made.data], world)
    slow = naive(made.park)
    slow.feed([*made.births, *made.data])
    assert_twins(whole, slow)
    for key, judge in slow.judged().items():
        rows = [row for row in whole.rows if (row.meter, row.reading_type) == key]
        assert sum(row.energy for row in rows) == judge.good[-1].position - judge.good[0].position
        assert all(before.closing == after.opening for before, after in pairwise(rows))
    noisy = delivered(seed, made.data)
    cuts = [seed % 7 + 3, seed % 31 + 10, seed % 97]
    again = follow([*made.births, *noisy], world, cuts, restore=seed % 2 == 0)
    assert again.values == whole.values
    assert again.progress == whole.progress
    assert told(again) == told(whole)
    return len(whole.values)


@pytest.mark.parametrize("seed", range(60))
def test_a_stream_of_foreign_making_equals_the_naive_twin_however_it_is_delivered(seed: int) -> None:
    examine(seed)


def main() -> None:
    """Seeds from the first to before the last; the ones that fail."""
    first, last = map(int, sys.argv[1:])
    rows = 0
    for seed in range(first, last):
        try:
            rows += examine(seed)
        except Exception as error:  # noqa: BLE001  it goes on with the next one
            sys.stdout.write(f"seed {seed} {type(error).__name__} {str(error)[:500]}\n")
    sys.stdout.write(f"{last - first} streams {rows} rows\n")


if __name__ == "__main__":
    from tanyun.environment import use_kernel_cache

    use_kernel_cache()
    main()
