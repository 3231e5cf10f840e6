"""Energy by time-of-use period in the month document: exact, by its calendar, and found again from the frames."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.intervals import MINUTE_MS, QUARTER_MS, Span, local_month
from metering.quality import Quality
from metering.registry import parse_registry
from storage.facts.tariff import TariffFact
from storage.ledger import IntervalRow
from storage.months import MonthRow
from tests.verification.conftest import MONTH, PARK, Plant, in_order
from tests.verification.slow_summary import cells
from tests.verification.test_evidence import Edit, Packed, forged, packed_month, recompute, works_park
from verification.changes import differences
from verification.close import MonthClosedError
from verification.document import MonthDocument, parse
from verification.evidence import manifest as names
from verification.evidence.container import Container
from verification.evidence.verify import verify_pack
from verification.formats.report import Report
from verification.intervals import days_of, summarize
from verification.tariff_lines import PeriodLine

ZONE = ZoneInfo("Asia/Shanghai")
FROM = date(2026, 1, 1)
ANHUI = TariffFact(enterprise="jingmi", calendar="cn-ah-2025-302", valid_from=FROM)
OWN_TEXT = "1-12 workday: peak 08:00-20:00; valley 20:00-08:00\n1-12 weekend, holiday: deep 00:00-24:00"
OWN = TariffFact(enterprise="guangdian", periods=OWN_TEXT, notice="零售合同 2026-07", valid_from=FROM)
OFF = {f"2026-10-{day:02}" for day in (1, 2, 3, 4, 5, 6, 7, 11, 17, 18, 24, 25, 31)}
"""National Day and plain weekends; 10 October is a Saturday that is worked (国务院办公厅 2025-11-04)."""


def _documents(plant: Plant) -> dict[str, MonthDocument]:
    plant.build()
    return {row.scope_id: parse(row.document) for row in plant.close()}


def _by_period(document: MonthDocument, meter: str = "") -> dict[str, PeriodLine]:
    return {line.period: line for line in document.periods if line.meter == meter}


def _local(t_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms, hours=8)


def _anhui_october(t_ms: int) -> str:
    hour = _local(t_ms).hour
    if 6 <= hour < 8 or 16 <= hour < 22:
        return "peak"
    return "flat" if 8 <= hour < 11 or 14 <= hour < 16 or hour == 22 else "valley"


def _own(t_ms: int) -> str:
    local = _local(t_ms)
    if local.date().isoformat() in OFF:
        return "deep"
    return "peak" if 8 <= local.hour < 20 else "valley"


def _changed(fact: TariffFact, **changed: object) -> TariffFact:
    return TariffFact.model_validate({**fact.model_dump(), **changed})


def _slow(plant: Plant, key: tuple[str, str], period: Callable[[int], str]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for t in range(*plant.month, QUARTER_MS):
        found[period(t)] += plant.position(key, t + QUARTER_MS) - plant.position(key, t)
    return dict(found)


def test_every_interval_is_counted_in_the_period_of_its_calendar(plant: Plant) -> None:
    plant.facts += [ANHUI, OWN]
    documents = _documents(plant)
    for scope, meter, period in (("jingmi", "m-grid", _anhui_october), ("guangdian", "m-two", _own)):
        key = meter, "energy_import_total"
        lines = _by_period(documents[scope], meter)
        assert {name: int(line.energy_wh or 0) for name, line in lines.items()} == _slow(plant, key, period)
        assert sum(int(line.energy_wh or 0) for line in lines.values()) == plant.expected(key)
        assert sum(Fraction(line.share or 0) for line in lines.values()) == 1


def test_the_scopes_periods_follow_its_formula_and_add_up_to_it(plant: Plant) -> None:
    plant.facts += [ANHUI]
    documents = _documents(plant)
    for scope in ("jingmi", "demo"):
        document = documents[scope]
        lines = _by_period(document)
        assert sum(int(line.energy_wh or 0) for line in lines.values()) == int(
            document.energy.purchased_wh or 0
        )
    grid, resold = (
        _by_period(documents["jingmi"], meter)["peak"].energy_wh for meter in ("m-grid", "m-resold")
    )
    assert _by_period(documents["jingmi"])["peak"].energy_wh == str(int(grid or 0) - int(resold or 0))
    # The park counts m-two as well, which has no calendar.
    assert _by_period(documents["demo"])[""].energy_wh == str(
        plant.expected(("m-two", "energy_import_total"))
    )
    assert documents["guangdian"].periods == ()
    assert documents["guangdian"].tariffs == ()


def test_a_calendar_of_one_meter_comes_before_that_of_its_enterprise_and_only_on_its_days(
    plant: Plant,
) -> None:
    own = TariffFact(
        enterprise="jingmi", meter="m-grid", periods="1-12: sharp 00:00-24:00", notice="合同",
        valid_from=date(2026, 10, 11), valid_to=date(2026, 10, 21),
    )  # fmt: skip
    plant.facts += [ANHUI, own]
    document = _documents(plant)["jingmi"]
    assert [(line.meter, line.first_day, line.last_day) for line in document.tariffs] == [
        ("", "2026-10-01", "2026-10-31"), ("m-grid", "2026-10-11", "2026-10-20"),
    ]  # fmt: skip
    share = Fraction(_by_period(document, "m-grid")["sharp"].share or 0)
    assert share == Fraction(10, 31)
    assert "sharp" not in _by_period(document, "m-resold")


@pytest.mark.parametrize("month", ["2026-03", "2026-10"])
def test_a_month_with_a_day_of_23_or_25_hours_adds_up(tmp_path: Path, month: str) -> None:
    """Berlin: the hour from 02:00 is left out on 29 March and passes twice on 25 October."""
    park = parse_registry(msgspec.convert({**PARK, "zone": "Europe/Berlin"}, dict[str, object]))
    zone = ZoneInfo("Europe/Berlin")
    night = "1-12: deep 02:00-03:00; peak 08:00-20:00; valley 20:00-02:00, 03:00-08:00"
    facts = [*in_order(park), TariffFact(enterprise="jingmi", periods=night, notice="x", valid_from=FROM)]
    plant = Plant(tmp_path, park, local_month(month, zone), facts=facts)
    plant.build()
    rows = plant.close(month=month, at_ms=plant.month.end_ms + 86_400_000)
    lines = _by_period(parse(rows[0].document), "m-grid")
    quarters = {"2026-03": 30 * 4, "2026-10": 32 * 4}[month]
    per_quarter = plant.expected(("m-grid", "energy_import_total")) // (
        (plant.month.end_ms - plant.month.start_ms) // QUARTER_MS
    )
    assert int(lines["deep"].energy_wh or 0) == quarters * per_quarter
    assert sum(int(line.energy_wh or 0) for line in lines.values()) == plant.expected(
        ("m-grid", "energy_import_total")
    )


def test_days_before_a_calendar_begins_stand_in_a_line_of_their_own(plant: Plant) -> None:
    plant.facts += [_changed(ANHUI, valid_from=date(2026, 10, 16))]
    lines = _by_period(_documents(plant)["jingmi"], "m-grid")
    assert Fraction(lines[""].share or 0) == Fraction(15, 31)
    assert sum(int(line.energy_wh or 0) for line in lines.values()) == plant.expected(
        ("m-grid", "energy_import_total")
    )


def test_an_own_calendar_says_that_it_is_declared_and_an_official_one_how_it_was_checked(
    plant: Plant,
) -> None:
    plant.facts += [ANHUI, OWN]
    park = _documents(plant)["demo"]
    marks = {line.enterprise: (line.verified, line.notice) for line in park.tariffs}
    assert marks == {
        "jingmi": ("one_source", "皖发改价格〔2025〕302号"),
        "guangdian": ("declared", "零售合同 2026-07"),
    }
    kinds = {day.day: day.kinds for line in park.tariffs if line.days for day in line.days}
    (own,) = [line for line in park.tariffs if line.days]
    assert (own.holiday_notice, own.holiday_verified) == (
        "国务院办公厅关于2026年部分节假日安排的通知（2025-11-04）",
        "two_sources",
    )
    assert kinds["2026-10-10"] == ("workday",)
    assert kinds["2026-10-07"] == ("holiday",)


def test_a_month_without_a_figure_has_none_by_period(plant: Plant) -> None:
    plant.facts += [ANHUI]
    plant.until_ms["m-grid"] = plant.month.end_ms - 3 * 24 * 3_600_000
    plant.build()
    document = parse(plant.close(incomplete=True)[0].document)
    assert all(
        line.energy_wh is None and line.share is None for line in _by_period(document, "m-grid").values()
    )
    assert all(line.energy_wh is None for line in _by_period(document).values())


def test_a_calendar_declared_after_the_close_asks_for_a_reason(plant: Plant) -> None:
    plant.build()
    before = plant.close()
    plant.facts += [ANHUI]
    with pytest.raises(MonthClosedError, match="periods"):
        plant.close()
    after = plant.close(reason="分时日历补登")
    found = differences(parse(before[0].document), parse(after[0].document))
    assert found
    assert all(change.path.startswith("periods[") for change in found)


def _row(start_ms: int, length_ms: int, at: int, energy: int, quality: int, *, part: int = 0) -> IntervalRow:
    times = start_ms, start_ms + length_ms
    return IntervalRow(
        "m", "energy_import_total", *times, part, 1, at, at + energy, None, None, length_ms, True, quality, True
    )  # fmt: skip


def test_demand_is_the_largest_measured_quarter_of_its_period_and_gaps_say_estimated() -> None:
    span = local_month(MONTH, ZONE)
    rows, at = [], 0
    energies = [10, 50, 30, 70, 90, 20]
    qualities = [0, 0, 0, 0, int(Quality.ESTIMATED), 0]
    for number, (energy, quality) in enumerate(zip(energies, qualities, strict=True)):
        start = span.start_ms + number * QUARTER_MS
        rows.append(_row(start, QUARTER_MS, at, energy, quality))
        at += energy
    codes = bytes([2, 2, 4, 4, 4, 2]) + bytes([4]) * (31 * 96 - 6)
    found = summarize(map(cells, rows), span, days_of(span, ZONE), codes=codes).periods
    assert found is not None
    assert {code: (part.energy, part.estimated) for code, part in found.items()} == {2: (80, 0), 4: (190, 90)}
    peaks = {code: part.peak.start_ms for code, part in found.items() if part.peak is not None}
    assert peaks == {2: span.start_ms + QUARTER_MS, 4: span.start_ms + 3 * QUARTER_MS}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_periods_of_any_rows_add_up_to_the_rows(data: st.DataObject) -> None:
    """Rows with holes, parts of a quarter, falls and estimates; the twin is a dictionary filled row by row."""
    start = local_month(MONTH, ZONE).start_ms
    count = data.draw(st.integers(1, 96))
    span = Span(start, start + count * QUARTER_MS)
    codes = bytes(data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)))
    rows, at = [], 0
    energy: dict[int, int] = dict.fromkeys(codes, 0)
    estimated: dict[int, int] = dict.fromkeys(codes, 0)
    for quarter in sorted(data.draw(st.sets(st.integers(0, count - 1)))):
        for part in range(data.draw(st.integers(1, 2))):
            wh, quality = data.draw(st.integers(-5, 10**12)), data.draw(st.sampled_from(list(Quality)))
            begin = start + quarter * QUARTER_MS + part * MINUTE_MS
            rows.append(_row(begin, MINUTE_MS, at, wh, quality, part=part))
            at += wh
            energy[codes[quarter]] += wh
            estimated[codes[quarter]] += wh if quality >= Quality.ESTIMATED else 0
    summary = summarize(map(cells, rows), span, days_of(span, ZONE), codes=codes)
    found = summary.periods
    assert found is not None
    assert {code: part.energy for code, part in found.items()} == energy
    assert {code: part.estimated for code, part in found.items()} == estimated
    assert sum(part.energy for part in found.values()) == summary.energy
    peaks = [part.peak.energy for part in found.values() if part.peak is not None]
    assert max(peaks, default=None) == (summary.peak.energy if summary.peak else None)


def test_the_report_shows_the_periods_and_the_calendars_of_the_month(plant: Plant) -> None:
    plant.facts += [ANHUI, OWN]
    plant.build()
    tables = {table.id: table for table in Report(plant.close()[-1]).tables}
    energy, calendars = tables["T2.7"], tables["T2.8"]
    assert [cell.plain for cell in energy.rows[0]][:2] == ["合计 by the boundary formula", "高峰 peak"]
    shown = "\n".join(cell.plain for row in calendars.rows for cell in row)
    assert "2-6、10-11 月：高峰 06:00-08:00、16:00-22:00；平段" in shown
    assert "16:00-24:00" not in shown  # July to September
    assert "单一来源转录，未核对原件" in shown
    assert "企业登记" in shown
    assert "节假日：01、02、03、04、05、06、07 日" in shown


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed_month(tmp_path_factory.mktemp("works"), [*in_order(works_park()), ANHUI, OWN])


@pytest.mark.parametrize("scope", ["demo", "jingmi", "guangdian"])
def test_a_pack_finds_the_periods_again_from_its_frames(packed: Packed, tmp_path: Path, scope: str) -> None:
    path = packed.write(tmp_path, scope)
    assert verify_pack(path, packed.key.public_key()).difference is None
    document = _document(packed.rows, scope)
    assert document.periods
    assert any(int(line.estimated_wh or 0) for line in document.periods)  # frames stand around the edges only


def test_the_packs_stretches_and_its_ledger_rows_give_the_periods_in_a_spreadsheet(
    packed: Packed, tmp_path: Path
) -> None:
    with Container(packed.write(tmp_path, "jingmi")) as container:
        stretches = _csv(container.read(names.TARIFFS))
        rows = [
            r
            for r in _csv(container.read(names.LEDGER))
            if r["meter"] == "m-grid" and "import" in r["reading_type"]
        ]
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        at = int(row["start_ms"])
        period = next(s["period"] for s in stretches if int(s["start_ms"]) <= at < int(s["end_ms"]))
        found[period] += int(row["closing"]) - int(row["opening"])
    said = _by_period(_document(packed.rows, "jingmi"), "m-grid")
    assert found == {name: int(line.energy_wh or 0) for name, line in said.items()}


def test_the_script_in_the_pack_finds_the_periods_from_the_frames_alone(
    packed: Packed, tmp_path: Path
) -> None:
    """By the positions at the edges of the stretches: it never draws an interval."""
    pack = packed.write(tmp_path, "jingmi")
    done = recompute(pack, tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "equal")
    said = _by_period(_document(packed.rows, "jingmi"), "m-grid")
    for name, line in said.items():
        assert f"  {name}: {line.energy_wh} Wh" in done.stdout
    changed = recompute(
        forged(pack, tmp_path, packed.key, {names.DOCUMENT: _period_figure("energy_wh", "1")}), tmp_path
    )
    assert changed.returncode == 1
    assert "m-grid/energy_import_total valley: document 1" in changed.stdout.splitlines()[-1]


def _period_figure(name: str, value: str) -> Edit:
    def edit(content: bytes) -> bytes:
        document = json.loads(content)
        line = next(line for line in document["periods"] if line["id"] == "m-grid/valley")
        line[name] = value
        return json.dumps(document).encode()

    return edit


def _other_calendar(content: bytes) -> bytes:
    document = json.loads(content)
    document["tariffs"][0]["periods"] = "1-12: flat 00:00-24:00"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (_period_figure("energy_wh", "1"), "periods[m-grid/valley]"),
        (_period_figure("max_demand_w", "1"), "periods[m-grid/valley]"),
        (_other_calendar, names.TARIFFS),
    ],
)
def test_a_forged_period_is_found_and_named(packed: Packed, tmp_path: Path, edit: Edit, place: str) -> None:
    pack = packed.write(tmp_path, "jingmi")
    with Container(pack) as container:
        report = next(
            name for name in container.members if name.startswith("reports/") and name.endswith(".json")
        )
    path = forged(pack, tmp_path, packed.key, {names.DOCUMENT: edit, report: edit})
    difference = verify_pack(path, packed.key.public_key()).difference
    assert difference is not None
    assert place in difference.place


def _document(rows: list[MonthRow], scope: str) -> MonthDocument:
    return parse(next(row for row in rows if row.scope_id == scope).document)


def _csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
