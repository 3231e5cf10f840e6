"""A Modbus/TCP peer at byte level: it answers what a test tells it to, right or wrong (MODBUS Messaging on TCP/IP 1.0b, 3.1.3)."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple


class Request(NamedTuple):
    """One read as it stood on the wire."""

    transaction: int
    unit: int
    fc: int
    addr: int
    words: int


Answer = Callable[[Request], Iterable[bytes | float]]
"""What to put on the wire after a request; nothing for silence, a number for a pause in seconds."""


def frame(transaction: int, unit: int, pdu: bytes, *, length: int | None = None) -> bytes:
    """An ADU; `length` overrides what the header says."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1 if length is None else length, unit) + pdu


def reply(request: Request, words: Sequence[int]) -> bytes:
    """The answer to a read, with these registers. Change the request with `_replace` to answer another one."""
    data = b"".join(struct.pack(">H", word) for word in words)
    return frame(request.transaction, request.unit, bytes((request.fc, len(data))) + data)


def refusal(request: Request, code: int) -> bytes:
    """An exception answer."""
    return frame(request.transaction, request.unit, bytes((request.fc | 0x80, code)))


@asynccontextmanager
async def modbus_peer(answer: Answer) -> AsyncIterator[int]:
    """Serve on a free loopback port, which is returned, until the context ends."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while True:
                transaction, _, _, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                request = Request(transaction, unit, *struct.unpack(">BHH", await reader.readexactly(5)))
                for part in answer(request):
                    if isinstance(part, float):
                        await asyncio.sleep(part)
                    else:
                        writer.write(part)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
