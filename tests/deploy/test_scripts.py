"""The shell scripts: linted, honest in a dry run, and with lock files that fit."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
INSTALLERS = [DEPLOY / "server" / "install.sh", DEPLOY / "gateway" / "install.sh"]
SCRIPTS = [*DEPLOY.rglob("*.sh"), ROOT / "scripts" / "bundle"]
DEBIAN = Path("/etc/os-release").exists() and bool(
    re.search(r"VERSION_CODENAME=(bookworm|trixie)", Path("/etc/os-release").read_text(encoding="utf-8"))
)
needs_debian = pytest.mark.skipif(not DEBIAN, reason="the installers are for Debian 12 and 13")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        tuple(map(str, words)), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def pins(name: str) -> set[str]:
    return set(re.findall(r"(?m)^(\S+==\S+(?: ; [^\\]+)?)", (ROOT / name).read_text(encoding="utf-8")))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck on this machine")
def test_shellcheck_finds_nothing() -> None:
    done = run("shellcheck", "-x", *SCRIPTS)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_parses_and_can_be_started(script: Path) -> None:
    assert run("bash", "-n", script).returncode == 0
    sourced = script.parent.name == "lib"
    assert sourced or script.stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize("installer", INSTALLERS, ids=lambda path: path.parent.name)
def test_help_names_every_option(installer: Path) -> None:
    options = set(re.findall(r"(?m)^    (--[a-z-]+)\)", installer.read_text(encoding="utf-8")))
    done = run("bash", installer, "--help")
    assert done.returncode == 0
    assert options <= set(re.findall(r"--[a-z-]+", done.stdout))
    assert run("bash", installer, "--nonsense").returncode == 2


@needs_debian
@pytest.mark.parametrize("installer", INSTALLERS, ids=lambda path: path.parent.name)
def test_a_dry_run_shows_changes_and_makes_none(installer: Path, tmp_path: Path) -> None:
    places = [
        Path("/etc/tanyun"),
        Path("/opt/tanyun"),
        Path("/usr/local/bin/tanyun"),
        *Path("/etc/systemd/system").glob("tanyun*"),
    ]
    before = [(place, place.exists()) for place in places]
    server = ("--park", str(tmp_path / "park.toml"), "--name", "mqtt.park.example")
    more = server if installer.parent.name == "server" else ()
    done = run("bash", installer, "--dry-run", *more)
    assert done.returncode == 0, done.stderr
    assert "would run:" in done.stdout
    assert not re.search(r"\b(wrote|made) /", done.stderr)
    assert [(place, place.exists()) for place in places] == before


@needs_debian
def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("changed", encoding="utf-8")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  ./file\n", encoding="ascii")
    done = run("bash", INSTALLERS[1], "--dry-run", "--bundle", tmp_path)
    assert done.returncode == 1
    assert "damaged" in done.stderr


@needs_debian
@pytest.mark.skipif(os.geteuid() == 0, reason="root may install")
def test_an_ordinary_user_is_told_to_use_sudo() -> None:
    done = run("bash", INSTALLERS[0])
    assert done.returncode == 1
    assert "sudo" in done.stderr


def test_a_bundle_is_not_built_over_something(tmp_path: Path) -> None:
    done = run("bash", ROOT / "scripts" / "bundle", tmp_path)
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())


def test_the_gateways_lock_is_a_part_of_the_servers_without_its_weight() -> None:
    edge = {pin.partition(" ;")[0] for pin in pins("requirements-edge.lock")}
    names = {pin.partition("==")[0] for pin in edge}
    assert edge <= {pin.partition(" ;")[0] for pin in pins("requirements.lock")}
    assert {"aiomqtt", "pymodbus", "pydantic"} <= names
    assert not names & {"numpy", "numba", "fastapi", "matplotlib", "typst"}


def test_no_script_holds_a_password_or_prints_one() -> None:
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"(?i)(password|token|secret)\s*=\s*['\"]?[A-Za-z0-9]{6,}", text), script
        assert not re.search(
            r"(?i)(echo|printf|say|cat)\b[^|\n]*\$\((<|cat )[^)]*(password|token|secret)", text
        ), script
