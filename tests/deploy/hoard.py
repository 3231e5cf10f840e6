"""All that a test knows to be secret, every form in which it could be written down, and the search for it."""

import base64
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

_PRIVATE: Final = 0o077
_NESTED: Final = 4
"""Archives in archives that are opened: a pack in a backup in a ZIP."""


class Hoard:
    """Secrets by name."""

    def __init__(self) -> None:
        self._forms: dict[str, set[bytes]] = {}

    def add(self, name: str, secret: str | bytes) -> None:
        """Remember a secret; a short one would be found anywhere."""
        raw = secret.strip() if isinstance(secret, bytes) else secret.strip().encode()
        assert len(raw) >= 8, f"{name} is too short to be searched for"
        self._forms.setdefault(name, set()).update(forms(raw))

    def add_key(self, name: str, pem: Path) -> None:
        """A private key: each line of its PEM is one secret."""
        lines = [
            line for line in pem.read_text(encoding="ascii").splitlines() if not line.startswith("-----")
        ]
        for line in lines:
            self.add(name, line)
        self.add(name, base64.b64decode("".join(lines))[-40:])

    def __len__(self) -> int:
        return len(self._forms)

    def found_in(self, content: bytes) -> set[str]:
        """The names of the secrets that stand in these bytes, or packed in them."""
        return {
            name
            for part in unpacked(content)
            for name, known in self._forms.items()
            if any(form in part for form in known)
        }

    def search(self, folder: Path, own: Mapping[str, set[str]]) -> tuple[list[str], int]:
        """What stands where it should not, and how many files were read.

        `own`: a file's path below the folder (or a prefix that ends in /) → which secrets it may hold; it must be its owner's alone.
        """
        wrong, read = [], 0
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name, read = str(path.relative_to(folder)), read + 1
            found = self.found_in(path.read_bytes())
            allowed = next(
                (
                    names
                    for place, names in own.items()
                    if name == place or (place[-1] == "/" and name.startswith(place))
                ),
                set(),
            )
            wrong += [
                f"{secret} stands in {name}"
                for secret in sorted(found)
                if secret not in allowed and "*" not in allowed
            ]
            if found and is_open(path, folder):
                wrong.append(f"{name} holds {', '.join(sorted(found))} and others can read it")
        return wrong, read


def is_open(path: Path, top: Path) -> bool:
    """Whether others than the owner can get at a file: it and every folder on the way let them."""
    on_the_way = [path, *(folder for folder in path.parents if folder.is_relative_to(top) and folder != top)]
    return all(item.stat().st_mode & _PRIVATE for item in on_the_way)


def forms(raw: bytes) -> Iterator[bytes]:
    """A secret as it is, in hex, as JSON and URLs write it, and in base64 however it falls on its groups of three."""
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    text = raw.decode("utf-8", errors="ignore")
    if text.encode() == raw:
        yield json.dumps(text)[1:-1].encode()
        yield quote(text, safe="").encode()
    for shift in range(3):
        body = base64.b64encode(b"\0" * shift + raw)
        yield body[4 if shift else 0 : len(body) // 4 * 4 - 4]


def unpacked(content: bytes, depth: int = _NESTED) -> Iterator[bytes]:
    """The bytes, and whatever is packed in them: members of ZIP archives (packs, XLSX), deflated streams of a PDF."""
    yield content
    if depth and zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from unpacked(archive.read(name), depth - 1)
    if content[:5] == b"%PDF-":
        yield from _streams(content)


def _streams(pdf: bytes) -> Iterator[bytes]:
    at = 0
    while (at := pdf.find(b"stream", at)) >= 0:
        at += len(b"stream")
        decoder = zlib.decompressobj()
        try:
            yield decoder.decompress(pdf[at:].lstrip(b"\r\n"), 1 << 24)
        except zlib.error:
            continue
