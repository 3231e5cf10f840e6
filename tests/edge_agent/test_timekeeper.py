"""What time it is at a gateway that nobody told: sources, their ranks, and stamps that never go back or ahead."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import KeptClock
from edge_agent.system_time import boot_id, boot_ms, is_synchronised
from edge_agent.timekeeper import FIRST_SANE_MS, LONGEST_ROUND_TRIP_MS, Timekeeper
from metering.frames import TimeSource

UTC = 1_793_462_400_000
HOUR = 3_600_000


class Machine:
    """A boot clock and a wall clock, both moved by hand."""

    def __init__(self, wall_ms: int = 5_000) -> None:
        self.boot, self.wall, self.synchronised = 5_000, wall_ms, False

    def pass_ms(self, ms: int) -> None:
        self.boot += ms
        self.wall += ms

    def keeper(self, seen_ms: int = 0, guess_after_ms: int = 0) -> Timekeeper:
        return Timekeeper(lambda: self.boot, lambda: self.wall, seen_ms, guess_after_ms)

    def clock(self, **more: int) -> KeptClock:
        async def sleep(seconds: float) -> None:
            self.pass_ms(max(1, round(seconds * 1000)))

        return KeptClock(self.keeper(**more), lambda: self.boot, lambda: self.synchronised, sleep)


def utc_of(keeper: Timekeeper, machine: Machine) -> int | None:
    offset = keeper.offset()
    return None if offset is None else machine.boot + offset.ms


def test_nobody_knows_the_time_until_somebody_says_it() -> None:
    machine = Machine()
    keeper = machine.keeper()
    assert (keeper.offset(), keeper.source, keeper.error_ms) == (None, "", None)
    assert not keeper.heard_system(synchronised=False)
    assert keeper.utc_ms() == FIRST_SANE_MS


def test_the_servers_time_is_taken_in_the_middle_of_a_bounded_round_trip() -> None:
    machine = Machine()
    keeper = machine.keeper()
    asked = machine.boot
    machine.pass_ms(400)
    assert keeper.heard_server(UTC, asked)
    assert utc_of(keeper, machine) == UTC + 200
    assert keeper.source == "server"
    assert keeper.error_ms == 201
    machine.pass_ms(HOUR)
    assert utc_of(keeper, machine) == UTC + 200 + HOUR


@pytest.mark.parametrize("trip", [LONGEST_ROUND_TRIP_MS + 1, -1])
def test_an_answer_that_took_too_long_says_nothing(trip: int) -> None:
    machine = Machine()
    keeper = machine.keeper()
    assert not keeper.heard_server(UTC, machine.boot - trip)
    assert keeper.offset() is None


def test_a_server_that_was_never_set_says_nothing() -> None:
    machine = Machine()
    keeper = machine.keeper()
    assert not keeper.heard_server(1_000, machine.boot)


def test_a_meters_clock_counts_only_where_nobody_better_speaks() -> None:
    machine = Machine()
    keeper = machine.keeper()
    assert keeper.heard_meter(UTC - 30_000)
    assert keeper.source == "meter"
    assert keeper.heard_server(UTC, machine.boot)
    assert not keeper.heard_meter(UTC - 30_000)
    assert utc_of(keeper, machine) == UTC


def test_the_server_overrules_an_ntp_client_that_disagrees() -> None:
    machine = Machine(wall_ms=UTC + 60_000)
    keeper = machine.keeper()
    assert keeper.heard_system(synchronised=True)
    assert keeper.heard_server(UTC, machine.boot)
    assert not keeper.heard_system(synchronised=True)
    assert keeper.source == "server"


def test_a_step_of_the_wall_clock_moves_no_stamp() -> None:
    machine = Machine(wall_ms=UTC)
    clock = machine.clock()
    machine.synchronised = True
    assert clock.now_ms() == UTC
    machine.synchronised = False
    for step in (-HOUR, 24 * HOUR, -60):
        machine.wall += step
        machine.pass_ms(20_000)
        assert clock.offset() is not None
    assert clock.now_ms() == UTC + 60_000
    assert clock.read_ms() == 5_000 + 60_000


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 600_000), st.integers(-60_000, 100_000), st.integers(0, 4_000)), max_size=12
    )
)
def test_stamps_never_go_back_while_the_server_corrects_them_by_less_than_a_minute(
    words: list[tuple[int, int, int]],
) -> None:
    machine = Machine()
    keeper = machine.keeper()
    keeper.heard_server(UTC, machine.boot)
    newest = keeper.utc_ms()
    for passed, off, trip in words:
        machine.pass_ms(passed)
        known = keeper.utc_ms()
        assert known >= newest
        keeper.heard_server(known + off - trip // 2, machine.boot - trip)
        assert keeper.utc_ms() >= known or off < -60_000 + LONGEST_ROUND_TRIP_MS
        newest = keeper.utc_ms()


def test_what_is_never_trusted_is_guessed_after_the_stated_time_and_never_before_what_was_known() -> None:
    machine = Machine(wall_ms=1_000)
    keeper = machine.keeper(seen_ms=UTC, guess_after_ms=HOUR)
    machine.pass_ms(HOUR - 1)
    assert keeper.offset() is None
    machine.pass_ms(1)
    offset = keeper.offset()
    assert offset is not None
    assert (offset.source, offset.guess) == (TimeSource.UNTRUSTED, True)
    assert utc_of(keeper, machine) == UTC + HOUR
    assert keeper.utc_ms() == UTC + HOUR
    keeper.heard_server(UTC + 9 * HOUR, machine.boot)
    assert utc_of(keeper, machine) == UTC + 9 * HOUR


def test_polls_are_aligned_to_the_time_since_boot_and_then_to_utc() -> None:
    machine = Machine()
    clock = machine.clock()

    async def run() -> tuple[int, int, int]:
        first = await clock.next_poll(900_000)
        machine.pass_ms(100)
        clock.keeper.heard_server(UTC + 5, machine.boot)
        offset = clock.offset()
        assert offset is not None
        second = await clock.next_poll(900_000)
        return first, second, machine.boot + offset.ms

    assert asyncio.run(run()) == (900_000, UTC + 900_000, UTC + 900_000)


def test_this_machine_has_a_boot_and_a_clock_that_runs() -> None:
    assert boot_id() == boot_id() != ""
    assert 0 < boot_ms() <= boot_ms()
    assert is_synchronised() in {True, False}
