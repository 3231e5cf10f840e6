"""`tanyun user | key | audit` as typed on the server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api.passwords import matches
from storage.audit import AuditLog
from storage.users import UserStore
from tanyun.commands.group import root
from tanyun.config import load_server_config
from tanyun.supervisor import EX_CONFIG

PARK = """id = "park"
name = "园区"
grid_scope = "CN-AH"
meters = []
gateways = []
sites = []
enterprises = [{ id = "ent-a", name = "甲" }, { id = "ent-b", name = "乙" }]
"""
SERVER = """registry = "park.toml"
data = "data"
reports = "reports"
broker = { host = "127.0.0.1", port = 1883, user = "host", password_file = "password" }
"""
PASSWORD = "a long enough phrase"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "park.toml").write_text(PARK, encoding="utf-8")
    (tmp_path / "server.toml").write_text(SERVER, encoding="utf-8")
    return tmp_path


def tanyun(folder: Path, *words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(
        root, [*words, "--config", str(folder / "server.toml")], input=typed, catch_exceptions=False
    )


def add(folder: Path, *words: str) -> Result:
    return tanyun(folder, "user", "add", *words, "--password-file", "-", typed=PASSWORD + "\n")


def users(folder: Path) -> UserStore:
    return UserStore(folder / "data" / "users.db")


def actions(folder: Path) -> list[tuple[str, str]]:
    with AuditLog(folder / "data" / "audit.db", writable=False) as log:
        return [(entry.action, entry.target) for entry in log.entries()]


def test_the_first_administrator_is_made_here_and_has_the_password_that_was_given(folder: Path) -> None:
    done = add(folder, "ann", "--role", "administrator")
    assert done.exit_code == 0, done.output
    with users(folder) as store:
        row = store.user("ann")
    assert row is not None
    assert row.grants == (("administrator", "*"),)
    assert matches(PASSWORD, row.password)
    assert not matches(PASSWORD + " ", row.password)
    assert PASSWORD not in done.output
    assert actions(folder) == [("user.add", "ann")]


def test_a_generated_password_is_shown_once_and_opens(folder: Path) -> None:
    done = tanyun(folder, "user", "add", "ann", "--role", "operator", "--generate")
    password = done.output.splitlines()[0].rpartition(": ")[2]
    with users(folder) as store:
        row = store.user("ann")
    assert row is not None
    assert matches(password, row.password)


@pytest.mark.parametrize(
    "words",
    [
        ("ann", "--role", "enterprise"),
        ("ann", "--role", "enterprise", "--enterprise", "ent-x"),
        ("ann", "--role", "administrator", "--enterprise", "ent-a"),
        ("a b", "--role", "operator"),
        ("", "--role", "operator"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_made(folder: Path, words: tuple[str, ...]) -> None:
    assert add(folder, *words).exit_code == 1
    with users(folder) as store:
        assert store.users() == []


def test_a_weak_password_and_a_name_that_is_taken_are_refused(folder: Path) -> None:
    weak = tanyun(folder, "user", "add", "ann", "--role", "operator", "--password-file", "-", typed="short\n")
    assert (weak.exit_code, "12" in weak.output) == (1, True)
    assert add(folder, "ann", "--role", "operator").exit_code == 0
    assert add(folder, "ann", "--role", "operator").exit_code == 1


def test_without_a_terminal_no_password_is_asked_for(folder: Path) -> None:
    assert tanyun(folder, "user", "add", "ann", "--role", "operator").exit_code == 2


def test_roles_password_and_state_are_changed_and_listed(folder: Path) -> None:
    add(folder, "li", "--role", "enterprise", "--enterprise", "ent-a")
    assert (
        tanyun(folder, "user", "role", "li", "--role", "enterprise", "--enterprise", "ent-b").exit_code == 0
    )
    assert tanyun(folder, "user", "passwd", "li", "--generate").exit_code == 0
    assert tanyun(folder, "user", "disable", "li").exit_code == 0
    [listed] = json.loads(tanyun(folder, "user", "list", "--json").output)
    assert listed == {"name": "li", "disabled": True, "grants": [["enterprise", "ent-b"]]}
    assert tanyun(folder, "user", "enable", "li").exit_code == 0
    assert tanyun(folder, "user", "disable", "nobody").exit_code == 1
    assert [action for action, _target in actions(folder)] == [
        "user.add", "user.role", "user.passwd", "user.disable", "user.enable",
    ]  # fmt: skip


def test_a_key_is_printed_alone_once_and_revoked(folder: Path) -> None:
    done = tanyun(folder, "key", "add", "prometheus", "--role", "operator", "--only", "metrics.view")
    text = done.stdout.strip()
    assert text.startswith("tk_")
    assert "\n" not in text
    [listed] = json.loads(tanyun(folder, "key", "list", "--json").output)
    assert listed["permissions"] == ["metrics.view"]
    assert text not in tanyun(folder, "key", "list").output
    assert tanyun(folder, "key", "revoke", listed["id"]).exit_code == 0
    assert tanyun(folder, "key", "revoke", listed["id"]).exit_code == 1


def test_the_audit_log_is_shown_and_checked_against_a_head_that_was_kept(folder: Path) -> None:
    add(folder, "ann", "--role", "operator")
    assert "user.add" in tanyun(folder, "audit", "show").output
    head = tanyun(folder, "audit", "verify").output.split()[-1]
    add(folder, "li", "--role", "operator")
    assert tanyun(folder, "audit", "verify", "--head", head).exit_code == 0
    assert tanyun(folder, "audit", "verify", "--head", "1:00").exit_code == 1
    assert tanyun(folder, "audit", "verify", "--head", "nonsense").exit_code == 1


def test_an_old_token_in_the_configuration_is_refused_with_what_to_do(folder: Path) -> None:
    with (folder / "server.toml").open("a", encoding="utf-8") as file:
        file.write('[api]\ntoken_file = "secrets/api-token"\n')
    done = tanyun(folder, "user", "list")
    assert done.exit_code == EX_CONFIG
    assert "tanyun key add" in done.output


@pytest.mark.parametrize(("section", "good"), [
    ('host = "0.0.0.0"', False),
    ('host = "0.0.0.0"\ntrusted_network = true', True),
    ('host = "0.0.0.0"\ncert_file = "c"\nkey_file = "k"', True),
    ('cert_file = "c"', False),
])  # fmt: skip
def test_passwords_leave_the_machine_over_tls_only(folder: Path, section: str, good: bool) -> None:
    with (folder / "server.toml").open("a", encoding="utf-8") as file:
        file.write(f"[api]\n{section}\n")
    if good:
        load_server_config(folder / "server.toml")
    else:
        with pytest.raises(ValueError, match="_file"):
            load_server_config(folder / "server.toml")
