"""`tanyun evidence` as an operator and a regulator call it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tanyun.commands.evidence import evidence
from tests.verification.conftest import MONTH, PARK, Plant


def toml(value: object) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@pytest.fixture
def config(plant: Plant, tmp_path: Path) -> Path:
    """A server's configuration with a closed month. The plant's ledger is plain arithmetic: it knows nothing of its gaps."""
    plant.build()
    plant.close()
    for name in ("journal", "ledger", "months"):
        shutil.copy(tmp_path / f"{name}.sqlite", tmp_path / f"{name}.db")
    (tmp_path / "park.toml").write_text("\n".join(f"{key} = {toml(item)}" for key, item in PARK.items()))
    file = tmp_path / "server.toml"
    broker = 'broker = {host = "127.0.0.1", port = 1883, user = "host", password_file = "host"}'
    file.write_text(f'registry = "park.toml"\ndata = "."\nreports = "reports"\n{broker}\n')
    return file


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(evidence, [str(word) for word in words], catch_exceptions=False)


def test_a_key_is_made_once(config: Path) -> None:
    made = run("keygen", "-c", config)
    assert made.exit_code == 0
    assert len(made.output.splitlines()[-1].split()[-1]) == 64
    assert "PRIVATE" not in made.output
    assert run("keygen", "-c", config).exit_code == 1


def test_without_a_key_the_cure_is_named(config: Path) -> None:
    done = run("pack", MONTH, "-c", config)
    assert done.exit_code == 1
    assert "tanyun evidence keygen" in done.output


def test_a_pack_is_verified_as_soon_as_it_is_written_and_its_difference_named(
    config: Path, tmp_path: Path
) -> None:
    run("keygen", "-c", config)
    done = run("pack", MONTH, "-c", config, "--scope", "guangdian", "--out", tmp_path / "out", "--json")
    (found,) = json.loads(done.output)
    assert done.exit_code == 1
    assert found["path"].endswith("guangdian_2026-10_r1_evidence.zip")
    assert found["difference"]["place"].startswith("ledger.csv m-two/energy_import_total")
    again = run("verify", found["path"], "--key", config.parent / "evidence-key.pub.pem")
    assert again.exit_code == 1
    assert found["difference"]["place"] in again.output


def test_a_month_or_scope_that_is_not_there_is_said(config: Path) -> None:
    run("keygen", "-c", config)
    assert run("pack", "2026-09", "-c", config).exit_code == 1
    absent = run("pack", MONTH, "-c", config, "--scope", "nobody")
    assert absent.exit_code == 2
    assert "guangdian" in absent.output
    older = run("pack", MONTH, "-c", config, "--scope", "guangdian", "--revision", "2")
    assert older.exit_code == 2
    assert "guangdian r1" in older.output


def test_what_cannot_be_verified_at_all_is_wrong_usage(config: Path, tmp_path: Path) -> None:
    assert run("verify", tmp_path / "absent.zip").exit_code == 2
    assert run("verify", config, "--key", tmp_path / "absent.pem").exit_code == 2
    assert run("verify", config).exit_code == 1  # a file that is no pack is not equal
