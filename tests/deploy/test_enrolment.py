"""A new gateway's way in, and out: the real Mosquitto with client certificates, the real API over TLS, the commands as typed."""

import datetime as dt
import shutil
import socket
import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from api.app import create_app
from api.settings import ApiSettings
from api.sources import system_clock
from metering.enrolment import new_code, parse_code
from metering.mqtt import BrokerSettings
from metering.registry import load_registry
from storage.audit import AuditLog
from storage.users import UserStore
from tanyun.broker import LOOPBACK, SERVER_USER, find_mosquitto
from tanyun.broker_files import Wanted, bring_up_to_date
from tanyun.commands.enrol import enrol, gateway
from tanyun.config import load_server_config
from tanyun.enrol import EnrolError, fetch
from tests.loopback import free_port, until
from tests.site import Client, mosquitto

pytestmark = [
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine"),
]
PARK = """id = "park"
name = "园区"
grid_scope = "CN-AH"
meters = []
enterprises = [{ id = "e", name = "企业" }]
sites = [{ id = "s", enterprise = "e", name = "厂区" }]
gateways = [{ id = "gw-a", site = "s" }, { id = "gw-b", site = "s" }]
"""
SERVER = """registry = "park.toml"
data = "data"
reports = "reports"
[broker]
port = {port}
user = "host"
password_file = "broker/host/password"
ca_file = "broker/ca.crt"
[api]
port = {api}
ca_file = "broker/api/ca.crt"
cert_file = "broker/api/server.crt"
key_file = "broker/api/server.key"
"""


@dataclass
class Server:
    """The files of a server, its ports, and the clock of its API."""

    folder: Path
    port: int
    api: int
    now_ms: list[int] = field(default_factory=list)

    @property
    def broker(self) -> Path:
        return self.folder / "broker"

    @property
    def url(self) -> str:
        return f"https://localhost:{self.api}"

    def command(self, *words: str) -> Result:
        """`tanyun gateway ...`, as root would type it."""
        options = ["--data", str(self.broker), "--config", str(self.folder / "server.toml")]
        return CliRunner().invoke(gateway, [*words, *options], catch_exceptions=False)

    def invite(self, gateway_id: str) -> str:
        done = self.command("invite", gateway_id)
        assert done.exit_code == 0, done.output
        return done.stdout.split()[-1]

    def actions(self) -> list[tuple[str, str]]:
        with AuditLog(self.folder / "data" / "audit.db", writable=False) as log:
            return [(entry.action, entry.outcome) for entry in log.entries()]


@contextmanager
def served(server: Server, certificate: Path, key: Path) -> Iterator[None]:
    """The API over TLS with this certificate."""
    config = load_server_config(server.folder / "server.toml")
    settings = ApiSettings(
        park=config.registry, ledger=config.ledger, journal=config.journal, months=config.months, reports=config.reports,
        users=config.users, audit=config.audit, ca=config.api.ca_file,
        facts=config.facts,
    )  # fmt: skip
    clock = (lambda: server.now_ms[0]) if server.now_ms else system_clock
    running = uvicorn.Server(uvicorn.Config(
        create_app(settings, clock), host=LOOPBACK, port=server.api, log_level="error", lifespan="off",
        ssl_certfile=certificate, ssl_keyfile=key, timeout_graceful_shutdown=1,
    ))  # fmt: skip
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until(lambda: running.started)
    try:
        yield
    finally:
        running.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server whose broker and API run."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        made = Server(Path(name), free_port(), free_port())
        (made.folder / "park.toml").write_text(PARK, encoding="utf-8")
        text = SERVER.format(port=made.port, api=made.api)
        (made.folder / "server.toml").write_text(text, encoding="utf-8")
        made.broker.mkdir()
        wanted = Wanted(names=("server.park.example",), port=made.port, api=True, client_certificates=True)
        bring_up_to_date(made.broker, load_registry(made.folder / "park.toml"), wanted)
        with (
            mosquitto(made.broker, made.port),
            served(made, made.broker / "api" / "server.crt", made.broker / "api" / "server.key"),
        ):
            yield made


