"""Every check and grade exactly at its limit and one step beyond it: pure functions on a month that is made up."""

from dataclasses import replace
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from metering.intervals import local_month
from metering.registry import Exchange, parse_registry
from metering.roles import Role
from storage.facts.kinds import MeterFact
from storage.facts.state import Facts
from storage.ledger import ProgressRow
from tests.verification.conftest import MONTH, PARK
from verification.accounting.books import Books
from verification.accounting.intensity import _graded, grade_rules
from verification.balance import Edge, JournalMonth, TotalReading
from verification.checks import (
    v01_completeness,
    v02_daily,
    v03_edges,
    v05_plausible,
    v06_parents,
    v08_calibration,
    v10_factors,
    v12_estimated,
    v13_jump,
    v16_recomputed,
)
from verification.checks.case import Case
from verification.completeness import Boundary, MonthTotal
from verification.document import EmissionLine, FactorLine, ParentLine, Scope
from verification.intervals import DayEnergy, Odd, OddOnes, Summary

REGISTRY = parse_registry(msgspec.convert(PARK, dict[str, object]))
SPAN = local_month(MONTH, REGISTRY.tz)
ENERGY = 1_000_000
POINTS = 31 * 96


def reading(t_ms: int, register: int) -> TotalReading:
    return TotalReading(t_ms, register, register, Fraction(1), 1, 0)


def total(*, counted: int = ENERGY, away_ms: int = 0, **summary: Any) -> MonthTotal:
    """A month of 1,000 kWh that closed with `counted` Wh by the journal and was read `away_ms` after its begin."""
    meter = REGISTRY.meter("m-two")
    assert meter is not None
    opening = Edge(SPAN.start_ms, reading(SPAN.start_ms - away_ms, 0), reading(SPAN.start_ms + away_ms, 0))
    closing = Edge(SPAN.end_ms, reading(SPAN.end_ms, counted), reading(SPAN.end_ms, counted))
    found = Summary(
        count=POINTS, start_ms=SPAN.start_ms, end_ms=SPAN.end_ms, opening=0, closing=ENERGY, energy=ENERGY, whole=True, estimated=0,
        points_read=POINTS, points_expected=POINTS, days=(DayEnergy(SPAN, ENERGY, whole=True, first=True),), longest_gap=None,
        peak=None, falling=OddOnes(), leaping=OddOnes(), measured=ENERGY,
    )  # fmt: skip
    return MonthTotal(
        meter=meter, reading_type="energy_import_total", role=Role.GRID_BOUNDARY, span=SPAN, summary=replace(found, **summary),
        progress=ProgressRow("m-two", "energy_import_total", SPAN.end_ms, ENERGY, pending=False), journal=JournalMonth(opening, closing),
    )  # fmt: skip


def case(*totals: MonthTotal, **more: Any) -> Case:
    scope = Scope(kind="enterprise", id="guangdian", name="g", name_en="g", credit_code="")
    return Case(
        span=SPAN, zone=REGISTRY.tz, today=date(2026, 11, 2), books=Books(Facts(), "guangdian", ("guangdian",), MONTH),
        boundary=Boundary(scope, REGISTRY.formula, totals), **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("read", "outcome"),
    [(POINTS, "PASS"), (2917, "PASS"), (2916, "FINDING"), (2679, "FINDING"), (2678, "FAIL")],
)
def test_v01_asks_below_98_per_cent_and_fails_below_90(read: int, outcome: str) -> None:
    assert v01_completeness.check(case(total(points_read=read))).outcome == outcome


@pytest.mark.parametrize(
    ("counted", "outcome"),
    [
        (ENERGY, "PASS"),
        (995_025, "PASS"),  # 0.49999 %
        (995_024, "FINDING"),  # 0.50009 %
        (952_381, "FINDING"),
        (952_380, "FAIL"),
    ],
)
def test_v02_asks_beyond_half_a_per_cent_and_fails_beyond_five(counted: int, outcome: str) -> None:
    assert v02_daily.check(case(total(counted=counted))).outcome == outcome


@pytest.mark.parametrize(
    ("away_ms", "outcome"),
    [(60_000, "PASS"), (60_001, "FINDING"), (86_400_000, "FINDING"), (86_400_001, "FAIL")],
)
def test_v03_asks_beyond_a_minute_and_fails_beyond_a_day(away_ms: int, outcome: str) -> None:
    assert v03_edges.check(case(total(away_ms=away_ms))).outcome == outcome


def test_v05_shows_the_interval_that_the_meter_cannot_carry() -> None:
    leap = OddOnes(1, (Odd(SPAN.start_ms, SPAN.start_ms + 900_000, 5_000),))
    line = v05_plausible.check(case(replace(total(leaping=leap), limit_w=Fraction(1000))))
    assert (line.outcome, line.evidence[0].start_ms) == ("FINDING", SPAN.start_ms)
    assert v05_plausible.check(case(replace(total(), limit_w=Fraction(1000)))).outcome == "PASS"


@pytest.mark.parametrize(("rest", "outcome"), [(50_000, "PASS"), (50_001, "FINDING"), (-50_001, "FINDING")])
def test_v06_takes_a_loss_of_five_per_cent_as_normal(rest: int, outcome: str) -> None:
    parent = ParentLine(
        parent="m-two",
        name="总表",
        inflow_wh=str(ENERGY),
        outflow_wh=str(ENERGY - rest),
        unmetered_wh=str(rest),
    )
    assert v06_parents.check(case(total(), parents=[parent])).outcome == outcome


