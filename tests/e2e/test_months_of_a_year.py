"""Five months of an enterprise through commands and pages, with everything that happens to a plant in a year.

The operator types; the enterprise and the regulator work at the pages, in a real browser, the enterprise on a phone.

Every figure is compared with the plant's own formula (`year.py`), none with our own code.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.intervals import local_month
from metering.registry import load_registry
from storage.facts.kinds import CertificateFact, EnterpriseFact, MeterFact
from storage.ledger import LedgerReader
from tanyun.commands import month
from tanyun.commands.group import root
from tanyun.exchanges import exchanges_of
from tests.api.test_page import browser
from tests.e2e import year
from tests.e2e.office import Office
from tests.e2e.pages import Pages
from tests.verification.test_evidence import recompute
from verification.close import check_month
from verification.document import MonthDocument
from verification.formats.cells import Text
from verification.formats.tables_energy import tables as report_tables

WRONG_WH = 600
"""Per unit of the boundary meter while 300/5 was believed."""
OF_2022, OF_2023, RESIDUAL_2022 = 536_600, 530_600, 585_600
"""µg/Wh: 公告2024年第33号, 公告2025年第47号 (published 2025-12-31), and the former's residual series."""
CODE = "91340100MA2N00TE0P"


__all__ = ["browser"]
"""The fixture of the pages' tests."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
"""About 70 s of one core, and a browser beside it."""


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    opened = Office(tmp_path, monkeypatch)
    yield opened
    opened.stop()
    opened.gateway.close()


@pytest.fixture
def pages(office: Office, browser: int, tmp_path: Path) -> Pages:
    return Pages(office, browser, tmp_path)


def records(ct: str) -> Sequence[MeterFact]:
    """The meters' records, with proof of their ratios."""
    return [
        MeterFact(
            meter=meter, serial=f"{meter.upper()}-1", valid_from=date(2020, 1, 1), calibrated_until=date(2030, 1, 1),
            ct=ct if meter == "gate" else "1", pt="1", ratio_proof="photo of the plate",
        )
        for meter in year.TOTALS
    ]  # fmt: skip


def wh(document: MonthDocument, meter: str, reading_type: str = "energy_import_total") -> int | None:
    """A meter's energy of the month."""
    line = next(m for m in document.meters if (m.meter, m.reading_type) == (meter, reading_type))
    return None if line.energy_wh is None else int(line.energy_wh)


def outcome(document: MonthDocument, check: str) -> str:
    """What a check said."""
    return next(c.outcome for c in document.checks if c.id == check)


def emission(document: MonthDocument, use: str) -> int:
    """The total by one method."""
    found = next(t.including_ug for t in document.totals if t.use == use)
    assert found is not None
    return int(found)


def expect(office: Office, wanted: str, revision: int, purchased_wh: int, ug_per_wh: int) -> MonthDocument:
    """Everything that the formula knows of a month that has no certificates, to the base unit."""
    document = office.document(wanted)
    assert document.revision == revision
    assert document.energy.purchased_wh == str(purchased_wh)
    assert wh(document, "gate") == purchased_wh
    assert (
        emission(document, "standard") == emission(document, "location_national") == purchased_wh * ug_per_wh
    )
    for meter in ("line1", "line2"):
        assert wh(document, meter) == year.month_units(meter, wanted) * year.PER_UNIT[meter] * 10
    assert wh(document, "pv", "energy_generation_total") == year.month_units("pv", wanted) * year.UNIT_WH
    assert all(line.balance.equal for line in document.meters)
    assert outcome(document, "V16") == "PASS"
    coal = Decimal(purchased_wh) * Decimal("0.1229") / 1000
    assert Decimal(document.energy.standard_coal_kgce or "") == coal
    return document


def stored(office: Office, wanted: str) -> int:
    """The ledger's own sum of the boundary's import over a month."""
    span = local_month(wanted, year.ZONE)
    with LedgerReader(office.config.ledger) as ledger:
        return sum(row.energy for row in ledger.intervals("gate", "energy_import_total", *span))


def factors_in_ledger(office: Office, wanted: str) -> set[str | None]:
    """Which factors the stream's provisional figures of a month have."""
    span = local_month(wanted, year.ZONE)
    with LedgerReader(office.config.ledger) as ledger:
        return {row.factor_id for row in ledger.intervals("gate", "energy_import_total", *span)}


