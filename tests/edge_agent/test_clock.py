"""Real time: polls on multiples of the period, whatever the wall clock does."""

import asyncio

from edge_agent.clock import SystemClock

PERIOD = 900_000
EDGE = 1_793_462_400_000  # a multiple of the period


class Wall:
    """A wall clock moved by hand: sleeping moves it on, and `steps` are jumps on the way, by wake-up number."""

    def __init__(self, now_ms: int, steps: dict[int, int] | None = None) -> None:
        self.now_ms = now_ms
        self.steps = steps or {}
        self.wakes = 0

    def read(self) -> int:
        return self.now_ms

    async def sleep(self, seconds: float) -> None:
        self.wakes += 1
        self.now_ms += max(round(seconds * 1000), 1) + self.steps.get(self.wakes, 0)


def polls(wall: Wall, count: int, poll_ms: int = 0, period_ms: int = PERIOD) -> list[int]:
    clock = SystemClock(wall.read, wall.sleep)

    async def run() -> list[int]:
        found = []
        for _ in range(count):
            found.append(await clock.next_poll(period_ms))
            assert clock.now_ms() >= found[-1]
            wall.now_ms += poll_ms
        return found

    return asyncio.run(run())


def test_polls_fall_on_multiples_however_long_a_poll_takes() -> None:
    assert polls(Wall(EDGE + 1), 3, poll_ms=7_123) == [EDGE + PERIOD * n for n in (1, 2, 3)]


def test_a_start_exactly_on_a_multiple_waits_for_the_next() -> None:
    assert polls(Wall(EDGE), 1) == [EDGE + PERIOD]


def test_multiples_missed_by_a_long_poll_are_skipped() -> None:
    assert polls(Wall(EDGE - 1), 2, poll_ms=2 * PERIOD + 5) == [EDGE, EDGE + 3 * PERIOD]


def test_no_multiple_comes_twice_after_a_small_step_back() -> None:
    assert polls(Wall(EDGE - 10), 3, poll_ms=-50) == [EDGE, EDGE + PERIOD, EDGE + 2 * PERIOD]


def test_a_large_step_back_while_waiting_starts_over_from_the_new_time() -> None:
    found = polls(Wall(EDGE - 5_000, {2: -86_400_000}), 2)
    assert found == [EDGE - 86_400_000, EDGE - 86_400_000 + PERIOD]


def test_a_large_step_forward_while_waiting_skips_to_the_next_multiple() -> None:
    assert polls(Wall(EDGE - 5_000, {2: 86_400_000}), 1) == [EDGE + 86_400_000]


def test_the_wall_clock_is_read_again_at_least_every_second() -> None:
    wall = Wall(EDGE - 30_000)
    polls(wall, 1)
    assert wall.wakes >= 30


def test_real_time_is_not_stepped() -> None:
    clock = SystemClock()
    assert not clock.stepped
    asyncio.run(clock.polled(EDGE))
