"""The shared clock over real sockets: time goes on only when every gateway has polled."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SteppedClock, SystemClock
from edge_agent.simulator.stepclock import Barrier, StepClock

Q = 900_000
START = 1_793_462_400_000
NOW = START + 5 * Q + 123
"""Five edges after the start, and a little."""


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def far() -> int:
    return START + 10_000 * Q


@asynccontextmanager
async def served(
    gateways: str = "ab", state: Path | None = None, port: int = 0, **more: Any
) -> AsyncIterator[StepClock]:
    clock = StepClock(gateways, START, state_file=state, **{"system_now_ms": far, **more})
    async with clock.serve(port):
        yield clock
        await asyncio.gather(*(peer.close() for peer in opened))
        opened.clear()


class Peer:
    """A gateway that speaks the protocol by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self.reader, self.writer, self.name = reader, writer, name
        opened.append(self)

    @classmethod
    async def hello(cls, port: int, name: str, polled: int | None = None) -> "Peer":
        peer = cls(*await asyncio.open_connection("127.0.0.1", port), name)
        peer.say(polled)
        return peer

    def say(self, polled: int | None) -> None:
        self.writer.write(json.dumps({"gateway": self.name, "polled": polled}).encode() + b"\n")

    async def hear(self) -> Any:
        return json.loads(await self.reader.readline())

    def kill(self) -> None:
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


opened: list[Peer] = []


async def silent(*peers: Peer) -> bool:
    """True when nobody is told anything for a moment."""
    waits = [asyncio.ensure_future(peer.reader.readline()) for peer in peers]
    done, pending = await asyncio.wait(waits, timeout=0.02)
    for wait in pending:
        wait.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return not done


def test_time_goes_on_only_when_every_gateway_has_polled() -> None:
    async def test() -> None:
        async with served() as clock:
            a, b = await Peer.hello(clock.port, "a"), await Peer.hello(clock.port, "b")
            assert await a.hear() == await b.hear() == {"tick": START}
            a.say(START)
            assert await silent(a, b)
            assert clock.now_ms() == START
            b.say(START)
            assert await a.hear() == await b.hear() == {"tick": START + Q}
            assert clock.now_ms() == START + Q

    run(test)


def test_a_gateway_killed_before_its_outbox_had_the_poll_gets_the_same_tick_again() -> None:
    async def test() -> None:
        async with served() as clock:
            a, b = await Peer.hello(clock.port, "a"), await Peer.hello(clock.port, "b")
            await a.hear()
            b.say(START)
            a.kill()
            again = await Peer.hello(clock.port, "a", None)
            assert await again.hear() == {"tick": START}
            again.say(START)
            assert await again.hear() == {"tick": START + Q}

    run(test)


def test_a_gateway_killed_after_its_outbox_had_the_poll_gets_the_next_tick() -> None:
    async def test() -> None:
        async with served() as clock:
            a, b = await Peer.hello(clock.port, "a"), await Peer.hello(clock.port, "b")
            assert await a.hear() == await b.hear()
            b.say(START)
            a.kill()
            again = await Peer.hello(clock.port, "a", START)
            assert await again.hear() == await b.hear() == {"tick": START + Q}

    run(test)


def test_a_restarted_server_goes_on_from_its_state_file(tmp_path: Path) -> None:
    async def test() -> None:
        state = tmp_path / "clock.json"
        async with served("a", state) as clock:
            a = await Peer.hello(clock.port, "a", START + 6 * Q)
            assert await a.hear() == {"tick": START + 7 * Q}
        async with served("a", state) as clock:
            assert clock.now_ms() == START + 7 * Q
            a = await Peer.hello(clock.port, "a", START + 7 * Q)
            assert await a.hear() == {"tick": START + 8 * Q}

    run(test)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"tick": 1}', '{"start": 1, "tick": 2}', '{"start": "x", "tick": 2}']
)
def test_a_damaged_state_file_costs_nothing_because_the_gateways_know(tmp_path: Path, content: str) -> None:
    state = tmp_path / "clock.json"
    state.write_text(content, encoding="utf-8")

    async def test() -> None:
        async with served("ab", state) as clock:
            a = await Peer.hello(clock.port, "a", START + 9 * Q)
            b = await Peer.hello(clock.port, "b", START + 8 * Q)
            assert await b.hear() == {"tick": START + 9 * Q}
            b.say(START + 9 * Q)
            assert await a.hear() == await b.hear() == {"tick": START + 10 * Q}

    run(test)


def test_after_the_newest_edge_everybody_is_live_and_so_is_a_latecomer() -> None:
    async def test() -> None:
        async with served(system_now_ms=lambda: NOW) as clock:
            a, b = await Peer.hello(clock.port, "a"), await Peer.hello(clock.port, "b")
            for n in range(6):
                assert await a.hear() == await b.hear() == {"tick": START + n * Q}
                a.say(START + n * Q)
                b.say(START + n * Q)
            assert await a.hear() == await b.hear() == {"live": True}
            assert clock.live
            assert clock.now_ms() == NOW
            assert await (await Peer.hello(clock.port, "a", START)).hear() == {"live": True}

    run(test)


