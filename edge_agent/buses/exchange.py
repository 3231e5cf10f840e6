"""One question and its own answer: on Modbus/TCP by transaction number, on RTU by length, silence and who still owes a reply."""

import asyncio
import itertools
import random
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from edge_agent.buses.errors import NoAnswer, ReadFailed, Refused
from edge_agent.buses.frames import (
    Ask,
    Desynchronised,
    Frame,
    Refusal,
    answer,
    rtu_reply_size,
    rtu_request,
    take_rtu_frames,
    take_tcp_frame,
    tcp_request,
)
from edge_agent.buses.line import Connection, Line
from edge_agent.buses.silence import Silence
from edge_agent.buses.stations import Station
from edge_agent.config import Bus

Words = list[int]

_FOR_GOOD: Final = frozenset({1, 2, 3})
"""Illegal function, address, value: the device's own judgement of the request. Others are of the moment."""
_OWED_S: Final = 60.0
"""An answer that is later than this is not waited for. The slowest device known takes 15 s."""
_REQUEST_SIZE: Final = 8
_FENCES: Final = 8


class Exchange(Protocol):
    """A framing in use."""

    async def ask(self, ask: Ask, timeout_s: float) -> Words:
        """The registers asked for; raises ReadFailed, or OSError when the connection breaks."""
        ...


def exchange_of(settings: Bus, connection: Connection, silence: Silence) -> Exchange:
    """The Modbus framing that a bus's settings name."""
    return TcpExchange(settings, connection) if settings.kind == "tcp" else RtuExchange(connection, silence)


def _judge(ask: Ask, said: Refusal, *, sure: bool = True) -> ReadFailed:
    text = (
        f"unit {ask.unit} refuses fc {ask.fc} address {ask.addr} count {ask.count}: exception {said.code:02X}"
    )
    return Refused(text, said.code) if sure and said.code in _FOR_GOOD else ReadFailed(text)


class TcpExchange:
    """Modbus/TCP: an answer carries the transaction number, the unit, the function and the length of its request."""

    def __init__(self, settings: Bus, connection: Connection) -> None:
        self._connection = connection
        self._pause_s = (settings.pause_ms or 0) / 1000
        # Never 0: converters that do not know better send it. Not from 1: a process before us may have asked just that.
        self._transactions = itertools.cycle(range(1, 0x10000))
        for _skipped in range(random.randrange(0xFFFF)):  # noqa: S311  no secret
            next(self._transactions)
        self._settled = True

    async def ask(self, ask: Ask, timeout_s: float) -> Words:
        """Send, and wait for the answer that is this request's. All others are passed over."""
        line = await self._connection.line()
        if self._settled:
            line.heard.clear()  # Nothing is outstanding: this is noise behind the last answer.
        if self._pause_s:
            await asyncio.sleep(line.heard_s + self._pause_s - line.now())
        transaction = next(self._transactions)
        self._settled = False
        self._connection.write(tcp_request(transaction, ask))
        try:
            said = await self._answer(line, transaction, ask, line.now() + timeout_s)
        except NoAnswer:
            if line.heard:  # A part of a frame: what comes next cannot be told from the rest of it.
                self._connection.close()
            raise
        except Desynchronised as error:
            self._connection.close()
            raise ReadFailed(str(error)) from error
        self._settled = True
        if isinstance(said, Refusal):
            raise _judge(ask, said)
        return list(said)

    @staticmethod
    async def _answer(line: Line, transaction: int, ask: Ask, until_s: float) -> tuple[int, ...] | Refusal:
        while True:
            while (frame := take_tcp_frame(line.heard)) is not None:
                if frame.transaction == transaction and frame.unit == ask.unit:
                    said = answer(ask, frame.pdu)
                    if said is not None:
                        return said
            if not await line.listen(until_s):
                raise NoAnswer(f"no answer from unit {ask.unit} in time")


class _Sent(msgspec.Struct, eq=False):
    """A request, and when it was sent."""

    ask: Ask
    at_s: float


