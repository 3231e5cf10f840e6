"""Frames read many at once say what each of them says by itself; columns of values are read as single ones are."""

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metering.frames import PROPERTY_MODULUS, PROPERTY_RESOLUTION, PROPERTY_SCALE, PROPERTY_UNIT
from metering.intervals import Span
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from storage.segment import Record, pack
from tests.verification.test_lean import metrics
from verification.evidence import lean
from verification.evidence.births import Declared, Key, MeterFacts, Power, declarations
from verification.evidence.judge import Dated, Unit
from verification.evidence.replay import Reader, Replay, Where
from verification.evidence.stack import Found, Stack
from verification.evidence.total import Reading

NOON = 1_790_000_000_000
END = 1 << 62
METER = "m"
TOTAL, POWER, INTEGRATED = "energy_import_total", "power_active", "energy_integrated_total"

Readings = Counter[tuple[int, int, str]]
"""Alias, time and value of metrics that have all of them."""


def one_by_one(frames: Iterable[bytes], wanted: frozenset[int]) -> Readings:
    found: Readings = Counter()
    for frame in frames:
        said = lean.read(frame, wanted)
        assert said is not None
        for alias, timestamp, value in said[1]:
            time = said[0] if timestamp is None else timestamp
            if time is not None and value is not None:
                found[alias, time, repr(value)] += 1
    return found


def at_once(found: Iterable[Found]) -> Readings:
    return Counter(
        (alias, time, repr(value))
        for alias, times, values in found
        for time, value in zip(times.tolist(), values.tolist(), strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(metrics(), max_size=4), min_size=1, max_size=3),
    st.frozensets(st.integers(0, 300)),
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 2**62), st.integers(0, 255), st.binary(max_size=9), st.integers(0, 150)
        ),
        min_size=12, max_size=60,
    ),
)  # fmt: skip
def test_frames_read_at_once_say_what_each_says_by_itself(
    forms: list[list[Metric]],
    wanted: frozenset[int],
    variations: list[tuple[int, int, int, bytes, int]],
) -> None:
    """Frames of one meter in a few forms: other times, sequence numbers, and some bytes overwritten anywhere."""
    mine = wanted | {m.alias for form in forms for m in form[:1] if m.alias is not None}
    frames = []
    for form, t_ms, seq, other, place in variations:
        data = bytearray(encode(Payload(tuple(forms[form % len(forms)]), t_ms, seq)))
        if place + len(other) <= len(data):
            data[place : place + len(other)] = other
        frames.append(bytes(data))
    found, left = Stack(mine).read(frames)
    read = [frame for place, frame in enumerate(frames) if place not in left]
    assert len(left) == len(set(left))
    assert at_once(found) == one_by_one(read, mine)


def usual(t_ms: int, count: int) -> bytes:
    energy = Metric(alias=7, timestamp=t_ms, datatype=DataType.UINT32, value=count)
    return encode(
        Payload((energy, Metric(alias=8, datatype=DataType.FLOAT, value=count / 3)), t_ms, count % 256)
    )


def test_frames_of_a_usual_month_are_all_read_at_once() -> None:
    # Varints of 1, 2 and 3 bytes, sequence numbers of 1 and 2.
    counts = {NOON + i * 1000: i * 7 for i in range(3000)}
    frames = [usual(*item) for item in counts.items()]
    found, left = Stack({7}).read(frames)
    assert left == []
    assert at_once(found) == Counter({(7, t_ms, repr(count)): 1 for t_ms, count in counts.items()})


def test_a_frame_that_is_no_frame_is_left_and_the_others_are_read() -> None:
    frames = [usual(NOON + i, 1000) for i in range(20)]
    frames[0] = frames[11] = bytes([0xFF]) * len(frames[5])
    found, left = Stack({7}).read(frames)
    assert sorted(left) == [0, 11]
    assert at_once(found).total() == 18


