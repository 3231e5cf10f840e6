"""Declared factor series as facts: every mistake named, one key per stretch, no two over the same time."""

from typing import Any

import pytest
from pydantic import ValidationError

from metering.intervals import HOUR_MS
from metering.registry import Park
from storage.facts.judge import mistakes
from storage.facts.series import SeriesFact
from storage.facts.sheets import export_csv, parse, read
from storage.facts.state import Facts

LEAST = {
    "enterprise": "a", "start": "2026-10-01T00:00:00+08:00", "end": "2026-10-01T01:00:00+08:00", "step_minutes": 15,
    "values": "0.5 0.6, 0.7；-", "basis": "grid_intensity", "source": "电网公司 2026-10",
}  # fmt: skip


def made(**given: object) -> SeriesFact:
    return SeriesFact.model_validate({**LEAST, **given})


def said(**wrong: object) -> str:
    with pytest.raises(ValidationError) as error:
        made(**wrong)
    return str(error.value)


def test_values_are_kept_as_declared_with_one_space_between_them() -> None:
    fact = made()
    assert fact.words == ["0.5", "0.6", "0.7", "-"]
    assert (fact.step_ms, fact.span.end_ms - fact.span.start_ms) == (HOUR_MS // 4, HOUR_MS)
    assert made(step_minutes=0, values="0.31").step_ms == HOUR_MS


def test_one_stretch_has_one_key_in_whatever_zone_it_is_written() -> None:
    assert made().key == made(start="2026-09-30T16:00:00Z").key


def test_every_mistake_of_the_grid_is_told_at_once() -> None:
    told = said(start="2026-10-01T00:07:00+08:00", end="2026-09-30T00:00:01+08:00")
    assert all(text in told for text in ("start is not on", "end is not on", "end is not after"))
    assert "4 values of 30 minutes are 120 minutes, from start to end there are 60" in said(step_minutes=30)
    assert "multiple of 15" in said(step_minutes=20)
    assert "timezone" in said(start="2026-10-01T00:00:00").replace(" ", "")


def test_every_value_that_is_none_is_named_by_its_place() -> None:
    told = said(values="0.5 1e3 -0.1 11 0,6 nan ٣ 0.1234567891 .5 5.")
    for wrong in (
        "2: '1e3'",
        "3: '-0.1'",
        "4: '11'",
        "7: 'nan'",
        "8: '٣'",
        "9: '0.1234567891'",
        "10: '.5'",
        "11: '5.'",
    ):
        assert wrong in told
    assert "1:" not in told.split("digits")[1].split("2:")[0]
    assert "none is given" in said(values=" ")


def test_two_series_over_the_same_time_are_refused_and_a_correction_is_not(park: Park) -> None:
    known = Facts([made()])
    later = made(start="2026-10-01T00:45:00+08:00", end="2026-10-01T01:45:00+08:00")
    (found,) = mistakes([later], known, park)
    assert "there already" in found[1]
    assert mistakes([made(values="1 1 1 1")], known, park) == []
    after = made(start="2026-10-01T01:00:00+08:00", end="2026-10-01T02:00:00+08:00")
    assert mistakes([after, made(meter="m")], known, park) == []
    assert "no meter" in mistakes([made(enterprise="b", meter="m")], Facts(), park)[0][1]


def test_a_series_goes_through_a_sheet_and_comes_back(tmp_path: Any, park: Park) -> None:
    file = tmp_path / "factor_series.csv"
    month = made(end="2026-11-01T00:00:00+08:00", values=" ".join(["0.123456"] * 2976))
    file.write_bytes(export_csv(SeriesFact, [month]))
    assert parse("x", read(file), Facts(), park) == [month]
