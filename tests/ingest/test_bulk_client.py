"""The client that reads by the portion, against a broker that is nothing but a socket: every message, in order, however it is cut."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from paho.mqtt.client import Client, MQTTMessage

from ingest.bulk_client import BulkClient

DEADLINE_S = 20.0
CONNACK = b"\x20\x02\x00\x00"
Message = tuple[str, bytes]


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT 3.1.1 control packet (2.2.3: seven bits of the length a byte, the lowest first)."""
    size, length = len(body), b""
    while True:
        size, low = size >> 7, size & 0x7F
        length += bytes([low | 0x80 if size else low])
        if not size:
            return bytes([kind]) + length + body


def publish(message: Message, flags: int = 0) -> bytes:
    topic = message[0].encode()
    mid = b"\x00\x07" if flags & 0x06 else b""
    return packet(0x30 | flags, len(topic).to_bytes(2, "big") + topic + mid + message[1])


class Heard:
    """What the client handed over: its messages and how each came."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ways: list[str] = []
        self.pauses: list[int] = []
        self.ended = threading.Event()
        self.client = BulkClient(self.plain, lambda: self.pauses.append(len(self.messages)))
        self.client.on_message = self.by_paho
        self.client.on_disconnect = lambda *_: self.ended.set()

    def plain(self, topic: bytes, payload: bytes) -> bool:
        if topic.startswith(b"other"):
            return False
        self.messages.append((topic.decode(), payload))
        self.ways.append("plain")
        return True

    def by_paho(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload)))
        self.ways.append("paho")

    def until(self, count: int) -> None:
        end = time.monotonic() + DEADLINE_S
        while len(self.messages) < count:
            assert time.monotonic() < end, f"{len(self.messages)} messages of {count} came"
            time.sleep(0.005)


@contextmanager
def connection(heard: Heard, keepalive_s: int = 60) -> Iterator[socket.socket]:
    """The broker's end of the client's connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard.client.connect_async("127.0.0.1", server.getsockname()[1], keepalive=keepalive_s)
        heard.client.loop_start()
        broker, _address = server.accept()
        with broker:
            assert broker.recv(1000)[0] == 0x10
            broker.sendall(CONNACK)
            yield broker
    heard.client.disconnect()
    heard.client.loop_stop()


@pytest.mark.parametrize("seed", range(8))
def test_every_message_comes_in_order_however_the_stream_is_cut(seed: int) -> None:
    dice = random.Random(seed)
    sent: list[Message] = []
    ways: list[str] = []
    stream = b""
    for i in range(300):
        body = dice.randbytes(dice.choice([0, 1, 100, 130, 20_000 if i % 50 == 0 else 5]))
        message = (dice.choice(["data/m", "other/m", "d"]), i.to_bytes(4, "big") + body)
        flags = dice.choice([0, 0, 0, 0x01, 0x02, 0x0A])
        stream += publish(message, flags)
        sent.append(message)
        ways.append("plain" if not flags and not message[0].startswith("other") else "paho")
    heard = Heard()
    with connection(heard) as broker:
        while stream:
            size = dice.choice([1, 2, 3, 40, 2_000, 300_000])
            broker.sendall(stream[:size])
            stream = stream[size:]
        heard.until(len(sent))
    assert heard.messages == sent
    assert heard.ways == ways
    assert heard.pauses[-1] == len(sent)


def test_an_empty_topic_or_a_packet_that_lies_about_its_size_is_left_to_paho() -> None:
    heard = Heard()
    with connection(heard) as broker:
        broker.sendall(publish(("m", b"1")) + packet(0x30, b"\x00\xffm"))
        assert heard.ended.wait(DEADLINE_S)
    assert heard.messages == [("m", b"1")]


def test_what_was_left_of_a_broken_connection_is_not_read_into_the_next_one() -> None:
    heard = Heard()
    heard.client.reconnect_delay_set(1, 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard.client.connect_async("127.0.0.1", server.getsockname()[1])
        heard.client.loop_start()
        for ending in (b"\x30\x7f\x00\x01m half of it", b""):
            broker, _address = server.accept()
            with broker:
                assert broker.recv(1000)[0] == 0x10
                broker.sendall(CONNACK + publish(("m", b"whole")) + ending)
                heard.until(1 if ending else 2)
    heard.client.disconnect()
    heard.client.loop_stop()
    assert heard.messages == [("m", b"whole")] * 2


def test_a_broker_whose_answer_to_a_ping_lies_behind_a_flood_is_alive_and_a_silent_one_is_not() -> None:
    heard, pings = Heard(), b""
    with connection(heard, keepalive_s=1) as broker:
        broker.settimeout(0.05)
        while pings.count(b"\xc0\x00") < 4:
            broker.sendall(publish(("m", b"1")))
            with suppress(TimeoutError):
                pings += (said := broker.recv(100))
                assert said, "the client hung up"
        assert not heard.ended.is_set()
        assert heard.ended.wait(DEADLINE_S)
