"""Frames that travel in a file: out of a real outbox, into a real journal, judged as if they had come over the wire."""

import gzip
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_agent.device import make_device
from edge_agent.export import export
from edge_agent.outbox import Outbox
from edge_agent.ring import Evicted
from ingest.importer import Imported, import_file
from ingest.sole import sole_writer
from metering.sparkplug import decode
from storage.errors import StoreError
from storage.journal import JournalReader
from tanyun.commands.group import root
from tests.fakes.gateway import config_for, draft, toy_profile
from tests.ingest.gateway import park_with

NOW = 1_793_462_400_000
DAY = 86_400_000
PARK = park_with("gw")


class Site:
    """An outbox with frames of two meters, a quarter hour apart, and a server's journal."""

    def __init__(self, folder: Path, begin_ms: int = NOW - DAY) -> None:
        self.folder, self.begin_ms = folder, begin_ms
        self.journal = folder / "server" / "journal.db"
        self._config = config_for(folder, 1883, ("m1", "m2"), park="p")
        self.outbox = Outbox(folder / "outbox.db", 1_000_000_000)
        self.devices = [make_device(meter, toy_profile(), self.outbox) for meter in self._config.meters]

    def feed(self, polls: int, plus: int = 0) -> None:
        begin = self.outbox.last // 2
        for i in range(begin, begin + polls):
            t_ms = self.begin_ms + i * 900_000
            self.outbox.append([draft(device, i + plus, t_ms) for device in self.devices], t_ms)

    def export(self, first: int, last: int, name: str = "f") -> Path:
        file = self.folder / name
        export(self.outbox, "p", "gw", first, last, file, NOW)
        return file

    def take_in(self, file: Path) -> Imported:
        return import_file(file, PARK, self.journal, lambda: NOW)

    def stored(self) -> list[tuple[str, int, object]]:
        """(meter, number, total) of every frame in the journal."""
        with JournalReader(self.journal) as reader:
            rows = reader._db.execute(
                "SELECT meter, number, segment, idx FROM frame ORDER BY number"
            ).fetchall()
            segments = dict(reader.segments(reader.head().offset.__class__(0, 0), 10_000))
        found: list[tuple[str, int, object]] = []
        for meter, number, segment, index in rows:
            metrics = decode(segments[segment][index].payload).metrics
            found.append((meter, number, metrics[2].value))
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.outbox.close()


def all_of(polls: int) -> list[tuple[str, int, object]]:
    return [(meter, 2 * i + k + 1, i) for i in range(polls) for k, meter in enumerate(("m1", "m2"))]


def test_a_file_brings_everything_and_a_second_time_nothing(site: Site) -> None:
    site.feed(50)
    file = site.export(1, 100)
    done = site.take_in(file)
    assert (done.stored, done.repeated, done.quarantined, done.ahead, done.expected) == (100, 0, 0, 0, 101)
    assert site.stored() == all_of(50)
    with JournalReader(site.journal) as reader:
        head = reader.head()
        assert reader.verify_chain() == head.segments
    again = site.take_in(file)
    assert (again.stored, again.repeated) == (0, 100)
    with JournalReader(site.journal) as reader:
        assert reader.head() == head


def test_files_that_overlap_add_what_is_new(site: Site) -> None:
    site.feed(50)
    assert site.take_in(site.export(1, 60)).stored == 60
    done = site.take_in(site.export(41, 100))
    assert (done.stored, done.repeated) == (40, 20)
    assert site.stored() == all_of(50)


def test_what_lies_behind_a_hole_is_left_out_and_the_next_number_named(site: Site) -> None:
    site.feed(50)
    site.take_in(site.export(1, 10))
    done = site.take_in(site.export(21, 100))
    assert (done.stored, done.repeated, done.ahead, done.expected) == (0, 0, 80, 11)


def test_a_number_with_another_body_is_a_conflict(site: Site, tmp_path: Path) -> None:
    site.feed(5)
    epoch = site.outbox.epoch
    site.take_in(site.export(1, 10))
    (tmp_path / "clone").mkdir()
    clone = Site(tmp_path / "clone")
    clone.journal, clone.outbox.epoch = site.journal, epoch
    clone.feed(6, plus=1)
    done = clone.take_in(clone.export(1, 12))
    clone.outbox.close()
    assert (done.stored, done.reasons, done.ahead) == (0, {"number_conflict": 1}, 11)
    with JournalReader(site.journal) as reader:
        assert "number_conflict" in {event.kind for event in reader.events()}


def test_lost_and_thinned_ranges_travel_too(site: Site) -> None:
    site.feed(50)
    site.outbox._db.execute("DELETE FROM frame WHERE number <= 4 OR number BETWEEN 21 AND 30")
    site.outbox.evicted = Evicted(thinned=10, thinned_to=30, lost=4, lost_to=4)
    done = site.take_in(site.export(1, 100))
    assert (done.stored, done.expected) == (88, 101)
    with JournalReader(site.journal) as reader:
        found = [(e.kind, e.detail["first"], e.detail["last"]) for e in reader.events() if "frames" in e.kind]
    assert found == [("frames_lost", 1, 4), ("frames_thinned", 21, 30)]
    assert site.take_in(site.export(1, 100)).stored == 0


