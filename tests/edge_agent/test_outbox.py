"""The outbox: on disk before it is sent, kept after it is acked, numbered without holes."""

import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import OutboxSettings
from edge_agent.outbox import Draft, Outbox, OutboxError
from edge_agent.ring import used_bytes
from tests.fakes.gateway import toy_profile

REPO = Path(__file__).parents[2]
BIG = 1_000_000_000


@contextmanager
def opened(path: Path, max_bytes: int = BIG) -> Iterator[Outbox]:
    outbox = Outbox(path, max_bytes)
    try:
        yield outbox
    finally:
        outbox.close()


def feed(outbox: Outbox, count: int, size: int = 8, at_once: int = 1) -> None:
    for _ in range(count // at_once):
        numbers = range(outbox.last + 1, outbox.last + 1 + at_once)
        outbox.append([Draft(1, number, number.to_bytes(8) * (size // 8)) for number in numbers], numbers[-1])


def held(outbox: Outbox) -> dict[int, bytes]:
    return {frame.number: frame.body for frame in outbox.after(0, 1_000_000)[0]}


WRITER = """
import sys
from pathlib import Path
from edge_agent.outbox import Draft, Outbox
outbox = Outbox(Path(sys.argv[1]), 1_000_000_000)
print("open", flush=True)
while True:
    first = outbox.last + 1
    outbox.append([Draft(1, n, n.to_bytes(8) * 50) for n in range(first, first + 3)], first)
    print(outbox.last, flush=True)
"""


def test_killed_at_any_point_it_has_every_append_that_returned_and_none_half(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    returned = 0
    for _ in range(8):
        argv = (sys.executable, "-c", WRITER, str(path))
        with subprocess.Popen(argv, cwd=REPO, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            time.sleep(random.uniform(0, 0.02))  # the random point, not a wait for something
            process.send_signal(signal.SIGKILL)
            whole = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
            returned = int(whole[-1]) if whole else returned
        with opened(path) as outbox:
            frames = held(outbox)
            assert list(frames) == list(range(1, outbox.last + 1))
            assert outbox.last % 3 == 0
            assert outbox.last >= returned
            assert all(body == number.to_bytes(8) * 50 for number, body in frames.items())
            assert outbox.polled_ms == (outbox.last - 2 if outbox.last else None)
    assert returned > 0


def test_a_poll_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        feed(outbox, 2)
        broken: Any = [Draft(1, 3, b"x"), Draft(None, 3, b"y")]  # type: ignore[arg-type]  # NOT NULL fails in the middle
        with pytest.raises(Exception, match="NOT NULL"):
            outbox.append(broken, 3)
        assert (outbox.last, outbox.polled_ms, len(held(outbox))) == (2, 2, 2)
        feed(outbox, 1)
        assert list(held(outbox)) == [1, 2, 3]


def test_a_poll_without_frames_still_counts_as_polled(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        outbox.append([], 900_000)
        assert (outbox.last, outbox.polled_ms) == (0, 900_000)
    with opened(tmp_path / "o.db") as outbox:
        assert outbox.polled_ms == 900_000


def test_acks_mark_and_free_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        feed(outbox, 10)
        assert not outbox.acknowledge("j", outbox.epoch, 7)
        assert (outbox.acked, outbox.backlog(), len(held(outbox))) == (7, 3, 10)
    with opened(tmp_path / "o.db") as outbox:
        assert (outbox.acked, outbox.journal_id, outbox.last, len(held(outbox))) == (7, "j", 10, 10)


def test_a_lower_ack_counts_only_from_another_journal(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        feed(outbox, 10)
        outbox.acknowledge("j", outbox.epoch, 7)
        assert not outbox.acknowledge("j", outbox.epoch, 3)
        assert outbox.acked == 7
        assert outbox.acknowledge("k", outbox.epoch, 3)
        assert (outbox.acked, outbox.journal_id) == (3, "k")
        assert not outbox.acknowledge("l", outbox.epoch, 5)
        assert outbox.acked == 5


def test_an_ack_of_another_epoch_is_ignored(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        feed(outbox, 10)
        for epoch in (0, outbox.epoch - 1, outbox.epoch + 1):
            assert not outbox.acknowledge("j", epoch, 5)
        assert (outbox.acked, outbox.journal_id) == (0, "")


def test_an_ack_beyond_the_newest_frame_marks_no_future_frame(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        feed(outbox, 3)
        outbox.acknowledge("j", outbox.epoch, 1 << 61)
        assert (outbox.acked, outbox.backlog()) == (3, 0)


def mixed(outbox: Outbox, polls: int, size: int = 400) -> None:
    """Polls of ten frames; the first of every tenth poll's are totals of a quarter hour, all others are not."""
    for poll in range(polls):
        outbox.append([Draft(1, poll, bytes(size), keep=poll % 10 == 0) for _ in range(10)], poll)


def test_a_full_ring_gives_up_live_readings_before_any_total_the_server_lacks(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", 1_000_000) as outbox:
        mixed(outbox, 900)
        frames = outbox.after(0, 100_000)[0]
        assert [f.t_ms for f in frames if f.keep] == [t for t in range(0, 900, 10) for _ in range(10)]
        assert outbox.lost == 0
        assert outbox.thinned == outbox.last - len(frames) > 5000
        live = [f.number for f in frames if not f.keep]
        assert live
        assert min(live) > outbox.evicted.thinned_to
    with opened(tmp_path / "o.db", 1_000_000) as outbox:
        assert outbox.thinned == outbox.evicted.thinned > 5000


def test_only_when_nothing_else_is_left_totals_go_and_are_counted_as_lost(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", 1_000_000) as outbox:
        feed(outbox, 4_000, 400, 50)
        first = outbox.after(0, 1)[0][0].number
        assert (outbox.lost, outbox.evicted.lost_to) == (first - 1, first - 1)
        assert outbox.thinned == 0


def test_acked_frames_go_first_and_then_nothing_is_lost(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", 1_000_000) as outbox:
        for _ in range(60):
            feed(outbox, 100, 400, 50)
            outbox.acknowledge("j", outbox.epoch, outbox.last - 50)
        assert (outbox.lost, outbox.thinned) == (0, 0)
        assert outbox.after(0, 1)[0][0].number > 1


def test_six_months_of_32_meters_fit_into_the_default_ring() -> None:
    """Whole frames of a large profile, every quarter hour; one day is written and weighed."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "o.db") as outbox:
        for _ in range(96):
            outbox.append([Draft(1, 1, bytes(600)) for _ in range(32)], 1)
        used = used_bytes(outbox._db)
    assert used * 184 < OutboxSettings(path=Path("o")).max_bytes / 4


def test_few_bytes_are_written_to_the_card_for_each_reading(tmp_path: Path) -> None:
    """What write(2) was given, the log and its checkpoints included; 32 meters of 25 readings, at 17 bytes each."""
    polls, readings = 200, 25
    with opened(tmp_path / "o.db") as outbox:
        before = written()
        for poll in range(polls):
            outbox.append([Draft(1, poll, bytes(17 * readings)) for _ in range(32)], poll)
    assert (written() - before) / (polls * 32 * readings) < 100


def written() -> int:
    """Bytes this process has handed to write(2) and its kin (proc(5), wchar)."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        if line.startswith("wchar"):
            return int(line.split()[1])
    raise AssertionError


VERSION_1 = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE frame(
  number INTEGER PRIMARY KEY, declaration INTEGER NOT NULL, t_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE alias(
  alias INTEGER PRIMARY KEY, meter TEXT NOT NULL, name TEXT NOT NULL, declaration TEXT NOT NULL,
  UNIQUE(meter, name, declaration));
CREATE TABLE declaration(
  id INTEGER PRIMARY KEY, meter TEXT NOT NULL, birth BLOB NOT NULL, UNIQUE(meter, birth));
INSERT INTO meta VALUES('epoch', 7), ('acked', 1), ('journal_id', 'j'), ('last', 2), ('polled_ms', 2);
INSERT INTO declaration VALUES(1, 'm1', x'01');
INSERT INTO frame VALUES(1, 1, 1, x'aa'), (2, 1, 2, x'bb');
PRAGMA user_version=1;
"""
"""As the first release wrote it."""


def test_an_outbox_of_the_first_release_goes_on_with_all_its_frames(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "o.db")) as db:
        db.executescript(VERSION_1)
    for _ in range(2):
        with opened(tmp_path / "o.db") as outbox:
            assert (outbox.epoch, outbox.acked, outbox.last, outbox.journal_id) == (7, 1, 2, "j")
            assert held(outbox) == {1: b"\xaa", 2: b"\xbb"}
            assert all(frame.keep for frame in outbox.after(0, 9)[0])
    with opened(tmp_path / "o.db") as outbox:
        feed(outbox, 1)
        assert list(held(outbox)) == [1, 2, 3]


def test_readings_that_wait_for_the_time_get_their_numbers_when_it_is_known(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        outbox.hold("a", [Draft(1, 10, b"x"), Draft(1, 10, b"y", keep=False)])
        outbox.hold("b", [Draft(1, 5, b"z")])
    with opened(tmp_path / "o.db") as outbox:
        assert (outbox.held, outbox.last) == (3, 0)
        assert outbox.held_boots() == [("b", 5), ("a", 10)]
        waiting = outbox.held_after(0, 2)
        assert [(item.boot, item.draft.body, item.draft.keep) for item in waiting] == [
            ("a", b"x", True),
            ("a", b"y", False),
        ]
        outbox.release(waiting[-1].id, [item.draft for item in waiting])
        assert (outbox.held, outbox.last, held(outbox)) == (1, 2, {1: b"x", 2: b"y"})


def test_an_epoch_of_1970_is_named_again_before_its_first_frame(tmp_path: Path) -> None:
    now = 1_793_462_400_000
    with opened(tmp_path / "o.db") as outbox:
        outbox.epoch = 5_000 << 16
        outbox.date_epoch(now)
        dated = outbox.epoch
        assert dated >> 16 == now
        feed(outbox, 1)
        outbox.date_epoch(now * 2)
        assert outbox.epoch == dated
    with opened(tmp_path / "o.db") as outbox:
        assert outbox.epoch == dated


@pytest.mark.parametrize(("size", "at_once"), [(400, 50), (40_000, 1)])
def test_a_full_ring_evicts_the_oldest_frames_and_never_the_newest(
    tmp_path: Path, size: int, at_once: int
) -> None:
    with opened(tmp_path / "o.db", 1_000_000) as outbox:
        feed(outbox, 3_000_000 // size, size, at_once)
        numbers = list(held(outbox))
        assert numbers == list(range(numbers[0], outbox.last + 1))
        assert numbers[0] > 1
        assert len(numbers) * size > 700_000
    assert (tmp_path / "o.db").stat().st_size < 1_200_000


def test_numbers_go_on_even_when_one_poll_is_larger_than_the_ring(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", 1_000_000) as outbox:
        outbox.append(
            [Draft(1, 1, bytes(600_000)), Draft(1, 1, bytes(600_000)), Draft(1, 1, bytes(1_200_000))], 1
        )
        assert (outbox.last, held(outbox)) == (3, {})
    with opened(tmp_path / "o.db", 1_000_000) as outbox:
        feed(outbox, 1)
        assert list(held(outbox)) == [4]


operations = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 4)),
    st.tuples(st.just("ack"), st.integers(0, 12)),
    st.tuples(st.just("other ack"), st.integers(0, 12)),
    st.tuples(st.just("renew"), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0)),
)


@settings(max_examples=40, deadline=None)
@given(todo=st.lists(operations, max_size=15))
def test_it_behaves_like_a_dict_of_numbers(
    tmp_path_factory: pytest.TempPathFactory, todo: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("model") / "o.db"
    outbox = Outbox(path, BIG)
    model: dict[int, bytes] = {}
    last = acked = written = 0
    epochs = [outbox.epoch]
    for step, count in todo:
        if step == "append":
            bodies = [(written + i).to_bytes(4) for i in range(count)]
            outbox.append([Draft(1, 1, body) for body in bodies], 1)
            model.update({last + 1 + i: body for i, body in enumerate(bodies)})
            last, written = last + count, written + count
        elif step == "ack":
            outbox.acknowledge(
                "j" if outbox.journal_id in {"", "j"} else outbox.journal_id, outbox.epoch, count
            )
            acked = max(acked, min(count, last))
        elif step == "other ack":
            assert outbox.acknowledge(f"{outbox.journal_id}+", outbox.epoch, count) == (count < acked)
            acked = min(count, last)
        elif step == "renew":
            outbox.renew_epoch()
            model = {number - acked: body for number, body in model.items() if number > acked}
            last, acked = last - acked, 0
            epochs.append(outbox.epoch)
        else:
            outbox.close()
            outbox = Outbox(path, BIG)
        assert held(outbox) == model
        assert (outbox.last, outbox.acked, outbox.epoch) == (last, acked, epochs[-1])
    outbox.close()
    assert epochs == sorted(set(epochs))


def test_an_alias_is_given_for_ever_and_a_changed_declaration_takes_a_new_one(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        first = outbox.alias("m1", "energy_import_total", "UInt32 kWh")
        others = [
            outbox.alias("m1", "energy_import_total", "UInt32 MWh"),
            outbox.alias("m2", "energy_import_total", "UInt32 kWh"),
            outbox.alias("", "Frame/Epoch", "UInt64"),
        ]
        assert len({first, *others}) == 4
    with opened(tmp_path / "o.db") as outbox:
        assert outbox.alias("m1", "energy_import_total", "UInt32 kWh") == first
        assert outbox.alias("m3", "energy_import_total", "UInt32 kWh") not in {first, *others}


def test_a_declaration_is_kept_beside_the_frames_made_under_it(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        old, new = outbox.declare("m1", b"old"), outbox.declare("m1", b"new")
        outbox.append([Draft(old, 1, b"a"), Draft(new, 2, b"b")], 2)
    with opened(tmp_path / "o.db") as outbox:
        assert outbox.declare("m1", b"new") == new
        births = [outbox.declaration(frame.declaration) for frame in outbox.after(0, 9)[0]]
        assert births == [("m1", b"old"), ("m1", b"new")]


def test_the_session_number_wraps_at_256_and_outlives_a_restart(tmp_path: Path) -> None:
    found = []
    for _ in range(4):
        with opened(tmp_path / "o.db") as outbox:
            found += [outbox.next_bdseq() for _ in range(75)]
    assert found == [(found[0] + i) % 256 for i in range(300)]


def test_a_full_disk_costs_that_poll_and_corrupts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path) as outbox:
        feed(outbox, 5)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (300_000, hard)
        )  # Python ignores SIGXFSZ, so writes fail instead
        try:
            with pytest.raises(OutboxError, match=r"o\.db: the outbox cannot be written .* free space"):
                feed(outbox, 1, 1_000_000)
            assert outbox.last == 5
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        feed(outbox, 2)
        assert list(held(outbox)) == [1, 2, 3, 4, 5, 6, 7]
        assert outbox._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    with opened(path) as outbox:
        assert list(held(outbox)) == [1, 2, 3, 4, 5, 6, 7]


def test_what_is_no_outbox_is_refused_with_file_and_cure(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    path.write_bytes(b"not a database, whatever its name says" * 40)
    with pytest.raises(OutboxError, match=r"o\.db: the outbox cannot be opened .* check the card"):
        Outbox(path, BIG)


def test_an_outbox_of_another_release_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox:
        outbox._db.execute("PRAGMA user_version=99")
    with pytest.raises(OutboxError, match="schema version 99"):
        Outbox(tmp_path / "o.db", BIG)


def test_the_toy_profile_of_these_tests_is_a_right_one() -> None:
    assert [register.datatype for register in toy_profile().registers] == ["UInt32", "Int16", "Float"]
