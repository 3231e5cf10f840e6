"""The relays of the chaos suite do what they say: a suite whose network never fails would prove nothing."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from tests.chaos.cable import Cable, can_lay
from tests.chaos.wire import Weather, Wires

MESSAGES = [bytes([0x30, 4]) + b"\0\1t" + bytes([number]) for number in range(100)]


@contextmanager
def sink() -> Iterator[tuple[int, list[bytes], threading.Event]]:
    """A server that keeps what it is told until the connection ends."""
    heard: list[bytes] = []
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _address = server.accept()
        with closing(connection):
            while data := connection.recv(65536):
                heard.append(data)
        over.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], heard, over
    server.close()


def through(weather: Weather) -> list[int]:
    """The numbers that arrive of a hundred messages sent in order."""
    with Wires(3) as wires, sink() as (target, heard, over):
        port = wires.add("link", target, mqtt=True)
        wires.set("link", weather)
        with closing(socket.create_connection(("127.0.0.1", port))) as client:
            client.sendall(b"".join(MESSAGES))
            client.shutdown(socket.SHUT_WR)
            assert over.wait(20)
    data = b"".join(heard)
    return list(data[5::6])


def test_fine_weather_changes_nothing() -> None:
    assert through(Weather()) == list(range(100))


def test_messages_come_twice_out_of_order_and_not_at_all() -> None:
    twice = through(Weather(duplicate=0.5))
    assert len(twice) > 110
    assert sorted(set(twice)) == list(range(100))
    mixed = through(Weather(reorder=0.5))
    assert mixed != sorted(mixed)
    assert len(through(Weather(drop=0.5))) < 90


def test_acknowledged_messages_are_left_alone() -> None:
    """QoS 1 bears a packet identifier; losing it would be a broken broker, not a broken wire."""
    global MESSAGES  # noqa: PLW0603  the same, at another QoS
    kept = MESSAGES
    MESSAGES = [bytes([0x32]) + message[1:] for message in kept]
    try:
        assert through(Weather(duplicate=0.5, reorder=0.5, drop=0.5)) == list(range(100))
    finally:
        MESSAGES = kept


@pytest.mark.skipif(not can_lay(), reason="no root or no network namespaces on this machine")
def test_a_pulled_cable_loses_packets_and_tells_nobody() -> None:
    with (
        closing(Cable(62)) as cable,
        Wires(1) as here,
        Wires(1, cable.enter) as there,
        sink() as (target, heard, _over),
    ):
        far = there.add("link", here.add("link", target, bind=cable.address), host=cable.address)
        with socket_in(cable) as client:
            client.connect(("127.0.0.1", far))
            client.sendall(b"before")
            _until(lambda: b"".join(heard) == b"before")
            cable.pull()
            client.sendall(b"meanwhile")
            time.sleep(0.5)
            assert b"".join(heard) == b"before"
            cable.plug()
            _until(lambda: b"".join(heard) == b"beforemeanwhile")


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def socket_in(cable: Cable) -> Iterator[socket.socket]:
    """A socket that is made by a thread there."""
    made: list[socket.socket] = []

    def make() -> None:
        cable.enter()
        made.append(socket.socket())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    with closing(made[0]) as found:
        yield found
