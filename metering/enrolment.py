"""The one-time code with which a new gateway fetches its credentials: made on the server, typed in at the gateway.

    TY1 + fingerprint + secret, in base32, in groups of four

The fingerprint is that of the park's private CA (128 bits of SHA-256 over its certificate): the gateway trusts no server but
one that proves to have a certificate of that CA, before it sends anything. The secret (128 random bits) opens the
credentials, once.
"""

import base64
import hashlib
import secrets
import ssl
from typing import Final, NamedTuple

from metering.i18n import _

_MARK: Final = "TY1"
_BYTES: Final = 16
_CHARACTERS: Final = 26
"""16 bytes in base32 without padding."""


class CodeError(ValueError):
    """What was typed is no code (the installer's mistake)."""


class Code(NamedTuple):
    """The parts of a code."""

    fingerprint: bytes
    secret: bytes

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Code({self.fingerprint.hex()})"

    def text(self) -> str:
        """As it is printed."""
        letters = _MARK + _base32(self.fingerprint) + _base32(self.secret)
        return "-".join([letters[:3], *(letters[at : at + 4] for at in range(3, len(letters), 4))])


def new_code(ca_pem: str) -> Code:
    """A fresh code for the CA in PEM."""
    return Code(fingerprint(ca_pem), secrets.token_bytes(_BYTES))


def parse_code(text: str) -> Code:
    """The code that somebody typed, in any case and grouping; 0, 1 and 8 are taken for O, I and B. CodeError."""
    letters = "".join(text.upper().replace("-", " ").split())
    mark, rest = letters[:3], letters[3:].translate(str.maketrans("018", "OIB"))
    if mark != _MARK or len(rest) != 2 * _CHARACTERS:
        raise CodeError(_("this is no enrolment code: it starts with TY1 and has 55 letters and digits"))
    try:
        parts = [base64.b32decode(half + "======") for half in (rest[:_CHARACTERS], rest[_CHARACTERS:])]
    except ValueError:
        raise CodeError(_("this is no enrolment code: a character in it cannot be")) from None
    return Code(*parts)


def fingerprint(ca_pem: str) -> bytes:
    """What stands in a code for a CA; ValueError for what is no certificate in PEM."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca_pem.strip() + "\n")).digest()[:_BYTES]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").rstrip("=")
