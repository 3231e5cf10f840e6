"""Factors by local month, as columns."""

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factors.policy import ByDataYear, LatestPublished, Pinned, enterprise_policy, factor_for, park_policy
from metering.intervals import QUARTER_MS, local_month, month_of
from stream.policy import Policy
from tests.stream.strategies import AS_OF, TABLE

ROLES = ("grid_boundary", "sub_meter", "resold", "storage", "pv_generation", "export")
SHANGHAI = ZoneInfo("Asia/Shanghai")
QUARTERS = st.integers(0, 4_100_000_000_000 // QUARTER_MS).map(lambda i: i * QUARTER_MS)


def policy(
    zone: str = "Asia/Shanghai",
    chosen: LatestPublished | ByDataYear | Pinned | None = None,
    as_of: date = AS_OF,
) -> Policy:
    return Policy(TABLE, chosen or enterprise_policy(), ZoneInfo(zone), as_of)


def factors(
    asked: Policy, roles: Sequence[str | None], starts: NDArray[np.int64]
) -> tuple[list[str | None], NDArray[np.int64], NDArray[np.int64]]:
    """Each interval with a role of its own."""
    return asked.factors(roles, np.arange(len(roles)), starts)


@pytest.mark.parametrize(
    "zone", ["Asia/Shanghai", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"]
)
@settings(max_examples=40, deadline=None)
@given(starts=st.lists(QUARTERS, max_size=20))
def test_every_interval_takes_the_local_month_that_it_starts_in(zone: str, starts: list[int]) -> None:
    asked = policy(zone)
    assert [asked.month_at(start)[2] for start in starts] == [
        month_of(start, ZoneInfo(zone)) for start in starts
    ]


@pytest.mark.parametrize("month", ["2026-03", "2026-10", "2026-04"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_a_month_with_a_change_of_clocks_ends_at_its_own_midnight(zone: str, month: str) -> None:
    span, asked = local_month(month, ZoneInfo(zone)), policy(zone)
    inside, outside = (span.start_ms, span.end_ms - QUARTER_MS), (span.start_ms - QUARTER_MS, span.end_ms)
    assert {asked.month_at(start)[2] for start in inside} == {month}
    assert month not in {asked.month_at(start)[2] for start in outside}


@pytest.mark.parametrize(
    "chosen", [enterprise_policy(), park_policy("CN-AH"), ByDataYear("CN", "average", 2022)]
)
@pytest.mark.parametrize("role", ROLES)
def test_columns_say_what_the_factor_table_says(chosen: LatestPublished | ByDataYear, role: str) -> None:
    start = local_month("2026-10", ZoneInfo("Asia/Shanghai")).start_ms
    ids, num, den = factors(policy(chosen=chosen), [role], np.array([start]))
    expected = factor_for(TABLE, role, chosen, "2026-10", AS_OF)
    assert (ids[0], num[0], den[0]) == (
        getattr(expected, "id", None),
        getattr(expected, "num", -1),
        getattr(expected, "den", 1),
    )


@settings(max_examples=60, deadline=None)
@given(
    told=st.lists(
        st.tuples(st.integers(0, 6), st.integers(1_600_000_000_000, 1_900_000_000_000)), max_size=30
    )
)
def test_columns_are_what_one_by_one_would_be(told: list[tuple[int, int]]) -> None:
    roles = [*ROLES, None]
    which, starts = np.array(told, np.int64).reshape(-1, 2).T
    ids, num, den = policy().factors(roles, which, starts)
    alone = policy()
    assert [*zip(ids, num.tolist(), den.tolist(), strict=True)] == [
        alone.factor(roles[i], month_of(start, SHANGHAI)) for i, start in told
    ]


def test_a_missing_factor_is_no_number() -> None:
    asked = policy(chosen=Pinned("there-is-none"))
    ids, num, _ = factors(asked, ["grid_boundary", "export"], np.array([0, 0]))
    assert ids == [None, "none-export"]
    assert num.tolist() == [-1, 0]


def test_a_total_that_carries_no_emission_has_no_factor() -> None:
    ids, num, den = factors(policy(), [None], np.array([0]))
    assert (ids, num.tolist(), den.tolist()) == ([None], [-1], [1])


def test_nothing_asked_is_nothing_answered() -> None:
    ids, num, den = factors(policy(), [], np.array([], np.int64))
    assert (ids, num.size, den.size) == ([], 0, 0)


def test_the_day_of_the_question_decides_what_was_published() -> None:
    start = np.array([local_month("2026-09", SHANGHAI).start_ms])
    early, late = (
        factors(policy(as_of=day), ["grid_boundary"], start)[0][0] for day in (date(2000, 1, 1), AS_OF)
    )
    assert early is None
    assert late is not None


def test_a_month_keeps_the_factor_of_its_deadline() -> None:
    """What was published more than 40 days after a month's end is not for that month, whenever it is asked."""
    start = np.array([local_month("2026-01", SHANGHAI).start_ms])
    at_deadline, next_day, years_later = (
        factors(policy(as_of=day), ["grid_boundary"], start)[0][0]
        for day in (date(2026, 3, 12), date(2026, 3, 13), date(2099, 1, 1))
    )
    assert at_deadline == next_day == years_later


def test_only_months_that_may_still_be_reported_follow_a_new_factor() -> None:
    starts = np.array([local_month(month, SHANGHAI).start_ms for month in ("2025-12", "2026-01", "2026-02")])
    asked = policy(as_of=date(2026, 3, 12))
    factors(asked, ["grid_boundary"] * 3, starts)
    assert asked.months == {"2026-01", "2026-02"}
