"""Cards that come back from the past: what the server has is not stored twice, and what it does not have is not lost."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.journal import SCHEMA_VERSION, JournalReader
from storage.sqlite import open_reader
from tanyun.broker import find_mosquitto
from tests.fakes.gateway import HandFed, config_for
from tests.fakes.mosquitto import Mosquitto
from tests.tanyun.test_backup import NOW_MS, feed, ingesting, until

pytestmark = [
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def times(journal: Path) -> list[int]:
    """Times of the readings in the journal, each as often as it is stored."""
    with closing(open_reader(journal, SCHEMA_VERSION)) as db:
        return [
            t_ms - NOW_MS for (t_ms,) in db.execute("SELECT t_ms FROM frame WHERE segment > 0 ORDER BY t_ms")
        ]


def test_an_old_copy_of_a_card_sends_everything_it_counts_anew(tmp_path: Path) -> None:
    """Old frames it sends again are acked with all the journal has; that says nothing about what the copy counted since."""
    journal, outbox = tmp_path / "data" / "journal.db", tmp_path / "outbox.db"
    with Mosquitto(tmp_path) as broker, ingesting(broker, tmp_path, journal):
        config = config_for(tmp_path, broker.port, ack_timeout_s=0.3)
        (tmp_path / "secrets").mkdir(exist_ok=True)
        with HandFed(config) as gateway:
            feed(gateway, 10)
            until(lambda: gateway.outbox.backlog() == 0, "the first ten")
        shutil.copy(outbox, tmp_path / "old.db")
        with closing(sqlite3.connect(tmp_path / "old.db")) as db, db:
            db.execute("UPDATE meta SET value = 5 WHERE key = 'acked'")
        with HandFed(config) as gateway:
            feed(gateway, 10, first=11)
            until(lambda: gateway.outbox.backlog() == 0, "the next ten")
        (tmp_path / "old.db").replace(outbox)
        gateway = HandFed(config)
        feed(gateway, 15, first=101)
        with gateway:
            until(lambda: gateway.outbox.backlog() == 0, "what the copy counted")
        found = times(journal)
        assert set(found) == {*range(1, 21), *range(101, 116)}
        with JournalReader(journal) as reader:
            assert "number_conflict" in {event.kind for event in reader.events()}
