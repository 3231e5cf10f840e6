"""The index of sealed frames: every lookup finds what it found among the rows, whatever is sealed and in how many goes."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.sparkplug import Metric, Payload, body_digest, encode
from storage import sealed_index, sealing
from storage.errors import CorruptError
from storage.journal import Commit, Entry, FrameIndex, JournalReader, Offset
from storage.journal_writer import JournalWriter
from storage.sealed_index import Where, pack, unpack
from storage.sealing import seal_before
from storage.segment import Record
from storage.slices import JournalSlice
from tests.storage.entries import NOW_MS, birth, refused

FOREVER = 1 << 62
ROWS = st.builds(Where, *(st.integers(-(1 << 63), (1 << 63) - 1) for _ in Where._fields))


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=20))
def test_every_row_comes_back(rows: list[Where]) -> None:
    assert unpack(pack(rows), len(rows)) == rows if rows else True


def test_a_block_of_another_length_or_none_at_all_is_refused() -> None:
    data = pack([Where(1, 2, 3, 4, 5)])
    for wrong, count in ((data, 2), (b"x", 1), (data[:-1], 1)):
        with pytest.raises(CorruptError, match="frame index"):
            unpack(wrong, count)


def _entry(number: int, meter: str, t_ms: int, epoch: int) -> Entry:
    payload = Payload((Metric(alias=1, timestamp=t_ms, value=number),), timestamp=t_ms)
    record = Record(f"spBv1.0/p/DDATA/g/{meter}", encode(payload), NOW_MS)
    return Entry(record, FrameIndex("g", meter, epoch, number, t_ms, body_digest(payload)))


FRAMES = st.lists(
    st.tuples(st.sampled_from("mn"), st.integers(0, 12), st.integers(1, 2)), min_size=1, max_size=16
)
"""(meter, time, epoch) of frames in the order of their arrival: times repeat and go back."""


def _journal(path: Path, frames: list[tuple[str, int, int]]) -> None:
    writer = JournalWriter(path)
    numbers = {1: 0, 2: 0}
    for i, (meter, t_ms, epoch) in enumerate(frames):
        numbers[epoch] += 1
        births = [] if i else [birth("m"), birth("n")]
        writer.commit(Commit(entries=[*births, _entry(numbers[epoch], meter, t_ms, epoch)]), NOW_MS + i)
    writer.commit(Commit(quarantined=[refused(999)]), NOW_MS)
    writer.close()


def _everything(path: Path) -> list[object]:
    """Every lookup by meter, time and number."""
    times = range(-1, 14, 2)
    with JournalReader(path) as reader:
        found: list[object] = [
            [(reader.frame_before("g", m, t), reader.frame_after("g", m, t)) for m in "mn" for t in times],
            [list(reader.frames("g", m, a, b)) for m in "mn" for a, b in ((0, FOREVER), (3, 8), (5, 5))],
            [reader.records([("g", "m"), ("g", "n")], a, b) for a, b in ((0, FOREVER), (3, 8))],
            [reader.numbers_between("g", a, b) for a in times for b in times if a < b],
            reader.gateways(),
        ]
    for end in (Offset(1 << 40, 0), Offset(5, 0), Offset(9, 1)):
        with JournalSlice(path, end) as part:
            found.append([
                (part.before("g", m, t, n), part.after("g", m, t, n), part.between("g", m, t, t + 4))
                for m in "mn" for t in times for n in (1, 3)
            ])  # fmt: skip
    return found


def _writers(path: Path, count: int) -> list[object]:
    writer = JournalWriter(path)
    try:
        where = [("g", epoch, number) for epoch in (1, 2, 3) for number in [*range(count + 2), 999]]
        return [writer.progress(), [(writer.digest_of(*w), writer.is_loss(*w)) for w in where]]
    finally:
        writer.close()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=FRAMES, goes=st.lists(st.integers(0, 30), min_size=1, max_size=2), most=st.integers(1, 4))
def test_every_lookup_finds_what_it_found_before(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[str, int, int]], goes: list[int], most: int
) -> None:
    path = tmp_path_factory.mktemp("j") / "journal.db"
    _journal(path, frames)
    before, ours = _everything(path), _writers(path, len(frames))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "MOST", most)
        for until in sorted(goes):
            seal_before(path, NOW_MS + until)
            assert _everything(path) == before
            assert _writers(path, len(frames)) == ours


def test_only_the_newest_numbers_and_what_no_meter_said_stay_rows(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    _journal(path, [("m", t, 1 + t % 2) for t in range(20)])
    seal_before(path, NOW_MS + 99)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT epoch, number FROM frame ORDER BY epoch, number").fetchall() == [
            (1, 999),
            (2, 10),
        ]
        assert len(list(sealed_index.everything(db))) == 19


def test_a_flipped_byte_in_a_block_is_told_and_no_frame_left_out_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    _journal(path, [("m", t, 1) for t in range(20)])
    seal_before(path, NOW_MS + 99)
    with sqlite3.connect(path) as db:
        data = bytearray(db.execute("SELECT columns FROM sealed_frame").fetchone()[0])
        data[len(data) // 2] ^= 4
        db.execute("UPDATE sealed_frame SET columns=?", (bytes(data),))
    with JournalReader(path) as reader, pytest.raises(CorruptError, match="frame index"):
        list(reader.frames("g", "m", 0, FOREVER))
