"""Real servers on free ports: mail (aiosmtpd), HTTPS (uvicorn), SFTP (asyncssh), and a CA for them."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import uvicorn
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.loopback import free_port

WAIT_S = 20


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 that signs itself."""

    cert: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Certificate(cert_file, key_file)


@dataclass
class Mailbox:
    """What the mail server took."""

    port: int = 0
    mails: list[bytes] = field(default_factory=list)
    refuse: str = ""
    """A recipient that is refused."""
    answer: str = "250 2.0.0 Ok: queued as 7F3A"

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address == self.refuse:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        if self.answer.startswith("250"):
            self.mails.append(envelope.content)
        return self.answer


class TlsController(Controller):
    """TLS from the first byte (port 465)."""

    def _trigger_server(self) -> None:
        """Aiosmtpd looks whether the server answers; the original looks without TLS."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((self.hostname, self.port)) as plain,
            context.wrap_socket(plain) as there,
        ):
            there.recv(1)


@pytest.fixture
def mailbox(certificate: Certificate) -> Iterator[Mailbox]:
    box = Mailbox(port=free_port())
    controller = TlsController(
        box, hostname="127.0.0.1", port=box.port, ssl_context=certificate.server_context()
    )
    controller.start()
    yield box
    controller.stop()


@dataclass
class Web:
    """What the HTTPS server was sent, and what it is to answer."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    receipt: bytes = b'{"receipt":"HZ-2026-0001"}'

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.requests.append(({k.decode().lower(): v.decode() for k, v in scope["headers"]}, body))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.receipt})


@pytest.fixture
def web(certificate: Certificate) -> Iterator[Web]:
    app, port = Web(), free_port()
    app.url = f"https://127.0.0.1:{port}/inbox"
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="critical", lifespan="off", ssl_certfile=certificate.cert, ssl_keyfile=certificate.key
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ready = threading.Event()
    while not server.started:
        assert not ready.wait(0.01)
        assert thread.is_alive()
    yield app
    server.should_exit = True
    thread.join(WAIT_S)


@dataclass(frozen=True)
class SftpSite:
    """A folder behind an SFTP server."""

    port: int
    folder: Path
    user_key: Path
    known_hosts: Path


@pytest.fixture
def sftp_site(tmp_path: Path) -> Iterator[SftpSite]:
    folder, port = tmp_path / "there", free_port()
    folder.mkdir()
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    user_key.write_private_key(tmp_path / "user_key")
    known = tmp_path / "known_hosts"
    known.write_bytes(f"[127.0.0.1]:{port} ".encode() + host_key.export_public_key())
    accepted = asyncssh.import_authorized_keys(user_key.export_public_key().decode())
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            port,
            server_host_keys=[host_key],
            authorized_client_keys=accepted,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder).encode()),
        )
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(WAIT_S)
    yield SftpSite(port, folder, tmp_path / "user_key", known)
    stop.set()
    thread.join(WAIT_S)
