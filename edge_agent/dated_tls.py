"""TLS for a machine that may not know the date: a certificate's dates are judged by the time that is known, not by the system's.

A gateway without a battery starts in 1970, where the broker's certificate is not valid yet; but the time comes from the server.
So OpenSSL leaves the dates alone, chain and name are checked as ever, and the dates here, as soon as the time is known.
"""

import ssl
from collections.abc import Callable
from typing import Any, Final

from metering.i18n import _

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h, since 1.1.0); Python's ssl has no name for it."""


def dated(context: ssl.SSLContext | None, known_ms: Callable[[], int | None]) -> ssl.SSLContext | None:
    """The same context, judging dates by `known_ms`: UTC where it is known, else None."""
    if context is None:
        return None

    class _Socket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            now_ms = known_ms()
            certificate = self.getpeercert()
            if now_ms is not None and certificate:
                check_dates(certificate, now_ms)

    context.verify_flags |= _NO_CHECK_TIME
    context.sslsocket_class = _Socket
    return context


def check_dates(certificate: Any, now_ms: int) -> None:
    """ssl.SSLCertVerificationError unless a peer's certificate is valid at a time."""
    begin, end = (ssl.cert_time_to_seconds(certificate[key]) for key in ("notBefore", "notAfter"))
    if not begin <= now_ms / 1000 <= end:
        text = _("the broker's certificate is valid from {begin} to {end}: renew it, or look at the time")
        raise ssl.SSLCertVerificationError(
            text.format(begin=certificate["notBefore"], end=certificate["notAfter"])
        )
