"""A backup on another machine: other user, path, host name, time zone and ports; gateways send the rest, the ledger is equal."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.people import People
from api.second_factor import recovery_digest
from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.config import ConfigError
from metering.intervals import MINUTE_MS
from metering.registry import load_registry
from storage.audit import AuditLog
from storage.journal import JournalReader
from storage.ledger import IntervalRow, LedgerReader
from storage.users import SessionRow, UserStore
from stream.context import Context
from stream.policy import Policy
from stream.runner import Runner
from tanyun.broker import find_mosquitto
from tanyun.commands.backup import backup, restore
from tanyun.config import load_server_config
from tanyun.moving import moved, not_here
from tests.fakes.gateway import HandFed, config_for, draft
from tests.fakes.mosquitto import Mosquitto
from tests.tanyun.test_backup import CONFIG, REGISTRY, ingesting, numbers, until

METER = """
[[meters]]
id = "m1"
gateway = "gw"
roles = { energy_import_total = "grid_boundary" }
max_power_w = 100000000
"""
PARK = REGISTRY.replace("meters = []\n", "") + METER
NOBODY = 65534
NOW_MS = (time.time_ns() // 1_000_000 // (15 * MINUTE_MS) - 200) * 15 * MINUTE_MS


def as_somebody_else(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command on "another machine": host name, user, home and time zone are others, where root can make them so."""
    argv = [sys.executable, "-m", "tanyun", "--lang", "en", *words]
    if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("setpriv"):
        setpriv = f"exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all"
        argv = ["unshare", "--uts", "sh", "-c", f'hostname elsewhere && {setpriv} "$@"', "sh", *argv]
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder), "TZ": "America/St_Johns",
        "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    return subprocess.run(
        argv, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def feed(gateway: HandFed, count: int, first: int) -> None:
    """A frame a minute, each 0.5 kWh on."""
    [device] = gateway.devices.values()
    drafts = [draft(device, 1_000 + 50 * n, NOW_MS + n * MINUTE_MS) for n in range(first, first + count)]
    gateway.outbox.append(drafts, NOW_MS)


def stream(folder: Path) -> list[IntervalRow]:
    """What the ledger says once the stream has read all of the journal."""
    park = load_registry(folder / "park.toml")
    policy = Policy(FactorTable.load(), enterprise_policy(), park.tz, datetime.now(UTC).date())
    runner = Runner(folder / "data" / "journal.db", folder / "data" / "ledger.db", Context(park, policy))
    while runner.advance():
        pass
    runner.close()
    with LedgerReader(folder / "data" / "ledger.db") as ledger:
        return ledger.intervals("m1", "energy_import_total", 0, 1 << 60)


def install(folder: Path, port: int) -> Path:
    """A server with absolute paths, as on a Debian server."""
    folder.mkdir()
    (folder / "park.toml").write_text(PARK, encoding="utf-8")
    text = CONFIG.format(port=port)
    for name in ("park.toml", "data", "reports", "secrets/mqtt-host"):
        text = text.replace(f'"{name}"', f'"{folder / name}"')
    (folder / "server.toml").write_text(text, encoding="utf-8")
    return folder / "server.toml"


@pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine")
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_on_another_machine_the_gateways_send_the_rest_and_the_ledger_is_equal(tmp_path: Path) -> None:
    old, copy = tmp_path / "old", tmp_path / "copy"
    with Mosquitto(tmp_path) as broker:
        config = install(old, broker.port)
        with (
            HandFed(config_for(tmp_path, broker.port, ack_timeout_s=0.5)) as gateway,
            ingesting(broker, old, old / "data" / "journal.db", PARK),
        ):
            feed(gateway, 40, first=1)
            until(lambda: len(numbers(old / "data" / "journal.db")) == 40, "forty frames")
            assert stream(old), "there is something in the ledger before the backup"
            done = CliRunner().invoke(backup, [str(copy), "--config", str(config)], catch_exceptions=False)
            assert done.exit_code == 0, done.output
            feed(gateway, 50, first=41)
            until(lambda: len(numbers(old / "data" / "journal.db")) == 90, "the rest")
            until(lambda: gateway.outbox.backlog() == 0, "their acks")
    wanted = stream(old)
    new = elsewhere(tmp_path, copy)
    with Mosquitto(tmp_path / "second") as broker:
        assert str(broker.port) not in (old / "server.toml").read_text(encoding="utf-8")
        shutil.copy(tmp_path / "outbox.db", tmp_path / "second" / "outbox.db")
        with (
            HandFed(config_for(tmp_path / "second", broker.port, ack_timeout_s=0.5)) as gateway,
            ingesting(broker, new, new / "data" / "journal.db", PARK),
        ):
            feed(gateway, 1, first=91)  # the next poll, whose ack bears another journal's name
            until(lambda: len(numbers(new / "data" / "journal.db")) == 91, "what the restored server lacked")
            until(lambda: gateway.outbox.backlog() == 0, "acks of the restored server")
    until_ms = NOW_MS + 90 * MINUTE_MS
    assert [row for row in stream(new) if row.end_ms <= until_ms] == [
        row for row in wanted if row.end_ms <= until_ms
    ]
    assert sum(row.closed for row in wanted) == 6
    with JournalReader(new / "data" / "journal.db") as journal:
        journal.verify_chain()


