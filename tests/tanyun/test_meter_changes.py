"""`tanyun meters exchange | ratio`: what happened at a meter, written into park.toml without disturbing it."""

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metering.registry import load_registry
from storage.attachments import read
from storage.audit import AuditLog
from tanyun.commands.group import root
from tests.tanyun.test_sheets import REGISTRY

SERVER = """
registry = "park.toml"
data = "data"
reports = "reports"

[broker]
host = "127.0.0.1"
user = "server"
password_file = "password"
"""
TWO_TOTALS = """
# next to it
[[meters]]
id = "two"
gateway = "gw"
roles = { energy_import_total = "grid_boundary", energy_export_total = "export" }

# the very end
"""
PHOTO = b"\xff\xd8\xff two displays"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "park.toml").write_text(REGISTRY + TWO_TOTALS, encoding="utf-8")
    (tmp_path / "server.toml").write_text(SERVER, encoding="utf-8")
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    (tmp_path / "data").mkdir()
    return tmp_path


def run(folder: Path, *words: str, code: int = 0, answer: str | None = None) -> Result:
    given = ["--lang", "en", "meters", *words, "--config", str(folder / "server.toml")]
    result = CliRunner().invoke(root, given, input=answer, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def exchange(folder: Path, *words: str, code: int = 0, answer: str | None = None) -> Result:
    said = ("--reason", "display dead", "--photo", str(folder / "photo.jpg"))
    return run(folder, "exchange", *said, *words, code=code, answer=answer)


GATE = ("gate", "--at", "2026-01-14 03:07", "--closing", "90231.40", "--opening", "0.12", "--serial", "888")


def test_an_exchange_is_shown_asked_for_written_audited_and_its_photo_kept(folder: Path) -> None:
    result = exchange(folder, *GATE, answer="y\n")
    assert '+closing = {energy_import_total = "90231.40"}' in result.output
    assert "restart ingest and stream" in result.output
    text = (folder / "park.toml").read_text(encoding="utf-8")
    before = REGISTRY + TWO_TOTALS
    assert [line for line in before.splitlines() if line not in text] == []
    assert text.index('serial = "777"') < text.index("[[meters.exchanges]]") < text.index("# what stands")
    meter = load_registry(folder / "park.toml").meter("gate")
    assert meter is not None
    (found,) = meter.exchanges
    digest = hashlib.sha256(PHOTO).hexdigest()
    assert (str(found.closing["energy_import_total"]), found.serial) == ("90231.40", "888")
    assert digest in found.reason
    assert read(folder / "data" / "attachments", digest) == PHOTO
    with AuditLog(folder / "data" / "audit.db", writable=False) as log:
        (entry,) = log.entries(0, 10)
    assert (entry.action, entry.target) == ("meter.exchange", "gate")
    assert digest in str(entry.detail)


def test_a_second_change_stands_after_the_first_and_a_ratio_keeps_the_voltage_transformer(
    folder: Path,
) -> None:
    exchange(folder, *GATE, "--pt", "10000/100", "--yes")
    run(folder, "ratio", "gate", "--at", "2026-02-01", "--ct", "400/5", "--reason", "plate", "--yes")
    exchange(folder, "gate", "--at", "2026-03-01T04:00", "--closing", "7", "--opening", "1", "--yes")
    meter = load_registry(folder / "park.toml").meter("gate")
    assert meter is not None
    assert (len(meter.exchanges), len(meter.ratio_changes)) == (2, 1)
    assert meter.ratio_changes[0].pt == 100
    assert meter.ratio_changes[0].ct == 80


def test_nothing_is_written_without_consent_or_in_a_dry_run(folder: Path) -> None:
    assert "nothing was written" in exchange(folder, *GATE, answer="n\n").output
    assert "nothing was written" in exchange(folder, *GATE, "--dry-run").output
    assert (folder / "park.toml").read_text(encoding="utf-8") == REGISTRY + TWO_TOTALS
    assert not (folder / "data" / "attachments").exists()
    assert not (folder / "data" / "audit.db").exists()


def test_mistakes_are_named_and_leave_the_file_alone(folder: Path) -> None:
    rest = ("--at", "2026-01-14 03:07", "--opening", "1", "--yes")
    assert "Known: gate, two" in exchange(folder, "nope", *rest, "--closing", "2", code=1).output
    told = exchange(folder, "two", *rest, "--closing", "2", code=1).output
    assert "--closing energy_import_total=… --closing energy_export_total=…" in told
    assert "give TOTAL=READING" in exchange(folder, "gate", *rest, "--closing", "full", code=2).output
    assert "no such total" in exchange(folder, "gate", *rest, "--closing=-2", code=78).output
    wrong = run(folder, "ratio", "gate", "--at", "2026-02-01", "--ct", "0", "--reason", "r", "--yes", code=78)
    assert "a ratio is positive" in wrong.output
    (folder / "photo.jpg").write_bytes(b"no picture")
    assert "PNG" in exchange(folder, "gate", *rest, "--closing", "2", code=1).output
    assert (folder / "park.toml").read_text(encoding="utf-8") == REGISTRY + TWO_TOTALS