@pytest.mark.parametrize("bit", [0x80, 0x01])
def test_a_bit_changed_anywhere_is_never_read_as_what_it_is_not(bit: int) -> None:
    """A varint that goes on where it ended, or ends where it went on, makes another frame, or none."""
    good = [usual(NOON + i * 1000, 20_000 + i * 2) for i in range(20)]
    length = len(good[0])
    changed = []
    for place in range(length):
        data = bytearray(good[1])
        data[place] ^= bit
        changed.append(bytes(data))
    frames = [*good, *changed]
    assert {len(frame) for frame in frames} == {length}
    found, left = Stack({7, 8}).read(frames)
    assert set(left).isdisjoint(range(20))
    read = [frame for place, frame in enumerate(frames) if place not in left]
    assert at_once(found) == one_by_one(read, frozenset({7, 8}))


DATATYPES = (
    DataType.INT8,
    DataType.INT32,
    DataType.UINT32,
    DataType.INT64,
    DataType.UINT64,
    DataType.FLOAT,
    DataType.DOUBLE,
)
WIRE = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 2**33), st.integers(0, 300))
WIRE_FLOATS = st.one_of(st.floats(), st.floats(-1e6, 1e6), st.sampled_from([0.5, 1.5, -2.5, 1e308, math.inf]))
CHANGES = ((-1, Fraction(1)), (NOON, Fraction(80)), (NOON + 1000, Fraction(1, 3)))
TIMES = st.one_of(
    st.sampled_from([0, NOON - 1, NOON, NOON + 1, NOON + 1000, NOON + 1001]), st.integers(0, 2**62)
)


@st.composite
def declared(draw: st.DrawFn) -> Declared | Power:
    """What a birth declares of a total, or of a power that a total is integrated from."""
    power = draw(st.booleans())
    kind = INTEGRATED if power else TOTAL
    dated = Dated(CHANGES[: draw(st.integers(1, 3))], gap_ms=960_000 if power else 0)
    facts = MeterFacts("g", "e", "", 0, Fraction(1), Fraction(1), None, {kind: ""}, {kind: dated})
    properties: dict[str, Property] = {
        PROPERTY_UNIT: draw(st.sampled_from(["W", "kW", "MW"] if power else ["Wh", "kWh", "MWh"])),
        PROPERTY_SCALE: draw(st.sampled_from([-3, 0, 2, 12])),
        PROPERTY_RESOLUTION: draw(st.sampled_from([-3, -1, 0])),
        PROPERTY_MODULUS: "",
    }
    datatype = draw(st.sampled_from(DATATYPES))
    metric = Metric(name=POWER if power else TOTAL, alias=1, datatype=datatype, properties=properties)
    found = [said for _alias, said in declarations(METER, facts, [metric])]
    assume(found)  # what a count is worth may be too much to be told
    return found[0]


def single(said: Declared | Power, value: float, time: int) -> int | None:
    reading = said.read(value, time)
    return None if reading is None else reading.register


@settings(max_examples=300, deadline=None)
@given(
    declared(),
    st.one_of(
        st.tuples(st.just("i8"), st.lists(st.tuples(WIRE, TIMES), min_size=1, max_size=20)),
        st.tuples(st.just("f8"), st.lists(st.tuples(WIRE_FLOATS, TIMES), min_size=1, max_size=20)),
    ),
)
def test_a_column_is_read_as_its_values_are(
    said: Declared | Power, told: tuple[str, list[tuple[float, int]]]
) -> None:
    kind, values = told
    column, times = np.array([value for value, _t in values], kind), np.array([t for _value, t in values])
    registers, counting = said.column(column, times)
    found = [
        register if counts else None
        for register, counts in zip(registers.tolist(), counting.tolist(), strict=True)
    ]
    assert found == [single(said, value, time) for value, time in values]


def test_a_float_too_large_to_round_is_no_reading() -> None:
    facts = MeterFacts(
        "g", "e", "", 0, Fraction(1), Fraction(1), None, {TOTAL: ""}, {TOTAL: Dated(CHANGES[:1])}
    )
    properties: dict[str, Property] = {PROPERTY_UNIT: "kWh", PROPERTY_RESOLUTION: -3}
    metric = Metric(name=TOTAL, alias=1, datatype=DataType.DOUBLE, properties=properties)
    ((_alias, said),) = declarations(METER, facts, [metric])
    assert said.read(1.7e308, NOON) is None


