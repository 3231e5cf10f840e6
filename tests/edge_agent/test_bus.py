"""A bus of every kind: what it sends and when, how long it waits, and what its settings may say."""

import asyncio
import os
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.bus import ModbusBus, NoAnswer, ReadFailed, Refused
from edge_agent.buses.frames import (
    Ask,
    Desynchronised,
    Refusal,
    answer,
    crc,
    rtu_request,
    take_rtu_frames,
    take_tcp_frame,
    tcp_request,
)
from edge_agent.buses.line import Line, connection_of
from edge_agent.buses.pace import Pace
from edge_agent.config import Bus, EdgeConfig
from edge_agent.plan import Block
from metering.config import ConfigError, validate
from tests.fakes.modbus_peer import Request, modbus_peer, refusal, reply
from tests.fakes.rtu_peer import pty_peer, rtu_refusal, rtu_reply, sealed

A, B = Block(3, 10, 2, ()), Block(3, 20, 2, ())
ASK = Ask(unit=1, fc=3, addr=10, count=2)
MINE = sealed(bytes.fromhex("01 03 04 0001 0002"))


def run(test: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test(), 20))


def test_a_request_is_the_bytes_of_the_standard() -> None:
    """MODBUS Application Protocol 1.1b3, 6.3: read holding registers 108-110; the CRC by an implementation of its own."""
    ask = Ask(unit=0x11, fc=3, addr=0x006B, count=3)
    assert rtu_request(ask) == bytes.fromhex("11 03 00 6b 00 03 76 87")
    assert tcp_request(0x1501, ask) == bytes.fromhex("15 01 00 00 00 06 11 03 00 6b 00 03")


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_the_crc_is_that_of_the_standard(data: bytes) -> None:
    assert data + crc(data) == sealed(data)


@given(st.binary(max_size=80), st.binary(max_size=20))
@settings(max_examples=200)
def test_no_bytes_crash_the_rtu_parser_and_a_sound_reply_behind_them_is_found(
    noise: bytes, after: bytes
) -> None:
    take_rtu_frames(bytearray(noise), ASK)
    heard = bytearray(noise + bytes(300) + MINE + after)
    said = [answer(ASK, frame.pdu) for frame in take_rtu_frames(heard, ASK) if frame.unit == 1]
    assert (1, 2) in said


@given(st.binary(max_size=600))
@settings(max_examples=200)
def test_no_bytes_crash_the_tcp_parser(noise: bytes) -> None:
    heard = bytearray(noise)
    try:
        while (frame := take_tcp_frame(heard)) is not None:
            answer(ASK, frame.pdu)
    except Desynchronised:
        pass


