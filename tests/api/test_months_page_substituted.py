"""The regulator's page of a month in which energy was substituted: each line its own, and who wrote and approved it."""

from pathlib import Path

import msgspec
import pytest

from api.app import create_app
from metering.intervals import QUARTER_MS, local_month
from metering.registry import parse_registry
from storage.months import MonthStore
from tanyun.desk import MonthDesk
from tests.api.conftest import ParkFiles, _served
from tests.api.test_months_page import CHOSEN, Person, park_file
from tests.api.test_page import browser
from tests.verification.accounting.test_substitutions import METER, approval, stored, substitution
from tests.verification.conftest import CLOSED_AT_MS, MONTH, PARK, Plant, in_order

__all__ = ["browser"]
"""The fixture of the other page's tests."""

pytestmark = pytest.mark.browser


def test_measured_substituted_and_reported_stand_each_in_a_column(browser: int, tmp_path: Path) -> None:
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    plant = Plant(tmp_path, park, local_month(MONTH, park.tz))
    plant.until_ms[METER] = plant.month.start_ms + (27 * 96 + 36) * QUARTER_MS
    plant.build()
    fact = substitution()
    plant.facts = [*in_order(park), *stored(tmp_path, ("li", fact), ("wang", approval(fact)))]
    plant.close()
    (tmp_path / "park.toml").write_text(park_file(), encoding="utf-8")
    desk = MonthDesk(
        tmp_path / "months.sqlite", tmp_path / "lifecycle.db", tmp_path / "files", lambda: CLOSED_AT_MS
    )
    with MonthStore(tmp_path / "months.sqlite", writable=False) as months:
        desk.note_closed(months.list(), "cli:li", "operator")
    files = ParkFiles(tmp_path, park)
    files.user("wang", ("regulator", "*"))
    settings = files.settings().model_copy(
        update={
            "ledger": tmp_path / "ledger.sqlite",
            "journal": tmp_path / "journal.sqlite",
            "months": tmp_path / "months.sqlite",
        }
    )
    with _served(create_app(settings, lambda: CLOSED_AT_MS, desk)) as url:
        wang = Person(browser, url, "wang")
        tab = wang.go(f"/months#{MONTH}/enterprise/guangdian", CHOSEN)
        text = tab.text("#detail")
        for words in (
            "购入电量（含数据替代）",
            "79.63 MWh",
            "78,813.720",
            "812.500",
            "79,626.220",
            "li / wang",
            "校核表：表计烧毁",
            "已采纳",
        ):
            assert words in text, words
        tab.screenshot(tmp_path / "substituted.png")
        assert tab.problems == []
        wang.leave()
