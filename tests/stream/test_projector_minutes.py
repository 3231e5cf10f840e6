"""Minutes: they add up to the ledger's quarters to the base unit, and lie where the readings put them."""

from collections import Counter, defaultdict
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.intervals import MINUTE_MS, QUARTER_MS, to_ms
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.journal import BirthIndex, Entry
from storage.ledger import IntervalRow
from storage.segment import Record
from stream.context import Context
from stream.policy import Policy
from stream.projection.minutes import Read, minutes
from tests.fakes.influx import AnyWriter, InfluxDB
from tests.stream.projector_plant import IMPORT, MONTH_MS, ZONE, Plant, row
from tests.stream.runs import run_through

KEY = ("gate", IMPORT)


def interval(opening: int, closing: int, **changes: object) -> IntervalRow:
    return row(KEY, MONTH_MS, closing - opening, opening=opening, closing=closing, **changes)


some_reads = st.lists(
    st.tuples(st.integers(-3 * MINUTE_MS, QUARTER_MS + 3 * MINUTE_MS), st.integers(0, 1200)), max_size=30
)


@settings(max_examples=60)
@given(some_reads, st.integers(0, 500), st.integers(0, 600), st.integers(1, QUARTER_MS))
def test_minutes_add_up_whatever_the_readings_say(
    found: list[Read], opening: int, energy: int, length: int
) -> None:
    reads = sorted((MONTH_MS + t, position) for t, position in found)
    part = interval(opening, opening + energy, emission_ug=energy * 530_601 + 7)
    cut = list(minutes(part, MONTH_MS + length, reads))
    assert sum(minute.energy for minute in cut) == energy
    assert sum(minute.emission_ug or 0 for minute in cut) == (energy * 530_601 + 7 if energy else 0)
    assert [minute.start_ms for minute in cut] == list(range(MONTH_MS, MONTH_MS + length, MINUTE_MS))
    assert all(minute.energy >= 0 and 0 <= minute.estimated <= minute.energy for minute in cut)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, QUARTER_MS - 1), st.integers(0, 50)), max_size=40, unique_by=lambda r: r[0]
    )
)
def test_minutes_equal_the_slow_twin(steps: list[tuple[int, int]]) -> None:
    position, reads = 100, list[Read]()
    for t, rise in sorted(steps):
        position += rise
        reads.append((MONTH_MS + t, position))
    part = interval(100, position + 3)
    knots = [(MONTH_MS, 100), *reads, (MONTH_MS + QUARTER_MS, position + 3)]

    def at(edge: int) -> int:
        (t0, p0), (t1, p1) = next(pair for pair in pairwise(knots) if edge <= pair[1][0])
        return p0 + floor(Fraction(p1 - p0) * (edge - t0) / (t1 - t0))

    edges = range(MONTH_MS, MONTH_MS + QUARTER_MS + 1, MINUTE_MS)
    slow = [at(b) - at(a) if a > MONTH_MS else at(b) - 100 for a, b in pairwise(edges)]
    assert [minute.energy for minute in minutes(part, MONTH_MS + QUARTER_MS, reads)] == slow


def test_a_dip_and_a_spike_move_nothing() -> None:
    reads = [(MONTH_MS + i * MINUTE_MS, 100 + 10 * i) for i in range(16)]
    odd = sorted([*reads, (MONTH_MS + 90_000, 10), (MONTH_MS + 210_000, 249)])
    steady = list(minutes(interval(100, 250), MONTH_MS + QUARTER_MS, reads))
    assert [minute.energy for minute in steady] == [10] * 15
    assert [minute.estimated for minute in steady] == [0] * 15
    with_odd = list(minutes(interval(100, 250), MONTH_MS + QUARTER_MS, odd))
    assert sum(minute.energy for minute in with_odd) == 150
    assert [minute.energy for minute in with_odd[5:]] == [10] * 10, "a spike blurs its own surroundings only"


def test_a_quarter_without_readings_has_minutes_that_say_they_are_estimated() -> None:
    cut = list(minutes(interval(100, 250), MONTH_MS + QUARTER_MS, []))
    assert [(minute.energy, minute.estimated) for minute in cut] == [(10, 10)] * 15


