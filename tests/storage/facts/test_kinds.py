from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from metering.registry import Park
from storage.facts.credit_code import ALPHABET, check_character, is_credit_code
from storage.facts.fields import parse_formula
from storage.facts.judge import mistakes
from storage.facts.kinds import KINDS, EnterpriseFact
from storage.facts.state import Facts

Make = Callable[..., Any]


def test_the_printed_example_of_the_standard_is_a_credit_code() -> None:
    assert is_credit_code("91350100M000100Y43")


@given(st.text(ALPHABET, min_size=17, max_size=17), st.data())
def test_a_wrong_character_anywhere_is_found(first: str, data: st.DataObject) -> None:
    code = first + check_character(first)
    assert is_credit_code(code)
    at = data.draw(st.integers(0, 17))
    other = data.draw(st.sampled_from(ALPHABET.replace(code[at], "")))
    assert not is_credit_code(code[:at] + other + code[at + 1 :])


def test_an_enterprise_needs_no_more_than_twelve_fields() -> None:
    own = set(EnterpriseFact.model_fields) - {"enterprise", "valid_from", "valid_to"}
    assert len(own) <= 12


def test_every_kind_has_labels_in_both_languages() -> None:
    for kind in KINDS.values():
        assert all(kind.LABEL)
        for name, field in kind.model_fields.items():
            assert field.title, (kind.KIND, name)
            assert not field.title.isascii()


@pytest.mark.parametrize("text", ["", "- resold", "grid_boundary resold", "grid_boundary - ", "nothing"])
def test_a_formula_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        parse_formula(text)


def test_a_formula_gives_roles_with_signs() -> None:
    assert parse_formula("grid_boundary - resold") == (("grid_boundary", 1), ("resold", -1))


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        ("energy", {"production_use": "1", "other_use": "0", "feedstock_use": "0"}, "add up"),
        ("energy", {"ncv_gj_per_unit": "42"}, "laboratory"),
        ("energy", {"consumed": "NaN"}, "finite"),
        ("energy", {"consumed": "1e20"}, "at most 15"),
        ("energy", {"consumed": "-1"}, "negative"),
        ("bill", {"end": "2026-09-25"}, "after start"),
        ("certificate", {"last": "GEC0000"}, "range"),
        ("certificate", {"last": "XYZ0010"}, "range"),
        ("enterprise", {"credit_code": "91350100M000100Y44"}, "18"),
        ("meter", {"valid_to": "2026-01-01"}, "not after"),
        ("meter", {"typo": "x"}, "Extra"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(
    fact: Make, kind: str, wrong: dict[str, str], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        fact(kind, **wrong)


def test_a_certificate_counts_once_in_the_whole_park(fact: Make, park: Park) -> None:
    known = Facts((fact("certificate"),))
    for again in (
        fact("certificate", enterprise="b"),
        fact("certificate", enterprise="b", first="GEC0010", last="GEC0012"),
        fact("certificate", first="GEC0005", last="GEC0005", month="2026-11"),
    ):
        assert "claimed already" in mistakes([again], known, park)[0][1]
    assert not mistakes([fact("certificate", first="GEC0011", last="GEC0012")], known, park)
    assert not mistakes([fact("certificate", status="held")], known, park), "a correction of the same batch"


def test_two_bills_of_one_meter_do_not_overlap(fact: Make, park: Park) -> None:
    known = Facts((fact("bill"),))
    assert mistakes([fact("bill", number="2", start="2026-10-24", end="2026-11-25")], known, park)
    assert not mistakes([fact("bill", number="2", start="2026-10-25", end="2026-11-25")], known, park)


def test_subjects_that_the_park_does_not_have_are_named(fact: Make, park: Park) -> None:
    found = mistakes(
        [fact("meter", meter="other"), fact("bill", meter="m9"), fact("enterprise", enterprise="z")],
        Facts(),
        park,
    )
    assert [index for index, _text in found] == [0, 1, 2]
    assert "'m9'" in found[1][1]


def test_one_credit_code_is_of_one_enterprise(fact: Make, park: Park) -> None:
    assert mistakes([fact("enterprise", enterprise="b")], Facts((fact("enterprise"),)), park)