def elsewhere(tmp_path: Path, copy: Path) -> Path:
    """The backup carried to somebody else's folder and restored there; the original is out of reach."""
    home = tmp_path / "second"
    home.mkdir()
    shutil.copytree(copy, home / "carried")
    (tmp_path / "old").rename(tmp_path / "gone")
    if os.geteuid() == 0:
        for folder in (tmp_path, *list(tmp_path.parents)[:2]):
            folder.chmod(0o755)
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    done = as_somebody_else("restore", str(home / "carried"), "--into", str(home / "server"), folder=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(broker.password_file)" in done.stdout
    server = home / "server"
    owners = {path.stat().st_uid for path in server.rglob("*")}
    assert owners == {server.stat().st_uid}
    if os.geteuid() == 0:
        assert owners == {NOBODY}
    assert load_server_config(server / "server.toml").data == server / "data"
    (tmp_path / "gone").rename(tmp_path / "old")
    return server


def test_a_port_that_is_taken_is_named_by_the_doctor_and_does_not_keep_a_restore_from_its_work(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = install(tmp_path / "old", 1883)
        port = taken.getsockname()[1]
        config.write_text(config.read_text("utf-8") + f"[api]\nport = {port}\n", encoding="utf-8")
        (tmp_path / "old" / "data").mkdir()
        UserStore(tmp_path / "old" / "data" / "users.db").close()
        assert CliRunner().invoke(backup, [str(tmp_path / "copy"), "--config", str(config)]).exit_code == 0
        done = CliRunner().invoke(
            restore, [str(tmp_path / "copy"), "--into", str(tmp_path / "new")], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        again = CliRunner().invoke(restore, [str(tmp_path / "copy"), "--into", str(tmp_path / "new")])
        assert (again.exit_code, str(tmp_path / "new") in again.output) == (1, True)
    with AuditLog(tmp_path / "new" / "data" / "audit.db") as log:
        assert [entry.action for entry in log.entries()] == ["backup.restore"]


def test_nobody_is_signed_in_on_a_restored_server_and_no_code_opens_a_second_time(tmp_path: Path) -> None:
    config = install(tmp_path / "old", 1883)
    users = tmp_path / "old" / "data" / "users.db"
    users.parent.mkdir()
    People(users, lambda *_what, **_more: None, 1).add("li", ())
    with UserStore(users) as store:
        store.add_session(SessionRow(b"s", "li", 1, 1), b"d")
        store.set_welcome("li", recovery_digest("code"), 1 << 60)
        store.invite("gw", b"i", b"sealed", 1 << 60)
    assert CliRunner().invoke(backup, [str(tmp_path / "copy"), "--config", str(config)]).exit_code == 0
    done = CliRunner().invoke(
        restore, [str(tmp_path / "copy"), "--into", str(tmp_path / "new")], catch_exceptions=False
    )
    assert "Users and keys are as they were at" in done.output
    with UserStore(tmp_path / "new" / "data" / "users.db") as store:
        assert store.user("li") is not None
        assert store.session(b"s") is None
        assert store.welcome_ends_ms("li") is None
        assert store.redeem(b"i", 2) is None
        assert store.knows_device(b"d", "li")


def test_only_the_servers_own_paths_are_changed_whatever_stands_around_them() -> None:
    text = (
        '# ours\nregistry = \'/etc/x/park.toml\'   # here\n  data="/var/lib/tanyun"\nreports = "/r"\n'
        'broker = { password_file = "/etc/data", port = 1 }\n[api]\ndata = "/not/this"\n'
    )
    done = moved(text)
    assert tomllib.loads(done) == tomllib.loads(text) | {
        "registry": "park.toml",
        "data": "data",
        "reports": "reports",
    }
    assert re.sub(r"=\s*\S+", "", done.splitlines()[1]) == re.sub(r"=\s*\S+", "", text.splitlines()[1])
    with pytest.raises(ConfigError, match="registry"):
        moved('data = "a"\nreports = "b"\n"registry" = "/etc/park.toml"\n')


def test_what_the_configuration_names_and_is_not_there_is_listed(tmp_path: Path) -> None:
    config = load_server_config(install(tmp_path / "old", 1883))
    with suppress(FileNotFoundError):
        shutil.rmtree(tmp_path / "old" / "secrets")
    assert not_here(config) == [("broker.password_file", tmp_path / "old" / "secrets" / "mqtt-host")]
