"""The balance, against a journal held in a list."""

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from math import floor
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.intervals import QUARTER_MS, Span
from metering.registry import Meter, RatioChange
from metering.roles import Role
from metering.sparkplug import DataType, Metric, Payload, Property, Value, encode
from storage.journal import Offset, StoredFrame
from storage.ledger import EventRow
from storage.shifts import NO_SHIFTS, Shifts, shifts_of
from verification.balance import MAX_STEPS, JournalMonth, balance_line, read_edge, read_month

ENERGY, VOLUME = "energy_import_total", "volume_total"
UTC = ZoneInfo("UTC")
KWH: dict[str, Property] = {"engUnit": "kWh", "scale": 0}
MONTH = Span(100 * QUARTER_MS, 200 * QUARTER_MS)


def meter(name: str = ENERGY, *, ct: str = "1", pt: str = "1") -> Meter:
    return Meter(id="m", gateway="g", roles={name: Role.GRID_BOUNDARY}, ct=Fraction(ct), pt=Fraction(pt))


# ruff: noqa: ARG002  the arguments are those of a journal reader; there is one meter here


class ListedFrames:
    """Frames and births of one meter, as a journal reader would find them."""

    def __init__(
        self,
        readings: list[tuple[int, Value]],
        *,
        name: str = ENERGY,
        datatype: DataType = DataType.UINT32,
        properties: dict[str, Property] | None = None,
    ) -> None:
        declared: dict[str, Property] = {"engUnit": "kWh", "scale": -2} if properties is None else properties
        self._birth = Payload((Metric(name=name, alias=5, datatype=datatype, properties=declared),))
        self._frames = [self._frame(i, t, value, datatype) for i, (t, value) in enumerate(readings)]

    @staticmethod
    def _frame(number: int, t_ms: int, value: Value, datatype: DataType) -> StoredFrame:
        total = Metric(alias=5, datatype=datatype, value=value, is_null=value is None)
        other = Metric(alias=6, datatype=DataType.FLOAT, value=1.5)
        payload = encode(Payload((other, total), t_ms))
        return StoredFrame(Offset(1, number), "", payload, t_ms, "g", "m", 1, number, t_ms)

    def frame_before(self, gateway: str, meter: str, t_ms: int) -> StoredFrame | None:
        return max((f for f in self._frames if f.t_ms <= t_ms), key=lambda f: f.t_ms, default=None)

    def frame_after(self, gateway: str, meter: str, t_ms: int) -> StoredFrame | None:
        return min((f for f in self._frames if f.t_ms >= t_ms), key=lambda f: f.t_ms, default=None)

    def frames(self, gateway: str, meter: str, start_ms: int, end_ms: int) -> Iterator[StoredFrame]:
        return (frame for frame in self._frames if start_ms <= frame.t_ms < end_ms)

    def births(self, gateway: str, meter: str, epoch: int) -> Iterator[StoredFrame]:
        yield StoredFrame(Offset(1, 99), "", encode(self._birth), 0, "g", "m", 1, 0, 0)


class WithoutBirths(ListedFrames):
    def births(self, gateway: str, meter: str, epoch: int) -> Iterator[StoredFrame]:
        yield from ()


class WithANewerProfile(ListedFrames):
    """The profile changed later in the epoch: its birth gives the total another alias and another scale."""

    def births(self, gateway: str, meter: str, epoch: int) -> Iterator[StoredFrame]:
        newer = Metric(
            name=ENERGY, alias=77, datatype=DataType.UINT32, properties={"engUnit": "kWh", "scale": 0}
        )
        yield StoredFrame(Offset(1, 100), "", encode(Payload((newer,))), 0, "g", "m", 1, 0, 0)
        yield from super().births(gateway, meter, epoch)


class ReadAcrossTheEdge(ListedFrames):
    """The total was read a second before the frame's last block."""

    @staticmethod
    def _frame(number: int, t_ms: int, value: Value, datatype: DataType) -> StoredFrame:
        total = Metric(alias=5, timestamp=t_ms - 1000, datatype=datatype, value=value)
        return StoredFrame(
            Offset(1, number), "", encode(Payload((total,), t_ms)), t_ms, "g", "m", 1, number, t_ms
        )


def edges(*values: Value) -> list[tuple[int, Value]]:
    """Readings exactly at both edges."""
    return list(zip(MONTH, values, strict=True))


def month_of(
    frames: ListedFrames, of: Meter | None = None, name: str = ENERGY, shifts: Shifts = NO_SHIFTS
) -> JournalMonth:
    return read_month(frames, of or meter(name), name, MONTH, UTC, shifts)


