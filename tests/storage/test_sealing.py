"""Sealed segments: smaller, byte for byte the same, and every reader goes on as before."""

import fcntl
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import sealing
from storage.blocks import seal, unseal
from storage.errors import CorruptError
from storage.journal import Commit, JournalReader, Offset
from storage.journal_writer import JournalWriter
from storage.sealed import BLOCK_TAG, PART_TAG, is_sealed, part
from storage.sealing import Sealed, seal_before
from storage.segment import Record, packed, unpack_all
from storage.slices import JournalSlice
from tanyun.commands.journal import journal as command
from tests.storage.entries import NOW_MS, birth, frame
from tests.tanyun.test_backup import installed

RECORDS = st.builds(
    Record,
    st.sampled_from(["spBv1.0/p/DDATA/g/m", "spBv1.0/p/DDATA/g/热", ""]),
    st.one_of(st.binary(max_size=40), st.binary(min_size=8, max_size=8)),
    st.integers(0, 1 << 62),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(RECORDS, max_size=6).map(lambda records: b"".join(packed(records))), max_size=6))
def test_every_body_comes_back_byte_for_byte(bodies: list[bytes]) -> None:
    assert list(unseal(seal(bodies))) == bodies


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=6), st.data())
def test_a_damaged_block_is_refused_or_says_the_same(records: list[Record], data: st.DataObject) -> None:
    body = b"".join(packed(records))
    block = bytearray(seal([body]))
    at = data.draw(st.integers(len(BLOCK_TAG), len(block) - 1))
    block[at] ^= data.draw(st.integers(1, 255))
    with suppress(CorruptError):
        assert unseal(bytes(block)) == (body,)


def test_no_record_of_any_clock_begins_like_a_sealed_body() -> None:
    for tag in (BLOCK_TAG, PART_TAG):
        assert (
            int.from_bytes(tag[:8], "little", signed=True)
            > datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000
        )
    assert not is_sealed(b"".join(packed([birth().record])))


@pytest.mark.parametrize("stored", [seal([b""]), *(part(first, 0) for first in (1, 6, 1 << 40))])
def test_a_program_that_knows_of_no_sealing_stops(stored: bytes) -> None:
    with pytest.raises(CorruptError):
        unpack_all(stored)


def journal(path: Path, segments: int = 12) -> None:
    writer = JournalWriter(path)
    for i in range(segments):
        entries = [birth()] if not i else []
        writer.commit(Commit(entries=[*entries, *(frame(3 * i + n) for n in range(1, 4))]), NOW_MS + i)
    writer.close()


def everything(path: Path, last: int) -> list[object]:
    with JournalReader(path) as reader, JournalSlice(path, Offset(last + 1, 0)) as part:
        of = frame(1).index
        assert of is not None
        return [
            reader.segments(Offset(1, 0), 100), list(reader.frames(of.gateway, of.meter, 0, 1 << 62)),
            reader.records([(of.gateway, of.meter)], 0, 1 << 62), reader.births_before(99), reader.head(),
            reader.verify_chain(), list(reader.births(of.gateway, of.meter, 1)),
            [part.records(n) for n in range(1, last + 1)], part.recomputed_chain(last),
        ]  # fmt: skip


def test_every_reader_finds_what_it_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.db"
    journal(path)
    before = everything(path, 12)
    monkeypatch.setattr(sealing, "BLOCK_BYTES", 400)
    steps: list[Sealed] = []
    done = seal_before(path, NOW_MS + 9, steps.append)
    assert (done.segments, done.frames) == (9, 28)
    assert len(steps) > 1
    assert everything(path, 12) == before
    with sqlite3.connect(path) as db:
        stored = [is_sealed(body) for (body,) in db.execute("SELECT body FROM segment ORDER BY id")]
    assert stored == [True] * 9 + [False] * 3
    assert seal_before(path, NOW_MS + 9) == Sealed(0, 0, 0, 0)
    assert seal_before(path, NOW_MS + 11).segments == 2
    assert everything(path, 12) == before


def test_the_writer_goes_on_after_sealed_segments(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal(path)
    seal_before(path, NOW_MS + 99)
    writer = JournalWriter(path)
    assert writer.births() == [birth().record]
    writer.commit(Commit(entries=[frame(90)]), NOW_MS + 100)
    writer.close()
    with JournalReader(path) as reader:
        assert reader.verify_chain() == 13


def test_a_segment_that_does_not_match_its_digest_is_left_and_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal(path)
    with sqlite3.connect(path) as db:
        body = bytearray(db.execute("SELECT body FROM segment WHERE id=5").fetchone()[0])
        body[-1] ^= 1
        db.execute("UPDATE segment SET body=? WHERE id=5", (bytes(body),))
    with pytest.raises(CorruptError, match="segment 5"):
        seal_before(path, NOW_MS + 99)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT body FROM segment WHERE id=5").fetchone()[0] == bytes(body)


def test_a_part_whose_block_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal(path)
    seal_before(path, NOW_MS + 99)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE segment SET body=x'' WHERE id=1")
    with JournalReader(path) as reader, pytest.raises(CorruptError, match="segment 3"):
        reader.segments(Offset(3, 0), 1)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    return installed(tmp_path)


def test_the_command_says_what_it_sealed_and_waits_for_no_month_that_runs(server: Path) -> None:
    from tanyun.config import load_server_config  # noqa: PLC0415

    path = load_server_config(server).journal
    journal(path)
    done = CliRunner().invoke(command, ["seal", "-c", str(server), "2101-01"])
    assert (done.exit_code, "2101-01" in done.output) == (1, True), done.output
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = CliRunner().invoke(command, ["seal", "-c", str(server), "2026-10"])
        assert done.exit_code != 0
    month = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    with JournalReader(path) as reader:
        chain = reader.head().chain
    wanted = f"{month:%Y-%m}"
    done = CliRunner().invoke(command, ["seal", "-c", str(server), wanted, "--json"])
    with JournalReader(path) as reader:
        assert (reader.head().chain, reader.verify_chain()) == (chain, 12)
    assert done.exit_code == 0, done.output
    assert '"segments": 12' in done.output or '"segments":12' in done.output
