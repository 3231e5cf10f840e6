"""Identifiers: who and what a reading belongs to. One grammar for all, so that an id is safe in a topic, a path and a URL."""

import re
from typing import NewType

ParkId = NewType("ParkId", str)
EnterpriseId = NewType("EnterpriseId", str)
SiteId = NewType("SiteId", str)
GatewayId = NewType("GatewayId", str)
MeterId = NewType("MeterId", str)

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_ID = re.compile(ID_PATTERN)


def is_valid_id(text: str) -> bool:
    """True for 1 to 64 letters, digits, dot, dash or underscore, starting with a letter or digit."""
    return _ID.fullmatch(text) is not None