def test_no_factor_no_emission_of_a_minute() -> None:
    cut = minutes(interval(0, 15, emission_ug=None), MONTH_MS + QUARTER_MS, [])
    assert {minute.emission_ug for minute in cut} == {None}


ALIAS = {"gate": 7, "line": 8}


def birth(meter: str) -> Entry:
    """A total in Wh."""
    metric = Metric(
        name=IMPORT,
        alias=ALIAS[meter],
        timestamp=1,
        datatype=DataType.FLOAT,
        is_null=True,
        properties={"engUnit": "Wh"},
    )
    payload = encode(Payload((metric,), 1))
    return Entry(Record(f"spBv1.0/p/DBIRTH/g1/{meter}", payload, 1), BirthIndex("g1", meter, 1))


def run_stream(plant: Plant) -> None:
    policy = Policy(FactorTable.load(), enterprise_policy(), ZONE, datetime(2026, 11, 20, tzinfo=ZONE).date())
    run_through(plant.files.journal, plant.files.ledger, Context(plant.park, policy))


def sums_by_quarter(writer: AnyWriter, meter: str) -> dict[int, tuple[float, float]]:
    found: dict[int, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    query = f"SELECT energy, emission_g FROM interval WHERE size = '1m' AND meter = '{meter}'"  # noqa: S608
    for line in writer.query("live", query):
        quarter = line["time"] - line["time"] % QUARTER_MS
        energy, emission = found[quarter]
        found[quarter] = energy + line["energy"], emission + line["emission_g"]
    return found


def test_the_projectors_minutes_add_up_to_its_quarters(
    plant: Plant, influxd: InfluxDB, writer: AnyWriter
) -> None:
    plant.now_ms = to_ms(datetime.now(ZONE)) // QUARTER_MS * QUARTER_MS - 8 * MINUTE_MS  # within a quarter
    begin = plant.now_ms - plant.now_ms % QUARTER_MS - 4 * QUARTER_MS + 7_000
    plant.store([birth("gate"), birth("line")])
    frames = []
    for i, t in enumerate(range(begin, plant.now_ms, 20_000)):
        frames.append(plant.frame("gate", t, (ALIAS["gate"], 1_000_000.0 + 37 * i * i)))
        if not 60 < i < 120:  # twenty minutes without a read
            frames.append(plant.frame("line", t, (ALIAS["line"], 5_000.0 + 11 * i)))
    plant.store(frames)
    run_stream(plant)
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()
    for meter in ("gate", "line"):
        quarters = {
            line["time"]: (line["energy"], line["emission_g"])
            for line in writer.query("history", f"SELECT * FROM interval WHERE meter = '{meter}'")  # noqa: S608
        }
        running = plant.now_ms - plant.now_ms % QUARTER_MS
        found = sums_by_quarter(writer, meter)
        over = quarters.keys() - {running}
        assert len(over) == 4
        assert {quarter: found[quarter][0] for quarter in over} == {q: quarters[q][0] for q in over}
        assert all(found[quarter][1] == pytest.approx(quarters[quarter][1], abs=1e-6) for quarter in over)
    guessed = writer.query(
        "live", "SELECT estimated FROM interval WHERE size = '1m' AND estimated > 0 GROUP BY meter"
    )
    count = Counter(line["meter"] for line in guessed)
    assert count["gate"] == 1, "the first, before its first read"
    assert 20 <= count["line"] <= 23


def test_a_restated_quarter_restates_its_minutes(plant: Plant, influxd: InfluxDB, writer: AnyWriter) -> None:
    plant.now_ms = to_ms(datetime.now(ZONE)) // QUARTER_MS * QUARTER_MS - 8 * MINUTE_MS  # within a quarter
    start = plant.now_ms - plant.now_ms % QUARTER_MS - 2 * QUARTER_MS
    for revision, energy in ((1, 150), (2, 90)):
        plant.commit([row(KEY, start, energy, revision=revision)])
        with plant.projector(writer, influxd.target) as projector:
            projector.catch_up()
        found = writer.query("live", "SELECT energy, estimated FROM interval WHERE size = '1m'")
        assert [(line["energy"], line["estimated"]) for line in found] == [(energy // 15, energy // 15)] * 15
