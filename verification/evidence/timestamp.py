"""RFC 3161 time stamps: an authority that is not us says that a chain head was there at its time.

rfc3161-client (Trail of Bits, used by sigstore): asking and verifying in one library on `cryptography`.
"""

import datetime as dt

import httpx
from cryptography import x509
from rfc3161_client import (
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

TIMEOUT_S = 30
_REQUEST, _REPLY = "application/timestamp-query", "application/timestamp-reply"


class TimestampError(Exception):
    """No stamp, or none that leads to a known root; the head is sent without one, and it is tried again."""


def ask(url: str, data: bytes, roots: bytes) -> bytes:
    """A verified stamp over `data` from the authority at `url`; the whole response, DER."""
    request = TimestampRequestBuilder().data(data).nonce(nonce=True).cert_request(cert_request=True).build()
    try:
        headers = {"Content-Type": _REQUEST, "Accept": _REPLY}
        answer = httpx.post(url, content=request.as_bytes(), headers=headers, timeout=TIMEOUT_S)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise TimestampError(f"{url}: {error!r}") from error
    verify(answer.content, data, roots, nonce=request.nonce)
    return answer.content


def verify(response: bytes, data: bytes, roots: bytes, *, nonce: int | None = None) -> dt.datetime:
    """The time that a stamp proves; TimestampError when it is not over `data` or leads to none of the roots (PEM)."""
    builder = VerifierBuilder()
    for certificate in x509.load_pem_x509_certificates(roots):
        builder = builder.add_root_certificate(certificate)
    if nonce is not None:
        builder = builder.nonce(nonce)
    try:
        stamp = decode_timestamp_response(response)
        builder.build().verify_message(stamp, data)
    except (VerificationError, ValueError) as error:
        raise TimestampError(str(error)) from error
    return stamp.tst_info.gen_time
