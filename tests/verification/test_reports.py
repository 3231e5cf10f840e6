"""The reports of a closed month, read back by independent readers."""

import csv as csv_module
import hashlib
import io
import json
import re
import shutil
import string
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pypdf
import pytest
from fontTools.ttLib import TTCollection
from noto_cjk_sans_otc import FONT_PATH

from storage.months import MonthRow, report_stem, verification_code
from tests.verification.full_month import changed, full
from verification import lines
from verification.document import Change, parse
from verification.formats import (
    RENDERERS,
    ReportExistsError,
    cells,
    csv,
    pdf,
    tables_changes,
    tables_quality,
    write_reports,
    xlsx,
)
from verification.formats.cells import Badge, Text
from verification.formats.chart import daily_chart
from verification.formats.report import GROUPS, Report


def pdf_text(data: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    return "\n".join(page.extract_text() for page in pages)


def workbook(data: bytes, *, cached: bool) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(data), data_only=cached)


def test_reports_are_named_by_credit_code_short_name_month_and_revision(
    month_rows: list[MonthRow], tmp_path: Path
) -> None:
    paths = write_reports(month_rows[0], tmp_path / "reports")
    assert sorted(path.name for path in paths) == [
        f"91340100DEMO000001_示范精密制造有限公司_2026-10_r1.{e}" for e in ("csv.zip", "json", "pdf", "xlsx")
    ]
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
    with pytest.raises(ReportExistsError, match=r"_2026-10_r1\.xlsx"):
        write_reports(month_rows[0], tmp_path)
    assert paths[1].read_bytes() == b"edited"
    assert not paths[2].exists()


def test_the_pdf_holds_names_figures_labels_and_digest(month_rows: list[MonthRow]) -> None:
    park = month_rows[-1]
    text = pdf_text(pdf.render(park))
    for expected in (
        "示范高新区", "示范精密制造有限公司", "2026 年 10 月月度动态核查报告", "位置法，省级平均（主口径）",
        "各区间之和 = 表计", "equal", "转录、未核对原件", "可能不等于合计", "生态环境部", "变比未证实", park.digest, "CN-AH-2023-average",
    ):  # fmt: skip
        assert expected.replace(" ", "") in text.replace(" ", "").replace("\n", ""), expected


def test_the_pdf_numbers_its_pages(month_rows: list[MonthRow]) -> None:
    pages = pypdf.PdfReader(io.BytesIO(pdf.render(month_rows[-1]))).pages
    for number, page in enumerate(pages, start=1):
        assert f"{number} of {len(pages)}" in page.extract_text()


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
    views = [
        json.dumps(pdf._view(Report(row)), ensure_ascii=False) for row in [*month_rows, full(month_rows[0])]
    ]
    labels = [*cells.OUTCOMES.values(), *cells.VERIFIED.values(), *tables_quality.USES.values()]
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
    cell = workbook(xlsx.render(row), cached=False)["T8.1"]["A4"]
    assert (cell.value, cell.data_type) == (f"{meters[0].meter} =1+1", "s")
    facts = lines.EnterpriseFacts(boundary="=1+1", contact="@SUM(A1)")
    cover = workbook(xlsx.render(changed(month_rows[0], facts=facts)), cached=False)["T0"]
    assert all(cell.data_type != "f" for line in cover.iter_rows() for cell in line)


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
    assert "31 天" in text
    assert xlsx.render(row)


def test_the_chart_is_the_same_each_time_and_carries_no_date(month_rows: list[MonthRow]) -> None:
    days = parse(month_rows[0].document).daily
    svg = daily_chart(days)
    assert svg == daily_chart(days)
    assert b"<dc:date>" not in svg
    assert b"<text" not in svg


def test_every_table_stands_in_pdf_workbook_and_csv_bundle(month_rows: list[MonthRow]) -> None:
    row = full(month_rows[0])
    report = Report(row)
    names = [table.name for table in (*report.tables, *report.appendices)]
    assert {name.split(".")[0] for name in names} == {*(f"T{n}" for n in range(1, 12)), "A", "B", "C"}
    assert workbook(xlsx.render(row), cached=True).sheetnames == ["T0", *names, "每日 Daily"]
    assert bundle(row).namelist() == ["T0.csv", *(f"{name}.csv" for name in names), "daily.csv"]
    text = pdf_text(pdf.render(row)).replace("\n", "").replace(" ", "")
    for table in (table for table in report.tables if "." in table.id):
        assert table.zh.replace(" ", "") in text, table.id
    for zh, en in GROUPS.values():
        assert (zh + en).replace(" ", "") in text, zh
    for words in (
        "T12签署",
        "盖章处",
        "目录",
        "绿证",
        "变比未证实",
        "ct_corrected",
        report.code,
        "不计入：已超过两年有效期",
    ):
        assert words in text, words


def bundle(row: MonthRow) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(csv.render(row)))


def read_csv(row: MonthRow, name: str) -> list[list[str]]:
    return list(csv_module.reader(io.StringIO(bundle(row).read(f"{name}.csv").decode("utf-8-sig"))))


