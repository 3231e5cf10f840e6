from metering.intervals import QUARTER_MS, Span
from storage.ledger import IntervalRow
from verification.completeness import completeness, tiles, total_of

MONTH = Span(0, 4 * QUARTER_MS)


def row(number: int, *, read: bool = True, closed: bool = True, end_ms: int | None = None) -> IntervalRow:
    start = number * QUARTER_MS
    end = start + QUARTER_MS if end_ms is None else end_ms
    return IntervalRow("m", "energy_import_total", start, end, 0, 1, 0, 1, None, None, 0, read, 0, closed)


def test_every_point_read_is_complete() -> None:
    found = completeness([row(i) for i in range(4)], MONTH)
    assert (found.points_read, found.points_expected, found.ratio) == (4, 4, 1.0)


def test_an_interpolated_point_never_counts() -> None:
    assert completeness([row(0), row(1, read=False), row(2), row(3)], MONTH).points_read == 3


def test_a_running_interval_does_not_count() -> None:
    assert completeness([row(0), row(1, closed=False)], MONTH).points_read == 1


def test_a_cut_within_an_interval_is_no_point_of_the_grid() -> None:
    assert completeness([row(0, end_ms=QUARTER_MS // 2)], MONTH).points_read == 0


def test_the_ratio_is_rounded_down_so_that_one_means_all() -> None:
    month = Span(0, 30_000 * QUARTER_MS)
    assert completeness([row(i) for i in range(29_999)], month).ratio == 0.9999


def test_intervals_with_a_hole_do_not_cover_a_span() -> None:
    assert tiles([row(i) for i in range(4)], MONTH)
    assert not tiles([row(0), row(2), row(3)], MONTH)
    assert not tiles([row(i) for i in range(3)], MONTH)
    assert not tiles([], MONTH)
    assert not tiles([row(0), row(1), row(2), row(3, closed=False)], MONTH)


def test_a_sum_with_an_unknown_part_is_unknown_and_an_empty_one_is_zero() -> None:
    assert total_of([1, None]) is None
    assert total_of([]) == 0
