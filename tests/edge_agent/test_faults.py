"""What real buses do (each row seen by users of other tools), by byte-level peers: no wrong word is ever read, and the bus recovers.

Rows of the list that are about values rather than bytes (a counter that reads 0 once, an absurd reading, a roll-over) are
judged by the step at the server, and tested there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge_agent.bus import ModbusBus, ReadFailed
from edge_agent.config import Bus
from edge_agent.plan import Block
from edge_agent.registers import decode
from tests.fakes.gateway import toy_profile
from tests.fakes.modbus_peer import Answer, Request, modbus_peer, refusal, reply
from tests.fakes.rtu_peer import pty_peer, rtu_bytes, rtu_over_tcp_peer, rtu_refusal, rtu_reply

KINDS = ("tcp", "rtu", "rtu_over_tcp")
RTU = KINDS[1:]
JUNK = 0x0BAD
BLOCKS = [
    Block(3, 10, 2, ()),
    Block(3, 20, 2, ()),
    Block(4, 10, 2, ()),
    Block(3, 30, 1, ()),
    Block(3, 40, 1, ()),
]
"""Neighbours of the same function and length: the reply to one fits the other."""
Steps = Iterable[bytes | float]


def truth(fc: int, addr: int, count: int) -> list[int]:
    """What the registers hold: each says which it is."""
    return [fc << 12 | addr + i for i in range(count)]


class Peer(NamedTuple):
    """The envelope of one kind of bus."""

    kind: str

    def reply(self, request: Request, words: Sequence[int]) -> bytes:
        return (reply if self.kind == "tcp" else rtu_reply)(request, words)

    def refusal(self, request: Request, code: int) -> bytes:
        return (refusal if self.kind == "tcp" else rtu_refusal)(request, code)

    def right(self, request: Request) -> bytes:
        return self.reply(request, truth(request.fc, request.addr, request.words))

    def echo(self, request: Request) -> bytes:
        body = rtu_bytes(request)[:-2]
        header = request.transaction.to_bytes(2) + b"\0\0\0\6"
        return header + body if self.kind == "tcp" else rtu_bytes(request)


@asynccontextmanager
async def bus_to(kind: str, answer: Answer, **settings: object) -> AsyncIterator[ModbusBus]:
    """A bus of one unit behind a peer."""
    document: dict[str, object] = {"id": "b", "kind": kind, "timeout_s": 0.06, "retries": 1}
    peers: dict[str, Any] = {"tcp": modbus_peer, "rtu": pty_peer, "rtu_over_tcp": rtu_over_tcp_peer}
    serving = peers[kind](answer)
    async with serving as place:
        document |= {"device": place} if kind == "rtu" else {"host": "127.0.0.1", "port": place}
        document |= {} if kind == "tcp" else {"baud": 115200}
        bus = ModbusBus(Bus.model_validate({**document, **settings}))
        try:
            yield bus
        finally:
            bus.close()
            await asyncio.sleep(0)


async def reads(bus: ModbusBus, blocks: Iterable[Block] = BLOCKS) -> int:
    """Read all blocks; how many answered. Every word read must be the register's own."""
    answered = 0
    for block in blocks:
        try:
            words = await bus.read(1, block)
        except ReadFailed:
            continue
        assert words == truth(block.fc, block.addr, block.count)
        answered += 1
    return answered


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


