"""`tanyun gateway resend`, from the command to the frames: real broker, real publisher."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from storage.journal import Commit, Entry, FrameIndex
from storage.journal_writer import JournalWriter
from storage.segment import Record
from tanyun.commands.group import root
from tanyun.supervisor import EX_CONFIG
from tests.edge_agent.site import server_files
from tests.fakes.gateway import HandFed, config_for
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.primary_host import PrimaryHost

COUNT = 40


@pytest.fixture
def host(broker: Mosquitto) -> Iterator[PrimaryHost]:
    with PrimaryHost(broker.port, broker.password("host")) as host:
        yield host


def server(folder: Path, broker: Mosquitto, epoch: int, numbers: range) -> None:
    """A server's files; its journal has these frames, number n read n seconds after 1970-01-01T08:00 in Shanghai."""
    server_files(folder, broker)
    journal = JournalWriter(folder / "data" / "journal.db")
    entries = [
        Entry(Record("t", b"x", 0), FrameIndex("gw", "m1", epoch, n, n * 1000, bytes(16))) for n in numbers
    ]
    journal.commit(Commit(entries, [], [], []), 0)
    journal.close()


def resend(folder: Path, gateway: str, begin: str, end: str, *words: str) -> Result:
    at = "1970-01-01T08:00:"
    asked = ("--from", at + begin, "--to", at + end, "-c", str(folder / "server.toml"))
    command = ["--lang", "en", "gateway", "resend", gateway, *asked, *words]
    return CliRunner().invoke(root, command, catch_exceptions=False)


def test_the_frames_of_a_time_come_once_more_and_are_known(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """Of frames 6 and later the journal has none: where they begin, the one before them tells."""
    with HandFed(config_for(tmp_path, broker.port, ack_timeout_s=60)) as fed:
        fed.feed(COUNT)
        host.until(host.has(COUNT))
        first_time = len(host.of("DDATA"))
        server(tmp_path, broker, fed.outbox.epoch, range(1, 6))
        said = resend(tmp_path, "gw", "06", "21")
        assert said.exit_code == 0, said.output
        assert "all frames from 6 on" in said.output  # nothing behind is known
        host.until(lambda: len(host.of("DDATA")) == first_time + COUNT - 5)
    again = host.of("DDATA")[first_time:]
    assert [heard.value("Frame/Number") for heard in again] == list(range(6, COUNT + 1))
    assert all(metric.is_historical for heard in again for metric in heard.payload.metrics)
    assert "35 frames came" in said.output
    assert host.newest.last == COUNT


def test_a_gateway_that_is_away_sends_nothing_and_the_command_says_so(
    tmp_path: Path, broker: Mosquitto
) -> None:
    server(tmp_path, broker, 7, range(1, 30))
    said = resend(tmp_path, "gw", "05", "13", "--wait-s", "1")
    assert said.exit_code == 1
    assert "asking gw for frames 5 to 12" in said.output
    assert "0 frames came" in said.output


def test_what_cannot_be_asked_for_is_said_before_anything_is_sent(tmp_path: Path, broker: Mosquitto) -> None:
    server(tmp_path, broker, 7, range(1, 30))
    unknown = resend(tmp_path, "stranger", "05", "13")
    assert unknown.exit_code == EX_CONFIG
    assert "known are gw" in unknown.output
    nothing = resend(tmp_path, "gw", "13", "05")
    assert nothing.exit_code == 1
    assert "has no frames between" in nothing.output
    (tmp_path / "host-password").write_text("wrong", encoding="utf-8")
    refused = resend(tmp_path, "gw", "05", "13", "--wait-s", "1")
    assert refused.exit_code == 1
    assert "refused the server's login" in refused.output