def test_five_months_with_everything_that_happens_to_a_plant(office: Office, pages: Pages) -> None:
    office.gateway.births("GATE-1")
    office.take_in(
        EnterpriseFact(
            enterprise="plant", name="示范工厂", short_name="示范", credit_code=CODE, industry="C34",
            valid_from=date(2020, 1, 1),
        )
    )  # fmt: skip
    office.take_in(*records("300/5"))
    three_months_under_a_wrong_ratio(office, pages)
    the_ratio_is_put_right(office, pages)
    the_boundary_meter_is_exchanged(office, pages)
    spring_festival(office)
    frames_come_late(office)
    the_regulator_looks_down_to_readings(pages)
    certificates_come_late(office)
    a_notice_enters_a_frozen_month_by_decision(office)
    every_revision_is_proved_by_its_pack(office)


def three_months_under_a_wrong_ratio(office: Office, pages: Pages) -> None:
    for wanted, close_on in (("2025-10", "2025-11-02T09:00"), ("2025-11", "2025-12-02T09:00")):
        office.gateway.until(close_on)
        office.on(close_on)
        office.stream()
        office.type("month", "close", wanted)
        document = expect(office, wanted, 1, year.month_units("import", wanted) * WRONG_WH, OF_2022)
        assert outcome(document, "V06") == "FINDING"  # a quarter of the boundary's import is missing
        if wanted == "2025-10":
            verify_at_the_pages(office, pages, wanted)
        else:
            office.verify(wanted)
    office.gateway.until("2025-12-30T09:00")
    office.on("2025-12-30T09:00")
    office.stream()
    assert factors_in_ledger(office, "2025-12") == {"CN-2022-average"}
    frozen = office.all_rows()

    office.gateway.until("2026-01-02T09:00")
    office.on("2026-01-02T09:00")
    office.stream(restarted=True)
    assert factors_in_ledger(office, "2025-12") == {"CN-2023-average"}  # the open month follows the notice
    office.type("month", "close", "2025-12")
    expect(office, "2025-12", 1, year.month_units("import", "2025-12") * WRONG_WH, OF_2023)
    office.verify("2025-12")
    refused = office.type("month", "close", "2025-10", code=1)  # a frozen month does not
    assert "2025-10 is closed" in refused.output
    assert frozen <= office.all_rows()
    assert {row[2] for row in office.all_rows()} == {1}


def verify_at_the_pages(office: Office, pages: Pages, wanted: str) -> None:
    """Answered by the enterprise, sent, returned once, sent again, approved: all at the pages, the park's by commands."""
    assert pages.answer_findings(wanted, shot=f"findings_{wanted}") > 0
    pages.decide("li", wanted, "send", "核查中")
    pages.decide("wang", wanted, "return", "暂定", reason="照片不清楚")
    pages.decide("li", wanted, "send", "核查中")
    pages.decide("wang", wanted, "approve", "已核查", shot=f"verified_{wanted}")
    office.answer(wanted)
    office.type("month", "send", wanted, "park")
    office.sits("cli:wang")
    office.type("month", "approve", wanted, "park")
    office.sits("cli:li")


