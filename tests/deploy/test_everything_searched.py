"""Every file, log, archive, answer, command line and environment of a server in use, searched for every secret that it knows.

Only the files of secrets hold them. By design `users.db` holds the secret of a second factor, which has to be computed with, and a
command that makes a secret says it once to whoever typed it.
"""

import base64
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.second_factor import STEP_MS, code_at
from metering.enrolment import parse_code
from storage.sqlite import open_reader
from storage.users import SCHEMA_VERSION
from tests.deploy.estate import ENVIRONMENT, GATEWAY, Office, mirror
from tests.deploy.hoard import Hoard
from tests.deploy.test_secrets import SESSION, Demo
from tests.loopback import is_up, until

MONTH: Final = "2026-01"
START_S: Final = 120.0
"""For a process to start on a machine that does other things as well."""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    found = Demo(tmp_path / "demo")
    deadline = time.monotonic() + 600
    while not found.is_ready():
        assert time.monotonic() < deadline, "the demo never got ready"
        time.sleep(0.1)
    yield found
    if found.process.poll() is None:
        found.stop()


class Answers:
    """What the API answered, for the search."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, bytes]] = []

    def keep(self, answer: httpx.Response) -> None:
        answer.read()
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.kept.append(
            (f"{answer.request.method} {answer.request.url.path}", head.encode() + answer.content)
        )


@contextmanager
def serving(office: Office, config: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """An API of its own on the office's port, with its log."""
    with (office.folder / f"{name}.log").open("ab") as log:
        argv = (sys.executable, "-m", "tanyun", "api", "run", "--config", str(config))
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=ENVIRONMENT)
        try:
            until(lambda: is_up(office.api), START_S)
            yield process
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whatever_is_written_said_or_answered_holds_no_secret(demo: Demo, tmp_path: Path) -> None:
    hoard, answers = Hoard(), Answers()
    for path in (demo.data / "secrets").iterdir():
        hoard.add(path.name, path.read_text(encoding="utf-8"))
    with mirror() as elsewhere:
        office = Office(tmp_path / "etc", demo.data, elsewhere, hoard)
        furnish(office)
        with serving(office, office.config, "api") as process:
            people_come_and_go(office, answers)
            wrong = search_processes(hoard, demo, process.pid)
        the_server_talks_to_others(office)
        the_server_works(office, tmp_path)
        it_breaks(office, answers, tmp_path)
    printed = demo.stop()
    found, read = hoard.search(tmp_path, places(office, tmp_path))
    assert wrong + found == []
    assert hoard.found_in(printed.encode()) == {"page-password"}  # it is told to its owner
    assert said_wrongly(office) == []
    assert answered_wrongly(hoard, answers) == []
    assert read > 60
    assert len(hoard) > 25


def furnish(office: Office) -> None:
    """Keys, certificates and people."""
    folder, hoard = office.folder, office.hoard
    registry = str(office.data / "park.toml")
    office.type(
        "broker", "init", "--data", str(folder / "broker"), "--registry", registry, "--tls", "--api", "--client-certificates",
        "--name", "server.park.example", config=False,
    )  # fmt: skip
    for file in sorted((folder / "broker").rglob("*.key")):
        hoard.add_key(f"{file.parent.name}/{file.name}", file)
    for file in sorted((folder / "broker").rglob("password")):
        hoard.add(f"password of {file.parent.name}", file.read_text(encoding="ascii"))
    office.type("evidence", "keygen", "--out", str(folder / "secrets" / "signing.pem"))
    hoard.add_key("signing.pem", folder / "secrets" / "signing.pem")
    office.secret("seal-password")
    seal = ("--password", str(folder / "secrets" / "seal-password"), "--name", "Park")
    office.type("seal-key", str(folder / "secrets" / "seal.p12"), *seal, config=False)
    password = "correct horse, battery: staple"
    hoard.add("user's password", password)
    office.type("user", "add", "ann", "--role", "operator", "--password-file", "-", typed=password + "\n")
    told = office.type("user", "second-factor", "ann")
    secret = re.search(r"secret=([A-Z2-7]+)", told)
    assert secret is not None
    hoard.add("totp", secret[1])
    hoard.add("totp", base64.b32decode(secret[1]))
    for code in re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", told):
        hoard.add("recovery code", code)
    key = re.search(r"\btk_\S+", office.type("key", "add", "scada", "--role", "operator"))
    assert key is not None
    hoard.add("key", key[0])