class RtuExchange:
    """RTU frames, on a serial line or in a TCP stream. They carry no number, so this keeps account of the replies owed.

    A reply says its unit, function and length, and nothing else of its request. After a time-out a request of the same
    unit, function and length could be given the late reply of the one before, of other registers or another time. So
    none is sent before another read has fenced it off: a unit answers in turn, so when the fence is answered,
    everything before it has come or never will.
    """

    def __init__(self, connection: Connection, silence: Silence) -> None:
        self._connection, self._silence = connection, silence
        self._owed: dict[Station, list[_Sent]] = {}
        self._before: dict[tuple[Station, tuple[int, int]], tuple[Ask, tuple[int, ...]]] = {}
        """Unit and signature → the newest reply."""

    async def ask(self, ask: Ask, timeout_s: float) -> Words:
        """Send once the line is silent and nothing owed can be mistaken for the reply, and take the reply."""
        owed = self._owed_by(ask.unit)
        said = await self._once(ask, owed, timeout_s)
        other, before = self._before.get((ask.unit, ask.signature), (ask, said))
        if said == before and other.addr != ask.addr:
            # Perhaps a reply that was sent twice, the second time instead of ours: ours is owed, and asked for again.
            owed.append(_Sent(ask, asyncio.get_running_loop().time()))
            said = await self._once(ask, owed, timeout_s)
        self._before[ask.unit, ask.signature] = ask, said
        return list(said)

    async def _once(self, ask: Ask, owed: list[_Sent], timeout_s: float) -> tuple[int, ...]:
        if _among(ask, owed):
            await self._fence(ask, owed, timeout_s)
        line, sent, until_s = await self._send(ask, owed, timeout_s)
        said = await self._reply(line, sent, owed, until_s)
        if isinstance(said, Refusal):
            raise _judge(ask, said)
        owed.clear()
        return said

    def _owed_by(self, unit: Station) -> list[_Sent]:
        since_s = asyncio.get_running_loop().time() - _OWED_S
        owed = [sent for sent in self._owed.get(unit, ()) if sent.at_s >= since_s]
        self._owed[unit] = owed
        return owed

    async def _fence(self, ask: Ask, owed: list[_Sent], timeout_s: float) -> None:
        """Ask for something else, until that is answered and no reply that is owed can be taken for one to `ask`.

        Its own answer is waited for even where all others have come: it would be the next thing to be taken for another's.
        Raises NoAnswer.
        """
        fence = min(_fences(ask), key=lambda one: sum(sent.ask.signature == one.signature for sent in owed))
        line, sent, until_s = await self._send(fence, owed, timeout_s)
        while sent in owed:
            for frame in take_rtu_frames(line.heard, fence):
                _settle(frame, owed)
            if sent in owed and not await line.listen(until_s):
                if not _among(ask, owed):
                    return
                raise NoAnswer(f"unit {ask.unit} still owes the answer to an earlier request")

    async def _send(self, ask: Ask, owed: list[_Sent], timeout_s: float) -> tuple[Line, _Sent, float]:
        """Send on a silent line; also until when to wait."""
        line = await self._connection.line()
        await self._silence.wait(line, timeout_s)
        for frame in take_rtu_frames(line.heard, ask):
            _settle(frame, owed)
        line.heard.clear()
        now_s = line.now()
        sent = _Sent(ask, now_s)
        owed.append(sent)
        self._connection.write(rtu_request(ask))
        sent_s = self._silence.sent(now_s, _REQUEST_SIZE)
        return line, sent, sent_s + timeout_s + self._silence.taking(rtu_reply_size(ask.count))

    async def _reply(
        self, line: Line, sent: _Sent, owed: list[_Sent], until_s: float
    ) -> tuple[int, ...] | Refusal:
        """The reply that only this request can have."""
        said, frames = None, list[Frame]()
        while said is None:
            frames = take_rtu_frames(line.heard, sent.ask)
            said = next((text for frame in frames if (text := _said(frame, sent, owed)) is not None), None)
            if said is None and not await line.listen(until_s):
                raise NoAnswer(f"no answer from unit {sent.ask.unit} in time")
        await self._silence.wait(line, until_s - line.now())
        for frame in [*frames, *take_rtu_frames(line.heard, sent.ask)]:
            again = answer(sent.ask, frame.pdu) if frame.unit == sent.ask.unit else None
            if isinstance(again, tuple) and again != said:
                owed.append(sent)
                raise NoAnswer(f"unit {sent.ask.unit} gives two answers to one request")
        return said


def _fences(ask: Ask) -> list[Ask]:
    """Reads with another reply than `ask`: shorter ones, as far as there are, and one of the other function."""
    shorter = [replace(ask, count=count) for count in range(1, min(ask.count, _FENCES))]
    return [*(shorter or [replace(ask, count=2)]), replace(ask, fc=7 - ask.fc, count=1)]


def _among(ask: Ask, owed: list[_Sent]) -> bool:
    return any(sent.ask.signature == ask.signature for sent in owed)


def _said(frame: Frame, sent: _Sent, owed: list[_Sent]) -> tuple[int, ...] | Refusal | None:
    """What a frame says to this request; None when it is another's, or may be."""
    said = answer(sent.ask, frame.pdu) if frame.unit == sent.ask.unit else None
    if isinstance(said, Refusal) and said.code not in _FOR_GOOD:
        return said  # A converter's word, perhaps too early: the unit owes its answer all the same.
    return said if _settle(frame, owed) is sent else None


def _settle(frame: Frame, owed: list[_Sent]) -> _Sent | None:
    """The oldest request that a frame can answer. It and all before it are owed nothing more."""
    for index, sent in enumerate(owed):
        said = answer(sent.ask, frame.pdu) if frame.unit == sent.ask.unit else None
        if said is not None and not (isinstance(said, Refusal) and said.code not in _FOR_GOOD):
            del owed[: index + 1]
            return sent
    return None
