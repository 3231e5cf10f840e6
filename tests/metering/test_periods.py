"""The notation of time-of-use periods: every quarter of every day belongs to one period, and all mistakes are told at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.periods import CODES, QUARTERS, DayKind, Period, PeriodsError, clock, parse_periods

HEFEI = """
7-9: peak 16:00-24:00; flat 00:00-02:00, 09:00-11:00, 13:00-16:00; valley 02:00-09:00, 11:00-13:00
7-9 holiday: peak 16:00-24:00; flat 00:00-02:00, 09:00-11:00, 15:00-16:00; valley 02:00-09:00; deep 11:00-15:00
10-6: peak 06:00-08:00, 16:00-22:00; flat 08:00-11:00, 14:00-16:00, 22:00-23:00; valley 11:00-14:00, 23:00-06:00
"""


def _at(text: str, month: int, time: str, *kinds: DayKind) -> Period | None:
    hour, minute = map(int, time.split(":"))
    day = parse_periods(text).day(month, kinds or (DayKind.WORKDAY,))
    return CODES[day[hour * 4 + minute // 15]]


def _mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(PeriodsError) as caught:
        parse_periods(text)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("month", "time", "kind", "period"),
    [
        (8, "15:45", DayKind.WORKDAY, Period.FLAT),
        (8, "16:00", DayKind.WORKDAY, Period.PEAK),
        (8, "23:45", DayKind.WEEKEND, Period.PEAK),
        (8, "00:00", DayKind.WORKDAY, Period.FLAT),
        (8, "11:00", DayKind.WORKDAY, Period.VALLEY),
        (8, "11:00", DayKind.HOLIDAY, Period.DEEP),
        (12, "23:00", DayKind.HOLIDAY, Period.VALLEY),
        (1, "05:45", DayKind.WORKDAY, Period.VALLEY),
        (6, "06:00", DayKind.WORKDAY, Period.PEAK),
    ],
)
def test_a_quarter_belongs_to_the_period_that_the_line_of_its_month_and_day_names(
    month: int, time: str, kind: DayKind, period: Period
) -> None:
    assert _at(HEFEI, month, time, kind) is period


def test_a_hot_day_is_what_it_would_be_anyway_where_no_line_is_for_hot_days() -> None:
    assert _at(HEFEI, 8, "11:00", DayKind.HOT, DayKind.HOLIDAY) is Period.DEEP
    hot = "1-12: flat 00:00-24:00 | 1-12 hot: sharp 11:00-12:00; flat 12:00-11:00"
    assert _at(hot, 5, "11:00", DayKind.HOT, DayKind.WORKDAY) is Period.SHARP
    assert _at(hot, 5, "11:00", DayKind.WORKDAY) is Period.FLAT


def test_chinese_words_and_full_width_signs_mean_the_same() -> None:
    zh = "1-12 工作日，周末：峰 08:00-11:00、17:00-23:00；平 11:00-17:00，23:00-24:00；谷 00:00-08:00\n1-12 节假日：深谷 00:00-24:00"
    en = (
        "1-12 workday, weekend: peak 08:00-11:00, 17:00-23:00; flat 11:00-17:00, 23:00-24:00; valley 00:00-08:00\n"
        "1-12 holiday: deep 00:00-24:00"
    )
    assert parse_periods(zh).lines == parse_periods(en).lines


def test_a_boundary_off_the_quarter_hour_is_refused_with_the_reason() -> None:
    (mistake,) = _mistakes("1-12: peak 08:10-11:00; flat 11:00-08:10").__getitem__(slice(0, 1))
    assert "08:10 is not on a quarter hour" in mistake
    assert "15 minutes" in mistake


def test_all_mistakes_are_told_at_once() -> None:
    found = _mistakes(
        "13: flat 00:00-24:00\n"
        "1-6 sunday: flat 00:00-24:00\n"
        "1-6: peak 08:00-12:00; flat 11:00-24:00; noon 1:00-2:00\n"
        "7-12: peak 08:00-25:00; valley 8-9\n"
        "no colon here"
    )
    for part in (
        "'13'",
        "'sunday'",
        "11:00-12:00 belongs to two",
        "'noon'",
        "'08:00-25:00'",
        "'8-9'",
        "'no colon here'",
    ):
        assert any(part in mistake for mistake in found), (part, found)


def test_hours_and_months_without_a_period_are_named() -> None:
    assert _mistakes("1-12: peak 08:00-12:00; valley 23:00-08:00") == (
        "1-12: 12:00-23:00 belongs to no period",
    )
    assert _mistakes("1-11: flat 00:00-24:00") == ("month 12: no line for workday, weekend, holiday",)
    assert (
        _mistakes("1-12 workday: flat 00:00-24:00 | 1-12 weekend: flat 00:00-24:00")[0]
        == "month 1: no line for holiday"
    )
    assert _mistakes("1-12: flat 00:00-24:00 | 3: peak 00:00-24:00") == (
        "month 3: two lines for the same days",
    )
    twice = "1-12: flat 00:00-24:00 | 3 hot: peak 00:00-24:00 | 3 hot: peak 00:00-24:00"
    assert _mistakes(twice) == ("month 3: two lines for hot",)


@given(
    st.lists(st.integers(1, QUARTERS - 1), unique=True, max_size=12).map(sorted),
    st.integers(0, QUARTERS - 1),
    st.data(),
)
def test_any_cut_of_the_day_reads_back_quarter_by_quarter(
    cuts: list[int], turn: int, data: st.DataObject
) -> None:
    """Slow twin: a dictionary of quarters, filled one by one. `turn` moves the cuts across midnight."""
    edges = [0, *cuts, QUARTERS]
    words = [data.draw(st.sampled_from(list(Period))) for _ in edges[1:]]
    expected: dict[int, Period] = {}
    parts = []
    for start, end, word in zip(edges, edges[1:], words, strict=False):
        for quarter in range(start, end):
            expected[(quarter + turn) % QUARTERS] = word
        last = (end + turn) % QUARTERS or QUARTERS
        parts.append(f"{word} {clock((start + turn) % QUARTERS)}-{clock(last)}")
    day = parse_periods("1-12: " + "; ".join(parts)).day(1, [DayKind.WORKDAY])
    assert [CODES[code] for code in day] == [expected[quarter] for quarter in range(QUARTERS)]
