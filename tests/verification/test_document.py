import json
from fractions import Fraction
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.months import MonthRow
from verification.changes import differences
from verification.document import canonical, exact_decimal, half_up, json_schema, parse

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "month-document.schema.json"


def test_the_kept_schema_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == json.loads(json.dumps(json_schema()))


def test_every_document_follows_the_schema(month_rows: list[MonthRow]) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    for row in month_rows:
        validator.validate(json.loads(row.document))


def test_the_schema_refuses_an_amount_that_is_a_json_number(month_rows: list[MonthRow]) -> None:
    document = json.loads(month_rows[0].document)
    document["energy"]["purchased_wh"] = 12
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_schema())


def test_bytes_are_canonical_and_survive_a_round_trip(month_rows: list[MonthRow]) -> None:
    data = month_rows[-1].document
    assert canonical(parse(data)) == data
    plain = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plain.encode() == data


def test_a_difference_is_named_by_meter_and_reading_type(month_rows: list[MonthRow]) -> None:
    old = parse(month_rows[0].document)
    line = msgspec.structs.replace(old.meters[1], energy_wh="7")
    new = msgspec.structs.replace(
        old, meters=(old.meters[0], line, *old.meters[2:]), revision=2, closed_at="later"
    )
    (change,) = differences(old, new)
    assert change.path == "meters[m-grid/energy_export_total].energy_wh"
    assert (change.old, change.new) == (old.meters[1].energy_wh, "7")


@given(st.fractions(max_denominator=10**12), st.integers(0, 4))
def test_rounding_is_to_the_nearest_and_away_from_zero_in_the_middle(value: Fraction, places: int) -> None:
    shown = Fraction(half_up(value, places).replace(",", ""))
    half = Fraction(1, 2 * 10**places)
    assert abs(shown - value) <= half
    if abs(shown - value) == half:
        assert abs(shown) > abs(value)


@given(st.integers(-(10**40), 10**40))
def test_a_middle_is_rounded_away_from_zero_however_large(number: int) -> None:
    away = number + 1 if number >= 0 else number
    assert half_up(Fraction(2 * number + 1, 2), 0) == f"{away:,}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(5, 1000), "0.01"),
        (Fraction(-5, 1000), "-0.01"),
        (Fraction(-4999, 10**6), "0.00"),
        (Fraction(1234567), "1,234,567.00"),
    ],
)
def test_half_up_examples(value: Fraction, text: str) -> None:
    assert half_up(value, 2) == text


def test_an_exact_decimal_keeps_every_digit() -> None:
    assert exact_decimal(Fraction(1229, 10**7) * 123_456_789) == "15172.8393681"
    assert exact_decimal(Fraction(0)) == "0"


def test_a_fraction_without_a_finite_decimal_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite decimal"):
        exact_decimal(Fraction(1, 3))
