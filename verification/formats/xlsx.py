"""The workbook: the document's figures as numbers, totals as formulas with their values cached."""

import io
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

import xlsxwriter

from metering.reading_types import READING_TYPES
from storage.months import MonthRow
from verification.document import MonthDocument, parse
from verification.formats.pdf import OUTCOMES, USES, VERIFIED

EXACT_BELOW = 2**53
"""A cell holds a float64: integers from here on are written as text."""
_UG_PER_KG = 10**9
_HEADER_ROW = 3
_FONT = "Microsoft YaHei"

Cell = str | int | float | None


class _Sheet:
    """One worksheet with a title, a header row and the workbook's formats."""

    def __init__(
        self, book: Any, formats: dict[str, Any], name: str, title: str, widths: Sequence[int]
    ) -> None:
        self.page = book.add_worksheet(name)
        self.formats = formats
        self.page.hide_gridlines(2)
        self.page.set_landscape()
        self.page.set_paper(9)
        self.page.fit_to_pages(1, 0)
        for column, width in enumerate(widths):
            self.page.set_column(column, column, width)
        self.page.write_string(0, 0, title, formats["title"])

    def header(self, row: int, names: Sequence[str]) -> None:
        for column, name in enumerate(names):
            self.page.write_string(row, column, name, self.formats["header"])

    def line(self, row: int, cells: Sequence[Cell]) -> None:
        for column, cell in enumerate(cells):
            self.cell(row, column, cell)

    def cell(self, row: int, column: int, cell: Cell) -> None:
        """A number where a float64 holds it exactly; text never becomes a formula or link."""
        if cell is None:
            self.page.write_string(row, column, "—", self.formats["text"])
        elif isinstance(cell, str):
            self.page.write_string(row, column, cell, self.formats["text"])
        elif isinstance(cell, int) and abs(cell) >= EXACT_BELOW:
            self.page.write_string(row, column, str(cell), self.formats["text"])
        else:
            kind = "integer" if isinstance(cell, int) else "decimal"
            self.page.write_number(row, column, cell, self.formats[kind])


def render(row: MonthRow) -> bytes:
    """The XLSX of a stored revision."""
    document = parse(row.document)
    out = io.BytesIO()
    # Names come from people: nothing in them may turn into a formula, a number or a link.
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    book = xlsxwriter.Workbook(out, options)
    closed_at = datetime.fromisoformat(document.closed_at).replace(tzinfo=None)
    book.set_properties(
        {"title": f"{document.scope.name} {document.month}", "author": "tanyun", "created": closed_at}
    )
    formats = _formats(book)
    _overview(_Sheet(book, formats, "概览 Overview", _title(document), (44, 26, 26, 26, 40)), document, row)
    _meters(
        _Sheet(
            book,
            formats,
            "表计 Meters",
            _title(document),
            (16, 20, 18, 22, 14, 9, 6, 6, *[19] * 4, 24, *[13] * 5),
        ),
        document,
    )
    _daily(_Sheet(book, formats, "每日 Daily", _title(document), (14, 20, 22)), document)
    _checks(
        _Sheet(book, formats, "校核 Checks", _title(document), (8, 30, 34, 20, 22, 18, 34, 50, 50, 24)),
        document,
    )
    _factors(
        _Sheet(book, formats, "因子 Factors", _title(document), (18, 30, 38, 12, 14, 60, 14, 34)), document
    )
    book.close()
    return out.getvalue()


def _formats(book: Any) -> dict[str, Any]:
    base = {"font_name": _FONT, "font_size": 10, "valign": "top"}
    return {
        "title": book.add_format({**base, "font_size": 14, "bold": True, "font_color": "#0f766e"}),
        "header": book.add_format(
            {**base, "bold": True, "bg_color": "#e6efee", "bottom": 1, "text_wrap": True}
        ),
        "text": book.add_format({**base, "text_wrap": True}),
        "integer": book.add_format({**base, "num_format": "#,##0"}),
        "decimal": book.add_format({**base, "num_format": "#,##0.000"}),
        "percent": book.add_format({**base, "num_format": "0.00%"}),
        "total": book.add_format({**base, "bold": True, "top": 1, "num_format": "#,##0"}),
        "total_text": book.add_format({**base, "bold": True, "top": 1}),
    }


