"""Files that people attach (evidence, stamped scans): kept under their SHA-256, never changed."""

import hashlib
import os
import re
from pathlib import Path

MAX_BYTES = 20 * 1024 * 1024
"""A scanned report of some 40 pages; ours."""
KINDS = {b"%PDF-": ".pdf", b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"PK\x03\x04": ".xlsx"}
"""First bytes → extension: what an office scans, photographs or exports."""
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


class AttachmentError(ValueError):
    """The file cannot be kept (its sender's fault)."""


def keep(folder: Path, data: bytes) -> str:
    """Store a file and give its SHA-256; the same bytes are stored once.

    Raises:
        AttachmentError: it is empty, too large or of no kind we keep.
    """
    if not data or len(data) > MAX_BYTES:
        raise AttachmentError(f"{len(data)} bytes; a file has 1 to {MAX_BYTES}")
    if kind_of(data) is None:
        raise AttachmentError("no PDF, PNG, JPEG or XLSX file by its first bytes")
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{digest}.draft"
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # What names it is synced, too.
        draft.replace(path)
    return digest


def kind_of(data: bytes) -> str | None:
    """The extension that the first bytes tell; None when they tell none we keep."""
    return next((kind for mark, kind in KINDS.items() if data.startswith(mark)), None)


def read(folder: Path, digest: str) -> bytes | None:
    """A kept file; None when there is none of that digest."""
    if not _DIGEST.match(digest):
        return None
    path = folder / digest
    return path.read_bytes() if path.exists() else None