def test_a_watcher_sees_the_tick_move_and_then_live() -> None:
    async def test() -> None:
        async with served("a", system_now_ms=lambda: NOW) as clock:
            watcher = Peer(*await asyncio.open_connection("127.0.0.1", clock.port), "")
            watcher.writer.write(b'{"watch": true}\n')
            assert await watcher.hear() == {"tick": START, "start": START, "now": NOW, "live": False}
            await Peer.hello(clock.port, "a", START + 2 * Q)
            assert (await watcher.hear())["tick"] == START + 3 * Q
            await Peer.hello(clock.port, "a", START + 5 * Q)
            assert (await watcher.hear())["live"] is True

    run(test)


@pytest.mark.parametrize(
    "line", [b"hello\n", b'{"gateway": "x", "polled": 1}\n', b'{"gateway": "a", "polled": "1"}\n']
)
def test_nonsense_is_answered_with_an_error_and_dropped(line: bytes) -> None:
    async def test() -> None:
        async with served() as clock:
            peer = Peer(*await asyncio.open_connection("127.0.0.1", clock.port), "")
            peer.writer.write(line)
            assert "error" in await peer.hear()
            assert await peer.reader.readline() == b""

    run(test)


def test_a_pace_keeps_ticks_apart() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with served("a", pace_s=0.03) as clock:
            a = await Peer.hello(clock.port, "a")
            begun = loop.time()
            for n in range(4):
                a.say((await a.hear())["tick"])
                assert clock.now_ms() <= START + (n + 1) * Q
            assert loop.time() - begun >= 0.05

    run(test)


def gateway(
    port: int, name: str, polled: int | None = None, now: Callable[[], int] = lambda: NOW
) -> SteppedClock:
    return SteppedClock("127.0.0.1", port, name, polled, SystemClock(now))


def test_two_gateways_live_through_the_same_ticks_and_go_live() -> None:
    async def live_through(clock: SteppedClock) -> list[int]:
        found: list[int] = []
        while True:
            due = asyncio.ensure_future(clock.next_poll(Q))
            await asyncio.wait([due], timeout=0.2)
            if not due.done():
                due.cancel()
                await asyncio.gather(due, return_exceptions=True)
                assert not clock.stepped
                assert clock.now_ms() == NOW
                await clock.aclose()
                return found
            assert clock.stepped
            assert clock.now_ms() == due.result()
            found.append(due.result())
            await clock.polled(due.result())

    async def test() -> None:
        async with served(system_now_ms=lambda: NOW) as server:
            both = [live_through(gateway(server.port, name)) for name in "ab"]
            assert await asyncio.gather(*both) == [[START + n * Q for n in range(6)]] * 2

    run(test)


def test_a_tick_that_was_not_polled_is_given_again() -> None:
    async def test() -> None:
        async with served("a") as server:
            clock = gateway(server.port, "a")
            assert [await clock.next_poll(Q) for _ in range(2)] == [START, START]
            await clock.polled(START)
            assert await clock.next_poll(Q) == START + Q
            await clock.aclose()

    run(test)


def test_a_gateway_reconnects_by_itself_and_says_what_it_polled_meanwhile(tmp_path: Path) -> None:
    async def test() -> None:
        state = tmp_path / "clock.json"
        async with served("a", state) as server:
            clock = gateway(server.port, "a")
            assert await clock.next_poll(Q) == START
            port = server.port
        await clock.polled(START)
        waiting = asyncio.ensure_future(clock.next_poll(Q))
        async with served("a", state, port):
            assert await waiting == START + Q
            await clock.aclose()

    run(test)


def test_a_live_gateway_steps_again_when_the_server_starts_anew() -> None:
    async def test() -> None:
        async with served("a", system_now_ms=lambda: START - 1) as server:
            clock = gateway(server.port, "a", START - 3 * Q, lambda: START - 1 + 2 * Q)
            waiting = asyncio.ensure_future(clock.next_poll(1_000_000_000_000))
            while clock.now_ms() != START - 1 + 2 * Q:  # noqa: ASYNC110  the clock has no event for it, and needs none
                await asyncio.sleep(0)
            port = server.port
        async with served("a", port=port):
            assert await waiting == START
            assert clock.stepped
            await clock.aclose()

    run(test)


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_no_tick_is_left_while_a_gateway_has_not_polled_it(order: list[str]) -> None:
    barrier = Barrier("abc", START)
    polled: dict[str, list[int]] = {name: [] for name in "abc"}
    for name in order:
        if barrier.awaits(name):
            polled[name].append(barrier.tick_ms)
            barrier.report(name, barrier.tick_ms)
        barrier.advance(far())
    done = (barrier.tick_ms - START) // Q
    assert all(ticks[:done] == [START + n * Q for n in range(done)] for ticks in polled.values())
    assert max(map(len, polled.values())) - min(map(len, polled.values())) <= 1


def test_a_start_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="grid"):
        Barrier("a", START + 1)


def test_a_server_that_goes_during_a_poll_does_not_turn_the_readings_back() -> None:
    """Meters that are asked again until they answer must not answer for the tick before."""

    async def test() -> None:
        async with served("a") as server:
            clock = SteppedClock("127.0.0.1", server.port, "a", START - Q)
            tick = await clock.next_poll(Q)
            assert (tick, clock.now_ms()) == (START, START)
        with suppress(TimeoutError):
            await asyncio.wait_for(clock._hear(), 1)
        assert clock._tick_ms is None
        assert clock.now_ms() == START
        await clock.aclose()

    run(test)
