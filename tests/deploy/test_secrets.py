"""No secret in any log or file but its own: the demo's roles run, people sign in and fail to, and everything is searched."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.enrolment import Credentials
from api.identity import COOKIE, DEVICE_COOKIE, Caller
from api.rights import Principal
from api.routes.session import Login
from metering.enrolment import Code
from storage.users import UserRow

SESSION = "/api/v1/session"
WRONG = "not-the-password-at-all"
OWN_PLACES = ("secrets/",)
"""Where a secret may stand in the clear: a file of its own, for its owner only."""


class Demo:
    """A demo that has just begun; its data are a day old at most."""

    def __init__(self, data: Path) -> None:
        self.data = data
        day = time.strftime("%Y-%m-%d")
        argv = [sys.executable, "-m", "tanyun", "demo", "--data", str(data), "--since", day]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "LANGUAGE": "en"}
        )

    def url(self) -> str:
        ports = json.loads((self.data / "ports.json").read_text(encoding="utf-8"))
        return f"http://127.0.0.1:{ports['api']}"

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "the demo ended"
        try:
            return httpx.get(f"{self.url()}/api/v1/health/ready").status_code == 200
        except (OSError, httpx.HTTPError):
            return False

    def stop(self) -> str:
        self.process.terminate()
        out, _ = self.process.communicate(timeout=60)
        return out.decode()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    found = Demo(tmp_path / "demo")
    deadline = time.monotonic() + 200
    while not found.is_ready():
        assert time.monotonic() < deadline, "the demo never got ready"
        time.sleep(0.1)
    yield found
    if found.process.poll() is None:
        found.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_log_and_no_file_shows_a_secret(demo: Demo) -> None:
    secrets = {
        path.name: path.read_text(encoding="utf-8").strip() for path in (demo.data / "secrets").iterdir()
    }
    with httpx.Client(base_url=demo.url()) as http:
        good = {"name": "demo", "password": secrets["page-password"]}
        begun = http.post(SESSION, json=good)
        assert begun.status_code == 200, begun.text
        secrets["csrf"] = begun.json()["csrf"]
        for line in begun.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            secrets[name] = value
        assert {COOKIE, DEVICE_COOKIE} <= secrets.keys()
        for bad in (good | {"password": WRONG}, good | {"extra": 1}, good | {"password": [WRONG]}):
            assert WRONG not in http.post(SESSION, json=bad).text
        key = {"Authorization": f"Bearer {secrets['api-key']}"}
        assert http.get("/api/v1/live", headers=key).status_code == 200
        http.get("/api/v1/none", headers=key, params={"q": "x"})
    printed = demo.stop()
    found = search(demo.data, {**secrets, "wrong password": WRONG})
    assert found == []
    assert {name for name, value in secrets.items() if value in printed} == {
        "page-password"
    }  # it is told to its owner


def search(data: Path, secrets: dict[str, str]) -> list[str]:
    """Which secret stands where it should not."""
    files = [path for path in data.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    found = []
    for path in files:
        name = str(path.relative_to(data))
        if name.startswith(OWN_PLACES):
            assert path.stat().st_mode & 0o077 == 0, f"{name} can be read by others"
            continue
        content = path.read_bytes()
        found += [f"{secret} in {name}" for secret, value in secrets.items() if value.encode() in content]
    return found


def test_no_repr_shows_a_secret() -> None:
    hidden = "hidden-secret-value"
    shown = [
        repr(UserRow("ann", hidden, None, False, 0)),
        repr(Login.model_validate({"name": "ann", "password": hidden})),
        repr(Caller(Principal("ann"), hidden.encode(), hidden)),
        repr(Credentials("gw-a", {"password": hidden})),
        repr(Code(b"\0" * 16, hidden.encode())),
    ]
    assert not [text for text in shown if hidden in text]


def test_no_configuration_that_we_ship_holds_a_secret() -> None:
    root = Path(__file__).parents[2]
    places = [
        path for folder in ("deploy", "scripts", "tanyun", "api") for path in (root / folder).rglob("*")
    ]
    wrong = re.compile(rb"(?i)(password|token|secret|api_key)\s*[=:]\s*[\"'][A-Za-z0-9+/_-]{16,}[\"']")
    known = re.compile(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\btk_[0-9a-f]{8}_[A-Za-z0-9_-]{20,}|\$argon2id\$"
    )
    found = [
        str(path.relative_to(root))
        for path in places
        if path.is_file()
        and path.suffix not in {".pyc", ".mo"}
        and (wrong.search(path.read_bytes()) or known.search(path.read_bytes()))
    ]
    assert found == []
