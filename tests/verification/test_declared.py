"""The market-based figure by declared factors in a month document: exact parts beside the location-based figures."""

from datetime import UTC, datetime, timedelta

import pytest

from metering.intervals import HOUR_MS, QUARTER_MS
from storage.facts.series import SeriesFact
from tests.verification.conftest import Plant
from verification.close import MonthClosedError
from verification.declared_lines import DeclaredLine
from verification.document import MonthDocument, parse
from verification.formats.tables_declared import tables

GRID, RESOLD = ("m-grid", "energy_import_total"), ("m-resold", "energy_import_total")


def declared(**given: object) -> SeriesFact:
    """October of jingmi: 0.30 at night and 0.70 by day, hour by hour."""
    hours = ["0.30" if hour < 8 else "0.70" for hour in range(24)] * 31
    return SeriesFact.model_validate(
        {
            "enterprise": "jingmi", "start": "2026-10-01T00:00:00+08:00", "end": "2026-11-01T00:00:00+08:00", "step_minutes": 60,
            "values": " ".join(hours), "basis": "grid_intensity", "source": "电网公司 2026-10", **given,
        }
    )  # fmt: skip


def _documents(plant: Plant, *facts: SeriesFact) -> dict[str, MonthDocument]:
    plant.facts += facts
    plant.build()
    return {row.scope_id: parse(row.document) for row in plant.close()}


def _lines(document: MonthDocument, meter: str = "") -> dict[str, DeclaredLine]:
    return {line.factor_kg_per_kwh: line for line in document.declared if line.meter == meter}


def _night(t_ms: int) -> bool:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms, hours=8)).hour < 8


def _slow(plant: Plant, key: tuple[str, str]) -> dict[str, tuple[int, int]]:
    """Energy and emission by factor, quarter by quarter."""
    found = {"0.30": (0, 0), "0.70": (0, 0)}
    for t in range(*plant.month, QUARTER_MS):
        name, factor = ("0.30", 300_000) if _night(t) else ("0.70", 700_000)
        opening, closing = plant.position(key, t), plant.position(key, t + QUARTER_MS)
        energy, emission = found[name]
        found[name] = energy + closing - opening, emission + closing * factor - opening * factor
    return found


def _said(lines: dict[str, DeclaredLine]) -> dict[str, tuple[int, int]]:
    return {name: (int(line.energy_wh or 0), int(line.emission_ug or 0)) for name, line in lines.items()}


def test_every_total_has_one_part_per_factor_and_the_scope_their_signed_sum(plant: Plant) -> None:
    document = _documents(plant, declared())["jingmi"]
    grid, resold = _slow(plant, GRID), _slow(plant, RESOLD)
    assert _said(_lines(document, "m-grid")) == grid
    assert _said(_lines(document, "m-resold")) == resold
    whole = document.declared[0]
    assert whole.energy_wh == document.energy.purchased_wh
    assert int(whole.emission_ug or 0) == sum(e for _wh, e in grid.values()) - sum(
        e for _wh, e in resold.values()
    )
    assert {line.meter for line in document.declared} == {"", "m-grid", "m-resold"}
    assert [event.kind for event in document.events if event.kind == "declared_factor_missing"] == []


def test_it_stands_beside_the_official_figures_and_changes_none(plant: Plant) -> None:
    without = _documents(plant)["jingmi"]
    plant.facts.append(declared())
    after = {row.scope_id: parse(row.document) for row in plant.close(reason="申报因子补登")}
    document = after["jingmi"]
    assert (document.totals, document.emissions, document.energy) == (
        without.totals,
        without.emissions,
        without.energy,
    )
    assert (document.meters, document.daily) == (without.meters, without.daily)
    assert after["guangdian"].declared == after["demo"].declared == ()
    assert [series.source for series in document.series] == ["电网公司 2026-10"]


def test_a_stretch_without_a_factor_stops_the_number_and_is_an_event(plant: Plant) -> None:
    hours = ["0.5"] * 31 * 24
    hours[100:103] = ["-"] * 3
    document = _documents(plant, declared(values=" ".join(hours)))["jingmi"]
    lines, whole = _lines(document, "m-grid"), document.declared[0]
    each = (
        plant.position(GRID, plant.month.start_ms + HOUR_MS) - plant.position(GRID, plant.month.start_ms)
    ) * 3
    assert (lines[""].energy_wh, lines[""].emission_ug) == (str(each), None)
    assert lines["0.5"].emission_ug is not None
    assert (whole.energy_wh, whole.emission_ug) == (document.energy.purchased_wh, None)
    events = {event.meter: event for event in document.events if event.kind == "declared_factor_missing"}
    assert set(events) == {"m-grid", "m-resold"}
    assert events["m-grid"].first_at == "2026-10-05T04:00:00+08:00"


def test_a_series_that_changes_after_the_close_needs_a_reason_and_makes_a_revision(plant: Plant) -> None:
    before = _documents(plant, declared())["jingmi"]
    plant.facts[-1] = declared(values=" ".join(["0.4"] * 31 * 24))
    with pytest.raises(MonthClosedError, match="declared"):
        plant.close()
    after = {row.scope_id: parse(row.document) for row in plant.close(reason="合同更正")}["jingmi"]
    assert after.revision == 2
    assert before.declared[0].emission_ug != after.declared[0].emission_ug
    changed = {change.path.split("[")[0] for change in after.changes}
    assert changed == {"declared"}


def test_a_month_without_a_figure_has_no_parts_figure_either(plant: Plant) -> None:
    plant.facts.append(declared())
    plant.until_ms["m-grid"] = plant.month.end_ms - 3 * 24 * HOUR_MS
    plant.build()
    document = parse(plant.close(incomplete=True)[0].document)
    assert all(
        line.energy_wh is None and line.emission_ug is None for line in _lines(document, "m-grid").values()
    )
    assert document.declared[0].emission_ug is None


def test_a_report_prints_the_parts_and_who_declared_them(plant: Plant) -> None:
    document = _documents(plant, declared(by="李梅", document_sha256="ab" * 32))["jingmi"]
    parts, series = tables(document)
    assert (parts.id, len(parts.rows), series.id) == ("T5.2", 5, "T5.3")
    assert "李梅" in series.rows[0][-1].plain
    assert "ab" * 32 in series.rows[0][1].plain
