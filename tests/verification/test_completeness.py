from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.intervals import HOUR_MS, QUARTER_MS, Span, local_month
from metering.quality import Quality
from storage.ledger import IntervalRow
from tests.verification import slow_summary
from tests.verification.slow_summary import cells
from verification.completeness import total_of
from verification.intervals import Odd, Summary, days_of, summarize

HOUR = Span(0, 4 * QUARTER_MS)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def row(
    number: int,
    *,
    read: bool = True,
    closed: bool = True,
    end_ms: int | None = None,
    energy: int = 1,
    quality: int = 0,
) -> IntervalRow:
    start = number * QUARTER_MS
    end = start + QUARTER_MS if end_ms is None else end_ms
    return IntervalRow(
        "m", "energy_import_total", start, end, 0, 1, 0, energy, None, None, 0, read, quality, closed
    )


def summary(rows: list[IntervalRow], span: Span = HOUR, limit_w: int | None = None) -> Summary:
    return summarize(
        map(cells, rows), span, days_of(span, ZoneInfo("UTC")), None if limit_w is None else Fraction(limit_w)
    )


def test_every_point_read_is_complete() -> None:
    found = summary([row(i) for i in range(4)])
    assert (found.points_read, found.points_expected, found.completeness) == (4, 4, 1.0)
    assert found.longest_gap is None


def test_an_interpolated_point_never_counts() -> None:
    assert summary([row(0), row(1, read=False), row(2), row(3)]).points_read == 3


def test_a_running_interval_does_not_count() -> None:
    assert summary([row(0), row(1, closed=False)]).points_read == 1


def test_a_cut_within_an_interval_is_no_point_of_the_grid() -> None:
    assert summary([row(0, end_ms=QUARTER_MS // 2)]).points_read == 0


def test_the_ratio_is_rounded_down_so_that_one_means_all() -> None:
    month = Span(0, 30_000 * QUARTER_MS)
    assert summary([row(i) for i in range(29_999)], month).completeness == 0.9999


@pytest.mark.parametrize("numbers", [[0, 2, 3], [0, 1, 2], [], [1, 2, 3]])
def test_intervals_with_a_hole_do_not_cover_a_span(numbers: list[int]) -> None:
    assert summary([row(i) for i in range(4)]).whole
    assert not summary([row(i) for i in numbers]).whole
    assert not summary([row(0), row(1), row(2), row(3, closed=False)]).whole


def test_a_sum_with_an_unknown_part_is_unknown_and_an_empty_one_is_zero() -> None:
    assert total_of([1, None]) is None
    assert total_of([]) == 0


def test_the_peak_is_the_largest_quarter_hour_whose_shape_is_known() -> None:
    half = QUARTER_MS + QUARTER_MS // 2
    parts = [
        row(1, end_ms=half, energy=30),
        IntervalRow("m", "x", half, 2 * QUARTER_MS, 1, 1, 0, 40, None, None, 0, True, 0, True),
    ]
    found = summary(
        [row(0, energy=60), *parts, row(2, energy=900, quality=Quality.ESTIMATED), row(3, energy=69)]
    )
    assert found.peak == Odd(QUARTER_MS, 2 * QUARTER_MS, 70)


def test_a_rise_above_the_limit_and_a_fall_are_kept_as_evidence() -> None:
    found = summary([row(0, energy=25), row(1, energy=26), row(2, energy=-1), row(3)], limit_w=100)
    assert found.leaping.first == (Odd(QUARTER_MS, 2 * QUARTER_MS, 26),)
    assert found.falling.first == (Odd(2 * QUARTER_MS, 3 * QUARTER_MS, -1),)
    assert 26 * HOUR_MS > 100 * QUARTER_MS == 25 * HOUR_MS


def test_a_local_month_is_cut_into_its_local_days() -> None:
    month = local_month("2026-10", SHANGHAI)
    days = days_of(month, SHANGHAI)
    assert len(days) == 31
    assert (days[0].start_ms, days[-1].end_ms) == month


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(-5, 50)),
        min_size=192,
        max_size=192,
    )
)
def test_one_pass_finds_what_a_slow_reader_finds(given: list[tuple[bool, bool, bool, int]]) -> None:
    span = Span(10 * QUARTER_MS, 202 * QUARTER_MS)
    rows = [
        row(10 + i, read=read, closed=closed, energy=energy)
        for i, (there, read, closed, energy) in enumerate(given) if there
    ]  # fmt: skip
    found = summary(rows, span)
    read = {r.end_ms for r in rows if r.edge_read and r.closed}
    points = [span.start_ms + QUARTER_MS * (i + 1) for i in range(192)]
    assert found.points_read == len(read)
    assert found.energy == sum(r.energy for r in rows)
    assert found.falling.count == sum(r.energy < 0 for r in rows)
    assert found.whole == all(there and closed for there, _read, closed, _energy in given)
    unread = "".join("1" if point in read else "0" for point in points).split("1")
    longest = (
        0
        if found.longest_gap is None
        else (found.longest_gap.end_ms - found.longest_gap.start_ms) // QUARTER_MS
    )
    assert longest == max(map(len, unread))
    for day in found.days:
        mine = [r for r in rows if day.span.start_ms <= r.start_ms < day.span.end_ms]
        assert day.energy == sum(r.energy for r in mine)
        assert day.whole == (
            sum(r.end_ms - r.start_ms for r in mine if r.closed) == day.span.end_ms - day.span.start_ms
        )


QUALITIES = st.sampled_from([int(quality) for quality in Quality])
PIECE = st.tuples(
    st.booleans(), st.booleans(), st.booleans(), st.integers(-5, 50), QUALITIES, st.integers(0, 2)
)


@given(st.lists(PIECE, max_size=40), st.sampled_from([None, Fraction(100), Fraction(1001, 10)]))
def test_columns_find_what_one_interval_after_the_other_finds(
    pieces: list[tuple[bool, bool, bool, int, int, int]], limit_w: Fraction | None
) -> None:
    """Intervals with holes, some in two parts, some running, some in more than one revision."""
    span, given, newest = Span(5 * QUARTER_MS, 205 * QUARTER_MS), [], []
    opening = 1 << 40
    for number, (there, read, closed, energy, quality, shape) in enumerate(pieces):
        start = (5 + number * 5) * QUARTER_MS
        cuts = [start, start + QUARTER_MS // 3, start + QUARTER_MS] if shape else [start, start + QUARTER_MS]
        for part, (low, high) in enumerate(pairwise(cuts)):
            mine = [
                IntervalRow(
                    "m", "x", low, high, part, revision, opening, opening + energy * revision, None, None, 0, read, quality,
                    closed,
                )
                for revision in range(1, 1 + max(shape, 1))
            ]  # fmt: skip
            given += mine if there else []
            newest += mine[-1:] if there else []
            opening = mine[-1].closing
    days = days_of(span, ZoneInfo("Asia/Shanghai"))
    assert summarize(map(cells, given), span, days, limit_w) == slow_summary.summarize(
        newest, span, days, limit_w
    )
