"""The topic grammar of Sparkplug 3.0 (chapter 4): `spBv1.0/group/TYPE/edge node[/device]` and `spBv1.0/STATE/host`."""

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from metering.ids import is_valid_id

NAMESPACE = "spBv1.0"
_LONGEST_REMEMBERED = 256


class MessageType(StrEnum):
    """Sparkplug message types that a gateway or host sends."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    NDATA = "NDATA"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDEATH = "DDEATH"
    DDATA = "DDATA"
    DCMD = "DCMD"


NODE_TYPES = frozenset({MessageType.NBIRTH, MessageType.NDEATH, MessageType.NDATA, MessageType.NCMD})
COMMANDS = frozenset({MessageType.NCMD, MessageType.DCMD})


class Topic(NamedTuple):
    """A parsed Sparkplug topic: park = group, gateway = edge node, meter = device (empty for node messages)."""

    group: str
    type: MessageType
    gateway: str
    meter: str = ""

    def __str__(self) -> str:
        tail = f"/{self.meter}" if self.meter else ""
        return f"{NAMESPACE}/{self.group}/{self.type}/{self.gateway}{tail}"


def parse_topic(text: str) -> Topic | None:
    """The parsed topic, or None when it does not follow the grammar."""
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _parsed(text)


def _parsed(text: str) -> Topic | None:
    parts = text.split("/")
    if len(parts) not in {4, 5} or parts[0] != NAMESPACE or parts[2] not in MessageType.__members__:
        return None
    kind = MessageType(parts[2])
    ids = [parts[1], *parts[3:]]
    if (kind in NODE_TYPES) != (len(parts) == 4) or not all(map(is_valid_id, ids)):  # noqa: PLR2004
        return None
    return Topic(parts[1], kind, parts[3], parts[4] if len(parts) == 5 else "")  # noqa: PLR2004


_remembered = lru_cache(maxsize=65_536)(_parsed)
"""A park's topics come again and again."""


def configuration_topic(park: str, gateway: str) -> str:
    """Where a gateway's newest signed configuration is retained. Not Sparkplug: an NCMD is never retained."""
    return f"tanyun/{park}/{gateway}/configuration"


def configured_topic(park: str, gateway: str) -> str:
    """Where a gateway says what became of it, retained."""
    return f"tanyun/{park}/{gateway}/configured"


def state_topic(host: str) -> str:
    """The retained topic on which a primary host says that it is there."""
    return f"{NAMESPACE}/STATE/{host}"