def the_ratio_is_put_right(office: Office, pages: Pages) -> None:
    """The bill of the 25th came in January and tells that a quarter is missing."""
    frozen = office.all_rows()
    office.gateway.until("2026-01-12T09:00")
    office.on("2026-01-12T09:00")
    office.stream()
    opening, closing = (year.count("import", year.quarter(day)) for day in ("2025-11-25", "2025-12-25"))
    bill = {
        "bill_number": "B12", "bill_start": "2025-11-25", "bill_end": "2025-12-25", "bill_opening": year.kwh(opening),
        "bill_closing": year.kwh(closing), "bill_kwh": str(Decimal(closing - opening) * 80 / 100),
        "output_10k_cny": "1234.5", "value_added_10k_cny": "321.25",
    }  # fmt: skip
    pages.fill_form("2025-12", bill, shot="bill")
    with month.sources(office.folder / "server.toml") as found:
        (told, *_others) = check_month(found, "2025-12", office.now_ms)
    assert (outcome(told, "V07"), Fraction(told.bills[0].share or 0)) == ("FINDING", Fraction(1, 4))
    words = ("--at", "2025-10-01", "--ct", "400/5", "--reason", "name plate read", "--yes")
    office.type("meters", "ratio", "gate", *words)
    office.take_in(*records("400/5"))
    office.stream(restarted=True)
    pages.fill_form("2025-12", {})  # the same bill again, which now takes the true ratio

    approve_all = partial(pages.decide, "wang", action="approve-all", then="已核查", shot="restatement")
    summary = office.restate("2025-10", "2025-12", "ct_corrected", approve_all)
    assert frozen <= office.all_rows()
    factors = {"2025-10": OF_2022, "2025-11": OF_2022, "2025-12": OF_2023}
    differences = {}
    for wanted, factor in factors.items():
        units = year.month_units("import", wanted)
        document = expect(office, wanted, 2, units * year.UNIT_WH, factor)
        differences[wanted] = (units * 200, units * 200 * factor)
        assert outcome(document, "V06") == outcome(document, "V09") == "PASS"
        assert ratios_printed(document) == {"80", "1 × 1"}
        assert (office.status(wanted, 1), office.status(wanted, 2)) == ("restated", "verified")
    assert differences_of(summary) == differences
    totals = {f["name"]: f["difference"] for f in listed(summary["totals"])}
    assert int(str(totals["purchased_wh"])) == sum(d[0] for d in differences.values())
    assert int(str(totals["emission_ug"])) == sum(d[1] for d in differences.values())
    (line,) = office.document("2025-12").bills
    metered = year.units("import", "2025-11-25", "2025-12-25") * year.UNIT_WH
    assert (Decimal(line.metered or "") * 1000, Decimal(line.difference or "")) == (
        Decimal(metered),
        Decimal(0),
    )
    assert outcome(office.document("2025-12"), "V07") == "PASS"
    with pages.month("wang", "2025-12", shot="differences") as tab:
        shown = tab.text("#differing")
    wh_, ug = differences["2025-12"]
    for value in (f"{Decimal(wh_) / 1000:,.3f}", f"{Decimal(ug) / 10**12:,.6f}"):
        assert value in shown
    office.type("report", "2025-12")
    pages.upload_scan("2025-12", shot="scan")
    pages.decide("li", "2025-12", "submit", "已报送")


def ratios_printed(document: MonthDocument) -> set[str]:
    """The column CT × PT of the report's table of meters."""
    (table,) = (t for t in report_tables(document) if t.id == "T2.3")
    return {cell.zh for row in table.rows if isinstance(cell := row[2], Text)}


def listed(value: object) -> list[dict[str, object]]:
    """A list of a summary."""
    assert isinstance(value, list)
    return value


def differences_of(summary: dict[str, object]) -> dict[str, tuple[int, int]]:
    """Month → difference of purchased Wh and of µg CO2, of the enterprise."""
    found = {}
    for entry in listed(summary["months"]):
        if entry["scope_kind"] == "enterprise":
            figures = {f["name"]: int(Decimal(str(f["difference"]))) for f in listed(entry["figures"])}
            found[str(entry["month"])] = figures["purchased_wh"], figures["emission_ug"]
    return found


def edge_between(start: str, end: str) -> int:
    """Wh of the first half of a stretch without readings: half of what the totals around it say."""
    return year.units("import", start, end) * year.UNIT_WH // 2


