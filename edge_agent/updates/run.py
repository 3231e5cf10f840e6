"""Runs an agent through changes of its configuration: one run ends, the next begins, the outbox between them stays."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from edge_agent import agent
from edge_agent.config import EdgeConfig, UpdateSettings
from edge_agent.live import LiveConfiguration
from edge_agent.updates.channel import Updates
from edge_agent.updates.store import Store


def updates_of(installed: EdgeConfig) -> Updates | None:
    """What takes pushed configurations, where the installed file allows them; OSError when its key cannot be read."""
    settings = installed.updates
    return None if settings is None else Updates(installed, _store(installed, settings))


def _store(installed: EdgeConfig, settings: UpdateSettings) -> Store:
    folder: Path = settings.folder or installed.outbox.path.with_name("updates")
    return Store(installed, folder, settings.key_file.read_bytes())


def in_force(updates: Updates | None) -> LiveConfiguration:
    """For the status."""
    if updates is None:
        return LiveConfiguration()
    state = updates.store.state
    return LiveConfiguration(
        state.active, "trial" if state.trial else "confirmed" if state.active else "installed"
    )


async def run(
    installed: EdgeConfig, updates: Updates | None, stop: asyncio.Event, companions: Sequence[agent.Companion]
) -> None:
    """Poll and publish until `stop` is set, with whatever configuration is in force."""
    if updates is None:
        await agent.run(installed, stop, companions)
        return
    while not stop.is_set():
        config = await asyncio.to_thread(updates.configuration)
        ended = asyncio.Event()
        waits = [asyncio.create_task(_either(event, ended)) for event in (stop, updates.switch)]
        try:
            await agent.run(config, ended, [*companions, updates.accompany], updates)
        finally:
            for task in waits:
                task.cancel()


async def _either(event: asyncio.Event, ended: asyncio.Event) -> None:
    await event.wait()
    ended.set()