def test_frames_from_before_a_profile_change_decode_with_the_birth_that_has_their_alias() -> None:
    assert month_of(WithANewerProfile(edges(1000, 4321))).energy == 33_210


def test_a_total_counts_at_its_own_time_when_the_frame_was_read_across_the_edge() -> None:
    frames = ReadAcrossTheEdge([(MONTH[0] + 500, 100), (MONTH[0] + 2500, 300), (MONTH[1] + 1000, 700)])
    opening = month_of(frames).opening
    assert opening is not None
    assert (opening.before.t_ms, opening.after.t_ms) == (MONTH[0] - 500, MONTH[0] + 1500)
    assert opening.position == 1000 + 2000 * 500 // 2000


def test_readings_on_both_edges_give_their_difference() -> None:
    found = month_of(ListedFrames(edges(1000, 4321)))
    assert found.energy == 33_210
    assert found.opening is not None
    assert found.opening.before == found.opening.after
    assert found.opening.distance_ms == 0


def test_current_and_voltage_ratios_apply_to_energy() -> None:
    assert month_of(ListedFrames(edges(1000, 1001)), meter(ct="400/5", pt="100")).energy == 80_000


def test_ratios_leave_water_alone() -> None:
    frames = ListedFrames(edges(10, 17), name=VOLUME, properties={"engUnit": "m3", "scale": -1})
    assert month_of(frames, meter(VOLUME, ct="80"), VOLUME).energy == 700


def test_a_position_between_two_readings_is_linear_and_rounded_down() -> None:
    at = MONTH.start_ms
    frames = ListedFrames([(at - 100, 0), (at + 200, 1)], properties={"engUnit": "kWh", "scale": 0})
    edge = read_edge(frames, meter(), ENERGY, at, UTC)
    assert edge is not None
    assert edge.position == 333
    assert edge.distance_ms == 100


def test_a_frame_without_the_total_is_stepped_over() -> None:
    at = MONTH.start_ms
    frames = ListedFrames([(at - 20, 7), (at - 10, None), (at, None), (at + 10, None), (at + 20, 9)])
    edge = read_edge(frames, meter(), ENERGY, at, UTC)
    assert edge is not None
    assert (edge.before.count, edge.after.count) == (7, 9)


