"""A pure-Python MQTT broker (amqtt) for machines without Mosquitto: `python -m tanyun.broker_fallback FOLDER PORT`.

Reads the password and ACL files that `broker` writes for Mosquitto. For trying things out: it speaks MQTT 3.1.1 only,
keeps everything in memory, sets no limit to a message's size, and lets any local program take over a client id.
"""

import asyncio
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from amqtt.broker import Broker
from amqtt.contexts import Action, BaseContext
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from metering.topics import state_topic
from tanyun.broker import LOOPBACK, password_matches

_WRITE: Final = frozenset({"write", "readwrite"})
_READ: Final = frozenset({"read", "readwrite"})
Acl = dict[str, list[tuple[str, str]]]
"""User → (right, topic filter)."""


def read_acl(file: str) -> Acl:
    """The rights in an ACL file as `broker.acl_text` writes it."""
    acl: Acl = {}
    user = ""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        word, *rest = line.split()
        if word == "user":
            user = rest[0]
        else:
            acl.setdefault(user, []).append((rest[0], rest[1]))
    return acl


def covers(allowed: str, wanted: str) -> bool:
    """True when every topic of the filter `wanted` (or that one topic) is one of the filter `allowed`."""
    ours, theirs = allowed.split("/"), wanted.split("/")
    for index, level in enumerate(ours):
        if level == "#":
            return True
        if index >= len(theirs) or theirs[index] == "#" or level not in {"+", theirs[index]}:
            return False
    return len(ours) == len(theirs)


def permits(acl: Acl, user: str | None, topic: str | None, *, write: bool) -> bool:
    """True when the user may write to (or read from, or subscribe to) that topic."""
    rights = _WRITE if write else _READ
    return any(right in rights and covers(allowed, topic or "") for right, allowed in acl.get(user or "", ()))


class LoginPlugin(BaseAuthPlugin):
    """Lets in who knows a password. Checks the will's topic too, which amqtt publishes without asking anybody."""

    @dataclass
    class Config:
        """What amqtt hands to the plugin."""

        passwords: str
        acl: str

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._acl = read_acl(self.config.acl)
        lines = Path(self.config.passwords).read_text(encoding="utf-8").splitlines()
        self._hashes = dict(line.split(":", 1) for line in lines)

    async def authenticate(self, *, session: Session) -> bool | None:
        """True when the session may connect."""
        known = self._hashes.get(session.username or "")
        if known is None or not password_matches(session.password or "", known):
            return False
        return not session.will_flag or permits(self._acl, session.username, session.will_topic, write=True)


class AclPlugin(BaseTopicPlugin):
    """Confines every user to its own topics."""

    @dataclass
    class Config:
        """What amqtt hands to the plugin."""

        acl: str

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._acl = read_acl(self.config.acl)

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        """True when the session may do that."""
        return permits(
            self._acl, session.username if session else None, topic, write=action == Action.PUBLISH
        )


class StateOnlyBroker(Broker):
    """Retains only STATE, as Sparkplug does: amqtt hands retained messages to whoever connects, subscribed or not."""

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Keep the message for later subscribers."""
        if (topic_name or "").startswith(state_topic("")):
            await super().retain_message(source_session, topic_name, data, qos)


def main(folder: Path, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(folder, port))


async def _serve(folder: Path, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    acl = str(folder / "acl")
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}},
        "plugins": {
            "tanyun.broker_fallback.LoginPlugin": {"passwords": str(folder / "passwords"), "acl": acl},
            "tanyun.broker_fallback.AclPlugin": {"acl": acl},
        },
    }
    broker = StateOnlyBroker(config)
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