def test_months_that_have_not_occurred_show_a_dash_and_never_zero(month_rows: list[MonthRow]) -> None:
    row = full(month_rows[0])
    sheet = workbook(xlsx.render(row), cached=True)["T1.3"]
    shown = {line[0]: line[1:] for line in sheet.iter_rows(min_row=4, values_only=True)}
    assert set(shown["2026-11"]) == {"—"}
    assert set(shown["2026-12"]) == {"—"}
    assert isinstance(shown["2026-10"][4], float)
    assert shown["2026-10"][0] == f"r{row.revision}"  # its own one is not closed before it is
    lines_ = {line[0]: line[1:] for line in read_csv(row, "T1.3")}
    (so_far,) = [line for line in read_csv(row, "T1.3") if line[0].startswith("本年累计")]
    known = [m.emission_ug for m in parse(row.document).year if m.emission_ug is not None]
    assert Fraction(so_far[4]) * 10**12 == sum(map(int, known)) > 0
    assert lines_["2026-12"] == ["—", "", "", "", ""]


def test_a_restated_revision_shows_its_reason_and_every_difference(month_rows: list[MonthRow]) -> None:
    row = full(month_rows[0])
    changes = parse(row.document).changes
    sheet = workbook(xlsx.render(row), cached=True)["T10"]
    shown = list(sheet.iter_rows(min_row=4, max_row=3 + len(changes), values_only=True))
    assert sorted(str(line[0]).split()[-1] for line in shown) == sorted(c.path for c in changes)
    (bought,) = [line for line in shown if str(line[0]).endswith(" energy.purchased_wh")]
    (change,) = [c for c in changes if c.path == "energy.purchased_wh"]
    assert str(bought[0]).startswith("电量：购入电量")
    assert bought[1] == "kWh"
    assert bought[2:5] == pytest.approx(
        [int(change.old) / 1000, int(change.new) / 1000, (int(change.new) - int(change.old)) / 1000]
    )
    assert "互感器变比更正 ct_corrected" in "".join(str(c.value) for line in sheet.iter_rows() for c in line)


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("meters[w/volume_total].energy_wh", "1500", "", ["表计 w/累计体积：本期量", "m3", "1.500", "—", "—"]),
        ("totals[market].heat_ug", "1000000", "3000000", ["排放合计 市场法：热力排放", "tCO2", "0.000001", "0.000003", "0.000002"]),
        ("reported[purchased_wh].substituted", "0", "812500", ["上报 购入电量：数据替代", "kWh", "0.000", "812.500", "812.500"]),
        ("renewable.share", "1/3", "26970/68449", ["可再生能源：占比", "%", "33.33", "39.40", "6.07"]),
        ("intensities[tce_per_10k_output].value", "null", "50977691/7715625000",
         ["强度 单位产值综合能耗：值", "tce/万元", "—", "0.006607", "—"]),
        ("production[output].amount", "null", "1234.5", ["产值产量 工业总产值：数量", "万元", "—", "1,234.500", "—"]),
        ("bills[B7].multiplier", "60", "80", ["结算票据 B7：倍率", "—", "60.0000", "80.0000", "20.0000"]),
        ("certificates[GEC1].accepted", "false", "true", ["绿电绿证 GEC1", "—", "否", "是", "—"]),
        ("outcome", "PASS", "FAIL", ["核查结论", "—", "通过", "不通过", "—"]),
        ("checks[V16].value", "5 / 5", "4 / 5", ["校核 V16：值", "—", "5 / 5", "4 / 5", "—"]),
        ("energy_types[electricity].coefficient_kgce", "0.1", "0.2", ["能源品种 电力（当量值）", "—", "0.1", "0.2", "—"]),
    ],
)  # fmt: skip
def test_a_difference_is_told_in_words_and_with_its_unit(
    month_rows: list[MonthRow], path: str, old: str, new: str, said: list[str]
) -> None:
    document = msgspec.structs.replace(
        parse(month_rows[0].document), changes=(Change(path=path, old=old, new=new),)
    )
    ((label, *cells),) = tables_changes.changes(document).rows
    assert isinstance(label, Text)
    assert [label.zh.rstrip("："), *(cell.plain for cell in cells if not isinstance(cell, Badge))] == said
    assert label.en == path


def test_figures_in_the_csv_bundle_are_exact(month_rows: list[MonthRow]) -> None:
    row = full(month_rows[0])
    document = parse(row.document)
    primary = next(line for line in read_csv(row, "T5")[1:] if "主口径" in line[0])
    assert Fraction(primary[6]) == Fraction(str(document.totals[0].including_ug)) / 10**12
    energy = read_csv(row, "T2.2")[1]
    assert Fraction(energy[2]) == Fraction(document.energy.purchased_wh or "") / 1000


