"""The connection to the broker: its end is told once."""

import asyncio
import gc
from typing import Any

from edge_agent.mqtt_client import EdgeClient
from tests.fakes.mosquitto import Mosquitto


def test_a_connection_that_drops_while_nobody_listens_says_nothing_to_asyncio(broker: Mosquitto) -> None:
    async def session(told: list[dict[str, Any]]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(context))
        async with EdgeClient(
            "127.0.0.1", broker.port, username="gw", password=broker.password("gw"), timeout=5
        ) as client:
            broker.kill()
            async with asyncio.timeout(20):
                await asyncio.wait([client._disconnected])
        del client
        gc.collect()

    told: list[dict[str, Any]] = []
    asyncio.run(session(told))
    assert told == []
