"""Whether the primary host is there, by its retained STATE."""

import asyncio
import json
import logging

log = logging.getLogger("tanyun.edge")


class HostOffline(Exception):
    """The primary host has gone: end the session, keep polling, come back when it is there."""


class HostState:
    """Of one session. `gone` only after it was `online`."""

    def __init__(self) -> None:
        self.online = asyncio.Event()
        self.gone = asyncio.Event()
        self._since_ms = -1

    def new_session(self) -> None:
        """Nothing has been heard yet."""
        self._since_ms = -1
        self.online.clear()
        self.gone.clear()

    def hear(self, body: bytes) -> None:
        """A STATE older than the newest is ignored (tck-id-operational-behavior-edge-node-termination-host-offline-timestamp)."""
        try:
            state = json.loads(body)
            online, since_ms = bool(state["online"]), int(state["timestamp"])
        except (ValueError, KeyError, TypeError):
            log.warning("state_refused body=%r", body[:100])
            return
        if since_ms < self._since_ms:
            return
        self._since_ms = since_ms
        if online:
            self.online.set()
        elif self.online.is_set():
            self.gone.set()

    async def leave_with(self, host: str) -> None:
        """When the primary host goes, end the session (tck-id-operational-behavior-edge-node-termination-host-offline)."""
        await self.gone.wait()
        msg = f"host {host} is offline"
        raise HostOffline(msg)
