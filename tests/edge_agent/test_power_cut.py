"""The outbox after a power cut at any write, and on a disk that is full: below SQLite, or on a real small file system."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent.outbox import Draft, Outbox, OutboxError
from tests.fakes.power_cut import WRITE, Operation, after_cut, build, compiler, environment, operations

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler here (Debian: apt install gcc)")
CUTS = int(os.environ.get("TANYUN_POWER_CUTS", "100"))
"""Random moments; more by the environment."""
RING = 400_000
WRITER = """
import sys
from pathlib import Path
from edge_agent.outbox import Draft, Outbox
outbox = Outbox(Path(sys.argv[1]) / "outbox.db", int(sys.argv[2]))
said = open(Path(sys.argv[1]) / "outbox.db.said", "wb", buffering=0)
for poll in range(int(sys.argv[3])):
    first = outbox.last + 1
    outbox.append([Draft(1, n, n.to_bytes(8) * 40, keep=n % 3 == 1) for n in range(first, first + 3)], first)
    said.write(outbox.last.to_bytes(8))
    if poll % 7 == 0:
        outbox.acknowledge("j", outbox.epoch, outbox.last - 5)
    if poll % 11 == 0:
        outbox.hold("boot", [Draft(1, poll, b"held")])
    if poll % 33 == 32:
        outbox.release(outbox.held_after(0, 100)[-1].id, [])
"""
"""Polls of three frames. What it says in a file of its own was true when it said it."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


def watched(folder: Path, library: Path, ring: int, polls: int, full: int | None = None) -> list[Operation]:
    folder.mkdir()
    argv = (sys.executable, "-c", WRITER, str(folder), str(ring), str(polls))
    env = environment(library, folder / "log", "outbox.db", full)
    subprocess.run(argv, env=env, check=full is None, capture_output=True, timeout=100)
    return operations(folder / "log")


def put(files: dict[str, bytes], folder: Path) -> int:
    """The files as the cut left them; the highest number that the writer had been told is safe."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    safe = 0
    for path, content in files.items():
        if path.endswith(".said"):
            safe = int.from_bytes(content[-8:]) if content else 0
        else:
            (folder / Path(path).name).write_bytes(content)
    return safe


def said_at_once(done: list[Operation]) -> list[Operation]:
    """What the writer says counts from when it was said: its file is our ear, not part of the disk."""
    found = []
    for operation in done:
        found.append(operation)
        if operation.path.endswith(".said"):
            found.append(operation._replace(kind=3))
    return found


@needs_compiler
@pytest.mark.parametrize("ring", [1_000_000_000, RING])
def test_whatever_moment_the_power_goes_every_poll_that_was_stored_is_there_and_none_half(
    tmp_path: Path, library: Path, ring: int
) -> None:
    done = said_at_once(watched(tmp_path / "run", library, ring, 150))
    assert sum(operation.kind == WRITE for operation in done) > 300
    rng = random.Random(20)
    opened = 0
    for _ in range(CUTS):
        upto = rng.randrange(len(done))
        safe = put(after_cut(done[:upto], rng), tmp_path / "cut")
        outbox = Outbox(tmp_path / "cut" / "outbox.db", ring)
        try:
            frames = outbox.after(0, 100_000)[0]
            numbers = [frame.number for frame in frames]
            assert outbox.last >= safe
            assert outbox.last % 3 == 0
            assert all(frame.body == frame.number.to_bytes(8) * 40 for frame in frames)
            if ring != RING:
                assert numbers == list(range(1, outbox.last + 1))
            else:
                unacked = [n for n in numbers if n > max(outbox.acked, outbox.evicted.thinned_to)]
                assert unacked == list(range(outbox.last + 1 - len(unacked), outbox.last + 1))
            assert outbox._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            outbox.append([Draft(1, 1, b"after")], 1)
            opened += outbox.last > 1
        finally:
            outbox.close()
    assert opened > CUTS / 2


@needs_compiler
def test_a_disk_that_fills_at_any_write_costs_polls_and_never_the_file(tmp_path: Path, library: Path) -> None:
    rng = random.Random(21)
    for i in range(12):
        folder = tmp_path / f"full{i}"
        watched(folder, library, 1_000_000_000, 60, full=rng.randrange(40_000, 900_000))
        safe = (
            int.from_bytes((folder / "outbox.db.said").read_bytes()[-8:])
            if (folder / "outbox.db.said").exists()
            else 0
        )
        outbox = Outbox(folder / "outbox.db", 1_000_000_000)
        numbers = [frame.number for frame in outbox.after(0, 100_000)[0]]
        assert numbers == list(range(1, outbox.last + 1))
        assert outbox.last >= safe
        outbox.append([Draft(1, 1, b"after")], 1)
        outbox.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 32 MB: a loop device with ext4, or a tmpfs."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    image.write_bytes(bytes(32_000_000))
    made = shutil.which("mkfs.ext4") is not None
    made = made and not subprocess.run(["mkfs.ext4", "-q", str(image)], check=False).returncode
    tries = [["mount", "-o", "loop", str(image), str(folder)]] if made else []
    tries.append(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(folder)])
    if not any(subprocess.run(argv, check=False, capture_output=True).returncode == 0 for argv in tries):
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_disk_smaller_than_its_ring_the_outbox_turns_round_in_what_there_is(small_disk: Path) -> None:
    outbox = Outbox(small_disk / "outbox.db", 2_000_000_000)
    for poll in range(400):
        outbox.append([Draft(1, poll, bytes(10_000)) for _ in range(10)], poll)
        outbox.acknowledge("j", outbox.epoch, outbox.last - 100)
    numbers = [frame.number for frame in outbox.after(0, 100_000)[0]]
    assert numbers == list(range(numbers[0], 4001))
    assert 1 < numbers[0] < 3000
    assert outbox.lost == 0
    outbox.close()


def test_a_disk_that_others_fill_costs_polls_until_there_is_room_again(small_disk: Path) -> None:
    outbox = Outbox(small_disk / "outbox.db", 2_000_000_000)
    outbox.append([Draft(1, 1, bytes(1_000))], 1)
    with (small_disk / "others").open("wb") as others, suppress(OSError):
        while True:
            os.write(others.fileno(), bytes(4096))
    big = Draft(1, 2, bytes(20_000_000))
    with pytest.raises(OutboxError, match="check the card and its free space"):
        outbox.append([big], 2)
    before = outbox.last
    (small_disk / "others").unlink()
    outbox.append([Draft(1, 1, bytes(1_000))], 1)
    outbox.close()
    again = Outbox(small_disk / "outbox.db", 2_000_000_000)
    assert again.last == before + 1
    again.close()
