"""The daily signed chain head: what it proves, and the time stamp over it from a real authority (openssl ts)."""

import datetime as dt
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.journal import JournalReader, Offset
from storage.slices import JournalSlice
from tests.verification.conftest import Plant
from verification.evidence import timestamp
from verification.evidence.head import SCHEMA, Head, digest, head_name, read, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HEAD = Head(
    schema=SCHEMA, park="demo", journal_id="ab" * 8, day="2026-11-02", at="2026-11-02T06:00:00+08:00", segment=7, chain="cd" * 32,
    previous_sha256="",
)  # fmt: skip


def test_a_signed_head_reads_back_and_signing_again_gives_the_same_bytes() -> None:
    signed = sign(HEAD, KEY)
    assert read(signed) == HEAD
    assert read(signed, KEY.public_key()) == HEAD
    assert sign(HEAD, KEY) == signed
    assert head_name(HEAD) == "demo_chain-head_2026-11-02.json"
    assert len(digest(signed)) == 64


@pytest.mark.parametrize(
    "edit", [(b'"segment": 7', b'"segment": 8'), (b"2026-11-02T06", b"2026-11-02T05"), (b"cdcd", b"cdce")]
)
def test_a_changed_head_is_refused(edit: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="signature"):
        read(sign(HEAD, KEY).replace(*edit, 1))


def test_a_head_of_another_key_is_refused_when_the_key_is_pinned() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    with pytest.raises(ValueError, match="not that of key"):
        read(sign(HEAD, other), KEY.public_key())


def test_a_journal_goes_through_its_own_head_and_a_rewritten_one_does_not(plant: Plant) -> None:
    plant.build()
    path = plant.folder / "journal.sqlite"
    with JournalReader(path) as journal:
        found = journal.head()
    last = found.offset.segment - 1
    with JournalSlice(path, Offset(last + 1, 0)) as journal:
        assert journal.recomputed_chain(last) == found.chain
        assert journal.recomputed_chain(last + 1) == b""
    plant.rates["m-two", "energy_import_total"] += 1
    plant.build()
    with JournalSlice(path, Offset(last + 1, 0)) as journal:
        assert journal.recomputed_chain(last) != found.chain


# ------------------------------------------------------------------------------------------------ RFC 3161

CONFIG = """
[tsa]
default_tsa = t
[t]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bytes]]:
    """A time-stamping authority of its own: openssl behind HTTP; its URL and its root certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl was found")
    folder = tmp_path_factory.mktemp("tsa")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    (folder / "tsa.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01")
    (folder / "ext").write_text(
        "extendedKeyUsage=critical,timeStamping\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
    )
    run(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=root",
        "-days",
        "2",
    )
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=tsa")
    run(
        "x509",
        "-req",
        "-in",
        "tsa.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "tsa.pem",
        "-days",
        "2",
        "-extfile",
        "ext",
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            run("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
            self.send_response(200)
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", (folder / "ca.pem").read_bytes()
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_a_stamp_proves_that_the_head_was_there(authority: tuple[str, bytes]) -> None:
    url, roots = authority
    signed = sign(HEAD, KEY)
    response = timestamp.ask(url, signed, roots)
    when = timestamp.verify(response, signed, roots)
    assert abs(when - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    other = sign(msgspec.structs.replace(HEAD, segment=8), KEY)
    with pytest.raises(timestamp.TimestampError):
        timestamp.verify(response, other, roots)


def test_an_authority_that_leads_to_another_root_gives_no_stamp(
    authority: tuple[str, bytes], tmp_path: Path
) -> None:
    url, _roots = authority
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "other.pem", "-subj", "/CN=other"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(timestamp.TimestampError):
        timestamp.ask(url, b"data", (tmp_path / "other.pem").read_bytes())
    with pytest.raises(timestamp.TimestampError, match=r"127\.0\.0\.1:1"):
        timestamp.ask("http://127.0.0.1:1/", b"data", authority[1])