HARMLESS: dict[str, Callable[[Peer, Request], Steps]] = {
    "split in three, 16 ms apart": lambda p, r: [
        p.right(r)[:3],
        0.016,
        p.right(r)[3:6],
        0.016,
        p.right(r)[6:],
    ],
    "byte by byte": lambda p, r: [p.right(r)[i : i + 1] for i in range(len(p.right(r)))],
    "the request echoed first": lambda p, r: [p.echo(r) + p.right(r)],
    "the echo, and the reply later": lambda p, r: [p.echo(r), 0.02, p.right(r)],
    "another unit first": lambda p, r: [p.reply(r._replace(unit=9), [JUNK] * r.words), p.right(r)],
    "another unit's longer reply first": lambda p, r: [p.reply(r._replace(unit=9), [JUNK] * 7), p.right(r)],
    "another function first": lambda p, r: [p.reply(r._replace(fc=7 - r.fc), [JUNK] * r.words), p.right(r)],
    "another length first": lambda p, r: [p.reply(r, [JUNK] * (r.words + 1)), p.right(r)],
    "another unit's refusal first": lambda p, r: [p.refusal(r._replace(unit=9), 2), p.right(r)],
    "the reply twice": lambda p, r: [p.right(r) * 2],
    "the reply again after a while": lambda p, r: [p.right(r), 0.01, p.right(r)],
    "0B behind the right reply": lambda p, r: [p.right(r) + p.refusal(r, 0x0B)],
    "00 00 00 behind the reply": lambda p, r: [p.right(r) + bytes(3)],
}
HARMLESS_ON_RTU: dict[str, Callable[[Peer, Request], Steps]] = {
    "00 before the reply": lambda p, r: [b"\0" + p.right(r)],
    "00 behind the reply": lambda p, r: [p.right(r) + b"\0"],
    "00, and the reply later": lambda p, r: [b"\0", 0.01, p.right(r)],
    "noise on both sides": lambda p, r: [b"\xff\x01\x03" + p.right(r) + b"\x80\x01"],
    "a broken reply, then a good one": lambda p, r: [p.right(r)[:-1] + b"\x55", p.right(r)],
    "a cut reply, then a whole one": lambda p, r: [p.right(r)[:4] + p.right(r)],
}
EVERY_RTU = [(kind, name) for kind in RTU for name in HARMLESS_ON_RTU]
EVERY = [(kind, name) for kind in KINDS for name in HARMLESS]


@pytest.mark.parametrize(("kind", "name"), [*EVERY, *EVERY_RTU])
def test_what_surrounds_the_right_reply_does_no_harm(kind: str, name: str) -> None:
    peer, talk = Peer(kind), (HARMLESS | HARMLESS_ON_RTU)[name]

    async def test() -> None:
        async with bus_to(kind, lambda request: talk(peer, request), timeout_s=0.2) as bus:
            for _round in range(2):
                assert await reads(bus) == len(BLOCKS)

    run(test)


HARMFUL: dict[str, Callable[[Peer, Request], Steps]] = {
    "silence": lambda _p, _r: [],
    "0B": lambda p, r: [p.refusal(r, 0x0B)],
    "0A": lambda p, r: [p.refusal(r, 0x0A)],
    "busy": lambda p, r: [p.refusal(r, 6)],
    "another unit": lambda p, r: [p.reply(r._replace(unit=9), [JUNK] * r.words)],
    "another function": lambda p, r: [p.reply(r._replace(fc=7 - r.fc), [JUNK] * r.words)],
    "a register too few": lambda p, r: [p.reply(r, [JUNK] * (r.words - 1))],
    "a register too many": lambda p, r: [p.reply(r, [JUNK] * (r.words + 1))],
    "the echo alone": lambda p, r: [p.echo(r)],
    "a cut reply": lambda p, r: [p.right(r)[:-2]],
    "one byte": lambda p, r: [p.right(r)[:1]],
    "noise": lambda _p, _r: [b"\xff\x00\x03\x04" * 20],
    "zeros": lambda _p, _r: [bytes(64)],
    "the reply after the time-out": lambda p, r: [0.07, p.right(r)],
    "the reply long after the time-out": lambda p, r: [0.2, p.right(r)],
}
HARMFUL_ON_RTU: dict[str, Callable[[Peer, Request], Steps]] = {
    "a broken CRC": lambda p, r: [p.right(r)[:-1] + bytes((p.right(r)[-1] ^ 1,))],
    "a broken word": lambda p, r: [p.right(r)[:3] + b"\xee" + p.right(r)[4:]],
    "two different answers": lambda p, r: [p.reply(r, [JUNK] * r.words) + p.right(r)],
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in HARMFUL]
    + [(k, name) for k in RTU for name in HARMFUL_ON_RTU],
)
def test_a_fault_is_never_data_and_ends_when_it_ends(kind: str, name: str) -> None:
    peer, talk, faults = Peer(kind), (HARMFUL | HARMFUL_ON_RTU)[name], 4

    def answer(request: Request) -> Steps:
        nonlocal faults
        faults -= 1
        return talk(peer, request) if faults >= 0 else [peer.right(request)]

    async def test() -> None:
        async with bus_to(kind, answer) as bus:
            await reads(bus)
            await reads(bus)
            await asyncio.sleep(0.15 if "long" in name else 0)
            await reads(bus, BLOCKS[:1])
            assert await reads(bus) == len(BLOCKS)

    run(test)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", [1, 2, 3])
