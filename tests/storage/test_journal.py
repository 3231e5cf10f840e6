"""The journal: all of a commit or nothing, found again byte for byte, and one changed byte is named."""

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import storage.journal
from storage.errors import CorruptError
from storage.journal import (
    HIGHEST,
    Commit,
    Entry,
    FrameIndex,
    GatewayState,
    JournalReader,
    NewEvent,
    Offset,
    Quarantined,
)
from storage.journal_writer import JournalWriter
from storage.merkle import CHAIN_START, merkle_root
from storage.segment import Record, pack
from tests.storage.entries import NOW_MS, birth, frame, refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(file)
    yield writer
    writer.close()


@pytest.fixture
def reader(file: Path, journal: JournalWriter) -> Iterator[JournalReader]:
    assert journal.journal_id
    with JournalReader(file) as opened:
        yield opened


def test_frames_are_read_back_as_received_in_the_order_of_arrival(
    journal: JournalWriter, reader: JournalReader
) -> None:
    first, second = [birth(), frame(1), frame(2)], [frame(3)]
    assert journal.commit(Commit(entries=first), NOW_MS) == 1
    assert journal.commit(Commit(entries=second), NOW_MS) == 2
    assert reader.segments(Offset(1, 0), 10) == [
        (1, [item.record for item in first]),
        (2, [second[0].record]),
    ]
    assert reader.segments(Offset(2, 0), 10) == [(2, [second[0].record])]
    assert reader.segments(Offset(1, 2), 1)[0][0] == 1
    assert reader.last_segment() == 2


def test_the_chain_commits_to_every_record_and_to_the_order(
    journal: JournalWriter, reader: JournalReader
) -> None:
    assert reader.head() == (journal.journal_id, Offset(1, 0), CHAIN_START, 0, 0)
    chain = CHAIN_START
    for segment, entries in enumerate([[birth(), frame(1)], [frame(2)], [frame(3), frame(4), frame(5)]], 1):
        journal.commit(Commit(entries=entries), NOW_MS)
        root = merkle_root([pack(item.record) for item in entries])
        chain = hashlib.sha256(chain + segment.to_bytes(8, "big") + root).digest()
    assert reader.head() == (journal.journal_id, Offset(4, 0), chain, 3, 6)
    assert reader.verify_chain() == 3


def test_a_journal_keeps_its_id_and_its_chain_over_restarts(file: Path) -> None:
    ids = set()
    for number in range(1, 4):
        writer = JournalWriter(file)
        writer.commit(Commit(entries=[frame(number)]), NOW_MS)
        ids.add(writer.journal_id)
        writer.close()
    with JournalReader(file) as reader:
        assert ids == {reader.journal_id}
        assert reader.verify_chain() == 3


@given(st.integers(0, 4), st.data())
@settings(max_examples=60)
def test_any_changed_byte_of_a_segment_is_found_and_the_segment_named(
    which: int, data: st.DataObject
) -> None:
    db = TAMPERED.db
    body = bytearray(db.execute("SELECT body FROM segment WHERE id=?", (which + 1,)).fetchone()[0])
    original = bytes(body)
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    db.execute("UPDATE segment SET body=? WHERE id=?", (bytes(body), which + 1))
    with pytest.raises(CorruptError, match=f"journal segment {which + 1} does not match"):
        TAMPERED.reader.verify_chain()
    db.execute("UPDATE segment SET body=? WHERE id=?", (original, which + 1))


class Tampered:
    """A journal in memory's stead: one file for all examples."""

    db: sqlite3.Connection
    reader: JournalReader


TAMPERED = Tampered()


@pytest.fixture(autouse=True, scope="module")
def _tampered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    file = tmp_path_factory.mktemp("tampered") / "journal.db"
    writer = JournalWriter(file)
    for number in range(1, 6):
        writer.commit(Commit(entries=[birth(said=b"b" * number), frame(number)]), NOW_MS)
    writer.close()
    TAMPERED.db, TAMPERED.reader = sqlite3.connect(file, isolation_level=None), JournalReader(file)
    yield
    TAMPERED.db.close()
    TAMPERED.reader.close()