def evaluate(formula: str, line: dict[str, float]) -> float:
    """The arithmetic of our own formulas: cells of one row, + − × ÷ and ROUNDDOWN."""
    code = re.sub(r"\b([A-Z])\d+\b", lambda found: repr(line[found[1]]), formula.removeprefix("="))
    return float(eval(code, {"ROUNDDOWN": lambda x, n: int(x * 10**n + 1e-9) / 10**n}))  # noqa: S307  our own formula


def test_a_formula_gives_the_value_that_is_cached_beside_it(month_rows: list[MonthRow]) -> None:
    data = xlsx.render(full(month_rows[0]))
    plain, cached = workbook(data, cached=False), workbook(data, cached=True)
    found = 0
    for sheet in plain.worksheets[1:-1]:
        for line in sheet.iter_rows(min_row=4):
            values: dict[str, Any] = {c.coordinate[0]: cached[sheet.title][c.coordinate].value for c in line}
            for cell in (c for c in line if c.data_type == "f"):
                found += 1
                assert evaluate(str(cell.value), values) == pytest.approx(
                    values[cell.coordinate[0]], rel=1e-9
                ), cell
    assert found > 12


def test_the_daily_total_is_a_formula_whose_value_is_cached(month_rows: list[MonthRow]) -> None:
    data = xlsx.render(month_rows[0])
    purchased = int(json.loads(month_rows[0].document)["energy"]["purchased_wh"])
    assert workbook(data, cached=False)["每日 Daily"]["B35"].value == "=SUM(B4:B34)"
    assert workbook(data, cached=True)["每日 Daily"]["B35"].value == purchased


def test_a_figure_that_a_float_cannot_hold_is_text_in_the_workbook(month_rows: list[MonthRow]) -> None:
    document = parse(month_rows[0].document)
    line = msgspec.structs.replace(document.meters[0], estimated_wh=str(10**18 + 1))
    sheet = workbook(xlsx.render(changed(month_rows[0], meters=(line, *document.meters[1:]))), cached=True)[
        "T8.1"
    ]
    assert sheet["G4"].value == "1000000000000000.001"


def test_the_bytes_of_a_workbook_do_not_depend_on_the_clock(month_rows: list[MonthRow]) -> None:
    properties = workbook(xlsx.render(month_rows[0]), cached=True).properties
    closed_at = json.loads(month_rows[0].document)["closed_at"]
    assert properties.created.isoformat() == closed_at[:19]


@pytest.mark.parametrize(
    "machine",
    [
        {"TZ": "America/New_York", "LANG": "C", "PYTHONHASHSEED": "1"},
        {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4242", "PYTHONUTF8": "0"},
    ],
    ids=["new-york", "kathmandu"],
)
def test_a_report_made_by_another_process_elsewhere_has_the_same_bytes(
    month_rows: list[MonthRow], tmp_path: Path, machine: dict[str, str]
) -> None:
    row = full(month_rows[0])
    (tmp_path / "row").write_bytes(msgspec.msgpack.encode(row))
    script = (
        "import sys, hashlib, msgspec; from storage.months import MonthRow; from verification.formats import RENDERERS\n"
        "row = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=MonthRow)\n"
        "print({k: hashlib.sha256(r(row)).hexdigest() for k, r in sorted(RENDERERS.items())})"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path), **machine}
    argv = [sys.executable, "-c", script]
    data = (tmp_path / "row").read_bytes()
    said = subprocess.run(
        argv, input=data, env=environment, cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert said.decode().strip() == str(
        {k: hashlib.sha256(r(row)).hexdigest() for k, r in sorted(RENDERERS.items())}
    )


def test_the_verification_code_comes_from_the_digest_and_has_no_letter_one_misreads() -> None:
    code = verification_code("ff" * 32)
    assert code == "ZZZZ-ZZZZ-ZZZZ-ZZZZ"
    assert verification_code("00" * 32) == "0000-0000-0000-0000"
    assert not set(verification_code(hashlib.sha256(b"x").hexdigest())) & set("ILOU")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "名 称\n", ""])
def test_a_name_cannot_leave_the_folder_of_reports(month_rows: list[MonthRow], name: str) -> None:
    facts = lines.EnterpriseFacts(short_name=name)
    stem = report_stem(changed(month_rows[0], facts=facts))
    assert not set(stem) & set("/\\ \n\0")
    assert stem.endswith("_2026-10_r1")


def test_the_pdf_leaves_what_only_leads_to_the_proof_to_the_workbook(month_rows: list[MonthRow]) -> None:
    paths = ["daily[2026-10-01].energy_wh", "meters[m-grid/energy_import_total].balance.opening_bracket[0].segment",
             "meters[m-grid/energy_import_total].energy_wh", "totals[standard].including_ug"]  # fmt: skip
    found = tuple(Change(path=path, old="1", new="2") for path in paths)
    table = tables_changes.changes(msgspec.structs.replace(parse(month_rows[0].document), changes=found))
    assert [line[0].en for line in table.rows if isinstance(line[0], Text)] == [
        paths[3],
        paths[2],
        paths[0],
        paths[1],
    ]
    assert table.printed == 3
