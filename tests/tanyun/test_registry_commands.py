"""`tanyun registry` and `tanyun month check`, as an operator types them."""

import json
import threading
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from metering.intervals import month_of
from storage.audit import AuditLog
from storage.daily_checks import DailyChecks
from storage.journal import Offset
from storage.journal_writer import JournalWriter
from storage.ledger import Results, Snapshot
from storage.ledger_writer import LedgerWriter
from tanyun.commands import group
from tanyun.commands.month_check import watch

PARK = """
id = "p"
name = "园"
grid_scope = "CN-AH"
enterprises = [{ id = "a", name = "甲" }]
sites = [{ id = "s", enterprise = "a", name = "s" }]
gateways = [{ id = "g", site = "s" }]
meters = [{ id = "m", gateway = "g", roles = { energy_import_total = "grid_boundary" } }]
"""
SERVER = """
registry = "park.toml"
data = "data"
reports = "reports"

[broker]
host = "127.0.0.1"
user = "server"
password_file = "password"
"""
GOOD = "enterprise,month,output_10k_cny,value_added_10k_cny\na,2026-10,100,20\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "park.toml").write_text(PARK, encoding="utf-8")
    (tmp_path / "server.toml").write_text(SERVER, encoding="utf-8")
    (tmp_path / "production.csv").write_text(GOOD, encoding="utf-8")
    return tmp_path


def run(folder: Path, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(group.root, [*words, "--config", str(folder / "server.toml")])
    assert result.exit_code == code, result.output
    return result


def test_a_sheet_goes_in_once_comes_out_again_and_is_audited(folder: Path) -> None:
    sheet = str(folder / "production.csv")
    assert "nothing was stored" in run(folder, "registry", "import", sheet, "--why", "w", "--dry-run").output
    assert "revision 1" in run(folder, "registry", "import", sheet, "--why", "October").output
    assert "nothing new" in run(folder, "registry", "import", sheet, "--why", "again").output
    run(folder, "registry", "export", str(folder / "out"))
    assert "a,2026-10,100,20" in (folder / "out" / "production.csv").read_text(encoding="utf-8-sig")
    with AuditLog(folder / "data" / "audit.db") as log:
        (entry,) = log.entries(0, 10)
    assert (entry.action, entry.target) == ("registry.production.set", "a")


def test_a_calendar_that_nobody_published_is_refused(folder: Path) -> None:
    sheet = folder / "tariff.csv"
    sheet.write_text("enterprise,calendar,valid_from\na,cn-xx-1,2026-01-01\n", encoding="utf-8")
    assert "cn-xx-1" in run(folder, "registry", "import", str(sheet), "--why", "w", code=1).output
    sheet.write_text("enterprise,calendar,valid_from\na,cn-ah-2025-302,2026-01-01\n", encoding="utf-8")
    assert "revision 1" in run(folder, "registry", "import", str(sheet), "--why", "w").output


def test_mistakes_are_listed_and_nothing_is_stored(folder: Path) -> None:
    (folder / "production.csv").write_text(GOOD + "b,2026-13,x,1\n", encoding="utf-8")
    result = run(folder, "registry", "import", str(folder / "production.csv"), "--why", "w", code=1)
    assert "production 3" in result.output
    assert json.loads(run(folder, "registry", "show", "--json").output)["revision"] == 0


def test_a_withdrawn_fact_stays_in_the_history(folder: Path) -> None:
    run(folder, "registry", "import", str(folder / "production.csv"), "--why", "October")
    assert "2026-10" in run(folder, "registry", "show", "production").output
    run(folder, "registry", "withdraw", "production", "a", "2026-10", "--why", "typed twice")
    run(folder, "registry", "withdraw", "production", "a", "2026-10", "--why", "typed twice", code=1)
    assert run(folder, "registry", "show", "production").output == ""
    rows = json.loads(run(folder, "registry", "show", "production", "--history", "--json").output)
    assert [(row["why"], row["withdrawn"]) for row in rows] == [("October", False), ("typed twice", True)]
    assert "typed twice" in run(folder, "registry", "show", "production", "--history").output


def test_a_file_that_is_there_is_kept(folder: Path) -> None:
    out = folder / "t.xlsx"
    assert CliRunner().invoke(group.root, ["registry", "template", str(out)]).exit_code == 0
    before = out.read_bytes()
    assert CliRunner().invoke(group.root, ["registry", "template", str(out)]).exit_code == 1
    assert out.read_bytes() == before


def test_the_open_month_is_checked_and_the_result_kept(folder: Path) -> None:
    data = folder / "data"
    JournalWriter(data / "journal.db").close()
    ledger = LedgerWriter(data / "ledger.db")
    ledger.commit(Snapshot("x", Offset(1, 0), 1, b""), Results())
    ledger.close()
    found = json.loads(run(folder, "month", "check", "2026-10", "--keep", "--json").output)
    assert {item["scope_id"] for item in found} == {"a", "p"}
    assert {item["outcome"] for item in found} == {"INSUFFICIENT_DATA"}
    with DailyChecks(data / "checks.db", writable=False) as store:
        kept = store.newest("2026-10")
    assert [row.scope_id for row in kept] == ["p", "a"]
    assert [line["id"] for line in json.loads(kept[0].checks)] == [f"V{n:02d}" for n in range(1, 18)]
    assert "V01" in run(folder, "month", "check", "2026-10").output
    run(folder, "month", "check", "October", code=2)
    run(folder, "month", "check", "2999-01", code=1)


def test_the_watch_checks_at_start_and_keeps_what_it_found(folder: Path) -> None:
    data = folder / "data"
    JournalWriter(data / "journal.db").close()
    stop = threading.Event()
    watching = threading.Thread(target=watch, args=(folder / "server.toml", stop, 0.05))
    watching.start()
    try:
        # Without a ledger there is nothing to check yet: the watch waits for the stream.
        ledger = LedgerWriter(data / "ledger.db")
        ledger.commit(Snapshot("x", Offset(1, 0), 1, b""), Results())
        ledger.close()
        deadline = time.monotonic() + 60
        while not _kept(data / "checks.db") and time.monotonic() < deadline:
            watching.join(0.05)
    finally:
        stop.set()
        watching.join(60)
    assert _kept(data / "checks.db") == {"a", "p"}


def _kept(path: Path) -> set[str]:
    if not path.exists():
        return set()
    month = month_of(time.time_ns() // 1_000_000, ZoneInfo("Asia/Shanghai"))
    try:
        with DailyChecks(path, writable=False) as store:
            return {row.scope_id for row in store.newest(month)}
    except FileNotFoundError:  # Its writer is at it.
        return set()
