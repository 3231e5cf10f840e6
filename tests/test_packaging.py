"""What is installed is whole, and a gateway's part of it runs without the server's heavy packages."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WANTED = (
    "edge_agent/profiles/acrel_dtsd1352.toml", "factors/data/electricity.csv", "verification/formats/report.typ",
    "api/static/index.html", "api/static/app.js", "metering/locale/zh_CN/LC_MESSAGES/tanyun.mo",
    "metering/locale/zh_CN/LC_MESSAGES/click.mo", "tanyun/demo/park.toml", "tanyun/demo/simulator.toml",
)  # fmt: skip
DATA = (
    "edge_agent/profiles/*.toml",
    "factors/data/*.csv",
    "api/static/*",
    "tanyun/demo/*.toml",
    "metering/locale/*/*/*.mo",
)

GATEWAY_ONLY = """
import importlib, pkgutil, sys
HEAVY = {"numpy", "numba", "llvmlite", "fastapi", "starlette", "uvicorn", "matplotlib", "typst", "xlsxwriter",
         "noto_cjk_sans_otc", "prometheus_client", "amqtt"}
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInstalled())
"""
EVERY_MODULE = """
for package in ("metering", "edge_agent"):
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(found.name)
import tanyun.commands.edge, tanyun.commands.group
"""
EDGE_HELP = """
import tanyun.cli
sys.argv = ["tanyun", "--lang", "en", "edge", "run", "--help"]
tanyun.cli.main()
"""


def on_a_gateway(script: str) -> str:
    command = [sys.executable, "-W", "error", "-c", GATEWAY_ONLY + script]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built in memory of the tree as it stands."""
    builders = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling is only there in a development environment"
    )
    folder = tmp_path_factory.mktemp("wheel")
    built = next(builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_data_file(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert set(WANTED) <= names
    found = {str(path.relative_to(ROOT)) for pattern in DATA for path in ROOT.glob(pattern) if path.is_file()}
    assert found <= names


def test_the_wheel_holds_every_module_and_nothing_from_outside_the_packages(wheel: zipfile.ZipFile) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    modules = {str(path.relative_to(ROOT)) for package in packages for path in (ROOT / package).rglob("*.py")}
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert modules <= names
    assert {name.partition("/")[0] for name in names} == set(packages)
    assert not [name for name in names if name.endswith((".pyc", ".po", ".db"))]


def test_the_wheel_names_its_command_and_keeps_the_gateway_light(wheel: zipfile.ZipFile) -> None:
    info = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = wheel.read(info).decode()
    always = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==).*$", metadata, re.MULTILINE)
    assert "pymodbus" in always
    assert not set(always) & {"numpy", "numba", "fastapi", "matplotlib", "typst", "uvicorn"}
    points = wheel.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert "tanyun = tanyun.cli:main" in points


def test_every_gateway_module_is_importable_without_the_packages_of_a_server() -> None:
    on_a_gateway(EVERY_MODULE)


def test_edge_commands_run_without_the_packages_of_a_server() -> None:
    assert "tanyun edge run --config" in on_a_gateway(EDGE_HELP)


def test_locked_versions_satisfy_the_declared_bounds() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for lock, wanted in (
        ("requirements.lock", [*project["dependencies"], *extras["server"]]),
        ("requirements-dev.lock", [*project["dependencies"], *extras["server"], *extras["dev"]]),
    ):
        text = (ROOT / lock).read_text(encoding="utf-8")
        locked = {
            name.lower(): version for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)
        }
        for line in wanted:
            need = requirements.Requirement(line)
            assert locked[need.name.lower()] in need.specifier, f"{lock}: {line}"