@pytest.mark.parametrize("tampering", [
    "UPDATE segment SET root=zeroblob(32) WHERE id=3", "UPDATE segment SET chain=zeroblob(32) WHERE id=3",
    "DELETE FROM segment WHERE id=3", "UPDATE segment SET body=(SELECT body FROM segment WHERE id=4) WHERE id=3",
])  # fmt: skip
def test_a_rewritten_chain_is_found(journal: JournalWriter, file: Path, tampering: str) -> None:
    for number in range(1, 6):
        journal.commit(Commit(entries=[frame(number)]), NOW_MS)
    db = sqlite3.connect(file, isolation_level=None)
    db.execute(tampering)
    db.close()
    with JournalReader(file) as reader, pytest.raises(CorruptError, match=r"segment [34] "):
        reader.verify_chain()


TIMES = [NOW_MS + 1000 * number for number in (0, 1, 2, 2, 5)]


@pytest.mark.parametrize(("t_ms", "before", "after"), [
    (NOW_MS - 1, None, 1), (NOW_MS, 1, 1), (NOW_MS + 1, 1, 2), (NOW_MS + 2000, 4, 3), (NOW_MS + 4999, 4, 5), (NOW_MS + 5001, 5, None),
])  # fmt: skip
def test_the_frames_around_a_moment_are_found(
    journal: JournalWriter, reader: JournalReader, t_ms: int, before: int | None, after: int | None
) -> None:
    others = [frame(number + 5, "other", NOW_MS) for number in range(1, 3)]
    entries = [frame(number, t_ms=at) for number, at in enumerate(TIMES, 1)]
    random.Random(1).shuffle(entries)
    journal.commit(Commit(entries=[*others, *entries]), NOW_MS)
    found_before, found_after = reader.frame_before("g", "m", t_ms), reader.frame_after("g", "m", t_ms)
    assert (found_before and found_before.number) == before
    assert (found_after and found_after.number) == after


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(-1, 21), st.integers(-1, 21))
@settings(max_examples=25)
def test_frames_of_a_span_come_in_time_order_half_open(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], start: int, end: int
) -> None:
    file = tmp_path_factory.mktemp("span") / "journal.db"
    writer = JournalWriter(file)
    writer.commit(Commit(entries=[frame(number, t_ms=t_ms) for number, t_ms in enumerate(times, 1)]), NOW_MS)
    with JournalReader(file) as reader:
        found = [(item.t_ms, item.number) for item in reader.frames("g", "m", start, end)]
        assert all(
            item.payload == f"1:{item.number}".encode() for item in reader.frames("g", "m", start, end)
        )
    writer.close()
    assert found == sorted((t_ms, number) for number, t_ms in enumerate(times, 1) if start <= t_ms < end)


def test_a_stored_frame_says_where_it_stands(journal: JournalWriter, reader: JournalReader) -> None:
    journal.commit(Commit(entries=[birth(), frame(1)]), NOW_MS)
    found = reader.frame_before("g", "m", NOW_MS + 1)
    assert found is not None
    assert found.offset == Offset(1, 1)
    assert reader.segments(found.offset, 1)[0][1][found.offset.index].payload == found.payload
    assert (found.gateway, found.meter, found.epoch, found.number, found.t_ms) == ("g", "m", 1, 1, NOW_MS + 1)


def test_births_of_an_epoch_come_newest_first(journal: JournalWriter, reader: JournalReader) -> None:
    journal.commit(
        Commit(
            entries=[birth(said=b"1"), birth(said=b"2"), birth("", said=b"node"), birth(epoch=2, said=b"x")]
        ),
        NOW_MS,
    )
    journal.commit(Commit(entries=[frame(1), birth(said=b"3"), birth("other", said=b"o")]), NOW_MS)
    assert [found.payload for found in reader.births("g", "m", 1)] == [b"3", b"2", b"1"]
    assert [found.payload for found in reader.births("g", "m", 2)] == [b"x"]
    assert list(reader.births("g", "m", 3)) == []


