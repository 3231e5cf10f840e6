"""Late exception replies on RTU: 01 to 03 say nothing of the address they are about, so they are never blamed on the next request."""

from collections.abc import Sequence
from typing import Any

import pytest

from edge_agent.bus import ReadFailed, Refused
from edge_agent.plan import Block
from tests.edge_agent.test_faults import BLOCKS, RTU, Peer, Steps, bus_to, run, truth
from tests.fakes.modbus_peer import Request

MISSING = Block(3, 90, 2, ())
"""What the unit refuses. It shares function and length with blocks that it has."""
GOOD = [
    Block(3, 10, 2, ()),
    Block(3, 20, 2, ()),
    Block(3, 30, 1, ()),
    Block(3, 40, 5, ()),
    Block(4, 10, 2, ()),
]


def refusing(peer: Peer, request: Request, code: int) -> bytes:
    """What the unit says to a request: an exception where it touches what is missing."""
    missing = request.fc == 3 and request.addr < 92 and request.addr + request.words > 90
    return peer.refusal(request, code) if missing else peer.right(request)


async def judged(bus: Any, blocks: Sequence[Block]) -> dict[Block, str]:
    """What becomes of each block; words must be the block's own."""
    found = {}
    for block in blocks:
        try:
            words = await bus.read(1, block)
        except Refused:
            found[block] = "refused"
        except ReadFailed:
            found[block] = "failed"
        else:
            assert words == truth(block.fc, block.addr, block.count)
            found[block] = "read"
    return found


@pytest.mark.parametrize("kind", RTU)
@pytest.mark.parametrize("code", [1, 2, 3])
@pytest.mark.parametrize("next_block", GOOD)
def test_a_refusal_that_comes_with_the_next_request_is_not_that_ones(
    kind: str, code: int, next_block: Block
) -> None:
    """Also where the next request has the same function and length, so that a fence is asked in between."""
    peer, held = Peer(kind), list[bytes]()

    def answer(request: Request) -> Steps:
        said = refusing(peer, request, code)
        if said[1] & 0x80 and not held:
            held.append(said)
            return []
        late, held[:] = list(held), []
        return [*late, 0.005, said]

    async def test() -> None:
        async with bus_to(kind, answer, retries=0) as bus:
            for _round in range(3):
                with pytest.raises(ReadFailed):
                    await bus.read(1, MISSING)
                assert (await judged(bus, [next_block]))[next_block] != "refused"
            assert await judged(bus, GOOD) == dict.fromkeys(GOOD, "read")

    run(test)


@pytest.mark.parametrize("kind", RTU)
@pytest.mark.parametrize("behind", [1, 2, 3])
def test_refusals_any_number_of_requests_late_condemn_no_good_register(kind: str, behind: int) -> None:
    peer, held, late = Peer(kind), list[bytes](), True

    def answer(request: Request) -> Steps:
        held.append(refusing(peer, request, 2))
        keep = behind if late else 0
        return [held.pop(0) for _ in range(len(held) - keep)]

    async def test() -> None:
        nonlocal late
        async with bus_to(kind, answer, timeout_s=0.02) as bus:
            for _round in range(4):
                found = await judged(bus, [MISSING, *BLOCKS, MISSING])
                assert all(found[block] != "refused" for block in BLOCKS)
            late = False
            rounds = [await judged(bus, [*BLOCKS, MISSING]) for _round in range(3)]
            assert rounds[-1] == {**dict.fromkeys(BLOCKS, "read"), MISSING: "refused"}

    run(test)


@pytest.mark.parametrize("kind", RTU)
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_refusal_that_was_lost_does_not_hide_the_next_ones(kind: str, lost: int) -> None:
    """What is owed for good would take every later refusal for its own; a known good read fences it off."""
    peer, left = Peer(kind), lost

    def answer(request: Request) -> Steps:
        nonlocal left
        said = refusing(peer, request, 2)
        if said[1] & 0x80 and left:
            left -= 1
            return []
        return [said]

    async def test() -> None:
        async with bus_to(kind, answer, retries=0) as bus:
            rounds = [await judged(bus, [*BLOCKS, MISSING]) for _round in range(4)]
            assert rounds[-1] == {**dict.fromkeys(BLOCKS, "read"), MISSING: "refused"}

    run(test)


def test_a_tcp_refusal_names_its_request() -> None:
    """Modbus/TCP has no such question: the transaction number answers it."""
    peer, held = Peer("tcp"), list[bytes]()

    def answer(request: Request) -> Steps:
        late, held[:] = list(held), []
        if request.addr == MISSING.addr:
            held.append(peer.refusal(request, 2))
            return late
        return [*late, peer.right(request)]

    async def test() -> None:
        async with bus_to("tcp", answer, retries=0) as bus:
            with pytest.raises(ReadFailed):
                await bus.read(1, MISSING)
            assert await judged(bus, GOOD) == dict.fromkeys(GOOD, "read")

    run(test)
