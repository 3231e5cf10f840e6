"""A tap on the wire between a gateway and its broker: passes every byte on, and keeps the MQTT 3.1.1 packets of each connection."""

import socket
import threading
from dataclasses import dataclass, field
from typing import Self

CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14
_CHUNK = 65536


@dataclass(frozen=True)
class Packet:
    """A control packet as it stood on the wire (MQTT 3.1.1, chapter 2)."""

    kind: int
    flags: int
    body: bytes
    of_client: bool


@dataclass(frozen=True)
class Publish:
    """A PUBLISH (3.3)."""

    topic: str
    qos: int
    retain: bool
    payload: bytes
    of_client: bool


@dataclass(frozen=True)
class Connect:
    """A CONNECT (3.1)."""

    clean_session: bool
    client_id: str
    will: Publish | None


@dataclass
class Connection:
    """The packets of one connection in the order they passed."""

    packets: list[Packet] = field(default_factory=list)

    @property
    def connect(self) -> Connect:
        """Its CONNECT, which is the first packet (3.1.0-1)."""
        assert self.packets[0].kind == CONNECT
        return read_connect(self.packets[0].body)

    @property
    def publishes(self) -> list[Publish]:
        """What the client has published."""
        return [
            read_publish(packet) for packet in self.packets if packet.kind == PUBLISH and packet.of_client
        ]

    @property
    def subscriptions(self) -> dict[str, int]:
        """Topic filter → requested QoS."""
        found: dict[str, int] = {}
        for packet in self.packets:
            if packet.kind == SUBSCRIBE and packet.of_client:
                found.update(read_subscribe(packet.body))
        return found


class Tap:
    """A context manager; connect to `port` instead of the broker's."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self.connections: list[Connection] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._sockets: list[socket.socket] = [self._server]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        for item in self._sockets:
            close(item)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._server.accept()
                broker = socket.create_connection(("127.0.0.1", self._broker_port))
            except OSError:
                return
            self._sockets += [client, broker]
            connection = Connection()
            self.connections.append(connection)
            for one, other, of_client in ((client, broker, True), (broker, client, False)):
                threading.Thread(
                    target=_pass_on, args=(one, other, connection, of_client), daemon=True
                ).start()


def close(item: socket.socket) -> None:
    """Wake whoever waits on it, and close it."""
    try:
        item.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        item.close()


def _pass_on(one: socket.socket, other: socket.socket, connection: Connection, of_client: bool) -> None:
    kept = b""
    try:
        while data := one.recv(_CHUNK):
            kept = take_packets(kept + data, connection.packets, of_client=of_client)
            other.sendall(data)
    except OSError:
        pass
    finally:
        close(other)


def take_packets(data: bytes, packets: list[Packet], *, of_client: bool) -> bytes:
    """Move whole packets from the bytes to the list; the bytes of an unfinished one."""
    while len(data) >= 2:
        length, shift, at = 0, 0, 1
        while True:
            if at >= len(data):
                return data
            byte = data[at]
            length |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not byte & 0x80:
                break
        if len(data) < at + length:
            return data
        packets.append(Packet(data[0] >> 4, data[0] & 15, data[at : at + length], of_client))
        data = data[at + length :]
    return data


def read_publish(packet: Packet) -> Publish:
    """The fields of a PUBLISH."""
    qos = packet.flags >> 1 & 3
    topic, at = _text(packet.body, 0)
    at += 2 if qos else 0
    return Publish(topic, qos, bool(packet.flags & 1), packet.body[at:], packet.of_client)


def read_connect(body: bytes) -> Connect:
    """The fields of a CONNECT."""
    protocol, at = _text(body, 0)
    assert (protocol, body[at]) == ("MQTT", 4)
    flags, at = body[at + 1], at + 4  # behind level, flags and keep-alive
    client_id, at = _text(body, at)
    will = None
    if flags & 4:
        topic, at = _text(body, at)
        length = int.from_bytes(body[at : at + 2])
        will = Publish(
            topic, flags >> 3 & 3, bool(flags & 32), body[at + 2 : at + 2 + length], of_client=True
        )
    return Connect(bool(flags & 2), client_id, will)


def read_subscribe(body: bytes) -> dict[str, int]:
    """Topic filter → QoS of a SUBSCRIBE."""
    found, at = {}, 2
    while at < len(body):
        topic, at = _text(body, at)
        found[topic] = body[at]
        at += 1
    return found


def _text(body: bytes, at: int) -> tuple[str, int]:
    length = int.from_bytes(body[at : at + 2])
    return body[at + 2 : at + 2 + length].decode(), at + 2 + length