def test_replies_that_come_with_the_next_requests_are_never_theirs(kind: str, behind: int) -> None:
    """Each reply is held back until so many requests later: a time-out of any length is too short for that."""
    peer, held, late = Peer(kind), list[bytes](), True

    def answer(request: Request) -> Steps:
        held.append(peer.right(request))
        keep = behind if late else 0
        return [held.pop(0) for _ in range(len(held) - keep)]

    async def test() -> None:
        nonlocal late
        async with bus_to(kind, answer, timeout_s=0.02) as bus:
            for _round in range(6):
                await reads(bus)
            late = False
            await reads(bus)
            await reads(bus)
            assert await reads(bus) == len(BLOCKS)

    run(test)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [0.0, 0.005, 0.015, 0.03])
def test_a_reply_that_is_sent_again_at_the_next_request_is_not_its_reply(kind: str, gap: float) -> None:
    """Nothing was left unanswered before; only that it says what the one before said tells it."""
    peer, before = Peer(kind), b""

    def answer(request: Request) -> Steps:
        nonlocal before
        again, before = before, peer.right(request)
        return [again, gap, before]

    async def test() -> None:
        async with bus_to(kind, answer, timeout_s=0.1) as bus:
            for _round in range(3):
                await reads(bus)

    run(test)


def test_two_blocks_of_a_unit_may_hold_the_same() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Steps:
        asked.append(request)
        return [rtu_reply(request, [0] * request.words)]

    async def test() -> None:
        async with bus_to("rtu", answer) as bus:
            for block in BLOCKS:
                assert await bus.read(1, block) == [0] * block.count

    run(test)
    assert len(asked) == len(BLOCKS) + 2 * 2  # each second of a length: a fence, and once more


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_that_comes_late_condemns_no_other_register(kind: str) -> None:
    """The converter's 0B comes with the next request; the reply that it was about comes then, too."""
    peer, held, count = Peer(kind), list[bytes](), 0

    def answer(request: Request) -> Steps:
        nonlocal count
        count += 1
        if count in {2, 4, 7}:
            held.extend((peer.refusal(request, 0x0B), peer.right(request)))
            return []
        before, held[:] = list(held), []
        return [*before, peer.right(request)]

    async def test() -> None:
        async with bus_to(kind, answer) as bus:
            for _round in range(3):
                await reads(bus)
            assert await reads(bus) == len(BLOCKS)

    run(test)


@pytest.mark.parametrize("kind", ["tcp", "rtu_over_tcp"])
@pytest.mark.parametrize("said", ["nothing", "0B"])
def test_a_connection_over_which_nothing_good_comes_any_more_is_opened_anew(kind: str, said: str) -> None:
    """A peer killed without FIN, a converter that was restarted, one that says 0B for good: only a new connection helps."""
    peer, requests, bad = Peer(kind), 0, True

    def answer(request: Request) -> Steps:
        nonlocal requests
        requests += 1
        if bad:
            return [] if said == "nothing" else [peer.refusal(request, 0x0B)]
        return [peer.right(request)]

    async def test() -> None:
        nonlocal bad
        async with bus_to(kind, answer) as bus:
            bad = False
            assert await reads(bus) == len(BLOCKS)
            opened, bad = bus._connection.opened, True
            for _round in range(2):
                assert await reads(bus) == 0
            assert bus._connection.opened > opened
            bad = False
            await reads(bus)
            assert await reads(bus) == len(BLOCKS)

    run(test)