@given(st.integers(0, 8 * len(MINE) - 1))
def test_no_single_broken_bit_of_a_reply_passes(bit: int) -> None:
    broken = bytearray(MINE)
    broken[bit // 8] ^= 1 << bit % 8
    assert take_rtu_frames(broken, ASK) == []


@pytest.mark.parametrize(
    ("pdu", "said"),
    [
        ("03 04 0001 0002", (1, 2)),
        ("83 02", Refusal(2)),
        ("", None),
        ("03", None),
        ("04 04 0001 0002", None),
        ("84 02", None),
        ("83", None),
        ("83 02 00", None),
        ("03 04 0001", None),
        ("03 04 0001 0002 00", None),
        ("03 06 0001 0002", None),
        ("03 02 0001", None),
        ("03 00 0a 00 02", None),
    ],
)
def test_only_a_pdu_of_the_asked_function_and_length_answers(pdu: str, said: object) -> None:
    assert answer(ASK, bytes.fromhex(pdu)) == said


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_devices_own_refusal_is_not_asked_twice(code: int) -> None:
    asked: list[Request] = []

    async def test() -> None:
        def on_rtu(request: Request) -> list[bytes]:
            asked.append(request)
            return [rtu_refusal(request, code)]

        async with pty_peer(on_rtu) as device:
            bus = ModbusBus(Bus(id="b", kind="rtu", device=device))
            with pytest.raises(Refused) as caught:
                await bus.read(1, A)
            assert caught.value.code == code
            bus.close()

    run(test)
    assert len(asked) == 1


@pytest.mark.parametrize("code", [4, 5, 6, 10, 11])
def test_a_refusal_of_the_moment_is_asked_again(code: int) -> None:
    asked: list[Request] = []

    async def test() -> list[int]:
        def talk(request: Request) -> list[bytes]:
            asked.append(request)
            return [refusal(request, code) if len(asked) < 3 else reply(request, [7, 8])]

        async with modbus_peer(talk) as port:
            bus = ModbusBus(Bus(id="b", host="127.0.0.1", port=port, retries=2))
            words = await bus.read(1, A)
            bus.close()
            return words

    assert run(test) == [7, 8]


@pytest.mark.parametrize(
    ("baud", "least_ms"), [(9600, 3.5 * 10 / 9.6), (19200, 3.5 * 10 / 19.2), (115200, 1.75)]
)
def test_between_a_reply_and_the_next_request_the_line_is_silent_long_enough(
    baud: int, least_ms: float
) -> None:
    """MODBUS over Serial Line 1.02, 2.5.1.1: 3.5 characters; 1.75 ms above 19200 baud."""
    gaps: list[float] = []

    async def test() -> None:
        loop = asyncio.get_running_loop()
        replied_s = loop.time()

        def talk(request: Request) -> list[bytes]:
            nonlocal replied_s
            gaps.append((loop.time() - replied_s) * 1000)
            replied_s = loop.time()
            return [rtu_reply(request, [0] * request.words)]

        async with pty_peer(talk) as device:
            bus = ModbusBus(Bus(id="b", kind="rtu", device=device, baud=baud))  # type: ignore[arg-type]
            for _ in range(10):
                await bus.read(1, A)
            bus.close()

    run(test)
    assert len(gaps) == 10
    assert min(gaps[1:]) >= least_ms


def test_a_pause_may_be_longer_than_the_standards_also_on_tcp() -> None:
    async def test() -> float:
        async with modbus_peer(lambda request: [reply(request, [0] * request.words)]) as port:
            bus = ModbusBus(Bus(id="b", host="127.0.0.1", port=port, pause_ms=20))
            begun = asyncio.get_running_loop().time()
            for _ in range(4):
                await bus.read(1, A)
            bus.close()
            return asyncio.get_running_loop().time() - begun

    assert run(test) >= 0.06


@pytest.mark.parametrize(
    ("parity", "stop_bits", "flags"),
    [
        ("none", 1, 0),
        ("even", 1, termios.PARENB),
        ("odd", 1, termios.PARENB | termios.PARODD),
        ("none", 2, termios.CSTOPB),
    ],
)
def test_a_serial_port_is_set_as_configured_and_raw(parity: str, stop_bits: int, flags: int) -> None:
    """A pseudo terminal keeps no parity or size (the kernel resets them), so what is asked for is looked at."""
    asked: list[list[Any]] = []

    async def test() -> None:
        async with pty_peer(lambda request: [rtu_reply(request, [1, 2])]) as device:
            document = {"id": "b", "kind": "rtu", "device": device, "baud": 19200}
            bus = ModbusBus(Bus.model_validate({**document, "parity": parity, "stop_bits": stop_bits}))
            assert await bus.read(1, A) == [1, 2]
            fd = os.open(device, os.O_RDWR | os.O_NOCTTY)
            asked.append(termios.tcgetattr(fd))
            os.close(fd)
            bus.close()

    run(test)
    [(iflag, oflag, cflag, lflag, *speeds, _special)] = asked
    assert (oflag & termios.OPOST, lflag & (termios.ICANON | termios.ECHO)) == (0, 0)
    assert iflag & (termios.ICRNL | termios.IXON) == 0
    assert speeds == [termios.B19200] * 2
    assert cflag & termios.CSTOPB == flags & termios.CSTOPB
    assert cflag & termios.PARODD == flags & termios.PARODD


def test_a_unit_that_answers_fast_is_given_less_time_before_it_is_asked_again_and_never_more_than_configured() -> (
    None
):
    pace = Pace()
    assert pace.timeout_s(2, 1.0) == 1.0
    for _ in range(20):
        pace.took(0.02)
    assert 0.2 <= pace.timeout_s(2, 1.0) < 0.25
    assert pace.timeout_s(125, 1.0) > 0.5  # a long reply may take long behind a slow line
    assert pace.timeout_s(2, 0.1) == 0.1
    pace.took(0.8)
    assert pace.timeout_s(2, 1.0) > 0.8


def test_the_last_try_waits_as_long_as_configured() -> None:
    """A unit that has become slow is heard in the end."""

    async def test() -> list[int]:
        slow = False

        def talk(request: Request) -> list[bytes | float]:
            return [*([0.4] if slow else []), reply(request, [1, 2])]

        async with modbus_peer(talk) as port:
            bus = ModbusBus(Bus(id="b", host="127.0.0.1", port=port, timeout_s=1.5, retries=1))
            for _ in range(8):
                await bus.read(1, A)
            slow = True
            words = await bus.read(1, A)
            bus.close()
            return words

    assert run(test) == [1, 2]


def test_a_line_that_never_falls_silent_is_an_error_and_not_a_wait_for_ever() -> None:
    async def test() -> None:
        def babble(_request: Request) -> list[bytes | float]:
            return [b"\x55", 0.001] * 400

        async with pty_peer(babble) as device:
            bus = ModbusBus(Bus(id="b", kind="rtu", device=device, timeout_s=0.1, retries=1))
            with pytest.raises(ReadFailed):
                await bus.read(1, A)
            bus.close()

    run(test)


def test_two_who_ask_at_once_are_answered_in_turn() -> None:
    async def test() -> tuple[list[int], list[int]]:
        async with pty_peer(lambda r: [0.01, rtu_reply(r, [r.addr, r.addr + 1])]) as device:
            bus = ModbusBus(Bus(id="b", kind="rtu", device=device))
            first, second = await asyncio.gather(bus.read(1, A), bus.read(1, B))
            bus.close()
            return first, second

    assert run(test) == ([10, 11], [20, 21])


def test_a_read_that_is_cancelled_leaves_no_reply_for_the_next() -> None:
    async def test() -> list[int]:
        async with pty_peer(lambda r: [0.05, rtu_reply(r, [r.addr, r.addr + 1])]) as device:
            bus = ModbusBus(Bus(id="b", kind="rtu", device=device))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(bus.read(1, A), 0.02)
            words = await bus.read(1, B)
            bus.close()
            return words

    assert run(test) == [20, 21]


class Wired:
    """A connection that is there when it is told to be, and whether it was hung up."""

    def __init__(self) -> None:
        self.there = asyncio.get_running_loop().create_future()
        self.closed = False

    async def connect(self, *_what: object) -> tuple[object, Line]:
        await self.there
        return self, Line()

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("delay_s", [0, 10])
def test_who_is_cancelled_while_a_connection_opens_ends_in_whatever_turn_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, turns: int, delay_s: float
) -> None:
    """`wait_for` of Python 3.11 gives the connection instead, when it was there in the same turn: a stop that is never heeded."""

    async def test() -> None:
        wired = Wired()
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", wired.connect)
        settings = Bus(id="b", kind="tcp", host="127.0.0.1", connect_delay_s=delay_s)
        opening = asyncio.ensure_future(connection_of(settings).line())
        await asyncio.sleep(0)
        wired.there.set_result(None)
        for _turn in range(turns):
            await asyncio.sleep(0)
        if opening.cancel():
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert wired.closed or turns == 0
        assert delay_s == 0 or opening.cancelled()

    run(test)


