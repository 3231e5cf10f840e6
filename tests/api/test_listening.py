"""Who takes the server connection by connection or byte by byte, and whose word about addresses is believed behind a proxy."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.listening import listening
from tests.api.conftest import NOW_MS, ParkFiles

QUICK = {"head_s": 0.6, "body_s": 1.0, "each": 20}
WAIT_S = 20.0
Listen = Callable[..., int]


@contextmanager
def listening_on(app: FastAPI, proxies: tuple[str, ...], **patience: float) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", **listening(proxies, **patience)))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture
def listen(files: ParkFiles) -> Iterator[Listen]:
    with ExitStack() as stack:

        def start(*proxies: str, **patience: float) -> int:
            app = create_app(files.settings(), lambda: NOW_MS)
            return stack.enter_context(listening_on(app, proxies, **(QUICK | patience)))

        yield start


def drip(port: int, head: bytes, drop: bytes) -> float:
    """Send a drop ten times a second until the server hangs up; how long that took."""
    begun = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", port))) as line:
        line.sendall(head)
        line.settimeout(0.1)
        while time.monotonic() - begun < WAIT_S:
            try:
                line.sendall(drop)
                if not line.recv(4096):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - begun


def alive(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/api/v1/health/live", timeout=WAIT_S).status_code == 200


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)])
@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n",
    ],
)
def test_who_asks_byte_by_byte_is_hung_up_on_also_behind_a_proxy(
    listen: Listen, proxies: tuple[str, ...], head: bytes
) -> None:
    port = listen(*proxies)
    assert drip(port, head, b"x") < WAIT_S
    assert alive(port)


def test_who_begins_a_second_request_slowly_is_hung_up_on_too(listen: Listen) -> None:
    port = listen()
    first = b"GET /api/v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    assert drip(port, first, b"x") < WAIT_S


def test_who_asks_again_and_again_on_one_connection_is_not(listen: Listen) -> None:
    port = listen(each=2)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as http:
        end = time.monotonic() + 3 * QUICK["head_s"]
        while time.monotonic() < end:
            assert http.get("/api/v1/health/live").status_code == 200
            time.sleep(0.05)


def test_an_open_event_stream_outlives_every_patience(listen: Listen, files: ParkFiles) -> None:
    port = listen()
    headers = {"Authorization": f"Bearer {files.key(('operator', '*'))}"}
    with httpx.stream(
        "GET", f"http://127.0.0.1:{port}/api/v1/stream", headers=headers, timeout=WAIT_S
    ) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("data:"))
        time.sleep(2 * (QUICK["head_s"] + QUICK["body_s"]))
        assert not answer.is_closed
        assert alive(port)


def test_one_network_cannot_hold_every_connection(listen: Listen) -> None:
    port = listen(head_s=60)
    with ExitStack() as stack:
        lines = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port)))) for _ in range(25)
        ]
        lines[-1].settimeout(WAIT_S)
        assert lines[-1].recv(1) == b""  # hung up on
        lines[0].sendall(b"GET /api/v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        lines[0].settimeout(WAIT_S)
        assert lines[0].recv(12) == b"HTTP/1.1 200"


def enrolments(port: int, addresses: list[str]) -> list[int]:
    """Guesses at a code of a gateway, of which a network has ten, then one in six seconds."""
    found = []
    for address in addresses:
        headers = {"X-Forwarded-For": address}
        answer = httpx.post(
            f"http://127.0.0.1:{port}/api/v1/enrol",
            json={"secret": "00" * 16},
            headers=headers,
            timeout=WAIT_S,
        )
        found.append(answer.status_code)
    return found


def test_behind_a_proxy_each_visitor_counts_and_nobody_chooses_his_address(listen: Listen) -> None:
    port = listen("127.0.0.1")
    assert enrolments(port, [f"198.51.100.{i}" for i in range(12)]) == [404] * 12
    lies = [
        f"203.0.113.{i}, 192.0.2.7" for i in range(12)
    ]  # what a visitor sends, and the address that the proxy adds
    assert enrolments(port, lies) == [404] * 10 + [429] * 2
    assert enrolments(port, ["192.0.2.8"]) == [404]


def test_without_a_proxy_nobody_is_believed(listen: Listen) -> None:
    assert enrolments(listen(), [f"198.51.100.{i}" for i in range(12)]) == [404] * 10 + [429] * 2
