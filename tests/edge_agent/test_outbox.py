"""The outbox: on disk before it is sent, kept after it is acked, numbered without holes."""

import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.outbox import Draft, Outbox, OutboxError
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
    return {frame.number: frame.body for frame in outbox.after(0, 1_000_000)}


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


def test_a_journal_put_back_as_it_was_is_believed_when_it_says_so_three_times(tmp_path: Path) -> None:
    """A machine's snapshot brings back the same journal id with less in it."""
    with opened(tmp_path / "o.db") as outbox:
        feed(outbox, 10)
        outbox.acknowledge("j", outbox.epoch, 7)
        assert [outbox.acknowledge("j", outbox.epoch, n) for n in (3, 3, 7, 3, 4)] == [False] * 5
        assert outbox.acked == 7
        assert outbox.acknowledge("j", outbox.epoch, 4)
        assert outbox.acked == 4
        assert [frame.number for frame in outbox.after(outbox.acked, 10)] == [5, 6, 7, 8, 9, 10]


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
    last = acked = written = lower = 0
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
            lower = lower + 1 if count < acked else 0
            if count >= acked or lower == 3:
                acked, lower = min(count, last), 0
        elif step == "other ack":
            assert outbox.acknowledge(f"{outbox.journal_id}+", outbox.epoch, count) == (count < acked)
            acked, lower = min(count, last), 0
        elif step == "renew":
            outbox.renew_epoch()
            model = {number - acked: body for number, body in model.items() if number > acked}
            last, acked = last - acked, 0
            epochs.append(outbox.epoch)
        else:
            outbox.close()
            outbox, lower = Outbox(path, BIG), 0
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
        births = [outbox.declaration(frame.declaration) for frame in outbox.after(0, 9)]
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