def _title(document: MonthDocument) -> str:
    return f"{document.scope.name} {document.month} 能源与碳排放核查结果 · 第 {document.revision} 版 revision {document.revision}"


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _overview(sheet: _Sheet, document: MonthDocument, row: MonthRow) -> None:
    zh, en = OUTCOMES[document.outcome]
    facts: list[tuple[str, Cell]] = [
        ("核查结论 Outcome", f"{zh} {en}"),
        ("统一社会信用代码 Credit code", document.scope.credit_code or None),
        ("园区 Park", f"{document.park.name} {document.park.name_en}"),
        ("核算期 Period", f"{document.start} → {document.end}"),
        ("关账时间 Closed at", document.closed_at),
        ("改版理由 Reason", document.reason),
        ("文档摘要 SHA-256 of the JSON", row.digest),
        ("日志 Journal", f"{document.journal.id} {document.journal.segment}/{document.journal.index}"),
    ]
    for at, fact in enumerate(facts, start=2):
        sheet.line(at, fact)
    at = _overview_energy(sheet, document, len(facts) + 3)
    at = _overview_emissions(sheet, document, at + 1)
    _overview_enterprises(sheet, document, at + 1)


def _overview_energy(sheet: _Sheet, document: MonthDocument, at: int) -> int:
    e = document.energy
    lines = [
        ("购入电量（按边界公式） Purchased", e.purchased_wh),
        ("关口购入 Grid import", e.grid_import_wh),
        ("转供出 Resold", e.resold_wh),
        ("光伏发电 PV generation", e.pv_generation_wh),
        ("上网 Export", e.export_wh),
        ("光伏自用 PV self-use", e.pv_self_use_wh),
        ("分项计量 Sub-metered", e.sub_meter_wh),
        ("未计量/损耗 Unmetered", e.unmetered_wh),
    ]
    sheet.header(at, ["能源 Energy", "Wh"])
    for offset, (label, value) in enumerate(lines, start=1):
        sheet.line(at + offset, [label, _number(value)])
    coal = e.standard_coal_kgce
    last = at + len(lines) + 1
    sheet.line(
        last, ["折标准煤（当量值）kgce Standard coal", None if coal is None else float(Fraction(coal))]
    )
    return last + 1


def _overview_emissions(sheet: _Sheet, document: MonthDocument, at: int) -> int:
    sheet.header(
        at,
        [
            "口径 Accounting",
            "电量 Energy, Wh",
            "因子 Factor, µg/Wh",
            "排放 Emission, µg CO2",
            "因子编号 Factor id",
        ],
    )
    for offset, line in enumerate(document.emissions, start=1):
        label = f"{line.label_zh} {line.label_en}{' （主 primary）' if line.primary else ''}"
        factor = line.factor_ug_per_wh
        shown = int(factor) if factor is not None and factor.isdigit() else factor
        why = line.factor_id or f"{line.missing_zh} {line.missing_en}"
        sheet.line(at + offset, [label, _number(line.energy_wh), shown, _number(line.emission_ug), why])
    return at + len(document.emissions) + 1


def _overview_enterprises(sheet: _Sheet, document: MonthDocument, at: int) -> None:
    if not document.enterprises:
        return
    sheet.header(
        at,
        [
            "企业 Enterprise",
            "购入 Purchased, Wh",
            "全国 National, µg CO2",
            "省级 Provincial, µg CO2",
            "结论 Outcome",
        ],
    )
    for offset, e in enumerate(document.enterprises, start=1):
        figures = [_number(text) for text in (e.purchased_wh, e.emission_ug, e.provincial_emission_ug)]
        sheet.line(at + offset, [f"{e.name} ({e.id})", *figures, " ".join(OUTCOMES[e.outcome])])


_METER_COLUMNS = (
    "表计 Meter", "名称 Name", "型号 Profile", "计量量 Total", "角色 Role", "CT", "PT", "单位 Unit", "期初 Opening",
    "期末 Closing", "本月 Month", "估算形状 Estimated", "排放 Emission, µg CO2", "因子 Factor, µg/Wh",
    "完整率 Complete", "点数 Points read", "应有 Expected", "平衡 Balance",
)  # fmt: skip


