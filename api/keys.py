"""Random secrets: what machines show, and what is stored of it."""

import hashlib
import secrets
from typing import Final

KEY_PREFIX: Final = "tk"
"""So that a scanner for leaked secrets finds one."""


def digest_of(secret: str) -> bytes:
    """What is stored of a random secret. It has 256 random bits, so that nothing slower is needed."""
    return hashlib.sha256(secret.encode()).digest()


def make_key(id: str | None = None) -> tuple[str, str, bytes]:
    """Id, text and digest of a new machine key. The text is shown once."""
    id = id or secrets.token_hex(4)
    text = f"{KEY_PREFIX}_{id}_{secrets.token_urlsafe(32)}"
    return id, text, digest_of(text)
