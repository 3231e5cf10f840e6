"""The pack's judge against the slow twin of the step: the same points and events over the same histories."""

from bisect import bisect_right
from fractions import Fraction
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.reading_types import READING_TYPES
from storage.segment import Record
from tests.naive import Judge as Slow
from tests.naive import Naive, Shown
from tests.stream.strategies import births, naive, park, streams
from tests.stream.test_step import changes
from verification.evidence.judge import Begins, Dated, Entry, Judge, Swap, Unit, position_at


def dated(slow: Slow, some: Shown) -> Dated:
    declared = slow.declared
    per_watt = {"Wh": Fraction(1), "varh": Fraction(1), "kJ": Fraction(18, 5)}
    power = per_watt.get(READING_TYPES[some.total.reading_type].unit, Fraction(0)) * (
        some.total.meter.max_power_w or 0
    )
    swaps = tuple(Swap(*swap) for swap in declared.swaps)
    return Dated(tuple((s.since_ms, s.ratio) for s in declared.segments), swaps, ceil(power))


def entries(shown: list[Shown]) -> list[Entry]:
    return [
        Entry(s.t, s.register, Unit(s.total.base_per_count, s.total.modulus))
        for s in sorted(shown, key=lambda s: (s.t, s.register))
    ]


def fed(parts: list[list[Record]], changed: dict[str, dict[str, object]]) -> Naive:
    slow = naive(park("Asia/Shanghai", **changed))
    slow.feed([*births(), *(record for part in parts for record in part)])
    return slow


@settings(max_examples=60, deadline=None)
@given(streams(size=14), changes())
def test_points_and_events_equal_the_naive_twin(
    parts: list[list[Record]], changed: dict[str, dict[str, object]]
) -> None:
    slow = fed(parts, changed)
    for key, judged in slow.judged().items():
        shown = list(slow.shown[key].values())
        judge = Judge(dated(judged, shown[0]))
        judge.take(entries(shown))
        assert [(p.t, p.position, (p.read_before, p.read_after), p.doubt) for p in judge.points] == [
            tuple(good) for good in judged.good
        ]
        assert [(e.kind, e.t, e.register, e.adjustment, e.until) for e in judge.events] == [
            (e.kind, e.t, e.register, e.adjustment, e.until or e.t) for e in judged.events
        ]
        assert (judge.conflicts, judge.offset) == (judged.conflicts, judged.offset)
        assert bool(judge.candidates) == bool(judged.candidates)


@settings(max_examples=60, deadline=None)
@given(streams(size=14), changes(), st.integers(0, 20))
def test_begun_at_any_good_reading_it_goes_on_as_from_the_first(
    parts: list[list[Record]], changed: dict[str, dict[str, object]], at: int
) -> None:
    """What a pack does: it knows one total before the month, its position and offset, and the readings after it."""
    slow = fed(parts, changed)
    for key, judged in slow.judged().items():
        readings = entries(list(slow.shown[key].values()))
        facts = dated(judged, next(iter(slow.shown[key].values())))
        whole = Judge(facts)
        whole.take(readings)
        good = [point for point in whole.points if point.in_frame]
        first = good[at % len(good)]
        register = min(entry.register for entry in readings if entry.t == first.t)
        offset = sum(
            e.adjustment
            for e in whole.events
            if e.t < first.t or (e.t == first.t and e.kind in {"rollover", "reset", "step_back"})
        )
        part = Judge(facts, Begins(first.t, register, first.position, offset))
        part.take(entry for entry in readings if (entry.t, entry.register) > (first.t, register))
        place = whole.points.index(first)
        assert part.points[1:] == whole.points[place + 1 :]
        later = [event for event in whole.events if event.t > first.t]
        assert [event for event in part.events if event.t > first.t] == later
        assert (part.offset, part.candidates) == (whole.offset, whole.candidates)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), min_size=1, max_size=6), st.integers(-5, 60)
)
def test_between_two_points_it_stood_on_the_straight_line(steps: list[tuple[int, int]], t: int) -> None:
    times = sorted({after for after, _rise in steps})
    judge = Judge(Dated(((-1, Fraction(1)),)))
    judge.take(Entry(after, 10 * after, Unit(Fraction(1))) for after in times)
    inside = times[0] <= t <= times[-1] and bisect_right(times, t) > 0
    assert position_at(judge.points, t) == (10 * t if inside else None)