def _meters(sheet: _Sheet, document: MonthDocument) -> None:
    sheet.header(_HEADER_ROW, _METER_COLUMNS)
    sheet.page.freeze_panes(_HEADER_ROW + 1, 2)
    for at, line in enumerate(document.meters, start=_HEADER_ROW + 1):
        kind = READING_TYPES[line.reading_type]
        factor = line.factor_ug_per_wh
        cells: list[Cell] = [
            line.meter, line.name, line.profile, f"{kind.label_zh} {kind.label_en}", f"{line.role_zh} {line.role_en}",
            line.ct, line.pt, line.unit, _number(line.opening_wh), _number(line.closing_wh), _number(line.energy_wh),
            int(line.estimated_wh), _number(line.emission_ug),
            int(factor) if factor is not None and factor.isdigit() else factor,
        ]  # fmt: skip
        sheet.line(at, cells)
        column = len(cells)
        _share(sheet, at, column, line.points_read, line.points_expected)
        equal = "一致 equal" if line.balance.equal else "不一致 not equal"
        found: tuple[Cell, ...] = (line.points_read, line.points_expected, equal)
        for offset, cell in enumerate(found, start=1):
            sheet.cell(at, column + offset, cell)


def _share(sheet: _Sheet, row: int, column: int, part: int, whole: int) -> None:
    formula = f"=P{row + 1}/Q{row + 1}"
    sheet.page.write_formula(row, column, formula, sheet.formats["percent"], part / whole)


def _daily(sheet: _Sheet, document: MonthDocument) -> None:
    sheet.header(_HEADER_ROW, ["日 Day", "购入 Purchased, Wh", "排放 Emission, kg CO2"])
    sheet.page.freeze_panes(_HEADER_ROW + 1, 1)
    first = _HEADER_ROW + 1
    for at, line in enumerate(document.daily, start=first):
        emission = None if line.emission_ug is None else float(Fraction(int(line.emission_ug), _UG_PER_KG))
        sheet.line(at, [line.day, _number(line.energy_wh), emission])
    last = first + len(document.daily)
    energy = sum(int(line.energy_wh or 0) for line in document.daily)
    emission_ug = sum(int(line.emission_ug or 0) for line in document.daily)
    sheet.page.write_string(last, 0, "合计 Total", sheet.formats["total_text"])
    sums = (("B", energy), ("C", float(Fraction(emission_ug, _UG_PER_KG))))
    for column, (letter, value) in enumerate(sums, start=1):
        formula = f"=SUM({letter}{first + 1}:{letter}{last})"
        sheet.page.write_formula(last, column, formula, sheet.formats["total"], value)
    if any(line.energy_wh is None for line in document.daily):
        sheet.cell(last + 1, 0, "有未能确定的日，合计不是全月 Days are missing: the total is not the month's")


def _checks(sheet: _Sheet, document: MonthDocument) -> None:
    names = [
        "编号 Id",
        "校核 Check",
        "Check",
        "结论 Outcome",
        "结果值 Found",
        "阈值 Threshold",
        "来源 Source",
        "说明",
        "Detail",
        "表计 Meters",
    ]
    sheet.header(_HEADER_ROW, names)
    for at, c in enumerate(document.checks, start=_HEADER_ROW + 1):
        outcome = " ".join(OUTCOMES[c.outcome])
        found = [c.value, c.threshold, c.threshold_source, c.detail_zh, c.detail_en, ", ".join(c.meters)]
        sheet.line(at, [c.id, c.title_zh, c.title_en, outcome, *found])


def _factors(sheet: _Sheet, document: MonthDocument) -> None:
    names = [
        "用途 Use",
        "编号 Id",
        "因子 Factor",
        "kgCO2/kWh",
        "µg/Wh",
        "来源 Notice",
        "发布 Published",
        "核实 Verified",
    ]
    sheet.header(_HEADER_ROW, names)
    for at, f in enumerate(document.factors, start=_HEADER_ROW + 1):
        use, mark = " ".join(USES[f.use]), " ".join(VERIFIED[f.verified])
        label = f"{f.label_zh} {f.label_en}"
        cells = [use, f.id, label, f.value_kg_per_kwh, f.factor_ug_per_wh, f.notice, f.published, mark]
        sheet.line(at, cells)
