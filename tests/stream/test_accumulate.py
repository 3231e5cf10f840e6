"""Totals into intervals, by hand-worked examples with round numbers. Properties stand in test_step.py."""

import numpy as np
import pytest

from metering.intervals import QUARTER_MS
from stream.kernels import accumulate as a
from stream.kernels import columns as c
from stream.kernels.vee import classify

EDGE = 2_000 * QUARTER_MS


def run(
    *totals: tuple[int, int], max_power: int = 0, grain: int = 1, modulus: int = 0, state: a.I64 | None = None
) -> tuple[list[list[int]], list[list[int]], a.I64]:
    """Rows and events of one channel, from (ms after a grid edge, register)."""
    if state is None:
        state = np.zeros((1, c.STATE_COLUMNS), np.int64)
        state[0, c.SWAPPED_T] = -1
    t = np.array([EDGE + after for after, _ in totals], np.int64)
    register = np.array([p for _, p in totals], np.int64)
    term = np.zeros(len(totals), np.int64)
    terms = np.array([[0, 0, -1, 1, 1, 1, 1, max_power, grain, modulus, 1 << 62, 0, 0]], np.int64)
    rows = np.full(
        (a.count_rows(term, t, *state[:, [c.LAST_T, c.SEEN]].T.copy()), c.ROW_COLUMNS), -7, np.int64
    )
    events = np.full((c.EVENTS_PER_ENTRY * len(totals), c.EVENT_COLUMNS), -7, np.int64)
    kind = np.zeros(len(totals), np.int8)
    used, noted = a.accumulate(term, kind, t, register, terms, state, rows, events)
    return rows[:used].tolist(), events[:noted].tolist(), state


def test_reads_at_both_edges_make_one_whole_interval() -> None:
    rows, events, _ = run((0, 1000), (QUARTER_MS, 1600))
    assert rows == [[0, EDGE, EDGE + QUARTER_MS, 1000, 1600, QUARTER_MS, 1, 0]]
    assert not events


def test_an_edge_between_two_reads_gets_its_share_rounded_down() -> None:
    third = QUARTER_MS // 3
    rows, _, _ = run((QUARTER_MS - third, 0), (QUARTER_MS + 2 * third, 100))
    assert rows == [[0, EDGE, EDGE + QUARTER_MS, 0, 33, third, 0, 0]]


def test_a_gap_has_exact_energy_estimated_shape_and_no_coverage() -> None:
    rows, _, _ = run((0, 0), (4 * QUARTER_MS, 10))
    assert [(row[c.OPENING], row[c.CLOSING]) for row in rows] == [(0, 2), (2, 5), (5, 7), (7, 10)]
    assert {(row[c.COVERED], row[c.WORST]) for row in rows} == {(0, a.ESTIMATED)}
    assert [row[c.EDGE_READ] for row in rows] == [0, 0, 0, 1]


@pytest.mark.parametrize(("elapsed", "quality"), [(a.MAX_GAP_MS, 0), (a.MAX_GAP_MS + 1, a.ESTIMATED)])
def test_reads_sixteen_minutes_apart_still_measure_and_no_further(elapsed: int, quality: int) -> None:
    rows, _, _ = run((0, 0), (elapsed, 100))
    assert rows[0][c.WORST] == quality


@pytest.mark.parametrize(("distance", "read"), [(1, 1), (60_000, 1), (60_001, 0)])
def test_an_edge_counts_as_read_within_a_minute(distance: int, read: int) -> None:
    before, _, _ = run((QUARTER_MS - distance, 0), (QUARTER_MS + 300_000, 9))
    after, _, _ = run((QUARTER_MS - 300_000, 0), (QUARTER_MS + distance, 9))
    assert before[0][c.EDGE_READ] == after[0][c.EDGE_READ] == read