def test_a_restart_takes_up_the_newest_birth_of_each_meter_and_epoch(journal: JournalWriter) -> None:
    journal.commit(Commit(entries=[birth(said=b"1"), birth("", said=b"node"), birth(said=b"2")]), NOW_MS)
    journal.commit(Commit(entries=[birth(epoch=2, said=b"3")]), NOW_MS)
    assert [record.payload for record in journal.births()] == [b"node", b"2", b"3"]


def test_refused_messages_are_kept_with_reason_and_bytes(
    journal: JournalWriter, reader: JournalReader
) -> None:
    unnumbered = Quarantined(Record("宽/x", b"abc", NOW_MS), "", "bad_topic", "not a topic")
    journal.commit(Commit(quarantined=[unnumbered, refused(1), refused(2, b"")]), NOW_MS)
    rows = reader.quarantine()
    assert [(row.id, row.reason, row.size, row.payload) for row in rows] == [
        (1, "bad_topic", 3, b"abc"), (2, "malformed", 1, b"\xff"), (3, "malformed", 0, b""),
    ]  # fmt: skip
    assert rows[0].topic == "宽/x"
    assert [row.id for row in reader.quarantine(after_id=1, limit=1)] == [2]
    assert reader.quarantine_counts() == {"bad_topic": 1, "malformed": 2}
    assert reader.head().segments == 0


def test_a_refused_frame_counts_as_stored_but_is_not_read_as_one(
    journal: JournalWriter, reader: JournalReader
) -> None:
    journal.commit(Commit(entries=[frame(1)], quarantined=[refused(2)]), NOW_MS)
    assert journal.progress() == {("g", 1): 2}
    assert journal.digest_of("g", 1, 2) == (2).to_bytes(16, "big")
    assert journal.digest_of("g", 1, 3) is None
    assert [item.number for item in reader.frames("g", "m", 0, 1 << 62)] == [1]


