"""aiomqtt's client, and a way to send many messages as one: a backlog cannot afford a turn of the event loop for each."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Self

import aiomqtt
from aiomqtt import MqttError
from paho.mqtt.client import MQTTMessageInfo

from metering.protobuf_wire import varint

__all__ = ["EdgeClient", "MqttError", "publish_packet"]
_PUBLISH: Final = 0x30
"""QoS 0, not retained (MQTT 3.1.1, 3.3)."""


def publish_packet(topic: bytes, payload: bytes) -> bytes:
    """A PUBLISH of MQTT 3.1.1; lengths are written seven bits a byte like protobuf's."""
    size = len(topic).to_bytes(2, "big")
    return b"%c%b%b%b%b" % (_PUBLISH, varint(2 + len(topic) + len(payload)), size, topic, payload)


def _heard(end: asyncio.Future[None]) -> None:
    """A connection that ends while nobody waits for a message is told by what is sent next; asyncio need not complain, too."""
    if not end.cancelled():
        end.exception()


class EdgeClient(aiomqtt.Client):
    """One session's connection."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._connected.add_done_callback(_heard)
        self._disconnected.add_done_callback(_heard)

    async def __aenter__(self) -> Self:
        """Connect. aiomqtt may make the future of the connection's end anew."""
        await super().__aenter__()
        self._disconnected.add_done_callback(_heard)
        return self

    def put(self, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Queue (topic, payload) at QoS 0 in one piece behind what waits; the next awaited `publish` waits for it too."""
        if self._client.socket() is None:
            raise aiomqtt.MqttCodeError(4, "could not publish")
        packets = b"".join(publish_packet(topic, payload) for topic, payload in messages)
        if packets:
            # Number 0 is no message's: nobody waits for this one by itself.
            self._client._packet_queue(_PUBLISH, packets, 0, 0, MQTTMessageInfo(0))  # noqa: SLF001
