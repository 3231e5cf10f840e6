"""Each way of delivery against a real server: what arrives, what the receipt is, what is refused."""

import base64
import email
import email.policy
import hashlib
import json
import re

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.loopback import free_port
from tests.verification.delivery.conftest import Certificate, Mailbox, SftpSite, Web
from verification.delivery import https, sftp, smtp
from verification.delivery.config import HttpsTarget, SftpTarget, SmtpTarget
from verification.delivery.errors import DeliveryError
from verification.delivery.parcels import File, Parcel
from verification.evidence.signing import key_id

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW_MS = 1_793_500_000_000
PARCEL = Parcel(
    "regulator",
    "91340100DEMO000001_精密制造_2026-10_r1",
    (
        File("报告_2026-10_r1.pdf", "application/pdf", b"%PDF-1.7 \r\n.\r\nx"),
        File("a.json", "application/json", b'{"a": 1}'),
    ),
)


def smtp_target(box: Mailbox, certificate: Certificate, **more: object) -> SmtpTarget:
    values: dict[str, object] = {
        "kind": "smtp", "name": "regulator", "host": "127.0.0.1", "port": box.port, "sender": "tanyun@park.example",
        "to": ("a@gov.example", "b@gov.example"), "ca_file": certificate.cert,
    }  # fmt: skip
    return SmtpTarget.model_validate(values | more)


def test_a_mail_arrives_with_its_files_byte_for_byte_and_the_servers_reply_is_the_receipt(
    mailbox: Mailbox, certificate: Certificate
) -> None:
    receipt = smtp.send(smtp_target(mailbox, certificate), PARCEL, NOW_MS)
    assert b"queued as 7F3A" in receipt
    (raw,) = mailbox.mails
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["Subject"] == PARCEL.title
    assert mail["Message-ID"] == f"<{PARCEL.key}@park.example>"
    found = {part.get_filename(): part.get_content() for part in mail.iter_attachments()}
    assert found == {file.name: file.data for file in PARCEL.files}
    body = mail.get_body()
    assert body is not None
    assert PARCEL.files[0].digest.sha256 in body.get_content()


def test_one_refused_recipient_is_no_receipt(mailbox: Mailbox, certificate: Certificate) -> None:
    mailbox.refuse = "b@gov.example"
    with pytest.raises(DeliveryError, match=r"550 no such user b@gov\.example"):
        smtp.send(smtp_target(mailbox, certificate), PARCEL, NOW_MS)
    assert mailbox.mails == []


def test_a_mail_that_the_server_does_not_take_is_no_receipt(
    mailbox: Mailbox, certificate: Certificate
) -> None:
    mailbox.answer = "452 4.3.1 Insufficient system storage"
    with pytest.raises(DeliveryError, match="452"):
        smtp.send(smtp_target(mailbox, certificate), PARCEL, NOW_MS)


def test_a_mail_server_with_another_certificate_gets_nothing(
    mailbox: Mailbox, certificate: Certificate
) -> None:
    with pytest.raises(DeliveryError, match="certificate verify failed"):
        smtp.send(smtp_target(mailbox, certificate, ca_file=None), PARCEL, NOW_MS)
    assert mailbox.mails == []


def test_a_mail_server_that_is_not_there_is_named() -> None:
    target = SmtpTarget.model_validate(
        {
            "kind": "smtp",
            "name": "x",
            "host": "127.0.0.1",
            "port": free_port(),
            "security": "none",
            "sender": "a@b",
            "to": ("c@d",),
        }
    )
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1"):
        smtp.send(target, PARCEL, NOW_MS)


def https_target(web: Web, certificate: Certificate) -> HttpsTarget:
    return HttpsTarget.model_validate(
        {"kind": "https", "name": "regulator", "url": web.url, "ca_file": certificate.cert}
    )


def verified(headers: dict[str, str], body: bytes, url: str) -> bool:
    """RFC 9421 as a receiver would check it, from the headers alone."""
    said = re.fullmatch(r"sha-256=:(.+):", headers["content-digest"])
    assert said
    if base64.b64decode(said[1]) != hashlib.sha256(body).digest():
        return False
    parameters = headers["signature-input"].removeprefix("tanyun=")
    names = re.findall(r'"([^"]+)"', parameters.partition(")")[0])
    values = {"@method": "POST", "@target-uri": url}
    lines = [f'"{name}": {values.get(name, headers.get(name, ""))}' for name in names]
    base = "\n".join([*lines, f'"@signature-params": {parameters}']).encode()
    signature = base64.b64decode(headers["signature"].removeprefix("tanyun=:").removesuffix(":"))
    KEY.public_key().verify(signature, base)
    return True


def test_a_push_carries_a_signature_that_a_receiver_can_check(web: Web, certificate: Certificate) -> None:
    receipt = https.send(https_target(web, certificate), PARCEL, NOW_MS, KEY)
    assert json.loads(receipt) == {"receipt": "HZ-2026-0001"}
    ((headers, body),) = web.requests
    assert verified(headers, body, web.url)
    assert f'keyid="{key_id(KEY.public_key())}"' in headers["signature-input"]
    assert headers["idempotency-key"] == PARCEL.key
    assert not verified(headers, body + b" ", web.url)
    form = email.message_from_bytes(f"Content-Type: {headers['content-type']}\r\n\r\n".encode() + body)
    parts = [part for part in form.get_payload() if not isinstance(part, str)]
    assert [part.get_payload(decode=True) for part in parts[1:]] == [file.data for file in PARCEL.files]


@pytest.mark.parametrize(("status", "receipt"), [(500, b"down"), (202, b""), (302, b"elsewhere")])
def test_an_answer_without_a_receipt_is_no_delivery(
    web: Web, certificate: Certificate, status: int, receipt: bytes
) -> None:
    web.status, web.receipt = status, receipt
    with pytest.raises(DeliveryError, match=str(status)):
        https.send(https_target(web, certificate), PARCEL, NOW_MS, KEY)


def sftp_target(site: SftpSite, **more: object) -> SftpTarget:
    values: dict[str, object] = {
        "kind": "sftp", "name": "regulator", "host": "127.0.0.1", "port": site.port, "user": "park", "key_file": site.user_key,
        "known_hosts": site.known_hosts, "folder": "/",
    }  # fmt: skip
    return SftpTarget.model_validate(values | more)


def test_files_arrive_whole_and_what_is_read_back_is_the_receipt(sftp_site: SftpSite) -> None:
    receipt = json.loads(sftp.send(sftp_target(sftp_site), PARCEL))
    assert {path.name: path.read_bytes() for path in sftp_site.folder.iterdir()} == {
        f.name: f.data for f in PARCEL.files
    }
    assert receipt["sha256"] == {file.name: file.digest.sha256 for file in PARCEL.files}


def test_a_repetition_changes_nothing_and_another_content_is_refused(sftp_site: SftpSite) -> None:
    first = sftp.send(sftp_target(sftp_site), PARCEL)
    assert sftp.send(sftp_target(sftp_site), PARCEL) == first
    (sftp_site.folder / "a.json").write_bytes(b"edited there")
    with pytest.raises(DeliveryError, match=r"a\.json is there with other content"):
        sftp.send(sftp_target(sftp_site), PARCEL)


def test_a_server_with_another_host_key_gets_nothing(sftp_site: SftpSite) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key()
    sftp_site.known_hosts.write_bytes(f"[127.0.0.1]:{sftp_site.port} ".encode() + other)
    with pytest.raises(DeliveryError, match="Host key"):
        sftp.send(sftp_target(sftp_site), PARCEL)
    assert list(sftp_site.folder.iterdir()) == []