def test_a_month_without_reads_of_a_gigawatt_keeps_every_watt_hour() -> None:
    quarters = 31 * 96
    energy_wh = 744 * 10**9 + 1
    rows, _, _ = run((0, 5), (quarters * QUARTER_MS, 5 + energy_wh))
    assert len(rows) == quarters
    assert sum(row[c.CLOSING] - row[c.OPENING] for row in rows) == energy_wh
    exact = [5 + energy_wh * i // quarters for i in range(1, quarters + 1)]
    assert [row[c.CLOSING] for row in rows] == exact


def test_counters_near_2_to_the_62_are_cut_exactly() -> None:
    low, high = 3, (1 << 62) - 1
    rows, _, _ = run((1, low), (3 * QUARTER_MS + 1, high))
    elapsed = 3 * QUARTER_MS
    assert [row[c.CLOSING] for row in rows] == [
        low + (high - low) * (i * QUARTER_MS - 1) // elapsed for i in (1, 2, 3)
    ]


def test_a_fall_stands_still_until_the_total_is_back() -> None:
    rows, events, state = run((0, 1000), (QUARTER_MS, 10), (2 * QUARTER_MS, 20), max_power=1600)
    assert not rows
    assert [event[c.E_KIND] for event in events] == [c.PENDING_FALL]
    assert events[0][c.E_POSITION : c.E_DELTA] == [10, EDGE, 1000]
    assert state[0, c.PENDING] == 1
    rows, events, state = run((3 * QUARTER_MS, 1300), max_power=1600, state=state)
    assert [row[c.CLOSING] for row in rows] == [1100, 1200, 1300]
    assert [event[c.E_KIND] for event in events] == [c.TRANSIENT]
    assert state[0, c.PENDING] == 0


def test_a_total_read_before_the_rejected_one_does_not_settle_it() -> None:
    first = [(0, 1000), (QUARTER_MS, 10)]
    for again in ((QUARTER_MS - 1, 1001), (QUARTER_MS, 10), (QUARTER_MS, 1001)):
        rows, events, state = run(*first, again)
        assert not rows
        assert state[0, c.PENDING] == 1
        changed = again != (QUARTER_MS, 10)
        told = [event[c.E_KIND] for event in events][1:]
        assert told == ([c.LATE if again[0] < QUARTER_MS else c.CONFLICT] if changed else [])


def test_a_rise_is_plausible_up_to_a_tenth_above_rated_power_and_one_count() -> None:
    quarter_of_a_kilowatt = 250 * 11 // 10
    for rise, kinds in ((quarter_of_a_kilowatt + 10, []), (quarter_of_a_kilowatt + 11, [c.PENDING_RISE])):
        _, events, _ = run((0, 0), (QUARTER_MS, rise), max_power=1000, grain=10)
        assert [event[c.E_KIND] for event in events] == kinds


def test_a_late_reading_is_given_back_and_a_conflict_noted() -> None:
    rows, events, state = run(
        (0, 100),
        (QUARTER_MS, 200),
        (QUARTER_MS - 1, 250),
        (QUARTER_MS, 201),
        (QUARTER_MS, 200),
        (QUARTER_MS, 199),
    )
    assert len(rows) == 1
    assert [event[c.E_KIND] for event in events] == [c.LATE, c.CONFLICT, c.LATE]
    assert state[0, c.LAST_POS] == 200


def test_a_late_reading_that_changes_nothing_is_absorbed() -> None:
    steps = [(0, 100), (60_000, 110), (120_000, 120), (180_000, 130)]
    again = (90_000, 115), (90_000, 115), (60_000, 110), (170_000, 130)
    _, events, state = run(*steps, *again)
    assert not events
    assert (state[0, c.LAST_T], state[0, c.LAST_POS]) == (EDGE + 180_000, 130)


@pytest.mark.parametrize("late", [(90_000, 121), (90_000, 109), (60_000, 111), (-30_000, 99)])
def test_a_late_reading_that_may_change_something_is_given_back(late: tuple[int, int]) -> None:
    _, events, _ = run((0, 100), (60_000, 110), (120_000, 120), late)
    assert [event[c.E_KIND] for event in events] == [c.LATE]


def test_a_late_reading_next_to_a_grid_edge_is_given_back() -> None:
    _, events, _ = run((QUARTER_MS - 1000, 100), (QUARTER_MS + 1000, 120), (QUARTER_MS - 10, 101))
    assert [event[c.E_KIND] for event in events] == [c.LATE]


@pytest.mark.parametrize(
    ("last", "found", "elapsed", "modulus", "power", "expected"),
    [
        (999_990, 5, QUARTER_MS, 1_000_000, 1000, (c.ROLLOVER, 1_000_000)),
        (999_990, 5, QUARTER_MS, 1_000_000, 0, (c.ROLLOVER, 1_000_000)),
        (500_000, 5, QUARTER_MS, 1_000_000, 1000, (c.RESET, 500_000)),
        (999_990, 5, QUARTER_MS, 0, 1000, (c.RESET, 999_990)),
        (999_990, 5, QUARTER_MS, 0, 0, (c.RESET, 999_990)),
        (500_000, 499_000, QUARTER_MS, 1_000_000, 1000, (c.STEP_BACK, 1000)),
        (500_000, 499_000, QUARTER_MS, 1_000_000, 0, (c.UNEXPLAINED, 0)),
        (500_000, 250_000, QUARTER_MS, 1_000_000, 1000, (c.UNEXPLAINED, 0)),
        (500_000, 900_000, QUARTER_MS, 1_000_000, 1000, (c.UNEXPLAINED, 0)),
        (2_000_000, 5, QUARTER_MS, 1_000_000, 1000, (c.RESET, 2_000_000)),
        (5, -3, QUARTER_MS, 1_000_000, 1000, (c.UNEXPLAINED, 0)),
        (32_760, -32_766, QUARTER_MS, 65_536, 1000, (c.ROLLOVER, 65_536)),
        (32_760, -32_766, QUARTER_MS, 65_536, 0, (c.ROLLOVER, 65_536)),
    ],
)
def test_a_fall_that_stays_is_named(
    last: int, found: int, elapsed: int, modulus: int, power: int, expected: tuple[int, int]
) -> None:
    assert classify(last, found, elapsed, modulus, power, 1) == expected


def test_emissions_are_differences_of_floored_products() -> None:
    opening, closing = np.array([0, 1, 2, 7], np.int64), np.array([1, 2, 3, 9], np.int64)
    num, den = np.array([1, 1, 1, -1], np.int64), np.array([2, 2, 2, 1], np.int64)
    out = np.empty(4, np.int64)
    a.emissions(opening, closing, num, den, out)
    assert out.tolist() == [0, 1, 0, -1]


def test_an_emission_that_no_integer_of_the_ledger_holds_is_no_number() -> None:
    """2^62 ug are 4.6 million tonnes in a quarter of an hour."""
    limit = (1 << 62) // 536_600
    opening, closing = np.array([9, 9], np.int64), np.array([9 + limit, 8 + limit], np.int64)
    out = np.empty(2, np.int64)
    a.emissions(opening, closing, np.full(2, 536_600), np.ones(2, np.int64), out)
    assert out.tolist() == [-1, (limit - 1) * 536_600]


def test_emissions_stay_exact_where_the_cumulative_product_leaves_64_bits() -> None:
    opening = (1 << 62) - 10**9
    closing = opening + 10**9 - 1
    start, end, num, den = (np.array([value], np.int64) for value in (opening, closing, 536_600, 1))
    out = np.empty(1, np.int64)
    a.emissions(start, end, num, den, out)
    assert out[0] == (10**9 - 1) * 536_600
