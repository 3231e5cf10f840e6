"""The reports of a closed month, read back by independent readers."""

import io
import json
import shutil
import string
import subprocess
from pathlib import Path

import msgspec
import openpyxl
import pypdf
import pytest
from fontTools.ttLib import TTCollection
from noto_cjk_sans_otc import FONT_PATH

from storage.months import MonthRow, digest_of
from verification.document import MonthDocument, canonical, parse
from verification.formats import ReportExistsError, pdf, write_reports, xlsx
from verification.formats.chart import daily_chart

SHEETS = ["概览 Overview", "表计 Meters", "每日 Daily", "校核 Checks", "因子 Factors"]


def changed(row: MonthRow, **values: object) -> MonthRow:
    """The row with other values in its document."""
    document: MonthDocument = msgspec.structs.replace(parse(row.document), **values)
    data = canonical(document)
    return msgspec.structs.replace(row, document=data, digest=digest_of(data))


def pdf_text(data: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    return "\n".join(page.extract_text() for page in pages)


def workbook(data: bytes, *, cached: bool) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(data), data_only=cached)


def test_three_reports_are_named_by_scope_month_and_revision(
    month_rows: list[MonthRow], tmp_path: Path
) -> None:
    paths = write_reports(month_rows[0], tmp_path / "reports")
    assert sorted(path.name for path in paths) == [f"jingmi_2026-10_r1.{e}" for e in ("json", "pdf", "xlsx")]
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == sorted(
        path.name for path in paths
    )


def test_the_json_report_is_the_stored_document(month_rows: list[MonthRow], tmp_path: Path) -> None:
    path = next(p for p in write_reports(month_rows[0], tmp_path) if p.suffix == ".json")
    assert path.read_bytes() == month_rows[0].document


def test_writing_again_gives_the_same_bytes(month_rows: list[MonthRow], tmp_path: Path) -> None:
    first = {p.name: p.read_bytes() for p in write_reports(month_rows[-1], tmp_path / "a")}
    second = {p.name: p.read_bytes() for p in write_reports(month_rows[-1], tmp_path / "b")}
    assert first == second
    write_reports(month_rows[-1], tmp_path / "a")


def test_a_report_that_was_changed_is_never_overwritten(month_rows: list[MonthRow], tmp_path: Path) -> None:
    paths = write_reports(month_rows[0], tmp_path)
    paths[1].write_bytes(b"edited")
    paths[2].unlink()
    with pytest.raises(ReportExistsError, match=r"jingmi_2026-10_r1\.xlsx"):
        write_reports(month_rows[0], tmp_path)
    assert paths[1].read_bytes() == b"edited"
    assert not paths[2].exists()


def test_the_pdf_holds_names_figures_labels_and_digest(month_rows: list[MonthRow]) -> None:
    park = month_rows[-1]
    text = pdf_text(pdf.render(park))
    for expected in (
        "示范高新区", "示范精密制造有限公司", "2026 年 10 月能源与碳排放核查结果", "全国平均（企业口径）", "省级平均（园区口径）",
        "各区间之和 = 表计", "equal", "转录、未核对原件", "可能不等于合计", "生态环境部", park.digest, "CN-AH-2023-average",
    ):  # fmt: skip
        assert expected.replace(" ", "") in text.replace(" ", "").replace("\n", ""), expected


def test_the_pdf_numbers_its_pages(month_rows: list[MonthRow]) -> None:
    pages = pypdf.PdfReader(io.BytesIO(pdf.render(month_rows[-1]))).pages
    for number, page in enumerate(pages, start=1):
        assert f"page {number} of {len(pages)}" in page.extract_text()


def test_the_pdf_embeds_every_font_and_has_only_the_bundled_one(
    month_rows: list[MonthRow], tmp_path: Path
) -> None:
    if shutil.which("pdffonts") is None:
        pytest.skip("pdffonts (poppler-utils) is not installed")
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf.render(month_rows[0]))
    output = subprocess.run(["pdffonts", str(path)], capture_output=True, text=True, check=True).stdout
    fonts = output.splitlines()[2:]
    assert fonts
    for font in fonts:
        assert "NotoSansCJK" in font
        assert font.split()[-5] == "yes", font