def test_a_peer_that_closes_after_every_reply_is_asked_on_a_new_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await reader.read(12)
        request = Request(int.from_bytes(heard[:2]), 1, heard[7], heard[9], heard[11])
        writer.write(Peer("tcp").right(request))
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        bus = ModbusBus(Bus(id="b", host="127.0.0.1", port=port, timeout_s=0.2, retries=1))
        assert await reads(bus) == len(BLOCKS)
        bus.close()
        server.close()
        await asyncio.sleep(0.01)

    run(test)


def test_an_endpoint_that_is_not_there_is_not_waited_for_twice() -> None:
    async def test() -> None:
        async with bus_to("tcp", lambda _r: []) as bus:
            gone = bus._settings
        bus = ModbusBus(gone)
        for block in BLOCKS:
            with pytest.raises(ReadFailed) as caught:
                await bus.read(1, block)
            assert not caught.value.reached

    run(test)


def test_a_serial_port_that_was_pulled_out_and_put_back_is_found_again(tmp_path: Path) -> None:
    peer, port = Peer("rtu"), tmp_path / "ttyUSB0"

    async def test() -> None:
        bus = ModbusBus(Bus(id="b", kind="rtu", device=str(port), timeout_s=0.06, baud=115200))
        for _plugged in range(2):
            assert await reads(bus) == 0
            async with pty_peer(lambda request: [peer.right(request)]) as device:
                port.symlink_to(device)
                await asyncio.sleep(0.5)  # the rest that a failed opening takes
                assert await reads(bus) == len(BLOCKS)
            port.unlink()
        bus.close()

    run(test)


def test_a_device_that_loses_requests_just_after_connecting_gets_its_delay() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        lost = reader._buffer  # type: ignore[attr-defined]  # what came before the device was ready
        assert not lost
        while heard := await reader.read(12):
            request = Request(int.from_bytes(heard[:2]), 1, heard[7], heard[9], heard[11])
            writer.write(Peer("tcp").right(request))
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        bus = ModbusBus(Bus(id="b", host="127.0.0.1", port=port, timeout_s=0.1, connect_delay_s=0.1))
        assert await reads(bus) == len(BLOCKS)
        bus.close()
        server.close()
        await asyncio.sleep(0.01)

    run(test)


@pytest.mark.parametrize("kind", RTU)
def test_two_units_of_a_line_do_not_answer_for_each_other(kind: str) -> None:
    """Unit 1 is late, and its reply comes while unit 2 is asked for the same."""
    held: list[bytes] = []

    def answer(request: Request) -> Steps:
        if request.unit == 1:
            held.append(rtu_reply(request, [JUNK] * request.words))
            return []
        late, held[:] = list(held), []
        return [*late, Peer(kind).right(request)]

    async def test() -> None:
        async with bus_to(kind, answer, timeout_s=0.02) as bus:
            for block in BLOCKS:
                with pytest.raises(ReadFailed):
                    await bus.read(1, block)
                assert await bus.read(2, block) == truth(block.fc, block.addr, block.count)

    run(test)


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        ("float32", [0x7FC0, 0x0000]),
        ("float32", [0x7FBF, 0xFF80]),
        ("int32", [0x8000, 0x0000]),
        ("uint32", [0xFFFF, 0xFFFF]),
        ("int16", [0x7FFF]),
        ("uint16", [0xFFFF]),
    ],
)
def test_a_pattern_that_means_no_value_is_none(type_: str, words: list[int]) -> None:
    bits = int.from_bytes(b"".join(word.to_bytes(2) for word in words))
    invalid = [] if type_ == "float32" else [bits]  # no float needs telling that NaN is none
    more = {"resolution": -2} if type_ == "float32" else {}
    profile = toy_profile(type=type_, invalid=invalid, rollover=None, **more)
    assert decode(profile.registers[0], words) is None


def test_a_64_bit_value_is_cut_from_its_own_words_in_its_own_order() -> None:
    """Off by one word, or across two quantities, it would read as billions."""
    register = toy_profile(type="uint64", word_order="low_first").registers[0]
    block = Block(3, 8, 8, ((register, 2),))
    [(_register, words)] = block.split([9, 9, 0x86A3, 0x0001, 0, 0, 9, 9])
    assert decode(register, words) == 0x186A3