def people_come_and_go(office: Office, answers: Answers) -> None:
    """Sign in, fail to, use a key, sign in at a provider that lies, let a gateway enrol."""
    hoard = office.hoard
    hoard.add("wrong password", "not-the-password-at-all")
    with open_reader(office.data / "users.db", SCHEMA_VERSION) as db:
        [secret] = db.execute("SELECT secret FROM second_factor").fetchone()
    ann = {"name": "ann", "password": "correct horse, battery: staple"}
    ca = str(office.folder / "broker" / "api" / "ca.crt")
    hooks = {"response": [answers.keep]}
    with httpx.Client(
        base_url=f"https://localhost:{office.api}",
        verify=ssl.create_default_context(cafile=ca),
        event_hooks=hooks,
    ) as http:
        for login in (
            ann | {"password": "not-the-password-at-all"},
            ann,
            ann | {"password": ["not-the-password-at-all"]},
        ):
            assert http.post(SESSION, json=login).status_code in {401, 422}
        begun = http.post(
            SESSION, json=ann | {"code": code_at(secret, time.time_ns() // 1_000_000 // STEP_MS)}
        )
        assert begun.status_code == 200, begun.text
        hoard.add("csrf", begun.json()["csrf"])
        for name, value in http.cookies.items():
            hoard.add(name, value)
        assert http.get("/api/v1/live").status_code == 200
        assert http.delete(SESSION, headers={"X-CSRF-Token": "not the token"}).status_code == 403
        new = {"old": "correct horse, battery: staple", "new": "short"}
        assert (
            http.post(
                f"{SESSION}/password", json=new, headers={"X-CSRF-Token": begun.json()["csrf"]}
            ).status_code
            == 422
        )
        provider = http.get(f"{SESSION}/oidc").headers["location"]
        state = parse_qs(urlsplit(provider).query)["state"][0]
        back = http.get(f"{SESSION}/oidc/back", params={"state": state, "code": "a-code-of-the-provider"})
        assert back.headers["location"] == "/login?failed=oidc"
        hoard.add("code of the provider", "a-code-of-the-provider")
        for path in ("/api/v1/none", "/api/v1/meters/none/readings", "/api/v1/audit"):
            http.get(path)
    told = office.type("gateway", "invite", GATEWAY, "--data", str(office.folder / "broker")).split()
    hoard.add("invitation", told[-1])
    hoard.add("invitation", parse_code(told[-1]).secret)
    into = office.folder / "gateway"
    where = ("--into", str(into), "--edge-config", str(into / "edge.toml"))
    office.type("edge", "enrol", f"https://localhost:{office.api}", told[-1], *where, config=False)
    assert (into / "password").exists()


def the_server_talks_to_others(office: Office) -> None:
    """To a mirror, which repeats every secret it is sent, and to nobody at all."""
    before = len(office.said)
    office.type("influx", "init", fails=True)
    office.type("delivery", "run", fails=True)
    office.type("delivery", "status")
    grafana = str(office.folder / "grafana.toml")
    office.type("grafana", "push", "--config", grafana, config=False, fails=True)
    assert all("***" in said for _words, said in office.said[before : before + 2]), (
        "the mirror repeats, and we do not"
    )
    projector_log = office.folder / "projector.log"
    with projector_log.open("ab") as log:
        argv = (sys.executable, "-m", "tanyun", "projector", "run", "--config", str(office.config))
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=ENVIRONMENT)
        until(lambda: projector_log.stat().st_size > 200 or process.poll() is not None, START_S)
        process.terminate()
        process.wait(30)


def the_server_works(office: Office, folder: Path) -> None:
    """A month, its reports sealed and its packs, a backup, the doctor, the audit log."""
    office.type("month", "close", MONTH, "--allow-incomplete")
    seal = (
        "--seal",
        str(office.folder / "secrets" / "seal.p12"),
        "--seal-password",
        str(office.folder / "secrets" / "seal-password"),
    )
    office.type("report", MONTH, *seal)
    office.type("evidence", "pack", MONTH, "--key", str(office.folder / "secrets" / "signing.pem"))
    office.type("backup", str(folder / "backup"))
    assert office.type("doctor", "--json", fails=True).startswith("[")  # the mirror is no InfluxDB
    assert "session.begin" in office.type("audit", "show", "--json")
    office.type(
        "gateway", "revoke", GATEWAY, "--data", str(office.folder / "broker"), fails=True
    )  # no broker has these files


def it_breaks(office: Office, answers: Answers, folder: Path) -> None:
    """An API whose files of people are no databases: what it logs of that, and answers."""
    shutil.copytree(
        office.data, folder / "broken", ignore=shutil.ignore_patterns("secrets", "run", "outbox*", "log")
    )
    for file in (folder / "broken").glob("users.db*"):
        file.write_bytes(b"no database " * 1000)
    config = office.folder / "broken.toml"
    text = office.config.read_text(encoding="utf-8").replace(
        f'data = "{office.data}"', f'data = "{folder}/broken"'
    )
    config.write_text(text, encoding="utf-8")
    key = {"Authorization": f"Bearer {(office.data / 'secrets' / 'api-key').read_text().strip()}"}
    ca = str(office.folder / "broker" / "api" / "ca.crt")
    with (
        serving(office, config, "broken"),
        httpx.Client(
            base_url=f"https://localhost:{office.api}",
            verify=ssl.create_default_context(cafile=ca),
            event_hooks={"response": [answers.keep]},
        ) as http,
    ):
        login = {"name": "ann", "password": "correct horse, battery: staple", "code": "123456"}
        assert http.post(SESSION, json=login).status_code >= 500
        assert http.get("/api/v1/live", headers=key).status_code >= 500


def places(office: Office, top: Path) -> dict[str, set[str]]:
    """Where which secret may stand."""
    etc = office.folder.relative_to(top)
    own = {
        str(path.relative_to(top)): {path.name}
        for folder in (office.data, office.folder)
        for path in (folder / "secrets").iterdir()
    }
    own |= {
        f"{etc}/broker/": {"*"},
        f"{etc}/gateway/": {"*"},
    }  # what `broker init` makes is a folder per reader
    databases = ("demo/users.db", "demo/users.db-wal", "backup/users.db")
    return own | {name: {"totp"} for name in databases}


def search_processes(hoard: Hoard, demo: Demo, *more: int) -> list[str]:
    """Command lines and environments of everything that runs."""
    children = (
        Path(f"/proc/{demo.process.pid}/task/{demo.process.pid}/children").read_text(encoding="ascii").split()
    )
    assert len(children) >= 6
    return [
        f"{secret} in {file} of {pid}"
        for pid in (demo.process.pid, *map(int, children), *more)
        for file in ("cmdline", "environ")
        for secret in hoard.found_in(Path(f"/proc/{pid}/{file}").read_bytes())
    ]


def said_wrongly(office: Office) -> list[str]:
    """A command that makes a secret says it, and no other."""
    told = {"second-factor": {"totp", "recovery code"}, "add": {"key"}, "invite": {"invitation"}}
    return [
        f"`tanyun {' '.join(words[:2])}` says {secret}"
        for words, said in office.said
        for secret in office.hoard.found_in(said.encode()) - told.get(words[1], set())
    ]


def answered_wrongly(hoard: Hoard, answers: Answers) -> list[str]:
    """Only who signs in is given a session."""
    session = {"csrf", "__Host-tanyun", "__Host-tanyun-device", "__Host-tanyun-oidc"}
    return [
        f"{what} answers {secret}"
        for what, content in answers.kept
        for secret in hoard.found_in(content) - (session if SESSION in what else set())
    ]
