"""Counts become registers as fractions would have it, whatever leaves 64 bits on the way."""

from fractions import Fraction
from math import floor
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.entries import scaled
from stream.kernels import columns as c
from stream.kernels import entries as e
from tests.stream.strategies import uncompiled

LIMIT = 1 << 62
NUMBERS = st.one_of(
    st.integers(1, 1000), st.integers(1, LIMIT - 1), st.sampled_from([1, LIMIT - 1, 1 << 31, 1 << 61])
)


class Ratio(NamedTuple):
    """A segment of a metric: from when on, num / den, and what a register stays below."""

    since: int
    num: int
    den: int
    limit: int


METRICS = st.lists(
    st.lists(st.builds(Ratio, st.integers(0, 100), NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=3).map(
        lambda ratios: [ratio._replace(since=20 * i) for i, ratio in enumerate(ratios)]
    ),
    min_size=1,
    max_size=3,
)
COUNTS = st.one_of(st.integers(-100, 10**6), st.integers(-(1 << 63), (1 << 63) - 1))
FLOATS = st.one_of(st.floats(-1e6, 1e6), st.floats(allow_nan=False, allow_infinity=False))
READINGS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 100), COUNTS, FLOATS, st.booleans()), max_size=20
)


def twin(metrics: list[list[Ratio]], metric: int, t: int, count: int) -> tuple[int, int, int] | None:
    """(term, t, register) by fractions."""
    ratios = metrics[metric]
    segment = max((i for i, ratio in enumerate(ratios) if i == 0 or ratio.since < t))
    ratio = ratios[segment]
    register = floor(Fraction(count * ratio.num, ratio.den))
    if abs(register) >= ratio.limit:
        return None
    return sum(map(len, metrics[:metric])) + segment, t, register


@settings(max_examples=300, deadline=None)
@given(metrics=METRICS, told=READINGS, per_raw=st.floats(0.001, 1000), compiled=st.booleans())
def test_registers_are_what_fractions_make_of_counts(
    metrics: list[list[Ratio]],
    told: list[tuple[int, int, int, float, bool]],
    per_raw: float,
    *,
    compiled: bool,
) -> None:
    told = [(m % len(metrics), *rest) for m, *rest in told]  # type: ignore[misc]
    terms = np.zeros((sum(map(len, metrics)), c.TERM_COLUMNS), np.int64)
    rows = [(i, ratio) for ratios in metrics for i, ratio in enumerate(ratios)]
    for at, (segment, ratio) in enumerate(rows):
        terms[at, [c.T_SEGMENT, c.T_SINCE, c.T_NUM, c.T_DEN, c.T_LIMIT]] = segment, *ratio
    begins = np.cumsum([0, *map(len, metrics)])[:-1]
    # Two bindings per metric: of integers, and of floats.
    first, width = np.repeat(begins, 2), np.array([64, 0] * len(metrics))
    which = np.array([2 * m + is_float for m, *_, is_float in told], np.int64)
    t, raw, real = (
        np.array([reading[i] for reading in told], kind) for i, kind in ((1, "i8"), (2, "i8"), (3, "f8"))
    )
    out = np.empty((len(told), e.ENTRY_COLUMNS), np.int64)
    scales = np.full(first.size, per_raw)
    if compiled:
        k = e.enter(which, t, raw, real, first, width, scales, terms, out)
    else:
        with uncompiled():
            k = e.enter(which, t, raw, real, first, width, scales, terms, out)
    made = scaled(out[:k], terms)
    wanted = []
    for metric, at, count, shown, is_float in told:
        if is_float and not abs(shown * per_raw) < LIMIT:
            continue
        wanted.append(twin(metrics, metric, at, round(shown * per_raw) if is_float else count))
    assert list(zip(made.term.tolist(), made.t.tolist(), made.register.tolist(), strict=True)) == [
        entry for entry in wanted if entry is not None
    ]
    assert set(made.kind.tolist()) <= {c.READING}