def test_frames_of_a_lost_range_that_turn_up_on_another_card_are_stored(site: Site) -> None:
    site.feed(50)
    whole = site.export(1, 100, "whole")
    site.outbox._db.execute("DELETE FROM frame WHERE number <= 4 OR number BETWEEN 21 AND 30")
    site.outbox.evicted = Evicted(thinned=10, thinned_to=30, lost=4, lost_to=4)
    assert site.take_in(site.export(1, 100)).stored == 88
    with JournalReader(site.journal) as reader:
        before = reader.head()
    assert site.take_in(whole).stored == 14
    with JournalReader(site.journal) as reader:
        assert reader.verify_chain() == before.segments + 1
        frames = [frame.number for meter in ("m1", "m2") for frame in reader.frames("gw", meter, 0, 1 << 60)]
        found = [event.detail for event in reader.events() if event.kind == "frames_found"]
    assert sorted(frames) == list(range(1, 101))
    assert [(d["first"], d["last"], d["frames"]) for d in found] == [(1, 30, 14)]
    assert site.take_in(whole).stored == 0
    assert site.take_in(site.export(1, 100)).stored == 0


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_of_a_file_that_was_cut_or_changed_nothing_is_stored(site: Site, part: float) -> None:
    site.feed(200)
    file = site.export(1, 400)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(StoreError, match="f: "):
        site.take_in(file)
    middle = len(data) // 2
    file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with pytest.raises(StoreError, match="f: damaged"):
        site.take_in(file)
    with JournalReader(site.journal) as reader:
        assert reader.head().frames == 0


def test_what_is_no_export_or_of_another_park_is_refused(site: Site, tmp_path: Path) -> None:
    head = b'{"format": "tanyun frames 1", "park": "q", "gateway": "gw", "epoch": 1, "first": 1, "last": 2}\n'
    (tmp_path / "x").write_bytes(gzip.compress(head))
    with pytest.raises(StoreError, match="park 'q'"):
        site.take_in(tmp_path / "x")
    for data in (
        b"PK\x03\x04 a zip",
        *map(gzip.compress, (b"[" * 9_000, head[:40], head.replace(b"1,", b'"1",'))),
    ):
        (tmp_path / "y").write_bytes(data)
        with pytest.raises(StoreError, match="not a file of"):
            site.take_in(tmp_path / "y")


def test_a_small_file_that_unpacks_to_much_is_not_held_in_memory(site: Site, tmp_path: Path) -> None:
    head = b'{"format": "tanyun frames 1", "park": "p", "gateway": "gw", "epoch": 1, "first": 1, "last": 2}\n'
    (tmp_path / "bomb").write_bytes(gzip.compress(head + b"\xff" * (64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="a record of more than"):
            site.take_in(tmp_path / "bomb")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@contextmanager
def running(journal: Path) -> Iterator[None]:
    with sole_writer(journal):
        yield


def test_while_ingest_runs_nothing_is_imported(site: Site) -> None:
    site.feed(1)
    file = site.export(1, 2)
    with running(site.journal), pytest.raises(StoreError, match="stop ingest"):
        site.take_in(file)
    assert site.take_in(file).stored == 2


EDGE = """
park = "p"
gateway = "gw"
[broker]
user = "gw"
password_file = "none"
[outbox]
path = "outbox.db"
[[buses]]
id = "line"
host = "127.0.0.1"
[[meters]]
id = "m1"
bus = "line"
profile = "toy.toml"
"""
SERVER = """
registry = "park.toml"
data = "server"
reports = "reports"
[broker]
user = "host"
password_file = "none"
"""
REGISTRY = """
id = "p"
name = "园区"
grid_scope = "CN-AH"
meters = []
[[enterprises]]
id = "e"
name = "企业"
[[sites]]
id = "s"
enterprise = "e"
name = "厂区"
[[gateways]]
id = "gw"
site = "s"
"""


def test_the_commands_carry_a_day_while_the_agent_has_the_outbox_open(site: Site, tmp_path: Path) -> None:
    site.feed(96 * 2)
    site.outbox.acknowledge("j", site.outbox.epoch, 10)
    for name, text in {"edge.toml": EDGE, "server.toml": SERVER, "park.toml": REGISTRY}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    config, file = ["-c", str(tmp_path / "edge.toml")], str(tmp_path / "day.frames")
    begin = "1970-01-01"
    runner = CliRunner()
    done = runner.invoke(root, ["edge", "export", *config, "--from", begin, file])
    assert (done.exit_code, "1 to 384" in done.output) == (0, True), done.output
    import_argv = ["journal", "import", "-c", str(tmp_path / "server.toml"), file]
    done = runner.invoke(root, import_argv)
    assert (done.exit_code, "384 stored" in done.output) == (0, True), done.output
    assert site.outbox.acked == 10
    site.feed(1)
    assert site.outbox.last == 386
    done = runner.invoke(root, ["edge", "export", *config, "--from", "2100-01-01", file])
    assert done.exit_code == 1
    assert "no such frames" in done.output