def the_boundary_meter_is_exchanged(office: Office, pages: Pages) -> None:
    """At 03:07 on 14 January, declared on 3 February."""
    office.gateway.until("2026-01-14T03:00")
    office.gateway.births("GATE-2")
    office.gateway.until("2026-02-03T09:00")
    office.on("2026-02-03T09:00")
    office.stream()
    assert "gate" in office.type("month", "close", "2026-01", code=1).output
    office.type("month", "close", "2026-01", "--allow-incomplete")
    document = office.document("2026-01")
    assert (document.outcome, document.energy.purchased_wh) == ("INSUFFICIENT_DATA", None)
    assert emission_is_unknown(document)
    office.type("month", "send", "2026-01", "plant")
    office.answer("2026-01")
    office.sits("cli:wang")
    assert "pending events: gate" in office.type("month", "approve", "2026-01", "plant", code=1).output
    office.sits("cli:li")

    desk = exchanges_of(office.config, lambda: office.now_ms)
    (waiting,) = desk.pending()
    assert (waiting.meter, waiting.declared) == ("gate", False)
    displays = {
        f"{side}.energy_{name}_total": year.kwh(value)
        for side, values in (("closing", year.CLOSING), ("opening", year.OPENING))
        for name, value in values.items()
    }
    form = {"at": "2026-01-14T03:07:00", "serial": "GATE-2", "reason": "display dead", **displays}
    pages.exchange("2026-01", "gate", form, shot="exchange")
    assert [item.declared for item in desk.pending()] == [True]
    meter = load_registry(office.config.registry).meter("gate")
    assert meter is not None
    assert [(str(e.at), e.serial) for e in meter.exchanges] == [("2026-01-14 03:07:00", "GATE-2")]
    text = office.config.registry.read_text(encoding="utf-8")
    assert "# from the drawing" in text
    assert text.index("[[meters.exchanges]]") < text.index("# behind it")
    office.stream(restarted=True)
    assert desk.pending() == []
    office.type("month", "close", "2026-01", "--reason", "meter_exchange")
    before_gap = year.units("import", "2026-01-01", "2026-01-31T22:00") * year.UNIT_WH
    half = edge_between("2026-01-31T22:00", "2026-02-01T02:00")
    document = expect(office, "2026-01", 2, before_gap + half, OF_2023)
    assert wh(document, "gate", "energy_export_total") == year.month_units("export", "2026-01") * year.UNIT_WH
    assert ("gate", "exchange") in {(e.meter, e.kind) for e in document.events}
    assert outcome(document, "V08") == "FINDING"  # nobody has registered the new meter's calibration
    new = MeterFact(
        meter="gate", serial="GATE-2", valid_from=date(2026, 1, 14), calibrated_until=date(2030, 1, 1), ct="400/5", pt="1",
        ratio_proof="photo of the plate",
    )  # fmt: skip
    office.take_in(new)
    office.verify("2026-01")


def emission_is_unknown(document: MonthDocument) -> bool:
    """No figure is made of a month that is not all there."""
    return all(total.including_ug is None for total in document.totals)


def spring_festival(office: Office) -> None:
    office.gateway.until("2026-03-02T00:00")
    office.on("2026-03-02T09:00")
    office.stream()
    office.type("month", "close", "2026-02")
    after_gap = year.units("import", "2026-02-01T02:00", "2026-03-01") * year.UNIT_WH
    both = year.units("import", "2026-01-31T22:00", "2026-02-01T02:00") * year.UNIT_WH
    half = edge_between("2026-01-31T22:00", "2026-02-01T02:00")
    document = expect(office, "2026-02", 1, after_gap + both - half, OF_2023)
    quiet = [day for day in document.daily if "2026-02-15" <= day.day <= "2026-02-23"]
    assert [day.energy_wh for day in quiet] == ["0"] * 9
    festival = year.units("export", "2026-02-15", "2026-02-24")
    assert festival == year.units("pv", "2026-02-15", "2026-02-24") > 0
    assert document.energy.export_wh == str(year.month_units("export", "2026-02") * year.UNIT_WH)
    own = year.month_units("pv", "2026-02") - year.month_units("export", "2026-02")
    assert document.energy.pv_self_use_wh == str(own * year.UNIT_WH)
    for line in document.meters:
        if line.meter != "gate":
            assert (line.points_read, line.estimated_wh) == (28 * 96, "0")
    assert {outcome(document, check) for check in ("V01", "V02", "V04", "V05", "V06")} == {"PASS"}
    office.verify("2026-02")


def frames_come_late(office: Office) -> None:
    frozen = office.all_rows()
    office.gateway.late()
    office.on("2026-03-05T09:00")
    office.stream()
    exact = {m: year.month_units("import", m) * year.UNIT_WH for m in ("2026-01", "2026-02")}
    assert {m: stored(office, m) for m in exact} == exact  # the ledger knows better at once
    assert office.all_rows() == frozen
    assert "2026-01 is closed" in office.type("month", "close", "2026-01", code=1).output
    assert office.all_rows() == frozen
    before = {m: int(office.document(m).energy.purchased_wh or "") for m in exact}
    summary = office.restate("2026-01", "2026-02", "late_data")
    moved = {m: exact[m] - before[m] for m in exact}
    assert moved["2026-01"] == -moved["2026-02"] != 0
    assert differences_of(summary) == {m: (d, d * OF_2023) for m, d in moved.items()}
    for wanted, revision in (("2026-01", 3), ("2026-02", 2)):
        document = expect(office, wanted, revision, exact[wanted], OF_2023)
        assert {line.points_read for line in document.meters} <= {
            line.points_expected for line in document.meters
        }
        assert outcome(document, "V03") == outcome(document, "V08") == "PASS"
    assert frozen <= office.all_rows()


