"""One-time passwords by time (TOTP, RFC 6238) with what every authenticator app has: SHA-1, 30 s, six digits. Pure."""

import base64
import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import quote

STEP_MS: Final = 30_000
DIGITS: Final = 6
_SECRET_BYTES: Final = 20
"""As long as the digest (RFC 4226, section 4, R6)."""
_DRIFT: Final = 1
"""Steps that a phone's clock may be off either way (RFC 6238, 5.2)."""
RECOVERY_CODES: Final = 8
_RECOVERY_BYTES: Final = 10
"""80 random bits each: nothing that can be tried out, so a SHA-256 of it is enough."""


def new_secret() -> bytes:
    """A user's own."""
    return secrets.token_bytes(_SECRET_BYTES)


def code_at(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """What an app shows in a step since 1970 (RFC 4226, 5.3)."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def step_of(secret: bytes, code: str, now_ms: int) -> int | None:
    """The step that a code is of, if it is of one that is near; None for any other code."""
    now = now_ms // STEP_MS
    steps = range(max(now - _DRIFT, 0), now + _DRIFT + 1)
    fits = [step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), code.encode())]
    return fits[-1] if fits else None


def uri(secret: bytes, user: str, issuer: str) -> str:
    """What an app takes as a QR code or a link."""
    key = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{quote(issuer)}:{quote(user)}?secret={key}&issuer={quote(issuer)}&digits={DIGITS}&period={STEP_MS // 1000}"


def new_code() -> str:
    """Something to type once: a recovery code, or the code with which a user makes a password."""
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode()
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4)).lower()


def new_recovery_codes() -> list[str]:
    """For the day on which the phone is lost; each is good once."""
    return [new_code() for _ in range(RECOVERY_CODES)]


def recovery_digest(code: str) -> bytes:
    """What is stored of one, however its groups are typed."""
    return hashlib.sha256("".join(code.lower().split()).replace("-", "").encode()).digest()