def test_a_path_that_is_no_serial_port_is_named(tmp_path: Path) -> None:
    (tmp_path / "tty").write_text("")

    async def test() -> None:
        for path in (tmp_path / "tty", tmp_path / "none"):
            with pytest.raises(ReadFailed, match=path.name) as caught:
                await ModbusBus(Bus(id="b", kind="rtu", device=str(path))).read(1, A)
            assert not caught.value.reached
            assert not isinstance(caught.value, NoAnswer)

    run(test)


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        ({"kind": "rtu"}, "buses[0].device: a bus of kind rtu needs one"),
        ({"kind": "tcp"}, "buses[0].host: a bus of kind tcp needs one"),
        ({"kind": "rtu_over_tcp"}, "buses[0].host: a bus of kind rtu_over_tcp needs one"),
        (
            {"host": "a", "baud": 19200},
            "buses[0].baud: a bus of kind tcp has none; known for rtu, rtu_over_tcp",
        ),
        (
            {"kind": "rtu", "device": "/dev/ttyS0", "host": "a"},
            "buses[0].host: a bus of kind rtu has none; known for tcp, rtu_over_tcp",
        ),
        ({"host": "a", "device": "/dev/ttyS0"}, "buses[0].device: a bus of kind tcp has none; known for rtu"),
        ({"kind": "can", "host": "a"}, "buses[0].kind: Input should be 'tcp', 'rtu' or 'rtu_over_tcp'"),
    ],
)
def test_what_a_kind_of_bus_needs_and_has_not_is_named(table: dict[str, object], mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate({"buses": [{"id": "line", **table}]}, EdgeConfig, "edge.toml")
    assert [line for line in caught.value.mistakes if line.startswith("buses")] == [mistake]
