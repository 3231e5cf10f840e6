"""Load files: the stamps of utilities, every mistake at once, and exact sums."""

import csv
import os
from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge_agent.simulator.csvload import LoadFileError, csv_load
from edge_agent.simulator.load import WMS_PER_WH, Load
from metering.intervals import local_month

ZONE = ZoneInfo("Asia/Shanghai")


def row(day: date, slot: int, kwh: object, form: str = "{d}/{m}/{y} {t}", separator: str = ",") -> str:
    minutes = (slot + 1) * 15 % 1440
    time = f"{minutes // 60}:{minutes % 60:02}"
    return form.format(d=day.day, m=day.month, y=day.year, t=time) + f"{separator}{kwh}"


def rows(first: date, days: int, form: str = "{d}/{m}/{y} {t}", separator: str = ",") -> list[str]:
    """Slot s of the n-th day uses n + s/100 kWh."""
    return [
        row(
            first + timedelta(days=n),
            slot,
            f"{n}.{slot:02}".replace(".", "," if separator == ";" else "."),
            form,
            separator,
        )
        for n in range(days)
        for slot in range(96)
    ]


def written(folder: Path, lines: list[str], header: str = "date,Usage_kWh", prefix: str = "") -> Path:
    file = folder / "load.csv"
    file.write_text(prefix + "\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def month_wh(load: Load, month: str) -> Fraction:
    span = local_month(month, ZONE)
    return Fraction(load.position(span.end_ms) - load.position(span.start_ms), WMS_PER_WH)


def day_kwh(load: Load, day: date) -> Fraction:
    start = local_month(f"{day:%Y-%m}", ZONE).start_ms + (day.day - 1) * 86_400_000
    return Fraction(load.position(start + 86_400_000) - load.position(start), 1000 * WMS_PER_WH)


def total(n: int) -> Fraction:
    return 96 * n + Fraction(96 * 95 // 2, 100)


@pytest.mark.parametrize(
    ("form", "header", "prefix"),
    [
        ("{d}/{m}/{y} {t}", "date,Usage_kWh", ""),
        ("{m}/{d}/{y} {t}", "date,Usage_kWh", "\ufeff"),
        ("{y}-{m:02}-{d:02} {t}", "time,energy [kWh]", ""),
        ("{y}/{m}/{d} {t}:00", "stamp;kWh", ""),
        ("{d}.{m}.{y} {t}", "Zeit;kwh", "\ufeff"),
    ],
)
def test_every_way_of_writing_a_stamp_gives_the_same_energy(
    tmp_path: Path, form: str, header: str, prefix: str
) -> None:
    separator = ";" if ";" in header else ","
    file = written(tmp_path, rows(date(2018, 10, 1), 31, form, separator), header, prefix)
    load = csv_load(file)
    assert month_wh(load, "2026-10") == 1000 * sum(total(n) for n in range(31))
    assert day_kwh(load, date(2025, 10, 20)) == total(19)


def test_the_stamp_0_00_ends_the_day_it_names(tmp_path: Path) -> None:
    lines = [row(date(2018, 10, 1), slot, 5 if slot == 95 else 1) for slot in range(96)]
    assert lines[-1] == "1/10/2018 0:00,5"
    load = csv_load(written(tmp_path, lines))
    start = local_month("2026-10", ZONE).start_ms
    last_slot = load.position(start + 86_400_000) - load.position(start + 86_400_000 - 900_000)
    assert last_slot == 5 * 1000 * WMS_PER_WH


def test_dates_that_could_be_either_are_read_in_the_order_that_never_goes_back(tmp_path: Path) -> None:
    load = csv_load(written(tmp_path, rows(date(2018, 3, 4), 5, "{m}/{d}/{y} {t}")))
    assert day_kwh(load, date(2026, 3, 8)) == total(4)


def test_a_date_the_file_does_not_have_repeats_one_of_its_days(tmp_path: Path) -> None:
    load = csv_load(written(tmp_path, rows(date(2018, 10, 1), 3)))
    february = date(2028, 2, 29)
    assert day_kwh(load, february) == total(february.toordinal() % 3)


def test_energy_within_a_slot_accrues_linearly(tmp_path: Path) -> None:
    load = csv_load(written(tmp_path, [row(date(2018, 10, 1), slot, 9) for slot in range(96)]))
    start = local_month("2026-10", ZONE).start_ms
    assert load.position(start + 300_000) - load.position(start) == 3 * 1000 * WMS_PER_WH


def test_what_is_smaller_than_the_meter_can_tell_is_carried_not_lost(tmp_path: Path) -> None:
    lines = [row(date(2018, 10, 1), slot, "0.33333333333") for slot in range(96)]
    load = csv_load(written(tmp_path, lines))
    exact = Fraction("0.33333333333") * 96 * 1000 * WMS_PER_WH
    assert day_kwh(load, date(2026, 10, 1)) * 1000 * WMS_PER_WH == exact.numerator // exact.denominator


Damage = Callable[[list[str]], object]


@pytest.mark.parametrize(
    ("damage", "line", "text"),
    [
        (lambda lines: lines.__delitem__(5), "line 2", "lacks 1 of 96"),
        (lambda lines: lines.insert(5, lines[4]), "line 7", "line 6 again"),
        (
            lambda lines: lines.__setitem__(5, lines[5].split(",")[0] + ",n/a"),
            "line 7",
            "'n/a' is not a number",
        ),
        (
            lambda lines: lines.__setitem__(5, lines[5].split(",")[0] + ",-1"),
            "line 7",
            "'-1' is not a number",
        ),
        (lambda lines: lines.__setitem__(5, "31/2/2018 1:30,1"), "line 7", "is not a time stamp"),
        (lambda lines: lines.__setitem__(5, "1/10/2018 1:31,1"), "line 7", "is not a time stamp"),
        (lambda lines: lines.insert(0, lines.pop(95)), "line 3", "out of order"),
        (lambda lines: lines.__delitem__(slice(96, 192)), "line 98", "1 days are missing"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, damage: Damage, line: str, text: str) -> None:
    lines = rows(date(2018, 10, 13), 3)
    damage(lines)
    with pytest.raises(LoadFileError) as caught:
        csv_load(written(tmp_path, lines))
    assert any(mistake.startswith(line) and text in mistake for mistake in caught.value.mistakes)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    lines = rows(date(2018, 10, 13), 2)
    lines[3] = "13/10/2018 1:00,x"
    lines[100] = "14/10/2018 1:15,-2"
    del lines[150]
    with pytest.raises(LoadFileError) as caught:
        csv_load(written(tmp_path, lines))
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == ["line 5", "line 98", "line 102"]


@pytest.mark.parametrize("header", ["date,Usage", "date,a_kWh,b_kWh", "kWh"])
def test_a_header_must_have_one_kwh_column_and_a_stamp(tmp_path: Path, header: str) -> None:
    with pytest.raises(LoadFileError, match="line 1"):
        csv_load(written(tmp_path, [], header))


def test_the_steel_works_october_is_the_sum_of_its_rows() -> None:
    folder = os.environ.get("TANYUN_SHARED")
    if not folder:
        pytest.skip("TANYUN_SHARED does not name a folder of shared data")
    file = Path(folder) / "loads" / "steel_uci_2018_15min.csv"
    with file.open(encoding="utf-8-sig") as lines:
        october = [
            Fraction(fields["Usage_kWh"])
            for fields in csv.DictReader(lines)
            if fields["date"].split("/")[1].lstrip("0") == "10"
        ]
    assert len(october) == 31 * 96
    load = csv_load(file)
    assert month_wh(load, "2026-10") == month_wh(load, "2025-10") == 1000 * sum(october)
