"""The software bill of materials says what the lock file says, read here in another way."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bill(lock: str) -> bytes:
    return subprocess.run(
        (sys.executable, str(ROOT / "scripts" / "sbom"), str(ROOT / lock)), capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-edge.lock", "requirements-dev.lock"])
def test_every_pin_is_in_it_with_all_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    parts = json.loads(bill(lock))["components"]
    pins = re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)
    assert len(parts) == len(pins)
    assert sum(len(part["hashes"]) for part in parts) == text.count("--hash=sha256:")
    assert all(part["hashes"] for part in parts)
    assert [part["version"] for part in parts] == [version for _name, version in pins]


def test_the_same_lock_gives_the_same_bytes() -> None:
    assert bill("requirements-edge.lock") == bill("requirements-edge.lock")


def test_what_a_gateway_runs_with_is_named_as_the_package_index_names_it() -> None:
    purls = {part["purl"] for part in json.loads(bill("requirements-edge.lock"))["components"]}
    assert any(purl.startswith("pkg:pypi/pymodbus@") for purl in purls)
    assert not [purl for purl in purls if purl.startswith(("pkg:pypi/numpy", "pkg:pypi/fastapi"))]
    wanted = {
        re.split(r"[^\w.-]", item)[0].lower()
        for item in metadata.requires("tanyun") or ()
        if "extra" not in item
    }
    assert wanted <= {purl.removeprefix("pkg:pypi/").partition("@")[0] for purl in purls}


def test_a_line_that_is_not_understood_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("-e git+https://example.org/x\n", encoding="utf-8")
    done = subprocess.run(
        (sys.executable, str(ROOT / "scripts" / "sbom"), str(tmp_path / "x.lock")),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