def birth(alias: int, datatype: DataType) -> bytes:
    properties = {
        PROPERTY_UNIT: "kWh",
        PROPERTY_SCALE: -2 if datatype is DataType.UINT32 else 0,
        PROPERTY_RESOLUTION: -1,
    }
    metric = Metric(name=TOTAL, alias=alias, datatype=datatype, properties=properties)
    return pack(Record(f"spBv1.0/p/DBIRTH/g/{METER}", encode(Payload((metric,))), 0))


def data(alias: int, datatype: DataType, t_ms: int, value: float) -> bytes:
    metric = Metric(alias=alias, timestamp=t_ms, datatype=datatype, value=value)
    return pack(Record(f"spBv1.0/p/DDATA/g/{METER}", encode(Payload((metric,), t_ms)), t_ms))


@st.composite
def journals(draw: st.DrawFn) -> list[bytes]:
    """Births of other aliases and types, and runs of frames between; some before any birth, some of an alias nobody declared."""
    found, t_ms, count = [], NOON, 0
    for _ in range(draw(st.integers(1, 4))):
        alias = draw(st.sampled_from([1, 2, 200]))
        datatype = draw(st.sampled_from([DataType.UINT32, DataType.FLOAT]))
        if draw(st.booleans()):
            found.append(birth(alias, datatype))
        for _ in range(draw(st.sampled_from([1, 9, 40]))):
            t_ms, count = t_ms + draw(st.sampled_from([-900_000, 0, 900_000])), count + 5
            found.append(data(alias, datatype, t_ms, count if datatype is DataType.UINT32 else count / 7))
    return found


@settings(max_examples=60, deadline=None)
@given(journals(), st.sets(st.integers(0, 160)))
def test_a_replay_by_piles_is_one_frame_by_frame(records: list[bytes], cited: set[int]) -> None:
    facts = MeterFacts(
        "g", "e", "", 0, Fraction(1), Fraction(1), None, {TOTAL: ""}, {TOTAL: Dated(CHANGES[:1])}
    )
    key = METER, TOTAL
    slow: list[tuple[Where, Reading, Unit]] = []

    def take(_key: Key, where: Where, reading: Reading, unit: Unit) -> None:
        slow.append((where, reading, unit))

    reader = Reader({METER: facts}, take)
    replay = Replay(Span(0, END), {METER: facts}, {}, ((key, (1, index)) for index in cited))
    for index, record in enumerate(records):
        reader.feed((1, index), record)
        replay.feed((1, index), record)
    replay.end()
    assert replay.frames == reader.frames
    assert list(replay.totals[key]._entries()) == [
        (reading.t_ms, reading.register, unit)
        for _where, reading, unit in sorted(slow, key=lambda said: (said[1].t_ms, said[1].register))
    ]
    told = {where: reading for where, reading, _unit in slow}
    assert replay.cited == {(key, (1, index)): told.get((1, index)) for index in cited}


@pytest.mark.parametrize("length", [1, 511, 512, 513, 1100])
def test_a_pile_of_any_length_is_read_to_its_end(length: int) -> None:
    facts = MeterFacts(
        "g", "e", "", 0, Fraction(1), Fraction(1), None, {TOTAL: ""}, {TOTAL: Dated(CHANGES[:1])}
    )
    replay = Replay(Span(0, END), {METER: facts}, {})
    replay.feed((1, 0), birth(1, DataType.UINT32))
    for i in range(length):
        replay.feed((2, i), data(1, DataType.UINT32, NOON + i, i))
    replay.end()
    assert replay.frames == length
    entries = [(entry.t, entry.register) for entry in replay.totals[METER, TOTAL]._entries()]
    assert entries == [(NOON + i, i * 10) for i in range(length)]