def test_the_search_ends_after_its_limit() -> None:
    at = MONTH.start_ms
    empty: list[tuple[int, Value]] = [(at - i, None) for i in range(1, MAX_STEPS + 1)]
    assert (
        read_edge(ListedFrames([(at - MAX_STEPS - 1, 7), *empty, (at + 1, 8)]), meter(), ENERGY, at, UTC)
        is None
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_reading(value: float) -> None:
    properties: dict[str, Property] = {"engUnit": "kWh", "scale": 0, "resolution": -2}
    frames = ListedFrames(edges(value, 1.0), datatype=DataType.DOUBLE, properties=properties)
    assert month_of(frames).energy is None


def test_a_float_total_is_counted_by_one_rounding_half_to_even() -> None:
    properties: dict[str, Property] = {"engUnit": "kWh", "scale": 0, "resolution": -1}
    found = month_of(ListedFrames(edges(0.25, 0.75), datatype=DataType.DOUBLE, properties=properties))
    assert found.opening is not None
    assert found.closing is not None
    assert (found.opening.before.count, found.closing.before.count) == (2, 8)
    assert found.energy == 600


def test_a_float_total_that_counts_tens_of_its_unit() -> None:
    properties: dict[str, Property] = {"engUnit": "Wh", "scale": 0, "resolution": 1}
    found = month_of(ListedFrames(edges(0.0, 1234.0), datatype=DataType.DOUBLE, properties=properties))
    assert found.energy == 1230


def shifted(*events: tuple[str, int, int, int, int]) -> Shifts:
    """From (kind, t, register, adjustment, position before)."""
    return shifts_of(
        EventRow(
            i, t, "m", ENERGY, kind, {"position": register, "adjustment": gain, "last_good_t_ms": 0, "last_good_position": before}
        )
        for i, (kind, t, register, gain, before) in enumerate(events)
    )  # fmt: skip


def test_a_total_that_rolled_over_counts_on() -> None:
    shifts = shifted(("rollover", MONTH.end_ms - 5, 10_000, 10_000_000, 9_999_000))
    found = month_of(ListedFrames(edges(9_990, 25), properties=KWH), shifts=shifts)
    assert found.energy == 35_000
    (line,) = balance_line(found, 35_000, UTC).adjustments
    assert (line.kind, line.wh, line.register_wh) == ("rollover", "10000000", "10000")


def test_a_roll_over_between_the_readings_around_an_edge_is_counted_once() -> None:
    at = MONTH.start_ms
    readings: list[tuple[int, Value]] = [(at - 10, 9_990), (at + 10, 10), (MONTH.end_ms, 100)]
    shifts = shifted(("rollover", at + 10, 10_000, 10_000_000, 9_990_000))
    found = month_of(ListedFrames(readings, properties=KWH), shifts=shifts)
    assert found.opening_position == 10_000_000
    assert found.energy == 100_000


def test_an_exchange_between_the_readings_around_an_edge_is_a_corner() -> None:
    at = MONTH.start_ms
    readings: list[tuple[int, Value]] = [(at - 10, 100), (at + 10, 7), (MONTH.end_ms, 9)]
    shifts = shifted(("exchange", at - 5, 5_000, 99_000, 104_000))  # closing 104 kWh, opening 5 kWh
    found = month_of(ListedFrames(readings, properties=KWH), shifts=shifts)
    assert found.opening_position == 104_000 + 2_000 * 5 // 15
    assert found.closing_position == 9_000 + 99_000


def test_a_reading_of_the_very_moment_belongs_to_the_old_meter() -> None:
    shifts = shifted(("exchange", 50, 5_000, 99_000, 104_000))
    assert (shifts.position(50, 104_000), shifts.position(51, 5_000)) == (104_000, 104_000)


def test_a_last_digit_that_went_back_holds_until_it_is_passed() -> None:
    shifts = shifted(("last_digit", 50, 999, 0, 1_000))
    assert [shifts.position(t, r) for t, r in ((49, 999), (50, 999), (60, 1_001))] == [999, 1_000, 1_001]


def test_a_reading_that_proved_transient_is_stepped_over() -> None:
    at = MONTH.start_ms
    frames = ListedFrames([(at - 20, 7), (at - 10, 0), (at + 10, 9)], properties=KWH)
    edge = read_edge(frames, meter(), ENERGY, at, UTC, shifted(("transient_dropped", at - 10, 0, 0, 7_000)))
    assert edge is not None
    assert (edge.before.count, edge.after.count) == (7, 9)


def test_of_two_values_of_one_time_the_one_that_counts_is_taken() -> None:
    at = MONTH.start_ms
    shifts = shifted(("conflicting_reading", at, 9_000, 0, 0))
    for values in ((7, 9), (9, 7)):
        frames = ListedFrames([(at, value) for value in values], properties=KWH)
        edge = read_edge(frames, meter(), ENERGY, at, UTC, shifts)
        assert edge is not None
        assert (edge.before.count, edge.after.count) == (7, 7)


def test_a_ratio_counts_from_its_moment_on() -> None:
    change = RatioChange(at=datetime.fromtimestamp(MONTH.end_ms / 1000 - 1, UTC), ct=Fraction(120))
    of = meter(ct="80").model_copy(update={"ratio_changes": (change,)})
    found = month_of(ListedFrames(edges(100, 200), properties=KWH), of)
    assert found.opening is not None
    assert found.closing is not None
    assert (found.opening.before.register, found.closing.before.register) == (8_000_000, 24_000_000)


def test_a_fall_without_a_modulus_stays_a_fall() -> None:
    assert month_of(ListedFrames(edges(5000, 10))).energy == -49_900


def test_an_edge_needs_a_reading_on_each_side() -> None:
    found = month_of(ListedFrames([(MONTH.start_ms, 1), (MONTH.end_ms - 1, 2)]))
    assert found.closing is None
    assert found.energy is None


def test_frames_that_no_birth_decodes_are_no_evidence() -> None:
    assert month_of(WithoutBirths(edges(1, 2))).energy is None


@given(
    times=st.lists(st.integers(1, 10**6), min_size=2, max_size=2, unique=True).map(sorted),
    counts=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2).map(sorted),
    ct=st.fractions(min_value=1, max_value=1000, max_denominator=50),
)
def test_a_position_equals_the_fractions_it_stands_for(
    times: list[int], counts: list[int], ct: Fraction
) -> None:
    (t0, t1), (c0, c1) = times, counts
    at = (t0 + t1) // 2
    frames = ListedFrames([(t0, c0), (t1, c1)])
    edge = read_edge(frames, meter(ct=str(ct)), ENERGY, at, UTC)
    assert edge is not None
    b0, b1 = floor(c0 * 10 * ct), floor(c1 * 10 * ct)
    # An edge that a reading lies on takes that reading on both sides.
    expected = b0 if at == t0 else b0 + floor(Fraction((b1 - b0) * (at - t0), t1 - t0))
    assert edge.position == expected
