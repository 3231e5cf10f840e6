"""The systemd units: accepted by systemd, sandboxed, and matching the commands and folders of the installers."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tanyun.commands.roles import server_children
from tanyun.supervisor import EX_CONFIG

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
ROLES = [unit for unit in SERVICES if unit.stem != "tanyun-mosquitto"]
MOST_EXPOSED = 1.5
"""Of systemd-analyze's scale from 0 (safe) to 10."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine"
)


def parsed(unit: Path) -> dict[str, dict[str, str]]:
    reader = configparser.ConfigParser(
        interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",)
    )
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string(unit.read_text(encoding="utf-8"))
    return {name: dict(reader[name]) for name in reader.sections()}


def ids(unit: Path) -> str:
    return unit.stem


def test_there_is_a_unit_for_every_role() -> None:
    names = {unit.stem for unit in SERVICES}
    assert names == {
        f"tanyun-{role}"
        for role in ("ingest", "stream", "api", "checks", "projector", "delivery", "edge", "mosquitto")
    }


@needs_systemd
def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    # The programs are elsewhere until they are installed; everything else is verified as it is.
    for unit in UNITS.iterdir():
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=ids)
def test_the_sandbox_scores_well(unit: Path) -> None:
    done = subprocess.run(
        ("systemd-analyze", "security", "--no-pager", "--offline=true", str(unit)), capture_output=True, text=True, check=False
    )  # fmt: skip
    score = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if score is None:
        pytest.skip(f"this systemd cannot judge a file: {done.stderr.strip()}")
    assert float(score[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", SERVICES, ids=ids)
def test_nobody_is_root_everything_comes_back_and_no_memory_is_written_to_a_file(unit: Path) -> None:
    service = parsed(unit)["Service"]
    assert service["User"] not in {"", "root", "0"}
    assert (service["Restart"], service["NoNewPrivileges"], service["ProtectSystem"]) == (
        "always",
        "yes",
        "strict",
    )
    assert parsed(unit)["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["LimitCORE"] == "0"


@pytest.mark.parametrize("unit", ROLES, ids=ids)
def test_a_wrong_configuration_is_not_tried_for_ever(unit: Path) -> None:
    assert parsed(unit)["Service"]["RestartPreventExitStatus"] == str(EX_CONFIG)


@pytest.mark.parametrize("unit", ROLES, ids=ids)
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    program, *words = parsed(unit)["Service"]["ExecStart"].split()
    config = parsed(unit)["Unit"]["ConditionPathExists"]
    assert program in {"/opt/tanyun/venv/bin/tanyun", "/opt/tanyun/edge/bin/tanyun"}
    role = unit.stem.removeprefix("tanyun-")
    command = {"checks": ["month", "watch"]}.get(role, [role, "run"])
    more = {"delivery": ["--every", "300"]}.get(role, [])
    assert words == [*command, "--config", config, *more]


def test_everything_that_serve_runs_has_a_unit(tmp_path: Path) -> None:
    children = server_children(tmp_path / "server.toml", tmp_path, projector=True, delivery=True)
    assert {f"tanyun-{child.name}" for child in children} <= {unit.stem for unit in SERVICES}


def test_only_the_page_may_write_configuration_and_only_the_registry() -> None:
    writers = {unit.stem: parsed(unit)["Service"].get("ReadWritePaths") for unit in ROLES}
    found = {name: paths for name, paths in writers.items() if paths and "/etc/" in paths}
    assert found == {"tanyun-api": "-/etc/tanyun/registry"}


def test_the_agent_says_when_it_is_ready_and_is_started_again_when_it_hangs() -> None:
    service = parsed(UNITS / "tanyun-edge.service")["Service"]
    assert (service["Type"], service["WatchdogSec"], service["Restart"]) == ("notify", "120", "always")
    assert "AF_UNIX" in service["RestrictAddressFamilies"]


def test_only_the_stream_may_make_code_and_what_needs_no_network_has_none() -> None:
    writable = [unit.stem for unit in SERVICES if parsed(unit)["Service"]["MemoryDenyWriteExecute"] != "yes"]
    assert writable == ["tanyun-stream"]
    for role in ("stream", "checks"):
        assert parsed(UNITS / f"tanyun-{role}.service")["Service"]["PrivateNetwork"] == "yes"
