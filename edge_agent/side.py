"""What the publisher carries besides Sparkplug, on the same connection: topics of the gateway's own, in and out."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edge_agent.cancellation import heed_cancellation
from edge_agent.mqtt_client import EdgeClient, MqttError


class Message(NamedTuple):
    """A retained message to publish (QoS 1); an empty body clears the topic."""

    topic: str
    body: bytes


class SideChannel(Protocol):
    """Who listens. `hear` is called in the event loop, and must not block it."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics to subscribe to besides those of Sparkplug."""
        ...

    @property
    def outgoing(self) -> asyncio.Queue[Message]:
        """What is to be published as soon as there is a connection."""
        ...

    def hello(self) -> Sequence[Message]:
        """What is said at the start of each session: the broker may have forgotten it."""
        ...

    def hear(self, topic: str, body: bytes) -> None:
        """A message on one of the topics; what it says is not to be trusted."""
        ...


async def tell(client: EdgeClient, side: SideChannel) -> None:
    """Publish what the side channel has to say; what a broken connection kept back is said by the next one."""
    for message in side.hello():
        await client.publish(message.topic, message.body, qos=1, retain=True)
    while True:
        message = await side.outgoing.get()
        try:
            await client.publish(message.topic, message.body, qos=1, retain=True)
        except (MqttError, asyncio.CancelledError):
            side.outgoing.put_nowait(message)
            raise
        finally:
            side.outgoing.task_done()
        heed_cancellation()
