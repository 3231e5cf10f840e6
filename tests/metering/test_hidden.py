"""Secrets in what other servers say."""

import base64
import json

import pytest

from metering.hidden import HIDDEN, without, without_credentials

SECRET = 'p"ß\\ 1'


@pytest.mark.parametrize(
    "said",
    [SECRET, json.dumps({"sent": SECRET}), f"Illegal header value {SECRET.encode()!r}", base64.b64encode(SECRET.encode()).decode()],
)  # fmt: skip
def test_a_secret_that_is_repeated_is_hidden_and_the_rest_stays(said: str) -> None:
    text = without(f"401 you sent: {said}.", SECRET)
    assert HIDDEN in text
    assert SECRET not in text
    assert text.startswith("401 you sent: ")
    assert not any(form in text for form in (json.dumps(SECRET)[1:-1], repr(SECRET.encode())[2:-1]))


def test_what_a_request_was_authorised_with_is_hidden() -> None:
    sent = base64.b64encode(b"ann:" + SECRET.encode()).decode()
    assert (
        without_credentials(f"you sent Basic {sent}: {SECRET}", f"Basic {sent}")
        == f"you sent Basic {HIDDEN}: {HIDDEN}"
    )
    assert without_credentials("you sent Token abcdefgh", "Token abcdefgh") == f"you sent Token {HIDDEN}"


@pytest.mark.parametrize("authorization", ["", "Token", "Token "])
def test_nothing_to_hide_changes_nothing(authorization: str) -> None:
    assert without("as it is", "") == "as it is"
    assert without_credentials("as it is", authorization) == "as it is"
