"""The Merkle tree hash of RFC 6962 (section 2.1) over the records of a segment, and the hash chain over segments."""

import hashlib
from collections.abc import Sequence

CHAIN_START = bytes(32)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root over the leaves' bytes: SHA-256, leaf prefix 00, node prefix 01; the empty tree hashes the empty string."""
    if not leaves:
        return hashlib.sha256().digest()
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        paired = [
            hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)
        ]
        level = paired + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def chain_next(previous: bytes, segment: int, root: bytes) -> bytes:
    """The chain value after a segment; it commits to every segment before it and to their order."""
    return hashlib.sha256(previous + segment.to_bytes(8, "big") + root).digest()
