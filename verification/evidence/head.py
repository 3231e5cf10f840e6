"""The daily signed chain head: what the journal's chain was at a moment, so that nobody can build another one afterwards.

The regulator keeps it. A journal or an evidence pack that is shown later has to go through it: `agrees`.
"""

import hashlib

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from metering.i18n import _
from verification.evidence import signing
from verification.evidence.manifest import Signer

SCHEMA = "tanyun-chain-head/1"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where the journal stood."""

    schema: str
    park: str
    journal_id: str
    day: str
    at: str
    segment: int
    """The last segment; 0: none yet."""
    chain: str
    """Chain value after it, hex."""
    previous_sha256: str
    """Of the signed head before this one; empty in the first. A missing day shows."""


class SignedHead(msgspec.Struct, frozen=True, kw_only=True):
    """The head with an Ed25519 signature over its canonical JSON (keys sorted, no spaces)."""

    head: Head
    signer: Signer
    signature: str


def head_name(head: Head) -> str:
    """`<park>_chain-head_<day>.json`."""
    return f"{head.park}_chain-head_{head.day}.json"


def sign(head: Head, key: Ed25519PrivateKey) -> bytes:
    """The signed head as it is stored and sent."""
    public = key.public_key()
    signer = Signer("Ed25519", public.public_bytes_raw().hex(), signing.key_id(public))
    signed = SignedHead(head=head, signer=signer, signature=key.sign(_signed_bytes(head)).hex())
    return msgspec.json.format(msgspec.json.encode(signed, order="sorted"), indent=1) + b"\n"


def read(data: bytes, pinned: Ed25519PublicKey | None = None) -> Head:
    """The head in a file, its signature checked.

    Raises:
        ValueError: it is no signed head, or the signature is not that of the key.
    """
    try:
        signed = msgspec.json.decode(data, type=SignedHead)
        key = pinned or signing.from_hex(signed.signer.public_key)
        signature = bytes.fromhex(signed.signature)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(_("no signed chain head: {error}").format(error=error)) from error
    if signed.head.schema != SCHEMA or not signing.signed_by(key, signature, _signed_bytes(signed.head)):
        raise ValueError(_("the signature is not that of key {key}").format(key=signing.key_id(key)))
    return signed.head


def digest(data: bytes) -> str:
    """SHA-256 of a signed head, hex: what the next one names."""
    return hashlib.sha256(data).hexdigest()


def _signed_bytes(head: Head) -> bytes:
    return msgspec.json.encode(head, order="sorted")
