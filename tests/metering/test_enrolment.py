"""The enrolment code: read back however it was typed, and nothing else passes for one."""

import base64
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.enrolment import Code, CodeError, fingerprint, new_code, parse_code

PARTS = st.binary(min_size=16, max_size=16)
PEM = (
    "-----BEGIN CERTIFICATE-----\n"
    + base64.b64encode(b"certificate").decode()
    + "\n-----END CERTIFICATE-----\n"
)


@given(PARTS, PARTS, st.booleans(), st.sampled_from(["-", " ", "", " - "]))
def test_a_code_is_read_back_in_any_case_and_grouping(
    left: bytes, right: bytes, lower: bool, between: str
) -> None:
    code = Code(left, right)
    text = code.text().replace("-", between)
    assert parse_code(text.lower() if lower else text) == code


@given(PARTS, PARTS)
def test_digits_that_look_like_letters_are_taken_for_them(left: bytes, right: bytes) -> None:
    text = Code(left, right).text()
    typed = text[:4] + text[4:].replace("O", "0").replace("I", "1").replace("B", "8")
    assert parse_code(typed) == Code(left, right)


@given(st.text(max_size=80))
def test_what_is_no_code_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(CodeError):
        parse_code(text)


def test_a_character_that_cannot_be_is_refused() -> None:
    text = Code(secrets.token_bytes(16), secrets.token_bytes(16)).text()
    with pytest.raises(CodeError):
        parse_code(text[:-1] + "9")


def test_a_code_names_its_ca_and_shows_no_secret_when_printed_by_chance() -> None:
    code = new_code(PEM)
    assert code.fingerprint == fingerprint("\n" + PEM)
    assert code.secret.hex() not in repr(code)
    with pytest.raises(ValueError, match="PEM"):
        fingerprint("no certificate")
