"""A Modbus RTU peer at byte level, behind a pseudo terminal or a TCP stream: it answers what a test tells it to.

MODBUS over Serial Line 1.02. The CRC is computed bit by bit, as its appendix B tells, not by our table.
"""

import asyncio
import os
import struct
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.fakes.modbus_peer import Answer, Request

_SIZE = 8
Serve = Callable[[asyncio.StreamReader, int | asyncio.StreamWriter, Any], Awaitable[None]]
_WRITE = struct.Struct(">BBHH")


def sealed(body: bytes) -> bytes:
    """A frame with its CRC."""
    value = 0xFFFF
    for byte in body:
        value ^= byte
        for _bit in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return body + struct.pack("<H", value)


def rtu_reply(request: Request, words: Sequence[int]) -> bytes:
    """The answer to a read, with these registers. Change the request with `_replace` to answer another one."""
    return sealed(bytes((request.unit, request.fc, 2 * len(words))) + struct.pack(f">{len(words)}H", *words))


def rtu_refusal(request: Request, code: int) -> bytes:
    """An exception answer."""
    return sealed(bytes((request.unit, request.fc | 0x80, code)))


def rtu_bytes(request: Request) -> bytes:
    """The request itself."""
    return sealed(_WRITE.pack(request.unit, request.fc, request.addr, request.words))


async def _serve(reader: asyncio.StreamReader, wire: int | asyncio.StreamWriter, answer: Answer) -> None:
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:
            heard = await reader.readexactly(_SIZE)
            request = Request(0, *_WRITE.unpack_from(heard))
            assert heard == rtu_bytes(request), "the client sends a broken request"
            await say(wire, answer(request))


async def say(wire: int | asyncio.StreamWriter, parts: Iterable[bytes | float]) -> None:
    """Bytes to send, and seconds to wait between them."""
    for part in parts:
        if isinstance(part, float):
            await asyncio.sleep(part)
        elif isinstance(wire, int):
            os.write(wire, part)
        else:
            wire.write(part)


@asynccontextmanager
async def pty_peer(answer: Any, serve: Serve | None = None) -> AsyncIterator[str]:
    """Serve behind a pseudo terminal, whose path is returned, until the context ends. Then the path is dead.

    `serve`: another protocol than Modbus RTU, with answers of its own kind.
    """
    master, slave = os.openpty()
    tty.setraw(slave)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _protocol = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(master), "rb", buffering=0)
    )
    serving = asyncio.ensure_future((serve or _serve)(reader, master, answer))
    try:
        yield os.ttyname(slave)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        pipe.close()
        await asyncio.sleep(0)
        os.close(master)
        os.close(slave)
        if serving.done() and not serving.cancelled() and (error := serving.exception()):
            raise error


@asynccontextmanager
async def rtu_over_tcp_peer(answer: Any, serve: Serve | None = None) -> AsyncIterator[int]:
    """Serve RTU frames in a TCP stream on a free loopback port, which is returned, until the context ends."""
    writers: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await (serve or _serve)(reader, writer, answer)
        writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
