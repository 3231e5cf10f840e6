"""Frames from a gateway's export file, judged and stored exactly as if the gateway had sent them now."""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from ingest.host import Host
from ingest.sole import sole_writer
from ingest.writer import MAX_COMMIT, StoredInJournal
from metering.mqtt import MESSAGE_BYTES
from metering.registry import Park
from metering.topics import parse_topic
from storage.errors import StoreError
from storage.journal import BirthIndex, Commit, Entry, FrameIndex
from storage.journal_writer import JournalWriter
from storage.segment import HEAD_BYTES, Record, unpack_all, whole_size

_CHUNK: Final = 1 << 20
_LONGEST_HEAD: Final = 10_000
_LONGEST_RECORD: Final = MESSAGE_BYTES + (1 << 17)
"""A message and its topic: nothing that unpacks to more is held in memory."""


class Head(msgspec.Struct, frozen=True):
    """The first line of a file: what it says it is."""

    format: Literal["tanyun frames 1"]
    park: str
    gateway: str
    epoch: int
    first: int
    last: int


class Imported(msgspec.Struct):
    """What became of a file. A second import of it stores nothing and finds all of it repeated."""

    gateway: str
    epoch: int
    first: int
    last: int
    stored: int = 0
    repeated: int = 0
    """Were here already, with the same body."""
    quarantined: int = 0
    reasons: dict[str, int] = {}
    ahead: int = 0
    """Lie behind numbers that neither the journal nor the file has: export from an earlier one."""
    expected: int = 0
    """The next number that the journal takes of this epoch."""


def import_file(file: Path, park: Park, journal_file: Path, now_ms: Callable[[], int]) -> Imported:
    """Store what the journal lacks; StoreError when the file is damaged, of another park, or ingest runs."""
    with sole_writer(journal_file):
        journal = JournalWriter(journal_file)
        try:
            return _import(file, park, journal, now_ms)
        finally:
            journal.close()


def _import(file: Path, park: Park, journal: JournalWriter, now_ms: Callable[[], int]) -> Imported:
    head, _records = _open(file, park)
    for _record in _records:
        pass  # Read to its end once: of a file that is damaged nothing is stored.
    head, records = _open(file, park)
    stored = StoredInJournal(journal)
    host = Host(park, stored)
    host.restore(journal.births(), journal.gateways())
    done = Imported(head.gateway, head.epoch, head.first, head.last)
    births = _Births()
    frames = 0
    for batch in _batches(records):
        host.reset()
        for record in batch:
            frames += "BIRTH/" not in record.topic
            host.receive(msgspec.structs.replace(record, received_ms=now_ms()))
        commit = host.close_commit()
        commit.gateways = []  # The gateway was not here, its file was.
        commit.entries = births.needed(commit.entries)
        _count(done, commit)
        if commit:
            journal.commit(commit, now_ms())
    agreed = host.acked(done.gateway, done.epoch)
    done.expected = agreed + 1
    done.ahead = min(max(done.last - agreed, 0), frames - done.stored - done.quarantined)
    done.repeated = frames - done.stored - done.quarantined - done.ahead
    return done


def _count(done: Imported, commit: Commit) -> None:
    done.stored += sum(isinstance(entry.index, FrameIndex) for entry in commit.entries)
    done.quarantined += len(commit.quarantined)
    reasons = Counter(done.reasons) + Counter(item.reason for item in commit.quarantined)
    done.reasons = dict(reasons)


class _Births:
    """Births that no new frame needs are not stored again."""

    def __init__(self) -> None:
        self._waiting: dict[str, Entry] = {}

    def needed(self, entries: list[Entry]) -> list[Entry]:
        """The frames, each behind the births it decodes with."""
        found = []
        for entry in entries:
            if isinstance(entry.index, BirthIndex):
                self._waiting[entry.index.meter] = entry
            elif isinstance(entry.index, FrameIndex):
                found += [
                    birth for meter in ("", entry.index.meter) if (birth := self._waiting.pop(meter, None))
                ]
                found.append(entry)
        return found


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == MAX_COMMIT:
            yield batch
            batch = []
    if batch:
        yield batch


def _open(file: Path, park: Park) -> tuple[Head, Iterator[Record]]:
    """What the file says it is, and its records."""
    source = gzip.open(file, "rb")  # noqa: SIM115  the records are read later, and close it
    try:
        head = msgspec.json.decode(source.readline(_LONGEST_HEAD), type=Head)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        source.close()
        raise StoreError(f"{file}: not a file of `tanyun edge export` ({error})") from error
    if head.park != park.id:
        source.close()
        raise StoreError(f"{file}: of park {head.park!r}, this server's is {park.id!r}")
    return head, _records(file, source, head.gateway)


def _records(file: Path, source: gzip.GzipFile, gateway: str) -> Iterator[Record]:
    left = b""
    with source:
        while True:
            try:
                chunk = source.read(_CHUNK)
            except (OSError, EOFError, zlib.error) as error:
                raise StoreError(f"{file}: damaged or cut off ({error}); copy it again") from error
            left += chunk
            whole = _whole(left)
            for record in unpack_all(left[:whole]):
                topic = parse_topic(record.topic)
                if topic is None or topic.gateway != gateway:
                    raise StoreError(f"{file}: says {record.topic!r}, but is of gateway {gateway!r}")
                yield record
            left = left[whole:]
            if not chunk:
                break
            if len(left) > _LONGEST_RECORD:
                raise StoreError(
                    f"{file}: damaged (a record of more than {_LONGEST_RECORD} bytes); copy it again"
                )
    if left:
        raise StoreError(f"{file}: damaged or cut off (ends inside a record); copy it again")


def _whole(data: bytes) -> int:
    """Bytes of the whole records at the beginning."""
    at = 0
    while at + HEAD_BYTES <= len(data) and (end := at + whole_size(data, at)) <= len(data):
        at = end
    return at
