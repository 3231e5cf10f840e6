"""A ZIP file with exactly one form: no free byte in it that neither a digest nor the form itself covers.

Any ZIP program opens it. We read it strictly: the headers must be the very ones that we would write for its members.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from metering.i18n import _
from verification.evidence.errors import PackError

STORED, DEFLATED = 0, 8
_CHUNK = 1 << 20
_LEVEL = 6
_VERSION, _UTF8 = 20, 0x0800
_TIME, _DATE = 0, 0x21
"""1980-01-01 00:00, the first moment that ZIP knows."""
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = 0x04034B50, 0x02014B50, 0x06054B50
_LIMIT = 0xFFFFFFFF
"""Sizes and offsets of plain ZIP; we write no ZIP64."""


class Member(NamedTuple):
    """A file of the container."""

    name: str
    method: int
    crc: int
    packed_size: int
    size: int
    at: int
    """Offset of its local header."""

    @property
    def local(self) -> bytes:
        """The local header that belongs to it."""
        name = self.name.encode()
        sizes = (self.crc, self.packed_size, self.size)
        head = (_LOCAL_MARK, _VERSION, _UTF8, self.method, _TIME, _DATE, *sizes, len(name), 0)
        return _LOCAL.pack(*head) + name

    @property
    def central(self) -> bytes:
        """Its entry in the central directory."""
        name = self.name.encode()
        head = (
            _CENTRAL_MARK,
            _VERSION,
            _VERSION,
            _UTF8,
            self.method,
            _TIME,
            _DATE,
            self.crc,
            self.packed_size,
            self.size,
        )
        return _CENTRAL.pack(*head, len(name), 0, 0, 0, 0, 0, self.at) + name

    @property
    def data_at(self) -> int:
        """Offset of its packed bytes."""
        return self.at + _LOCAL.size + len(self.name.encode())


class Digests(NamedTuple):
    """What a manifest keeps of a member."""

    size: int
    sha256: str
    packed_sha256: str


class ContainerWriter:
    """Writes members one after the other, in bounded memory; the file is complete after the `with`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._members: list[Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._file.close()

    def add(self, name: str, chunks: Iterable[bytes], *, deflate: bool = True) -> Digests:
        """Write a member, compressed unless told otherwise."""
        method = DEFLATED if deflate else STORED
        draft = Member(name, method, 0, 0, 0, self._file.tell())
        self._file.write(draft.local)
        member, digests = self._pack(draft, chunks)
        end = self._file.tell()
        if end > _LIMIT:
            raise PackError(_("a pack holds at most 4 GiB; this one is larger"))
        self._file.seek(member.at)
        self._file.write(member.local)
        self._file.seek(end)
        self._members.append(member)
        return digests

    def _pack(self, draft: Member, chunks: Iterable[bytes]) -> tuple[Member, Digests]:
        plain, packed = hashlib.sha256(), hashlib.sha256()
        press = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS) if draft.method == DEFLATED else None
        crc = size = packed_size = 0
        for chunk in _with_end(chunks):
            data = b"" if chunk is None else chunk
            crc, size = zlib.crc32(data, crc), size + len(data)
            plain.update(data)
            out = data if press is None else press.flush() if chunk is None else press.compress(data)
            packed.update(out)
            packed_size += len(out)
            self._file.write(out)
        member = draft._replace(crc=crc, packed_size=packed_size, size=size)
        return member, Digests(size, plain.hexdigest(), packed.hexdigest())

    def _finish(self) -> None:
        self._file.write(directory(self._members, self._file.tell()))


def _with_end(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from chunks
    yield None


def directory(members: Iterable[Member], at: int) -> bytes:
    """Central directory and end record of a file whose members end at `at`."""
    entries = [member.central for member in members]
    body = b"".join(entries)
    return body + _END.pack(_END_MARK, 0, 0, len(entries), len(entries), len(body), at, 0)


class Container:
    """A container read strictly: `members` are those before the first byte that is not as we write it, `flaw` names it."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb")
        self._size = path.stat().st_size
        self.members: dict[str, Member] = {}
        self.flaw: str | None = None
        """The first place whose bytes are not the ones that belong there."""
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self) -> None:
        at = 0
        while (member := self._member_at(at)) is not None:
            if member.name in self.members:
                self.flaw = _("{name}: twice in the container").format(name=member.name)
                return
            self.members[member.name] = member
            at = member.data_at + member.packed_size
        if self._slice(at, self._size - at) != directory(self.members.values(), at):
            self.flaw = self._flaw_after(at)

    def _flaw_after(self, at: int) -> str:
        last = next(reversed(self.members), _("the beginning"))
        if self._slice(at, 4) == struct.pack("<I", _CENTRAL_MARK):
            return _("the container's directory (from byte {at}) does not fit its members").format(at=at)
        return _("byte {at}: no member follows where one should, after {name}").format(at=at, name=last)

    def _member_at(self, at: int) -> Member | None:
        head = self._slice(at, _LOCAL.size)
        if len(head) < _LOCAL.size:
            return None
        fields = _LOCAL.unpack(head)
        method, crc, packed_size, size, name_size = fields[3], *fields[6:10]
        try:
            name = self._slice(at + _LOCAL.size, name_size).decode()
        except UnicodeDecodeError:
            return None
        member = Member(name, method, crc, packed_size, size, at)
        fits = member.data_at + packed_size <= self._size and method in {STORED, DEFLATED}
        return member if fits and head == member.local[: _LOCAL.size] and name else None

    def _slice(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(max(size, 0))

    def packed_chunks(self, name: str) -> Iterator[bytes]:
        """A member's packed bytes as they stand in the file."""
        member = self.members[name]
        at, end = member.data_at, member.data_at + member.packed_size
        while at < end:
            yield (chunk := self._slice(at, min(_CHUNK, end - at)))
            at += len(chunk)

    def chunks(self, name: str) -> Iterator[bytes]:
        """A member's content; zlib.error when it cannot be unpacked."""
        if self.members[name].method == STORED:
            yield from self.packed_chunks(name)
            return
        left, unpress = self.members[name].size, zlib.decompressobj(-zlib.MAX_WBITS)
        for packed in self.packed_chunks(name):
            rest = packed
            while rest:
                out, rest = unpress.decompress(rest, _CHUNK), unpress.unconsumed_tail
                left -= len(out)
                if left < 0:  # a bomb: stop before it fills the memory
                    raise zlib.error("more content than the header says")
                yield out
        yield unpress.flush()

    def read(self, name: str) -> bytes:
        """A member's whole content."""
        return b"".join(self.chunks(name))

    def packed_digest(self, name: str) -> str:
        """SHA-256 of a member's packed bytes."""
        packed = hashlib.sha256()
        for chunk in self.packed_chunks(name):
            packed.update(chunk)
        return packed.hexdigest()

    def content(self, name: str) -> tuple[int, str, int]:
        """(size, SHA-256, CRC-32) of a member's content; zlib.error when it cannot be unpacked."""
        plain, size, crc = hashlib.sha256(), 0, 0
        for chunk in self.chunks(name):
            plain.update(chunk)
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        return size, plain.hexdigest(), crc