def the_regulator_looks_down_to_readings(pages: Pages) -> None:
    """From January's figure to what the old meter showed minutes before it was taken away, and to a day of the festival."""
    with pages.month("wang", "2026-01", shot="readings") as tab:
        told = pages.drilled(tab, "gate/energy_import_total", "2026-01-14", "02:45")
    assert str(year.shown("import", year.EXCHANGED_Q)) in told
    assert "与本版数值一致" in told
    with pages.month("wang", "2026-02") as tab:
        told = pages.drilled(tab, "gate/energy_import_total", "2026-02-15", "12:00")
    assert "2026-02-15 · 0.000 kWh" in told


def certificates_come_late(office: Office) -> None:
    """Twenty of November's production, retired in March and claimed for November."""
    frozen = office.all_rows()
    office.on("2026-03-10T09:00")
    batch = CertificateFact(
        enterprise="plant", first="GEC0001", last="GEC0020", production_month="2025-11", status="retired",
        retired_on=date(2026, 3, 1), month="2025-11", evidence_sha256="ab" * 32,
    )  # fmt: skip
    office.take_in(batch)
    twice = CertificateFact(
        **{**batch.model_dump(), "first": "GEC0020", "last": "GEC0030", "month": "2025-12"}
    )
    refused = office.take_in(twice, code=1)
    assert "GEC0001" in refused.output
    summary = office.restate("2025-11", "2025-11", "late_certificate")
    purchased = year.month_units("import", "2025-11") * year.UNIT_WH
    covered = 20_000_000
    assert differences_of(summary) == {"2025-11": (0, -covered * OF_2022)}
    document = office.document("2025-11")
    assert document.revision == 3
    assert emission(document, "location_national") == purchased * OF_2022
    assert emission(document, "standard") == (purchased - covered) * OF_2022
    assert emission(document, "market") == (purchased - covered) * RESIDUAL_2022
    by_source = {line.id: line.energy_wh for line in document.power}
    assert (by_source["ordinary"], by_source["certificates"]) == (str(purchased - covered), str(covered))
    assert frozen <= office.all_rows()


def a_notice_enters_a_frozen_month_by_decision(office: Office) -> None:
    frozen = office.all_rows()
    summary = office.restate("2025-10", "2025-10", "factor_notice")
    purchased = year.month_units("import", "2025-10") * year.UNIT_WH
    expect(office, "2025-10", 3, purchased, OF_2023)
    assert differences_of(summary) == {"2025-10": (0, purchased * (OF_2023 - OF_2022))}
    assert frozen <= office.all_rows()


def every_revision_is_proved_by_its_pack(office: Office) -> None:
    """Newest ones, and older ones of a month that was restated since: figures from frames, on another machine."""
    office.type("evidence", "keygen")
    for wanted, revision in (
        ("2025-10", 3),
        ("2025-12", 1),
        ("2025-12", 2),
        ("2026-01", 2),
        ("2026-01", 3),
        ("2026-02", 2),
    ):
        words = ("--scope", "plant", "--revision", str(revision), "--json")
        told = json.loads(office.type("evidence", "pack", wanted, *words).stdout)
        pack = Path(told[0]["path"])
        done = CliRunner().invoke(
            root, ["--lang", "en", "evidence", "verify", str(pack)], catch_exceptions=False
        )
        assert done.exit_code == 0, (wanted, revision, done.output)
        if (wanted, revision) in {("2025-12", 2), ("2026-01", 2)}:
            assert recompute(pack, office.folder).stdout.splitlines()[-1] == "equal"


def test_a_quarter_of_the_formula_by_hand() -> None:
    """At midnight of the first day: 20 units of load, no sun; at noon 20 + (3 · 48²) mod 13 + 40 against 40."""
    assert (year.LOAD[0], year.SUN[0], year.UNITS["import"][0]) == (20, 0, 20)
    noon = 20 + (3 * 48 * 48) % 13 + 40
    assert (year.LOAD[48], year.SUN[48]) == (noon, 40)
    assert year.shown("import", 49) - year.shown("import", 48) == noon - 40
    assert datetime.fromisoformat("2026-02-15").date() == date(2026, 2, 15)
