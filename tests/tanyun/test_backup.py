"""Backup while everything writes, restore on another machine, and gateways that send again what the restored server lacks."""

import json
import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest.subscriber import run
from metering.mqtt import BrokerSettings
from metering.registry import load_registry
from storage import backup as copies
from storage.attachments import keep
from storage.errors import CorruptError, StoreError
from storage.journal import SCHEMA_VERSION, Commit, JournalReader, Offset
from storage.journal_writer import JournalWriter
from storage.ledger import LedgerReader, Results, Snapshot
from storage.ledger_writer import LedgerWriter
from storage.months import MonthStore
from storage.sqlite import open_reader
from tanyun.broker import SERVER_USER, find_mosquitto
from tanyun.commands.backup import backup, restore
from tests.fakes.gateway import HandFed, config_for, draft
from tests.fakes.mosquitto import Mosquitto
from tests.storage.entries import frame

NOW_MS = 1_790_000_000_000
REGISTRY = """
id = "park"
name = "园区"
grid_scope = "CN-AH"
enterprises = [{ id = "e", name = "企业" }]
sites = [{ id = "s", enterprise = "e", name = "厂区" }]
gateways = [{ id = "gw", site = "s" }]
meters = []
"""
CONFIG = """
registry = "park.toml"
data = "data"
reports = "reports"
[broker]
port = {port}
user = "host"
password_file = "secrets/mqtt-host"
"""
DEADLINE_S = 30.0


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end, f"no {what} within {DEADLINE_S} s"
        time.sleep(0.02)


