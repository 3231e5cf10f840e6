"""Passwords: argon2id with the parameters that RFC 9106 (4, second choice) recommends for 64 MiB, a few at a time."""

import secrets
import threading
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from metering.i18n import _

SHORTEST: Final = 12
"""Ours; NIST SP 800-63B asks for at least 8."""
LONGEST: Final = 256
"""So that nobody makes us hash a book."""
_FEWEST_DIFFERENT: Final = 5
_AT_ONCE: Final = 2
"""Each takes 64 MiB for some 50 ms: more at once would let strangers take the machine's memory."""

_hasher = PasswordHasher()
_turn = threading.BoundedSemaphore(_AT_ONCE)


def hash_password(password: str) -> str:
    """What is stored in place of a password."""
    with _turn:
        return _hasher.hash(password)


def matches(password: str, hashed: str | None) -> bool:
    """True when `hashed` was made from the password. Takes as long when there is no hash."""
    if len(password) > LONGEST:
        return False
    with _turn:
        try:
            _hasher.verify(hashed or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
    return hashed is not None


def is_outdated(hashed: str) -> bool:
    """True when newer parameters should be used for it."""
    return _hasher.check_needs_rehash(hashed)


def password_mistake(password: str, name: str) -> str | None:
    """Why this password may not be used; None when it may."""
    if not SHORTEST <= len(password) <= LONGEST:
        return _("a password has {shortest} to {longest} characters").format(
            shortest=SHORTEST, longest=LONGEST
        )
    if name and name.lower() in password.lower():
        return _("a password does not contain the user's name")
    if len(set(password)) < _FEWEST_DIFFERENT:
        return _("a password is not the same few characters again and again")
    return None


@cache
def _nobody() -> str:
    """A hash that no password is known for: an unknown user costs as much time as a known one."""
    return _hasher.hash(secrets.token_urlsafe(32))