def test_the_font_has_every_character_that_a_report_prints(month_rows: list[MonthRow]) -> None:
    # A missing glyph compiles silently to an empty box.
    cmap = TTCollection(str(FONT_PATH)).fonts[2].getBestCmap()
    views = [json.dumps(pdf._view(parse(row.document), row.digest), ensure_ascii=False) for row in month_rows]
    labels = [*pdf.OUTCOMES.values(), *pdf.VERIFIED.values(), *pdf.USES.values()]
    printed = set("".join([*views, pdf.TEMPLATE.read_text(encoding="utf-8"), *map("".join, labels)]))
    assert {c for c in printed if ord(c) not in cmap} - set(string.whitespace) == set()


def test_names_are_printed_and_never_run(month_rows: list[MonthRow]) -> None:
    hostile = '#panic("x") *b* _c_ $x$ <l> =1+1 @{a}'
    scope = msgspec.structs.replace(parse(month_rows[0].document).scope, name=hostile)
    row = changed(month_rows[0], scope=scope)
    assert hostile.replace(" ", "") in pdf_text(pdf.render(row)).replace(" ", "").replace("\n", "")
    assert xlsx.render(row)


def test_a_formula_in_a_name_stays_text_in_the_workbook(month_rows: list[MonthRow]) -> None:
    meters = parse(month_rows[0].document).meters
    row = changed(month_rows[0], meters=(msgspec.structs.replace(meters[0], name="=1+1"), *meters[1:]))
    cell = workbook(xlsx.render(row), cached=False)[SHEETS[1]]["B5"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")


def test_every_outcome_and_missing_figure_can_be_printed(month_rows: list[MonthRow]) -> None:
    document = parse(month_rows[0].document)
    energy = msgspec.structs.replace(document.energy, purchased_wh=None, standard_coal_kgce=None)
    missing = {
        "factor_id": None,
        "factor_ug_per_wh": None,
        "emission_ug": None,
        "missing_zh": "无因子",
        "missing_en": "none",
    }
    emissions = tuple(msgspec.structs.replace(line, **missing) for line in document.emissions)
    daily = tuple(msgspec.structs.replace(day, energy_wh=None, emission_ug=None) for day in document.daily)
    row = changed(month_rows[0], outcome="INSUFFICIENT_DATA", energy=energy, emissions=emissions, daily=daily)
    text = pdf_text(pdf.render(row))
    assert "数据不足" in text
    assert "无因子" in text
    assert xlsx.render(row)


def test_the_chart_is_the_same_each_time_and_carries_no_date(month_rows: list[MonthRow]) -> None:
    days = parse(month_rows[0].document).daily
    svg = daily_chart(days)
    assert svg == daily_chart(days)
    assert b"<dc:date>" not in svg
    assert b"<text" not in svg


def test_the_workbook_has_its_five_sheets_with_numbers_as_numbers(month_rows: list[MonthRow]) -> None:
    document = json.loads(month_rows[0].document)
    book = workbook(xlsx.render(month_rows[0]), cached=True)
    assert book.sheetnames == SHEETS
    rows = list(book[SHEETS[1]].iter_rows(min_row=5, values_only=True))
    for shown, meter in zip(rows, document["meters"], strict=True):
        assert shown[0] == meter["meter"]
        assert shown[10] == int(meter["energy_wh"])
        assert isinstance(shown[10], int)
        assert shown[14] == meter["completeness"]


def test_the_daily_total_is_a_formula_whose_value_is_cached(month_rows: list[MonthRow]) -> None:
    data = xlsx.render(month_rows[0])
    purchased = int(json.loads(month_rows[0].document)["energy"]["purchased_wh"])
    assert workbook(data, cached=False)[SHEETS[2]]["B36"].value == "=SUM(B5:B35)"
    assert workbook(data, cached=True)[SHEETS[2]]["B36"].value == purchased


def test_an_integer_that_a_float_cannot_hold_is_text_in_the_workbook(month_rows: list[MonthRow]) -> None:
    document = parse(month_rows[0].document)
    line = msgspec.structs.replace(document.meters[0], emission_ug=str(2**53 + 1))
    sheet = workbook(xlsx.render(changed(month_rows[0], meters=(line, *document.meters[1:]))), cached=True)[
        SHEETS[1]
    ]
    assert sheet["M5"].value == str(2**53 + 1)


def test_the_bytes_of_a_workbook_do_not_depend_on_the_clock(month_rows: list[MonthRow]) -> None:
    properties = workbook(xlsx.render(month_rows[0]), cached=True).properties
    closed_at = json.loads(month_rows[0].document)["closed_at"]
    assert properties.created.isoformat() == closed_at[:19]
