"""防篡改: a PAdES signature over a report's PDF, so that a changed byte shows in any PDF reader. It is no 电子签章.

The signature is appended: the unsigned PDF is an exact prefix of the signed one. Any pyHanko `Signer` will do, so that a CA's
token (PKCS#11) takes the place of our file (PKCS#12) where an institution has one. ECDSA P-256: PDF readers do not know Ed25519.
"""

import datetime as dt
import io
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers

from metering.i18n import _

FIELD = "tanyun"
YEARS = 10
_OWNER_ONLY = 0o600


class SealError(Exception):
    """The key file cannot be used or made (the operator's fault)."""


def make_key(path: Path, password: bytes, name: str, now: dt.datetime) -> None:
    """A new P-256 key with a self-signed certificate as PKCS#12; nothing is ever overwritten."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * YEARS))
        .add_extension(x509.KeyUsage(True, True, *[False] * 7), critical=True)
        .sign(key, hashes.SHA256())
    )
    data = pkcs12.serialize_key_and_certificates(
        FIELD.encode(), key, certificate, None, BestAvailableEncryption(password)
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError as error:
        raise SealError(_("{path} is there already and is never overwritten").format(path=path)) from error
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def load_signer(path: Path, password: bytes) -> signers.SimpleSigner:
    """The signer in a PKCS#12 file: ours, or one that a CA gave."""
    try:
        signer: signers.SimpleSigner | None = signers.SimpleSigner.load_pkcs12(str(path), passphrase=password)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise SealError(f"{path}: {error.strerror}") from error
    if signer is None:
        raise SealError(_("{path} is no PKCS#12 file that this password opens").format(path=path))
    return signer


def seal(pdf: bytes, signer: signers.Signer) -> bytes:
    """The PDF with a PAdES signature (B-B) appended to its exact bytes."""
    # Typst writes its cross references as a stream and in a plain way: both are read, neither is rewritten.
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        subfilter=fields.SigSeedSubFilter.PADES,
        reason="防篡改 tamper evidence, no electronic seal",
    )
    out = io.BytesIO()
    signers.sign_pdf(writer, metadata, signer=signer, output=out)
    sealed = out.getvalue()
    if not sealed.startswith(pdf):
        raise SealError("the signed file does not begin with the unsigned one")
    return sealed
