"""The PDF: the typst template lays out the report's tables; it computes nothing.

Data reaches the template through `sys_inputs` alone, where nothing in a name can become markup.
"""

import json
from pathlib import Path
from typing import Any

import typst
from noto_cjk_sans_otc import FONT_PATH

from storage.months import MonthRow
from verification.document import CheckLine
from verification.formats.cells import OUTCOMES, Badge, Cell, Number, Table, Text
from verification.formats.chart import daily_chart, year_chart
from verification.formats.report import GROUPS, NOTE_EN, NOTE_ZH, TITLE_EN, Report

TEMPLATE = Path(__file__).with_name("report.typ")
ROWS_SHOWN = 400
"""Of one table; the workbook and the CSV files have every row."""


def render(row: MonthRow) -> bytes:
    """The PDF of a stored revision: the same row gives the same bytes, here and on another machine."""
    report = Report(row)
    inputs = {
        "view": json.dumps(_view(report), ensure_ascii=False),
        "daily": daily_chart(report.document.daily).decode(),
        "year": year_chart(report.document.year).decode() if report.document.year else "",
    }
    return typst.compile(
        str(TEMPLATE),
        root=str(TEMPLATE.parent),
        font_paths=[str(Path(str(FONT_PATH)).parent)],
        ignore_system_fonts=True,
        format="pdf",
        sys_inputs=inputs,
    )


def _view(report: Report) -> dict[str, Any]:
    document, row = report.document, report.row
    return {
        "title": report.title,
        "title_en": f"{TITLE_EN}, {document.month}",
        "name": document.scope.name,
        "name_en": document.scope.name_en,
        "park": f"{document.park.name} {document.park.name_en}".strip(),
        "kind": document.scope.kind,
        "month": document.month,
        "revision": str(document.revision),
        "digest": row.digest,
        "code": report.code,
        "outcome": _outcome(document.outcome),
        "cover": report.cover(),
        "headline": [[zh, en, figure.plain, unit] for zh, en, figure, unit in report.headline()],
        "formula": report.formula(),
        "findings": [
            _finding(check) for check in document.checks if check.outcome not in {"PASS", "NOT_DUE"}
        ],
        "composition": [[zh, en, float(ug), share] for zh, en, ug, share in report.composition()],
        "undetermined_days": sum(line.energy_wh is None for line in document.daily),
        "groups": [[key, *names] for key, names in GROUPS.items()],
        "tables": [_table(table) for table in (*report.tables, *report.appendices)],
        "all_equal": all(line.balance.equal for line in document.meters),
        "note": [NOTE_ZH, NOTE_EN],
        "proofs": _proofs(report),
        "signers": _signers(report),
    }


def _outcome(code: str) -> dict[str, str]:
    zh, en = OUTCOMES[code]
    return {"code": code, "zh": zh, "en": en}


def _finding(check: CheckLine) -> dict[str, Any]:
    return {
        "id": check.id,
        "outcome": _outcome(check.outcome),
        "zh": f"{check.title_zh}：{check.detail_zh}",
        "en": f"{check.title_en}: {check.detail_en}",
    }


def _table(table: Table) -> dict[str, Any]:
    printed = table.rows[: ROWS_SHOWN if table.printed is None else min(table.printed, ROWS_SHOWN)]
    return {
        "id": table.id,
        "group": table.id.split(".")[0],
        "zh": table.zh,
        "en": table.en,
        "columns": [{"zh": c.zh, "en": c.en, "width": c.width, "align": c.align} for c in table.columns],
        "rows": [[_cell(cell) for cell in line] for line in printed],
        "more": len(table.rows) - len(printed),
        "note_zh": table.note_zh,
        "note_en": table.note_en,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    if isinstance(cell, Badge):
        return {"kind": "badge", **_outcome(cell.code)}
    if isinstance(cell, Number):
        return {"kind": "text", "zh": cell.plain, "en": "", "strong": cell.strong, "small": False}
    assert isinstance(cell, Text)  # noqa: S101  there are three kinds
    return {"kind": "text", "zh": cell.zh, "en": cell.en, "strong": cell.strong, "small": cell.small}


def _proofs(report: Report) -> list[list[str]]:
    journal, registry = report.document.journal, report.document.registry
    return [
        ["验证码", "verification code", report.code],
        ["文档摘要", "SHA-256 of the JSON of the same name", report.row.digest],
        ["日志", "journal", f"{journal.id}，截至 up to {journal.segment}/{journal.index}"],
        ["日志链", "chain", journal.chain],
        ["登记册", "registry", f"r{registry.revision} {registry.digest}".strip()],
    ]


def _signers(report: Report) -> list[list[str]]:
    facts, park = report.document.facts, report.document.scope.kind == "park"
    if park:
        return [
            ["园区编制人", "prepared by", ""],
            ["园区核查人", "verified by", ""],
            ["园区负责人", "approved by", ""],
        ]
    return [
        ["企业填报人", "prepared by", facts.contact],
        ["能源管理负责人", "energy manager", facts.energy_manager],
        ["法定代表人或授权人", "legal representative", facts.legal_representative],
        ["园区核查人", "park verifier", ""],
    ]
