"""A line with Modbus RTU and DL/T 645 meters on it, at byte level. Both framings are written here anew, from the standards' text."""

import asyncio
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from tests.fakes.modbus_peer import Request
from tests.fakes.rtu_peer import say, sealed


class Asked(NamedTuple):
    """A DL/T 645 request, its address as on the name plate, its data as meant (without the 33H)."""

    address: str
    control: int
    data: bytes

    @property
    def di(self) -> str:
        """The data identifier, highest byte first."""
        return self.data[3::-1].hex().upper()


Answer = Callable[[Request | Asked], Iterable[bytes | float]]


def dlt(address: str, control: int, data: bytes) -> bytes:
    """One frame: 68, address low byte first, 68, C, L, data + 33H, the sum, 16."""
    pairs = [int(address[at : at + 2], 16) for at in range(0, 12, 2)]
    body = [0x68, *reversed(pairs), 0x68, control, len(data), *((byte + 0x33) % 256 for byte in data)]
    return bytes([*body, sum(body) % 256, 0x16])


def dlt_reply(asked: Asked, value: bytes) -> bytes:
    """The answer to a read; `value` low byte first."""
    return dlt(asked.address, 0x91, asked.data[:4] + value)


def dlt_refusal(asked: Asked, bits: int) -> bytes:
    """The meter has no such data."""
    return dlt(asked.address, 0xD1, bytes([bits]))


def _take(heard: bytearray) -> Request | Asked | None:
    """The first request, whichever it is; None while it is not whole."""
    while heard and heard[0] == 0xFE:
        del heard[0]
    if heard[:1] == b"\x68":
        size = 12 + heard[9] if len(heard) > 9 else 0
        if not size or len(heard) < size:
            return None
        frame = bytes(heard[:size])
        del heard[:size]
        assert frame[-1] == 0x16
        assert frame[-2] == sum(frame[:-2]) % 256, "the client sends a broken check sum"
        data = bytes((byte - 0x33) % 256 for byte in frame[10:-2])
        return Asked(frame[6:0:-1].hex().upper(), frame[8], data)
    if len(heard) < 8:
        return None
    frame = bytes(heard[:8])
    del heard[:8]
    assert frame == sealed(frame[:-2]), "the client sends a broken CRC"
    return Request(0, *struct.unpack(">BBHH", frame[:-2]))


async def serve_line(reader: asyncio.StreamReader, wire: int | asyncio.StreamWriter, answer: Answer) -> None:
    """Answer what is asked, until the line is closed."""
    heard = bytearray()
    with suppress(OSError):
        while data := await reader.read(256):
            heard += data
            while (request := _take(heard)) is not None:
                await say(wire, answer(request))
