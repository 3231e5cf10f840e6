"""A window into the running agent: two read-only pages, on a socket file beside the outbox and, where asked for, on loopback TCP.

`/metrics` is Prometheus text, `/status` the same as JSON. Nothing else is answered, and nothing can be changed here.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.live import Live, prometheus

log = logging.getLogger("tanyun.edge")
_REQUEST_BYTES: Final = 8192
_PATIENCE_S: Final = 5.0
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


def socket_of(outbox: Path) -> Path:
    """The socket file of the agent that owns an outbox. Only the agent's user, and root, may open it."""
    return outbox.with_name(f"{outbox.name}.sock")


def ask(outbox: Path) -> Live | None:
    """What the agent that owns an outbox says; None when none runs, or it does not answer, or not to this user."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_PATIENCE_S)
            line.connect(str(socket_of(outbox)))
            line.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            with line.makefile("rb") as answer:
                body = answer.read().partition(b"\r\n\r\n")[2]
        return msgspec.json.decode(body, type=Live)
    except (OSError, msgspec.DecodeError):
        return None


async def serve(look: Callable[[], Live], outbox: Path, port: int | None) -> None:
    """Serve until cancelled; where a socket cannot be had, say so once and do without. A companion of the agent."""
    pages: dict[str, tuple[str, Callable[[], bytes]]] = {
        "/metrics": (_TEXT, lambda: prometheus(look()).encode()),
        "/status": ("application/json", lambda: msgspec.json.encode(look())),
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(reader, writer, pages)

    path = socket_of(outbox)
    async with AsyncExitStack() as open_:
        try:
            await open_.enter_async_context(
                await asyncio.start_unix_server(answer, str(path), limit=_REQUEST_BYTES)
            )
            path.chmod(0o600)
            open_.callback(path.unlink, missing_ok=True)
        except OSError as error:
            log.warning("status_unavailable socket=%s error=%s", path, error)
        if port is not None:
            try:
                server = await asyncio.start_server(answer, "127.0.0.1", port, limit=_REQUEST_BYTES)
                await open_.enter_async_context(server)
            except OSError as error:
                log.warning("metrics_unavailable port=%d error=%s", port, error)
        await asyncio.Event().wait()


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    pages: Mapping[str, tuple[str, Callable[[], bytes]]],
) -> None:
    """One request, one answer (HTTP/1.0); a slow or senseless one is dropped."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(head.decode("latin-1"), pages))
            await writer.drain()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


def _response(request: str, pages: Mapping[str, tuple[str, Callable[[], bytes]]]) -> bytes:
    method, _space, target = request.partition("\r\n")[0].partition(" ")
    path = target.partition(" ")[0].partition("?")[0]
    if method != "GET" or path not in pages:
        status, kind, body = ("404 Not Found", "text/plain", b"GET /metrics or /status\n")
    else:
        kind, page = pages[path]
        status, body = "200 OK", page()
    head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
