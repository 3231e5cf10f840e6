"""Which factor a month takes, at every date that matters."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factors.policy import (
    NOT_APPLICABLE,
    ZERO_SELF_GENERATED,
    ByDataYear,
    FactorPolicy,
    LatestPublished,
    MissingFactor,
    Pinned,
    Why,
    enterprise_policy,
    factor_for,
    park_policy,
    resolve,
)
from factors.table import Factor, FactorTable, bundled_data

TABLE = FactorTable.load()


def chosen(policy: FactorPolicy, as_of: date, month: str = "2024-11") -> str:
    factor = resolve(TABLE, policy, month, as_of)
    assert isinstance(factor, Factor)
    return factor.id


def missing(policy: FactorPolicy, as_of: date, table: FactorTable = TABLE) -> MissingFactor:
    answer = resolve(table, policy, "2024-11", as_of)
    assert isinstance(answer, MissingFactor)
    return answer


@pytest.mark.parametrize(
    ("as_of", "year"),
    [
        (date(2024, 4, 12), 2021),
        (date(2024, 12, 19), 2021),
        (date(2024, 12, 20), 2022),
        (date(2024, 12, 26), 2022),
        (date(2025, 12, 30), 2022),
        (date(2025, 12, 31), 2023),
        (date(2026, 11, 20), 2023),
    ],
)
def test_latest_published_changes_on_the_day_of_a_notice(as_of: date, year: int) -> None:
    assert chosen(enterprise_policy(), as_of) == f"CN-{year}-average"
    assert chosen(park_policy("CN-AH"), as_of) == f"CN-AH-{year}-average"


def test_before_the_first_notice_there_is_no_factor() -> None:
    assert missing(enterprise_policy(), date(2024, 4, 11)).code is Why.NOT_PUBLISHED_YET


def test_a_province_without_a_factor_does_not_get_its_grid_or_the_nation() -> None:
    answer = missing(park_policy("CN-XZ"), date(2026, 1, 31))
    assert answer.code is Why.NOTHING_KNOWN
    assert "CN-XZ" in answer.reason
    assert "CN-XZ" in answer.reason_zh


def test_a_missing_factor_has_nothing_to_multiply_with() -> None:
    answer = missing(park_policy("CN-XZ"), date(2026, 1, 31))
    assert not hasattr(answer, "num")
    assert not hasattr(answer, "ratio")


@given(st.dates(date(2024, 4, 12), date(2027, 12, 31)), st.dates(date(2020, 1, 1), date(2027, 12, 31)))
def test_a_publication_date_never_splits_a_month(as_of: date, day: date) -> None:
    month = f"{day:%Y-%m}"
    assert chosen(enterprise_policy(), as_of, month) == chosen(enterprise_policy(), as_of)


def test_december_2025_takes_the_2023_factor_whole_once_it_is_closed() -> None:
    assert chosen(enterprise_policy(), date(2025, 12, 15), "2025-12") == "CN-2022-average"
    assert chosen(enterprise_policy(), date(2026, 1, 5), "2025-12") == "CN-2023-average"


def test_by_data_year_stays_with_its_year() -> None:
    policy = ByDataYear("CN-SX", "average", 2021)
    assert chosen(policy, date(2026, 1, 1)) == "CN-SX-2021-average"


@pytest.mark.parametrize("year", [2020, 2024])
def test_a_year_without_notice_is_missing_and_not_interpolated(year: int) -> None:
    assert missing(ByDataYear("CN", "average", year), date(2026, 1, 1)).code is Why.NOTHING_KNOWN


def test_a_year_is_not_used_before_its_notice() -> None:
    policy = ByDataYear("CN", "average", 2023)
    assert missing(policy, date(2025, 12, 30)).code is Why.NOT_PUBLISHED_YET


def test_pinned_takes_exactly_the_named_factor() -> None:
    assert chosen(Pinned("CN-GRID-EAST-2022-average"), date(2026, 1, 1)) == "CN-GRID-EAST-2022-average"
    assert missing(Pinned("CN-2019-average"), date(2026, 1, 1)).code is Why.NOTHING_KNOWN
    assert missing(Pinned("CN-2023-average"), date(2025, 1, 1)).code is Why.NOT_PUBLISHED_YET


@pytest.fixture
def with_unverified(tmp_path: Path) -> FactorTable:
    for name in ("scopes.csv", "notices.csv", "electricity.csv"):
        text = (bundled_data() / name).read_text("utf-8")
        (tmp_path / name).write_text(text, "utf-8")
    rows = tmp_path / "electricity.csv"
    news = "CN-2024-average,CN,2024,average,0.5200,2025-47,unverified\n"
    rows.write_text(rows.read_text("utf-8") + news, "utf-8")
    return FactorTable.load(tmp_path)


def test_an_unverified_value_is_passed_over(with_unverified: FactorTable) -> None:
    answer = resolve(with_unverified, enterprise_policy(), "2026-01", date(2026, 2, 1))
    assert isinstance(answer, Factor)
    assert answer.id == "CN-2023-average"
    by_year = ByDataYear("CN", "average", 2024)
    assert missing(by_year, date(2026, 2, 1), with_unverified).code is Why.UNVERIFIED


def test_an_unverified_value_can_be_pinned_but_is_not_official(with_unverified: FactorTable) -> None:
    answer = resolve(with_unverified, Pinned("CN-2024-average"), "2026-01", date(2026, 2, 1))
    assert isinstance(answer, Factor)
    assert not answer.official


def test_named_policies_are_labelled_in_both_languages() -> None:
    assert enterprise_policy() == LatestPublished("CN", "average")
    assert enterprise_policy().label_zh == "全国平均（企业口径）"
    assert enterprise_policy().label_en == "National average (enterprise)"
    assert park_policy("CN-GD").label_zh == "省级平均（园区口径）"


@pytest.mark.parametrize("scope", ["CN", "CN-GRID-EAST", "安徽"])
def test_a_park_policy_is_for_a_province(scope: str) -> None:
    with pytest.raises(ValueError, match="province"):
        park_policy(scope)


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "2026-01-01", "202601"])
def test_a_month_is_written_year_dash_month(month: str) -> None:
    with pytest.raises(ValueError, match="month"):
        resolve(TABLE, enterprise_policy(), month, date(2026, 2, 1))


@pytest.mark.parametrize("role", ["grid_boundary", "sub_meter", "resold", "storage"])
def test_energy_from_the_grid_takes_the_policy_factor(role: str) -> None:
    answer = factor_for(TABLE, role, park_policy("CN-JS"), "2026-01", date(2026, 2, 1))
    assert isinstance(answer, Factor)
    assert (answer.num, answer.den) == (582_700, 1)


def test_own_generation_is_zero_with_its_evidence_named_and_export_is_not_purchased() -> None:
    own = factor_for(TABLE, "pv_generation", park_policy("CN-XZ"), "2026-01", date(2026, 2, 1))
    export = factor_for(TABLE, "export", park_policy("CN-XZ"), "2026-01", date(2026, 2, 1))
    assert own is ZERO_SELF_GENERATED
    assert "计量记录" in ZERO_SELF_GENERATED.label_zh
    assert export is NOT_APPLICABLE
    assert own.num == export.num == 0
    assert own.id != export.id


def test_an_unknown_role_is_a_bug() -> None:
    with pytest.raises(ValueError, match="role"):
        factor_for(TABLE, "gas", enterprise_policy(), "2026-01", date(2026, 2, 1))


def test_every_role_of_a_meter_has_a_rule() -> None:
    roles = pytest.importorskip("metering.roles")
    for role in roles.Role:
        answer = factor_for(TABLE, role, enterprise_policy(), "2026-01", date(2026, 2, 1))
        assert isinstance(answer, Factor)
