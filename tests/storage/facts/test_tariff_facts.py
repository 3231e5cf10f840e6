"""Which time-of-use calendar holds for whom: through sheets and back, and every mistake named before anything is stored."""

from datetime import date
from pathlib import Path

import openpyxl
import pytest
from pydantic import ValidationError

from metering.registry import Park
from storage.facts.judge import mistakes
from storage.facts.sheets import RefusedError, export_csv, export_workbook, parse, read
from storage.facts.state import Facts
from storage.facts.tariff import TariffFact

OWN = "1-12 工作日、周末：峰 08:00-20:00；谷 20:00-08:00\n1-12 节假日：深谷 00:00-24:00"
FROM = date(2026, 1, 1)


def facts() -> Facts:
    return Facts(
        (
            TariffFact(
                enterprise="a", calendar="cn-ah-2025-302", valid_from=FROM, hot_days="2026-07-30、2026-07-02"
            ),
            TariffFact(
                enterprise="a", meter="m", periods=OWN, notice="合同", valid_from=FROM, holiday_days=3
            ),
        )
    )


def test_calendars_come_back_from_a_workbook_and_from_csv(park: Park, tmp_path: Path) -> None:
    book, sheet = tmp_path / "facts.xlsx", tmp_path / "tariff.csv"
    book.write_bytes(export_workbook(facts(), ["tariff"]))
    sheet.write_bytes(export_csv(TariffFact, facts().of(TariffFact)))
    for file in (book, sheet):
        assert set(map(str, parse("f", read(file), Facts(), park))) == set(map(str, facts().all))


def test_one_line_with_bars_is_the_same_calendar_as_two_lines() -> None:
    (_official, own) = facts().of(TariffFact)
    again = TariffFact(
        enterprise="a",
        meter="m",
        periods=OWN.replace("\n", " | "),
        notice="合同",
        valid_from=FROM,
        holiday_days=3,
    )
    assert again == own


def test_hot_days_are_put_in_order_and_asked_by_day() -> None:
    (official, _own) = facts().of(TariffFact)
    assert official.hot_days == "2026-07-02,2026-07-30"
    assert [official.is_hot(date(2026, 7, day)) for day in (1, 2, 30)] == [False, True, True]


def test_a_single_hot_day_typed_as_a_date_is_understood(park: Park, tmp_path: Path) -> None:
    from datetime import datetime  # noqa: PLC0415  only here

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "tariff"
    sheet.append(["enterprise", "calendar", "hot_days", "valid_from"])
    sheet.append(["a", "cn-gd-2021-331", datetime(2026, 5, 20), datetime(2026, 1, 1)])  # noqa: DTZ001  as Excel gives it
    book.save(tmp_path / "t.xlsx")
    (fact,) = parse("t", read(tmp_path / "t.xlsx"), Facts(), park)
    assert isinstance(fact, TariffFact)
    assert fact.is_hot(date(2026, 5, 20))


def test_every_mistake_of_a_sheet_is_named_by_row_and_column(park: Park, tmp_path: Path) -> None:
    head = "enterprise,meter,calendar,periods,notice,hot_days,valid_from\n"
    rows = [
        'a,,,"1-6: peak 08:10-20:00; valley 20:00-08:00 | 7: flat 00:00-23:00",c,,2026-01-01',
        "a,,cn-ah-2025-302,1-12: flat 00:00-24:00,c,,2026-01-01",
        "a,,,1-12: flat 00:00-24:00,,,2026-01-01",
        "a,,cn-ah-2025-302,,,20 July,2026-01-01",
        "a,,,,,,2026-01-01",
    ]
    (tmp_path / "tariff.csv").write_text(head + "\n".join(rows), encoding="utf-8")
    with pytest.raises(RefusedError) as caught:
        parse("t", read(tmp_path / "tariff.csv"), Facts(), park)
    told = caught.value.mistakes
    for row, part in (
        (2, "08:10 is not on a quarter hour"), (2, "23:00-24:00 belongs to no period"), (3, "either calendar"), (4, "contract or notice"),
        (5, "'20 July' is not a date"), (6, "either calendar"),
    ):  # fmt: skip
        assert any(f"tariff {row}:" in mistake and part in mistake for mistake in told), (row, part, told)


def test_a_meter_of_somebody_else_is_refused(park: Park) -> None:
    wrong = TariffFact(enterprise="b", meter="m", calendar="cn-ah-2025-302", valid_from=FROM)
    assert any("b has no meter m" in text for _i, text in mistakes([wrong], Facts(), park))


def test_a_calendar_of_its_own_needs_at_least_a_day() -> None:
    with pytest.raises(ValidationError):
        TariffFact(enterprise="a", periods=OWN, notice="合同", valid_from=FROM, holiday_days=0)
