"""What systemd is told: ready, still alive, stopping (sd_notify(3)). Without systemd nothing is said."""

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Final

from edge_agent.agent import Running

log = logging.getLogger("tanyun.edge")
_PATIENCE_S: Final = 60.0
_PATIENCE_POLLS: Final = 3
"""The poll loop may be silent for so many periods, and a minute on top: a full bus is slow, not dead. Ours."""


class Notifier:
    """The socket that systemd listens on; `@` in front of its name means the abstract name space."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        """How often systemd wants a sign of life (WatchdogSec); None: it does not."""
        self._address = None if not address else "\0" + address[1:] if address[0] == "@" else address

    def say(self, *lines: str) -> None:
        """Send state lines such as `READY=1`. What cannot be sent is not sent: the agent is worth more than its sign."""
        if self._address is None:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out,
        ):
            out.sendto("\n".join(lines).encode(), self._address)


def is_alive(running: Running) -> bool:
    """Whether the poll loop still comes round. A stepped clock may stand still for as long as it likes."""
    most_s = _PATIENCE_POLLS * running.config.poll_interval_s + _PATIENCE_S
    return running.clock.stepped or running.poller.pulse.silent_s <= most_s


async def keep_notified(notifier: Notifier, running: Running) -> None:
    """READY at once, then a sign of life while the poll loop turns. A companion of the agent."""
    notifier.say("READY=1", f"STATUS={status_line(running)}")
    said, was_alive = "", True
    while True:
        await asyncio.sleep((notifier.watchdog_s or 2 * _PATIENCE_S) / 2)
        alive = is_alive(running)
        if was_alive and not alive:
            log.error("poll_loop_stuck silent_s=%.0f", running.poller.pulse.silent_s)
        was_alive = alive
        line = status_line(running)
        lines = [*(["WATCHDOG=1"] if alive else []), *([f"STATUS={line}"] if line != said else [])]
        if lines:
            notifier.say(*lines)
        said = line


def status_line(running: Running) -> str:
    """The line of `systemctl status`."""
    answering = sum(device.health.answers for device in running.devices)
    session = "in session" if running.publisher.in_session else "no session"
    return f"{answering}/{len(running.devices)} meters answer, {session}, backlog {running.outbox.backlog()}"
