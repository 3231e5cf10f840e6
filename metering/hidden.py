"""What others say to us, before it is logged or stored: a server that repeats our request in its refusal repeats our secrets."""

import base64
import json
from typing import Final

HIDDEN: Final = "***"


def without(text: str, *secrets: str) -> str:
    """The text with stars for each secret, as it is, escaped as JSON or Python write it, or in base64."""
    for secret in filter(None, secrets):
        coded = base64.b64encode(secret.encode()).decode()
        for form in (secret, json.dumps(secret)[1:-1], repr(secret.encode())[2:-1], coded, coded.rstrip("=")):
            text = text.replace(form, HIDDEN)
    return text


def without_credentials(text: str, authorization: str) -> str:
    """The text without what a request's header Authorization carried: a token, or for Basic (RFC 7617) name and password."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return without(text, credentials)
    pair = base64.b64decode(credentials).decode("utf-8", "replace")
    return without(text, credentials, pair, pair.partition(":")[2])
