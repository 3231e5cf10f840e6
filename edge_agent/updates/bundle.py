"""A bundle: a gateway's configuration, profiles and credentials as one signed message.

    16 bytes   `tanyun-bundle-1` and a line feed
    64 bytes   Ed25519 signature (RFC 8032) over the line above and everything behind the signature
    the rest   zlib (RFC 1950) of a JSON document: park, gateway, number, made_ms, files

Nothing of it is unpacked before the signature has been verified.
"""

import re
import zlib
from collections.abc import Callable
from typing import Final

import msgspec

MAGIC: Final = b"tanyun-bundle-1\n"
_SIGNATURE: Final = 64
CONFIG: Final = "edge.toml"
_NAME: Final = re.compile(
    r"edge\.toml|profiles/[A-Za-z0-9_-][A-Za-z0-9_.-]*\.toml|secrets/[A-Za-z0-9_-][A-Za-z0-9_.-]*"
)
_MOST_BYTES: Final = 4_000_000
"""Unpacked; ours. A configuration with 247 meters and twenty profiles has a tenth of it."""


class BundleError(Exception):
    """The bundle is refused; the message says why, for whoever pushed it."""


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one gateway is to run with. File names are relative to the configuration."""

    park: str
    gateway: str
    number: int
    """Rises with every bundle for this gateway; an old one is never taken again."""
    made_ms: int
    files: dict[str, str]


def pack(bundle: Bundle, sign: Callable[[bytes], bytes]) -> bytes:
    """The message; ValueError for a bundle that no gateway would take."""
    _check(bundle)
    body = zlib.compress(msgspec.json.encode(bundle), 9)
    return MAGIC + sign(MAGIC + body) + body


def unpack(data: bytes, public_pem: bytes) -> Bundle:
    """The bundle in a message, if the pinned key has signed it; BundleError."""
    if not data.startswith(MAGIC) or len(data) <= len(MAGIC) + _SIGNATURE:
        raise BundleError("this is no bundle")
    signature, body = data[len(MAGIC) : len(MAGIC) + _SIGNATURE], data[len(MAGIC) + _SIGNATURE :]
    _verify(public_pem, signature, MAGIC + body)
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(body, _MOST_BYTES)
        if not unpacker.eof:
            raise BundleError("the bundle is larger than any configuration")
        bundle = msgspec.json.decode(text, type=Bundle)
        _check(bundle)
    except (zlib.error, msgspec.DecodeError, ValueError) as error:
        raise BundleError(f"the bundle cannot be read: {error}") from error
    return bundle


def _check(bundle: Bundle) -> None:
    wrong = sorted(name for name in bundle.files if not _NAME.fullmatch(name))
    if wrong:
        raise ValueError(f"file names not allowed: {', '.join(wrong)}")
    if CONFIG not in bundle.files:
        raise ValueError(f"there is no {CONFIG} in it")
    if bundle.number < 1:
        raise ValueError("a number is positive")


def _verify(public_pem: bytes, signature: bytes, signed: bytes) -> None:
    # Here and not above: it costs memory, and is needed once a year.
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BundleError(
            "the gateway cannot verify signatures: its package `cryptography` is missing"
        ) from error
    try:
        key = load_pem_public_key(public_pem)
    except ValueError as error:
        raise BundleError("the gateway's own key file holds no Ed25519 public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError("the gateway's own key file holds no Ed25519 public key")
    try:
        key.verify(signature, signed)
    except InvalidSignature as error:
        raise BundleError("the signature is not that of the pinned key") from error
