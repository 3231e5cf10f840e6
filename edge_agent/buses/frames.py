"""Frames of a register read: the bytes of a request, and which of the bytes heard answer it. Pure.

Sources: MODBUS Application Protocol 1.1b3 (6.3, 6.4, 7), MODBUS over Serial Line 1.02 (2.5.1), MODBUS Messaging on
TCP/IP 1.0b (3.1.3).
"""

import struct
from typing import Final, NamedTuple

import msgspec

from edge_agent.buses.stations import Station

_READS: Final = (3, 4)
_EXCEPTION: Final = 0x80
_MBAP: Final = struct.Struct(">HHHB")
_TCP_READ: Final = struct.Struct(">HHHBBHH")
_RTU_READ: Final = struct.Struct(">BBHH")
_UNIT_AND_PDU: Final = range(2, 255)
"""What the length in an MBAP header may say."""
_SHORTEST_RTU: Final = 5
"""An exception: unit, function, code, CRC."""


class Desynchronised(Exception):
    """A TCP stream that is not cut into frames any more; only a new connection helps."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One read."""

    unit: Station
    fc: int
    addr: int
    count: int

    @property
    def signature(self) -> tuple[int, int]:
        """All that a reply without a transaction number says of its request, besides the unit."""
        return self.fc, self.count


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """An exception code."""

    code: int


class Frame(NamedTuple):
    """A sound frame; `transaction` is 0 where the envelope has none."""

    transaction: int
    unit: Station
    pdu: bytes


def answer(ask: Ask, pdu: bytes) -> tuple[int, ...] | Refusal | None:
    """What a PDU answers to a read; None when it is no answer to it (a request's echo, another length, another function)."""
    size = 2 * ask.count
    if len(pdu) == size + 2 and pdu[0] == ask.fc and pdu[1] == size:
        return struct.unpack_from(f">{ask.count}H", pdu, 2)
    if len(pdu) == 2 and pdu[0] == ask.fc | _EXCEPTION:  # noqa: PLR2004  function and code
        return Refusal(pdu[1])
    return None


def tcp_request(transaction: int, ask: Ask) -> bytes:
    """A read as Modbus/TCP carries it."""
    return _TCP_READ.pack(transaction, 0, 6, ask.unit, ask.fc, ask.addr, ask.count)


def take_tcp_frame(heard: bytearray) -> Frame | None:
    """Cut the first whole frame off what was heard; None until there is one. Raises Desynchronised."""
    if len(heard) < _MBAP.size:
        return None
    transaction, protocol, length, unit = _MBAP.unpack_from(heard)
    if protocol or length not in _UNIT_AND_PDU:
        raise Desynchronised(f"no Modbus/TCP header: {heard[: _MBAP.size].hex(' ')}")
    end = _MBAP.size - 1 + length
    if len(heard) < end:
        return None
    pdu = bytes(heard[_MBAP.size : end])
    del heard[:end]
    return Frame(transaction, unit, pdu)


def _crc_of_byte(value: int) -> int:
    for _bit in range(8):
        value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


_CRC: Final = tuple(_crc_of_byte(value) for value in range(256))


def crc(data: bytes | bytearray) -> bytes:
    """CRC-16/MODBUS, low byte first, as it stands at the end of a frame."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def rtu_request(ask: Ask) -> bytes:
    """A read as a serial line carries it."""
    body = _RTU_READ.pack(ask.unit, ask.fc, ask.addr, ask.count)
    return body + crc(body)


def rtu_reply_size(count: int) -> int:
    """Bytes of the reply that carries `count` registers."""
    return _SHORTEST_RTU + 2 * count


def take_rtu_frames(heard: bytearray, ask: Ask) -> list[Frame]:
    """Cut off every sound frame, from the left, with the noise, the broken frames and the request's echo before it.

    It stops where the reply to `ask` seems to have begun and is not all there.
    """
    echo = rtu_request(ask)
    begun = echo[:2] + bytes((2 * ask.count,))
    frames: list[Frame] = []
    at = taken = 0
    while at + _SHORTEST_RTU <= len(heard):
        if heard.startswith(echo, at):
            at += len(echo)
            continue
        end = _rtu_end(heard, at)
        if end > len(heard) and heard.startswith(begun, at):
            break
        if at < end <= len(heard) and crc(heard[at : end - 2]) == heard[end - 2 : end]:
            frames.append(Frame(0, heard[at], bytes(heard[at + 1 : end - 2])))
            at = taken = end
        else:
            at += 1
    del heard[:taken]
    return frames


def _rtu_end(heard: bytearray, at: int) -> int:
    """Where the frame at `at` would end; 0 when none begins there."""
    fc, size = heard[at + 1], heard[at + 2]
    if fc in _READS:
        return at + _SHORTEST_RTU + size if size and size % 2 == 0 else 0
    return at + _SHORTEST_RTU if fc & ~_EXCEPTION in _READS else 0