def enrolled(server: Server, code: str, folder: Path) -> BrokerSettings:
    """`tanyun edge enrol` as typed on the gateway; the settings that its edge.toml asks for."""
    words = [server.url, code, "--into", str(folder), "--edge-config", str(folder / "edge.toml")]
    done = CliRunner().invoke(enrol, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (folder / "password").stat().st_mode & 0o077 == 0
    text = (folder / "edge.toml").read_text(encoding="utf-8")
    assert all(
        f'/etc/tanyun/edge/{name}"' in text for name in ("password", "ca.crt", "client.crt", "client.key")
    )
    return BrokerSettings(
        host="localhost", port=server.port, user="gw-a", password_file=folder / "password", ca_file=folder / "ca.crt",
        cert_file=folder / "client.crt", key_file=folder / "client.key",
    )  # fmt: skip


def test_a_gateway_enrols_signs_in_is_shut_out_at_once_and_enrols_anew(
    server: Server, tmp_path: Path
) -> None:
    first = enrolled(server, server.invite("gw-a"), tmp_path / "first")
    with Client(first) as client:
        assert client.answer == "Success"
        done = server.command("revoke", "gw-a")
        assert done.exit_code == 0, done.output
        until(lambda: client.lost)  # the broker drops the open connection
    with Client(first) as again:
        assert again.answer != "Success"
    second = enrolled(server, server.invite("gw-a"), tmp_path / "second")
    assert first.password() != second.password()
    with Client(first) as old, Client(second) as new:
        assert old.answer != "Success"
        assert new.answer == "Success"
    assert [row for row in server.actions() if row[0] == "gateway.revoke"] == [("gateway.revoke", "ok")]


def test_a_code_opens_once(server: Server) -> None:
    code = server.invite("gw-b")
    typed = code.lower().replace("-", " ")
    gateway_id, files = fetch(server.url, parse_code(typed))
    assert gateway_id == "gw-b"
    assert set(files) == {"password", "ca.crt", "edge.toml", "client.crt", "client.key"}
    with pytest.raises(EnrolError, match="unknown, used or too old"):
        fetch(server.url, parse_code(code))
    assert ("gateway.enrol", "refused") in server.actions()


def test_a_newer_code_ends_the_older_and_revoking_ends_both(server: Server) -> None:
    older, newer = server.invite("gw-b"), server.invite("gw-b")
    with pytest.raises(EnrolError, match="unknown, used"):
        fetch(server.url, parse_code(older))
    assert server.command("revoke", "gw-b").exit_code == 0
    with pytest.raises(EnrolError, match="unknown, used"):
        fetch(server.url, parse_code(newer))


def test_a_code_ends(server: Server) -> None:
    code = parse_code(server.invite("gw-b"))
    from api.enrolment import lookup_digest  # noqa: PLC0415

    with UserStore(server.folder / "data" / "users.db") as store:
        assert store.redeem(lookup_digest(code.secret), 2**62) is None
    with pytest.raises(EnrolError, match="too old"):
        fetch(server.url, code)


def test_what_waits_on_the_server_holds_no_password(server: Server) -> None:
    code = server.invite("gw-b")
    password = (server.broker / "gateways" / "gw-b" / "password").read_text(encoding="ascii").strip()
    stored = b"".join(file.read_bytes() for file in (server.folder / "data").iterdir())
    for secret in (
        password.encode(),
        parse_code(code).secret,
        parse_code(code).secret.hex().encode(),
        code.encode(),
    ):
        assert secret not in stored


def test_a_gateway_sends_its_secret_to_no_other_server(server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other"
    bring_up_to_date(
        other,
        load_registry(server.folder / "park.toml"),
        Wanted(names=("server.park.example",), port=server.port),
    )
    foreign = new_code((other / "ca.crt").read_text(encoding="ascii"))
    before = server.actions()
    with pytest.raises(EnrolError, match="not the one in the code"):
        fetch(server.url, foreign)
    assert server.actions() == before  # it did not even ask


def test_a_client_without_a_certificate_of_ours_gets_no_connection(server: Server) -> None:
    host = server.broker / "host"
    bare = BrokerSettings(
        host="localhost",
        port=server.port,
        user=SERVER_USER,
        password_file=host / "password",
        ca_file=host / "ca.crt",
    )
    with Client(bare) as client:
        assert client.answer != "Success"
    whole = bare.model_copy(update={"cert_file": host / "client.crt", "key_file": host / "client.key"})
    with Client(whole) as client:
        assert client.answer == "Success"


def test_a_certificate_alone_signs_nobody_in(server: Server, tmp_path: Path) -> None:
    """The certificate keeps strangers away from the broker; who it is, the password says."""
    host = server.broker / "host"
    (tmp_path / "password").write_text("wrong", encoding="ascii")
    settings = BrokerSettings(
        host="localhost", port=server.port, user=SERVER_USER, password_file=tmp_path / "password", ca_file=host / "ca.crt",
        cert_file=host / "client.crt", key_file=host / "client.key",
    )  # fmt: skip
    with Client(settings) as client:
        assert client.answer == "Not authorized"


def hello(port: int, context: ssl.SSLContext, name: str = "localhost") -> str | None:
    """The TLS version that the API agrees to."""
    with (
        socket.create_connection((LOOPBACK, port), 5) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        return tls.version()


def trusting(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))


def test_the_api_speaks_current_tls_only(server: Server) -> None:
    context = trusting(server.broker / "ca.crt")
    assert hello(server.api, context) == "TLSv1.3"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError) as refused:
        hello(server.api, context)
    # The server's doing: it says so, or hangs up before its word is out (asyncio does).
    assert refused.value.reason in {"TLSV1_ALERT_PROTOCOL_VERSION", "UNEXPECTED_EOF_WHILE_READING"}


def test_a_client_refuses_the_api_of_another_ca_or_name(server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other"
    bring_up_to_date(
        other,
        load_registry(server.folder / "park.toml"),
        Wanted(names=("server.park.example",), port=server.port),
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        hello(server.api, trusting(other / "ca.crt"))
    with pytest.raises(ssl.SSLCertVerificationError, match="other"):
        hello(server.api, trusting(server.broker / "ca.crt"), "other.example")


def test_an_expired_certificate_is_refused_by_gateway_and_client(server: Server, tmp_path: Path) -> None:
    certificate, key = expired(server.broker, tmp_path)
    stale = Server(server.folder, server.port, free_port())
    with served(stale, certificate, key):
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            hello(stale.api, trusting(server.broker / "ca.crt"))
        with pytest.raises(EnrolError, match="expired"):
            fetch(stale.url, parse_code(server.invite("gw-b")))


def expired(broker: Path, folder: Path) -> tuple[Path, Path]:
    """The API's certificate as it was until yesterday: same key, same CA."""
    ca = x509.load_pem_x509_certificate((broker / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((broker / "ca.key").read_bytes(), None)
    good = x509.load_pem_x509_certificate((broker / "api" / "server.crt").read_bytes())
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(
        issuer_name=ca.subject, subject_name=good.subject, public_key=good.public_key(), serial_number=7,
        not_valid_before=now - dt.timedelta(days=30), not_valid_after=now - dt.timedelta(days=1),
    )  # fmt: skip
    for extension in good.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]
    (folder / "expired.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "expired.crt", broker / "api" / "server.key"