def installed(folder: Path, port: int = 1883) -> Path:
    """A server's configuration and registry; the path of the former."""
    (folder / "park.toml").write_text(REGISTRY, encoding="utf-8")
    (folder / "server.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
    return folder / "server.toml"


def filled(data: Path, segments: int = 3) -> None:
    """Stores with something in them."""
    journal = JournalWriter(data / "journal.db")
    for number in range(1, segments + 1):
        journal.commit(Commit([frame(number)]), NOW_MS)
    ledger = LedgerWriter(data / "ledger.db")
    ledger.commit(Snapshot(journal.journal_id, Offset(segments + 1, 0), 1, b"state"), Results())
    MonthStore(data / "months.db").close()
    ledger.close()
    journal.close()


def stores(data: Path) -> list[Path]:
    return [data / name for name in ("months.db", "ledger.db", "journal.db")]


def test_a_backup_on_another_machine_is_a_server_again(tmp_path: Path) -> None:
    """No configuration there yet: that of the backup is put there."""
    (tmp_path / "old").mkdir()
    config = installed(tmp_path / "old")
    filled(tmp_path / "old" / "data")
    done = CliRunner().invoke(backup, [str(tmp_path / "copy"), "--config", str(config)])
    assert done.exit_code == 0, done.output
    shutil.rmtree(tmp_path / "old")
    new = tmp_path / "new" / "etc" / "server.toml"
    done = CliRunner().invoke(restore, [str(tmp_path / "copy"), "--config", str(new)])
    assert done.exit_code == 0, done.output
    assert load_registry(new.parent / "park.toml").id == "park"
    with JournalReader(new.parent / "data" / "journal.db") as journal:
        assert journal.verify_chain() == 3
        assert [event.kind for event in journal.events()] == ["journal_restored"]
    with LedgerReader(new.parent / "data" / "ledger.db") as ledger:
        assert ledger.cursor() == Offset(4, 0)


def test_what_people_attached_and_the_rules_of_delivery_come_along(tmp_path: Path) -> None:
    config = installed(tmp_path)
    config.write_text(f'delivery = "delivery.toml"\n{config.read_text("utf-8")}', encoding="utf-8")
    (tmp_path / "delivery.toml").write_text("# ours\n", encoding="utf-8")
    filled(tmp_path / "data")
    kept = {
        keep(tmp_path / "data" / "attachments", b"%PDF-" + bytes([i])): b"%PDF-" + bytes([i])
        for i in range(3)
    }
    (tmp_path / "data" / "attachments" / ".half.draft").write_bytes(b"being written")
    done = CliRunner().invoke(backup, [str(tmp_path / "copy"), "--config", str(config)])
    assert done.exit_code == 0, done.output
    there = keep(tmp_path / "new" / "data" / "attachments", b"%PDF-" + bytes([2]))
    assert there in kept
    done = CliRunner().invoke(
        restore, [str(tmp_path / "copy"), "--config", str(tmp_path / "new" / "server.toml")]
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "delivery.toml").read_text("utf-8") == "# ours\n"
    home = tmp_path / "new" / "data" / "attachments"
    assert {path.name: path.read_bytes() for path in home.iterdir()} == kept


def test_nobody_else_can_read_a_backup_and_what_root_restores_belongs_to_the_folders_owner(
    tmp_path: Path,
) -> None:
    config = installed(tmp_path)
    filled(tmp_path / "data")
    keep(tmp_path / "data" / "attachments", b"%PDF-")
    assert CliRunner().invoke(backup, [str(tmp_path / "copy"), "--config", str(config)]).exit_code == 0
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    to = tmp_path / "new"
    to.mkdir()
    if os.geteuid() == 0:
        os.chown(to, 1234, 1235)
    copies.restore(tmp_path / "copy", to, NOW_MS)
    found = [path.stat() for path in to.rglob("*")]
    assert len(found) == 5
    assert {(item.st_uid, item.st_gid) for item in found} == {(to.stat().st_uid, to.stat().st_gid)}
    assert not any(item.st_mode & 0o077 for item in found)


def test_a_changed_attachment_makes_the_backup_useless_and_nothing_is_restored(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    digest = keep(tmp_path / "data" / "attachments", b"%PDF-")
    data, copy = tmp_path / "data", tmp_path / "copy"
    copies.back_up(stores(data), {}, copy, "0", NOW_MS, data / "attachments")
    (copy / "attachments" / digest).write_bytes(b"%PDF+")
    with pytest.raises(CorruptError, match=digest):
        copies.restore(copy, tmp_path / "new", NOW_MS)
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten_and_the_file_in_the_way_is_named(tmp_path: Path) -> None:
    config = installed(tmp_path)
    filled(tmp_path / "data")
    assert CliRunner().invoke(backup, [str(tmp_path / "copy"), "--config", str(config)]).exit_code == 0
    before = {path: path.read_bytes() for path in stores(tmp_path / "data")}
    for command in (backup, restore):
        done = CliRunner().invoke(command, [str(tmp_path / "copy"), "--config", str(config)])
        assert done.exit_code == 1
        assert str(tmp_path) in done.output
    assert {path: path.read_bytes() for path in stores(tmp_path / "data")} == before
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    (tmp_path / "data" / "ledger.db-wal").write_bytes(b"left over")
    done = CliRunner().invoke(restore, [str(tmp_path / "copy"), "--config", str(config)])
    assert (done.exit_code, "ledger.db-wal" in done.output) == (1, True)
    assert not any(path.exists() for path in before)


@pytest.mark.parametrize("victim", ["journal.db", "park.toml", "manifest.json"])
def test_a_backup_with_one_changed_byte_is_refused_by_name(tmp_path: Path, victim: str) -> None:
    config = installed(tmp_path)
    filled(tmp_path / "data")
    folder = tmp_path / "copy"
    copies.back_up(stores(tmp_path / "data"), {"park.toml": config.parent / "park.toml"}, folder, "0", NOW_MS)
    data = bytearray((folder / victim).read_bytes())
    data[len(data) // 2] ^= 0x20
    (folder / victim).write_bytes(data)
    with pytest.raises((CorruptError, StoreError)):
        copies.restore(folder, tmp_path / "elsewhere", NOW_MS)
    assert not (tmp_path / "elsewhere").exists() or not list((tmp_path / "elsewhere").iterdir())


def test_a_name_that_leads_out_of_the_backup_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    copies.back_up(stores(tmp_path / "data"), {}, tmp_path / "copy", "0", NOW_MS)
    manifest = tmp_path / "copy" / "manifest.json"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace("months.db", "../months.db"), encoding="utf-8"
    )
    with pytest.raises(CorruptError, match="leads out"):
        copies.restore(tmp_path / "copy", tmp_path / "elsewhere", NOW_MS)


def test_a_backup_that_cannot_be_finished_leaves_no_folder(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    ledger = tmp_path / "data" / "ledger.db"
    ledger.write_bytes(ledger.read_bytes()[:5000] + b"\0" * 3000)
    with pytest.raises(StoreError):
        copies.back_up(stores(tmp_path / "data"), {}, tmp_path / "copy", "0", NOW_MS)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_backups_made_while_the_journal_grows_are_each_whole_and_never_behind_their_ledger(
    tmp_path: Path,
) -> None:
    """The writer commits journal first, ledger next, as fast as it can, while copies are made."""
    data, stop = tmp_path / "data", threading.Event()
    filled(data)

    def write() -> None:
        journal, ledger = JournalWriter(data / "journal.db"), LedgerWriter(data / "ledger.db")
        number = 3
        while not stop.is_set():
            number += 1
            segment = journal.commit(Commit([frame(number)]), NOW_MS)
            ledger.commit(Snapshot(journal.journal_id, Offset(segment + 1, 0), number, b""), Results())
        ledger.close()
        journal.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(8):
            made = copies.back_up(stores(data), {}, tmp_path / f"copy{i}", "0", NOW_MS)
            copies.restore(tmp_path / f"copy{i}", tmp_path / f"new{i}", NOW_MS)
            with JournalReader(tmp_path / f"new{i}" / "journal.db") as journal:
                assert journal.verify_chain() == made.segments
            with LedgerReader(tmp_path / f"new{i}" / "ledger.db") as ledger:
                cursor = ledger.cursor()
            assert cursor is not None
            assert cursor.segment <= made.segments + 1
    finally:
        stop.set()
        writer.join()


@contextmanager
def ingesting(broker: Mosquitto, folder: Path, journal: Path, park: str = REGISTRY) -> Iterator[None]:
    """Ingest in a thread of its own, until left; leaving it is a clean stop."""
    password = folder / "mqtt-host"
    password.write_text(broker.password(SERVER_USER), encoding="ascii")
    (folder / "park.toml").write_text(park, encoding="utf-8")
    settings = BrokerSettings(port=broker.port, user=SERVER_USER, password_file=password)
    stop = threading.Event()
    thread = threading.Thread(
        target=run, args=(settings, "tanyun", load_registry(folder / "park.toml"), journal, stop.is_set)
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def numbers(journal: Path) -> list[int]:
    """Frame numbers in the journal."""
    with suppress(FileNotFoundError), closing(open_reader(journal, SCHEMA_VERSION)) as db:
        query = "SELECT number FROM frame WHERE segment > 0 ORDER BY epoch, number"
        return [number for (number,) in db.execute(query)]
    return []


def feed(gateway: HandFed, count: int, first: int = 1) -> None:
    """Readings of today's century, in as many frames."""
    [device] = gateway.devices.values()
    gateway.outbox.append([draft(device, n, NOW_MS + n) for n in range(first, first + count)], NOW_MS)


@pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine")
@pytest.mark.parametrize("how", ["restore", "snapshot"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_after_a_restore_the_gateway_sends_again_what_the_server_no_longer_has(
    tmp_path: Path, how: str
) -> None:
    """With `tanyun restore`, and with files put back by hand as a machine's snapshot does."""
    dice, data = random.Random(17), tmp_path / "data"
    with Mosquitto(tmp_path) as broker:
        config = config_for(tmp_path, broker.port, ack_timeout_s=0.3)
        (tmp_path / "secrets").mkdir(exist_ok=True)
        with HandFed(config) as gateway:
            with ingesting(broker, tmp_path, data / "journal.db"):
                feed(gateway, 30)
                until(lambda: len(numbers(data / "journal.db")) == 30, "first thirty frames")
                copies.back_up([data / "journal.db"], {}, tmp_path / "copy", "0", NOW_MS)
                feed(gateway, dice.randint(20, 40), first=31)
                until(lambda: gateway.outbox.backlog() == 0, "acks of the rest")
                last = gateway.outbox.last
            data = tmp_path / "restored"
            if how == "restore":
                copies.restore(tmp_path / "copy", data, NOW_MS)
            else:
                data.mkdir()
                shutil.copy(tmp_path / "copy" / "journal.db", data / "journal.db")
            with ingesting(broker, tmp_path, data / "journal.db"):
                feed(gateway, 1, first=last + 1)
                until(lambda: len(numbers(data / "journal.db")) >= last + 1, "frames after the restore")
                until(lambda: gateway.outbox.backlog() == 0, "their acks")
    assert numbers(data / "journal.db") == list(range(1, last + 2))
    with JournalReader(data / "journal.db") as journal:
        journal.verify_chain()


def test_the_backup_of_a_demo_leaves_the_outboxes_of_gateways_alone(tmp_path: Path) -> None:
    config = installed(tmp_path)
    filled(tmp_path / "data")
    for name in ("outbox-gw.db", "projector.db"):
        sqlite3.connect(tmp_path / "data" / name).execute("CREATE TABLE t(a)").connection.close()
    assert CliRunner().invoke(backup, [str(tmp_path / "copy"), "--config", str(config)]).exit_code == 0
    names = [item["name"] for item in json.loads((tmp_path / "copy" / "manifest.json").read_text())["files"]]
    assert names == ["projector.db", "months.db", "ledger.db", "journal.db", "server.toml", "park.toml"]