def emission(factor: str | None, *, primary: bool = True) -> EmissionLine:
    return EmissionLine(
        use="enterprise", primary=primary, label_zh="全国", label_en="national", factor_id=factor, factor_ug_per_wh=None,
        energy_wh="1", emission_ug=None, missing_zh="" if factor else "无因子", missing_en="" if factor else "no factor",
    )  # fmt: skip


def factor(verified: str) -> FactorLine:
    return FactorLine(
        use="enterprise", id="CN-2023-average", scope_code="CN", data_year=2023, value_kg_per_kwh="0.5306", factor_ug_per_wh="530600",
        notice="n", published=None, verified=verified, label_zh="", label_en="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("emissions", "verified", "outcome"),
    [
        ([emission("CN-2023-average")], "two_sources", "PASS"),
        ([emission("CN-2023-average")], "unverified", "FINDING"),
        ([emission("CN-2023-average"), emission(None, primary=False)], "two_sources", "FINDING"),
        ([emission(None)], "two_sources", "INSUFFICIENT_DATA"),
    ],
)
def test_v10_stops_a_leading_figure_without_a_factor_and_tells_of_one_that_nobody_checked(
    emissions: list[EmissionLine], verified: str, outcome: str
) -> None:
    line = v10_factors.check(case(total(), emissions=emissions, factors=[factor(verified)]))
    assert line.outcome == outcome


@pytest.mark.parametrize(
    ("estimated", "substituted", "outcome"),
    [(100_000, 0, "PASS"), (100_001, 0, "FINDING"), (99_999, 0, "PASS"), (0, 200_000, "FINDING")],
)
def test_v12_qualifies_a_month_of_which_more_than_a_tenth_is_estimated_or_substituted(
    estimated: int, substituted: int, outcome: str
) -> None:
    odd = replace(total(estimated=estimated), substituted=substituted)
    assert v12_estimated.check(case(odd)).outcome == outcome
    assert v12_estimated.check(case()).outcome == "INSUFFICIENT_DATA"


@pytest.mark.parametrize(
    ("months", "own", "far"),
    [
        ([1, 3, 1, 3, 1], 100, False),  # five months are too few to say
        ([1, 3, 1, 3, 1, 3], 5, False),  # mean 2, σ 1: exactly three of them
        ([1, 3, 1, 3, 1, 3], -1, False),
        ([1, 3, 1, 3, 1, 3], Fraction(51, 10), True),
        ([2, 2, 2, 2, 2, 2], Fraction(21, 10), True),  # no spread at all
    ],
)
def test_v13_asks_beyond_three_sigma_of_six_closed_months(
    months: list[int], own: int | Fraction, *, far: bool
) -> None:
    assert v13_jump._is_far(Fraction(own), [Fraction(value) for value in months]) is far


def test_v16_fails_at_a_single_watt_hour() -> None:
    assert v16_recomputed.check(case(total())).outcome == "PASS"
    assert v16_recomputed.check(case(total(counted=ENERGY + 1))).outcome == "FAIL"


@pytest.mark.parametrize(
    ("rule", "value", "grade"),
    [
        ("carbon_level", "0.6", "low"), ("carbon_level", "0.6000001", "medium"), ("carbon_level", "2", "medium"),
        ("carbon_level", "2.0000001", "high"), ("carbon_efficiency", "0.6", "1"), ("carbon_efficiency", "0.8", "2"),
        ("carbon_efficiency", "0.8000001", "3"), ("carbon_efficiency", "1.2", "3"), ("carbon_efficiency", "2", "4"),
        ("carbon_efficiency", "2.0000001", "5"),
    ],
)  # fmt: skip
def test_a_grade_reaches_up_to_its_bound_and_not_beyond(rule: str, value: str, grade: str) -> None:
    (found,) = [r for r in grade_rules() if r.id == rule]
    assert _graded(found, Fraction(value))[1] == grade
    assert not found.official
    assert len(found.grades_zh) == len(found.grades_en) == len(found.bounds) + 1


@pytest.mark.parametrize(
    ("serial", "from_day", "outcome"),
    [("NEW", "2026-10-14", "PASS"), ("OLD", "2026-01-01", "FINDING"), ("NEW", "2026-11-01", "FINDING")],
)
def test_v08_takes_no_calibration_of_the_meter_that_was_exchanged(
    serial: str, from_day: str, outcome: str
) -> None:
    """The old meter's certificate says nothing of the one that hangs there since the 14th."""
    found = total()
    swapped = Exchange(at=datetime.fromisoformat("2026-10-14T03:07"), closing={}, opening={}, serial="NEW")
    meter = found.meter.model_copy(update={"exchanges": (swapped,)})
    old = MeterFact(
        meter="m-two", serial="OLD", valid_from=date(2026, 1, 1), calibrated_until=date(2030, 1, 1)
    )
    record = old.model_copy(update={"serial": serial, "valid_from": date.fromisoformat(from_day)})
    books = Books(Facts([old, record] if serial == "NEW" else [record]), "guangdian", ("guangdian",), MONTH)
    line = v08_calibration.check(replace(case(replace(found, meter=meter)), books=books))
    assert line.outcome == outcome
    assert line.meters == (() if outcome == "PASS" else ("m-two",))