def test_births_are_read_by_opening_each_segment_once(
    journal: JournalWriter, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A park of 20,000 meters starts in seconds, not in minutes."""
    said = [[birth(f"m{i}", said=bytes((i, k))) for i in range(5)] for k in range(3)]
    for entries in (said[0], said[1], said[2][:2]):
        journal.commit(Commit(entries=entries), NOW_MS)
    opened: list[int] = []
    plain = storage.journal.records_of

    def counted(db: sqlite3.Connection, segment: int) -> list[Record]:
        opened.append(segment)
        return plain(db, segment)

    monkeypatch.setattr(storage.journal, "records_of", counted)
    newest = [item.record for item in [*said[1][2:], *said[2][:2]]]
    assert journal.births() == newest
    assert reader.births_before(4) == newest
    assert opened == [2, 3, 2, 3]


def test_what_a_gateway_read_in_a_time_is_told_by_the_frames_around_it(
    journal: JournalWriter, reader: JournalReader
) -> None:
    def at(number: int, t_ms: int, epoch: int = 9, meter: str = "m") -> Entry:
        return Entry(Record("t", b"x", 0), FrameIndex("g", meter, epoch, number, t_ms, bytes(16)))

    assert reader.numbers_between("g", 0, 100) is None
    # An older outbox; frames 1 and 2; the word that 3 to 5 are lost, dated by the frame behind it; frame 6.
    entries = [at(50, 30, epoch=8), at(1, 10), at(2, 20), at(5, 60, meter=""), at(6, 60)]
    journal.commit(Commit(entries=entries), NOW_MS)
    assert reader.numbers_between("g", 30, 60) == (9, 3, 5)
    assert reader.numbers_between("g", 20, 21) == (9, 2, 5)
    assert reader.numbers_between("g", 0, 10) is None
    assert reader.numbers_between("g", 61, 99) == (9, 7, HIGHEST)
    assert reader.numbers_between("other", 0, 100) is None
    assert (journal.is_loss("g", 9, 5), journal.is_loss("g", 9, 6)) == (True, False)


def test_sessions_show_the_progress_of_the_newest_epoch(
    journal: JournalWriter, reader: JournalReader
) -> None:
    silent, live = (
        GatewayState("a", False, NOW_MS, NOW_MS + 1),
        GatewayState("g", True, NOW_MS + 2, NOW_MS + 3),
    )
    journal.commit(
        Commit(entries=[frame(1, epoch=5), frame(2, epoch=5), frame(9, epoch=3)], gateways=[silent, live]),
        NOW_MS,
    )
    first, second = reader.gateways()
    assert msgspec.structs.astuple(first) == ("a", False, NOW_MS, 0, 0, NOW_MS + 1, 0)
    assert msgspec.structs.astuple(second) == ("g", True, NOW_MS + 2, 5, 2, NOW_MS + 3, NOW_MS + 2)
    assert sorted(journal.gateways(), key=lambda state: state.gateway) == [silent, live]


def test_events_keep_their_detail(journal: JournalWriter, reader: JournalReader) -> None:
    journal.commit(Commit(events=[NewEvent(NOW_MS, "g", "frames_lost", {"first": 1, "说": "丢失"})]), NOW_MS)
    [found] = reader.events()
    assert (found.id, found.t_ms, found.gateway, found.kind, found.detail) == (
        1,
        NOW_MS,
        "g",
        "frames_lost",
        {"first": 1, "说": "丢失"},
    )
    assert reader.events(after_id=1) == []


def test_a_commit_that_fails_leaves_nothing_behind(journal: JournalWriter, reader: JournalReader) -> None:
    journal.commit(Commit(entries=[frame(1)]), NOW_MS)
    head = reader.head()
    twice = Commit(
        [frame(2), frame(2)], [refused(3)], [NewEvent(NOW_MS, "g", "x", {})], [GatewayState("g", True, 1, 1)]
    )
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(twice, NOW_MS)
    assert (reader.head(), reader.quarantine(), reader.events(), reader.gateways()) == (head, [], [], [])
    assert journal.commit(Commit(entries=[frame(2)]), NOW_MS) == 2
    assert reader.verify_chain() == 2


def test_an_empty_commit_writes_no_segment(journal: JournalWriter, reader: JournalReader) -> None:
    assert not Commit()
    assert journal.commit(Commit(), NOW_MS) == 0
    assert reader.head().segments == 0


def test_readers_see_whole_commits_while_the_writer_goes_on(journal: JournalWriter, file: Path) -> None:
    """Each commit holds one frame and one refused number, so a reader that saw half a commit would count unequally."""
    torn: list[object] = []
    done = threading.Event()

    def read() -> None:
        with JournalReader(file) as reader:
            while not done.is_set():
                segments = reader.verify_chain()
                if reader.last_segment() < segments or len(reader.quarantine(limit=1000)) < segments:
                    torn.append(segments)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 121, 2):
        journal.commit(Commit([frame(number)], [refused(number + 1)]), NOW_MS)
    done.set()
    for thread in threads:
        thread.join()
    assert torn == []


WRITER = """
import sys
from pathlib import Path
from storage.journal import Commit
from storage.journal_writer import JournalWriter
from tests.storage.entries import frame, refused
journal = JournalWriter(Path(sys.argv[1]))
number = journal.progress().get(("g", 1), 0)
while True:
    size = 1 + number % 40
    entries = [frame(number + i) for i in range(1, size + 1)]
    journal.commit(Commit(entries, [refused(number + size + 1, b"x" * 20000)]), 1)
    number += size + 1
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_commits_and_everything_it_acknowledged(
    file: Path,
) -> None:
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 40)):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                acknowledged = int(line) if line.endswith("\n") else acknowledged
        stored = _whole(file)
        assert stored >= acknowledged


def _whole(file: Path) -> int:
    """Every number from 1 on is there once, as frame or refused; returns the last."""
    with JournalReader(file) as reader:
        reader.verify_chain()
        numbers = [item.number for item in reader.frames("g", "m", 0, 1 << 62)]
        numbers += [int(row.detail.split()[1]) for row in reader.quarantine(limit=1 << 30)]
        assert reader.head().segments == len(reader.quarantine(limit=1 << 30)), (
            "each commit holds one refused message"
        )
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    return len(numbers)
