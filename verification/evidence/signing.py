"""Ed25519 keys and signatures (RFC 8032): the key's file, a detached signature over bytes, and how a key is named."""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from metering.i18n import _
from verification.evidence.errors import KeyFileError

_OWNER_ONLY = 0o600


def generate(path: Path) -> Ed25519PublicKey:
    """A new private key in a file that only its owner reads, and its public half beside it; nothing is ever overwritten."""
    public = public_path(path)
    if public.exists():
        raise KeyFileError(_("{path} is there already and is never overwritten").format(path=public))
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError as error:
        raise KeyFileError(_("{path} is there already and is never overwritten").format(path=path)) from error
    with os.fdopen(handle, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(public_pem(key.public_key()))
    return key.public_key()


def public_path(path: Path) -> Path:
    """Where the public half of a key file stands."""
    return path.with_name(f"{path.stem}.pub.pem")


def load_private(path: Path) -> Ed25519PrivateKey:
    """The private key in a file."""
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            _("{path} holds no Ed25519 private key without a password").format(path=path)
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(_("{path} holds no Ed25519 private key without a password").format(path=path))
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """The public key in a file."""
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(_("{path} holds no Ed25519 public key").format(path=path)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(_("{path} holds no Ed25519 public key").format(path=path))
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = _("the key file {path} cannot be read ({reason}); `tanyun evidence keygen` makes one")
        raise KeyFileError(text.format(path=path, reason=error.strerror)) from error


def public_pem(key: Ed25519PublicKey) -> bytes:
    """The public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the 32 bytes of a public key, hex: what one reads out over the telephone."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def from_hex(text: str) -> Ed25519PublicKey:
    """The public key in 64 hexadecimal digits; ValueError when it is none."""
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


def signed_by(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    """Whether the signature over these bytes is the key's."""
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
