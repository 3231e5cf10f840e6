"""Credentials on their way to a new gateway: sealed with the code's secret, so that what waits on the server opens nothing.

Made on the command line, which may read the CA's key; handed out by the API, which may not.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = bytes(12)
"""Every key is used once."""


class SealError(Exception):
    """What was sealed cannot be opened with this secret."""


class Credentials(msgspec.Struct, frozen=True):
    """What a gateway gets: its id, and files by name."""

    gateway: str
    files: Mapping[str, str]

    def __repr__(self) -> str:
        """Without what is in the files."""
        return f"Credentials({self.gateway!r}, {sorted(self.files)})"


def lookup_digest(secret: bytes) -> bytes:
    """Under what sealed credentials are kept; tells nothing of the key."""
    return hmac.digest(secret, b"tanyun enrolment lookup", hashlib.sha256)


def seal(credentials: Credentials, secret: bytes) -> bytes:
    """AES-256-GCM with a key that follows from the secret."""
    return AESGCM(_key(secret)).encrypt(_NONCE, msgspec.json.encode(credentials), None)


def unseal(sealed: bytes, secret: bytes) -> Credentials:
    """SealError when it was sealed with another secret, or changed."""
    try:
        plain = AESGCM(_key(secret)).decrypt(_NONCE, sealed, None)
    except InvalidTag as error:
        raise SealError("sealed with another secret") from error
    return msgspec.json.decode(plain, type=Credentials)


def _key(secret: bytes) -> bytes:
    return hmac.digest(secret, b"tanyun enrolment key", hashlib.sha256)
