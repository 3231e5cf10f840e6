"""Intervals in columns are those that a slow loop draws from point to point; a month that needs no judgement is judged alike."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.intervals import QUARTER_MS, Span
from metering.quality import Quality
from verification.evidence.judge import Begins, Dated, Entry, Judge, Point, Unit, position_at
from verification.evidence.total import Reading, Total
from verification.evidence.track import EDGE_TOLERANCE_MS, MAX_GAP_MS, Row, Track

FIRST = 1_793_458_800_000
ONE = Unit(Fraction(1))


def drawn(points: Sequence[Point], conflicts: Sequence[int], span: Span) -> Iterator[Row]:
    marks = {t - t % QUARTER_MS for t in conflicts}
    start, opening = points[0].t - points[0].t % QUARTER_MS, points[0].position
    coverage = quality = 0
    for (t0, p0, *_), (t, p, before, after, doubt, _) in pairwise(points):
        measured = after - before <= MAX_GAP_MS
        worst = doubt if measured else max(doubt, Quality.ESTIMATED.value)
        while (edge := start + QUARTER_MS) <= t:
            at_edge = p0 + (p - p0) * (edge - t0) // (t - t0)
            if span.start_ms <= start < span.end_ms:
                covered = coverage + (edge - max(t0, start)) * measured
                near = min(edge - before, after - edge) <= EDGE_TOLERANCE_MS
                found = max(quality, worst, Quality.QUESTIONABLE.value if start in marks else 0)
                yield Row(start, opening, at_edge, covered, near, found, closed=True)
            start, opening, coverage, quality = edge, at_edge, 0, 0
        if t > start:
            coverage += (t - max(t0, start)) * measured
            quality = max(quality, worst)
    last = points[-1]
    if last.t > start and span.start_ms <= start < span.end_ms:
        found = max(quality, Quality.QUESTIONABLE.value if start in marks else 0)
        yield Row(start, opening, last.position, coverage, edge_read=False, quality=found, closed=False)


GAPS = st.one_of(
    st.sampled_from([QUARTER_MS, QUARTER_MS // 3, 60_000, 59_999, QUARTER_MS + 60_000, QUARTER_MS + 60_001]),
    st.integers(1, 3 * QUARTER_MS),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Point]:
    """A point between two reads is one that a declaration tells: both lie around it."""
    t, position = FIRST + draw(st.integers(0, QUARTER_MS)), draw(st.sampled_from([0, 7, 1 << 61]))
    points = [Point(t, position, t, t, 0, in_frame=True)]
    for _ in range(draw(st.integers(0, 12))):
        before, told = t, draw(st.booleans())
        after = t + draw(GAPS) + 1
        doubt = draw(st.sampled_from([0, 0, 3]))
        for at in (draw(st.integers(t + 1, after - 1)), after) if told and after - t > 1 else (after,):
            position += draw(st.sampled_from([0, 1, 1_000, 10**9]))
            points.append(Point(at, position, before, after, doubt, in_frame=at == after))
        t = after
    return points


SPANS = st.tuples(st.integers(-2, 8), st.integers(1, 30)).map(
    lambda at: Span(FIRST + at[0] * QUARTER_MS, FIRST + (at[0] + at[1]) * QUARTER_MS)
)


@settings(max_examples=300, deadline=None)
@given(histories(), SPANS, st.lists(st.integers(0, 12), max_size=2))
def test_the_rows_are_those_of_the_loop(points: list[Point], span: Span, marks: list[int]) -> None:
    conflicts = [points[mark % len(points)].t for mark in marks]
    track = Track.through(points)
    assert list(track.rows(span, conflicts)) == list(drawn(points, conflicts, span))
    assert [track.at(edge) for edge in span] == [position_at(points, edge) for edge in span]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(GAPS, st.sampled_from([0, 0, 1, 40, 9_000, 10**6, -1])), max_size=12),
    st.booleans(),
    st.sampled_from([0, 40_000, 1 << 50]),
    SPANS,
)
def test_a_total_says_what_its_judge_says(
    steps: list[tuple[int, int]], begun: bool, per_hour: int, span: Span
) -> None:
    dated = Dated(((-1, Fraction(1)),), per_hour=per_hour)
    begins = Begins(FIRST - 1, 100, 160, 50) if begun else None
    total, judge = Total(span, dated, begins), Judge(dated, begins)
    t, register, entries = FIRST, 115, []
    for gap, rise in steps:
        t, register = t + gap, register + rise
        total.feed(Reading(t, register, register, register, 1, register), ONE)
        entries.append(Entry(t, register, ONE))
    judge.take(entries)
    rows = list(drawn(judge.points, judge.conflicts, span)) if judge.points else []
    assert list(total.rows()) == rows
    assert total.told.events == tuple(judge.events)
    assert (total.told.opening, total.told.closing) == tuple(position_at(judge.points, edge) for edge in span)
    heard = [point.t for point in judge.points] + [entry.t for entry in judge.candidates]
    for edge, before, after in zip(span, total.told.nearest[::2], total.told.nearest[1::2], strict=True):
        assert before == max((t for t in heard if t <= edge), default=None)
        assert after == min((t for t in heard if t >= edge), default=None)
