"""Delivery by e-mail. The receipt is the mail server's reply: it took the message over, for every recipient."""

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from metering.hidden import without
from metering.i18n import _
from verification.delivery.config import SmtpTarget
from verification.delivery.errors import DeliveryError
from verification.delivery.parcels import Parcel

TIMEOUT_S = 30


def send(target: SmtpTarget, parcel: Parcel, now_ms: int) -> bytes:
    """Hand the parcel to the mail server; its reply. The Message-ID is the parcel's key: a repetition is recognised by it."""
    password = target.secret_in(target.password_file)
    try:
        with _connect(target) as server:
            if target.user:
                server.login(target.user, password)
            return _transmit(server, target, message(target, parcel, now_ms))
    except (OSError, smtplib.SMTPException, ssl.SSLError) as error:
        said = without(str(error), password, f"\0{target.user}\0{password}")  # RFC 4616
        raise DeliveryError(f"{target.host}:{target.port}: {said}") from None


def message(target: SmtpTarget, parcel: Parcel, now_ms: int) -> EmailMessage:
    """The mail: who made it, the SHA-256 of every file, and the files."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = target.sender, ", ".join(target.to), parcel.title
    mail["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    mail["Message-ID"] = f"<{parcel.key}@{target.sender.partition('@')[2]}>"
    lines = [f"{file.digest.sha256}  {file.name}" for file in parcel.files]
    mail.set_content("\n".join([parcel.title, "", "SHA-256", *lines, "", f"parcel {parcel.key}", ""]))
    for file in parcel.files:
        main, _slash, sub = file.media_type.partition("/")
        mail.add_attachment(file.data, maintype=main, subtype=sub, filename=file.name)
    return mail


def _connect(target: SmtpTarget) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=str(target.ca_file) if target.ca_file else None)
    if target.security == "tls":
        return smtplib.SMTP_SSL(target.host, target.port, timeout=TIMEOUT_S, context=context)
    server = smtplib.SMTP(target.host, target.port, timeout=TIMEOUT_S)
    if target.security == "starttls":
        server.starttls(context=context)
    return server


def _transmit(server: smtplib.SMTP, target: SmtpTarget, mail: EmailMessage) -> bytes:
    """The SMTP dialogue by hand: `send_message` would swallow the reply, and take some recipients for all."""
    server.ehlo_or_helo_if_needed()
    _expect(server.mail(target.sender))
    for recipient in target.to:
        _expect(server.rcpt(recipient), recipient)
    code, reply = server.data(mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")))
    _expect((code, reply))
    return f"{code} ".encode() + reply


def _expect(answer: tuple[int, bytes], what: str = "") -> None:
    code, reply = answer
    if code not in {250, 251}:
        text = _("the mail server said {code} {reply} {what}")
        raise DeliveryError(text.format(code=code, reply=reply.decode(errors="replace"), what=what).strip())
