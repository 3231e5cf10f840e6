"""The log tells changes, not states: a broker that stays away is named once."""

import asyncio
import socket
from pathlib import Path

import pytest

from edge_agent import publisher as publisher_module
from edge_agent.outbox import Outbox
from edge_agent.publisher import Publisher
from tests.fakes.gateway import config_for


def test_a_broker_that_stays_away_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(publisher_module, "_LONGEST_PAUSE_S", 60.0)
    tries = 0

    async def run() -> None:
        with socket.socket() as taken:  # Nobody listens behind a port that is bound only.
            taken.bind(("127.0.0.1", 0))
            config = config_for(tmp_path, taken.getsockname()[1])
            outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
            publisher = Publisher(config, outbox, [], asyncio.Event())
            session = publisher._session_apart
            enough = asyncio.Event()

            async def counted() -> None:
                nonlocal tries
                tries += 1
                if tries == 4:
                    enough.set()
                await session()

            monkeypatch.setattr(publisher, "_session_apart", counted)
            task = asyncio.create_task(publisher.run())
            async with asyncio.timeout(30):
                await enough.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            outbox.close()

    asyncio.run(run())
    assert tries >= 4
    assert len([one for one in caplog.records if one.getMessage().startswith("session_ended")]) == 1
