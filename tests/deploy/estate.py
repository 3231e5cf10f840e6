"""A whole server in use for the search: the demo's chain, a second API over TLS with a provider, and commands as they are typed.

Whatever the server talks to besides (InfluxDB, Grafana, a regulator, an OpenID provider) is one mirror: it refuses everything and
repeats in its refusal what it was sent, secrets too.
"""

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.deploy.hoard import Hoard
from tests.loopback import free_port

ENVIRONMENT: Final = {**os.environ, "LANGUAGE": "en", "LC_ALL": "C.UTF-8"}
GATEWAY: Final = "gw-hengjing"


class Mirror(BaseHTTPRequestHandler):
    """Answers 401 with the request; an OpenID configuration it does tell."""

    def handle_any(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mine = f"http://{self.headers['Host']}"
        if self.path.endswith("/openid-configuration"):
            places = {"authorization_endpoint": "go", "token_endpoint": "token", "jwks_uri": "keys"}
            told = {"issuer": mine} | {name: f"{mine}/{path}" for name, path in places.items()}
            status, body = 200, json.dumps(told).encode()
        else:
            said = f"{self.command} {self.path}\n{self.headers}"
            status, body = (
                401,
                json.dumps({"code": "unauthorized", "message": said + sent.decode("latin-1")}).encode(),
            )
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815  http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def mirror() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Office:
    """The folder of a second configuration of the same data, as an operator would keep it, and its secrets."""

    def __init__(self, folder: Path, data: Path, elsewhere: str, hoard: Hoard) -> None:
        self.folder, self.data, self.hoard = folder, data, hoard
        self.said: list[tuple[tuple[str, ...], str]] = []
        self.api, self.config = free_port(), folder / "server.toml"
        (folder / "secrets").mkdir(parents=True, mode=0o700)
        for name in (
            "influx-token",
            "oidc-secret",
            "smtp-password",
            "sftp-password",
            "https-token",
            "grafana-token",
            "wecom-robot",
        ):
            self.secret(name)
        (folder / "known_hosts").write_text("[127.0.0.1]:1 ssh-ed25519 AAAA\n", encoding="ascii")
        self.config.write_text(self._server(elsewhere), encoding="utf-8")
        (folder / "delivery.toml").write_text(_delivery(elsewhere), encoding="utf-8")
        (folder / "grafana.toml").write_text(_grafana(elsewhere), encoding="utf-8")

    def secret(self, name: str) -> str:
        """A new one in a file of its own."""
        path, text = self.folder / "secrets" / name, secrets.token_urlsafe(24)
        path.touch(mode=0o600)
        path.write_text(text + "\n", encoding="ascii")
        self.hoard.add(name, text)
        return text

    def type(self, *words: str, typed: str = "", config: bool = True, fails: bool = False) -> str:
        """A command; everything it says is kept for the search. Its standard output."""
        argv = (*words, "--config", str(self.config)) if config else words
        done = subprocess.run(
            (sys.executable, "-m", "tanyun", "--lang", "en", *argv),
            input=typed, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=300,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, (words, done.stdout, done.stderr)
        self.said.append((words, done.stdout + done.stderr))
        return done.stdout

    def _server(self, elsewhere: str) -> str:
        broker = (self.data / "server.toml").read_text(encoding="utf-8")
        broker = broker[broker.index("[broker]") : broker.index("[api]")].replace(
            '"secrets/', f'"{self.data}/secrets/'
        )
        return f"""registry = "{self.data}/park.toml"
data = "{self.data}"
reports = "reports"
delivery = "delivery.toml"
{broker}
[api]
port = {self.api}
ca_file = "broker/api/ca.crt"
cert_file = "broker/api/server.crt"
key_file = "broker/api/server.key"
[api.oidc]
issuer = "{elsewhere}"
client_id = "tanyun"
client_secret_file = "secrets/oidc-secret"
public_url = "https://localhost:{self.api}"
[influx]
url = "{elsewhere}"
version = "2"
token_file = "secrets/influx-token"
"""


def _delivery(elsewhere: str) -> str:
    return f"""signing_key = "secrets/signing.pem"
[[target]]
kind = "https"
name = "regulator"
url = "{elsewhere}/inbox"
token_file = "secrets/https-token"
content = ["head"]
hour = 0
[[target]]
kind = "smtp"
name = "mail"
host = "127.0.0.1"
port = 1
user = "tanyun"
password_file = "secrets/smtp-password"
sender = "a@example.invalid"
to = ["b@example.invalid"]
content = ["head"]
hour = 0
[[target]]
kind = "sftp"
name = "files"
host = "127.0.0.1"
port = 1
user = "tanyun"
password_file = "secrets/sftp-password"
known_hosts = "known_hosts"
content = ["head"]
hour = 0
"""


def _grafana(elsewhere: str) -> str:
    return f"""url = "{elsewhere}"
token_file = "secrets/grafana-token"
[influx]
url = "{elsewhere}"
token_file = "secrets/influx-token"
[[contacts]]
name = "operators"
emails = ["operators@example.invalid"]
wecom_file = "secrets/wecom-robot"
"""
