"""Tables T1.4 and T10.1 of the monthly report: what was measured, substituted and reported, and the substitutions one by one."""

from metering.reading_types import READING_TYPES
from verification.document import MonthDocument
from verification.formats.cells import UG_PER_T, Cell, Column, Table, moment, number, percent, rows, text
from verification.substitution_line import ReportedLine, SubstitutionLine

_SHOWN_UNITS = {
    "Wh": ("kWh", 1000), "varh": ("kvarh", 1000), "L": ("m³", 1000), "kJ": ("MJ", 1000), "kgce": ("tce", 1000), "ug": ("tCO2", UG_PER_T),
}  # fmt: skip
"""Unit of a line → the one that is printed, and how many of the former it holds."""


def reported(document: MonthDocument) -> Table:
    """T1.4: what was measured, substituted and reported."""
    columns = (
        Column("项目", "Item"),
        Column("单位", "Unit", 17),
        Column("计量及填报", "Measured", 31, "right"),
        Column("数据替代", "Substituted", 27, "right"),
        Column("上报", "Reported", 31, "right", "={2}+{3}"),
        Column("替代占比 %", "Share", 20, "right"),
    )
    return Table(
        "T1.4",
        "计量 + 数据替代 = 上报",
        "Measured + substituted = reported",
        columns,
        rows([_reported(line) for line in document.reported]),
        "数据替代须经他人复核，只用于无计量数据的时段，明细见 T10.1。计量值、底数与平衡（附录 B）不含替代；"
        "能源、排放、强度、等级与预算均按上报值。",
        "A substitution is approved by a second person and stands only for time that nothing measured (T10.1). Readings and the balance "
        "(appendix B) know none; energy, emissions, intensities, grades and budgets rest on what is reported.",
    )


def _reported(line: ReportedLine) -> tuple[Cell, ...]:
    unit, scale = _SHOWN_UNITS[line.unit]
    places = 2 if line.unit in {"kgce", "ug"} else 3
    figures = (line.measured, line.substituted, line.reported)
    label = text(line.label_zh, line.label_en)
    if line.kind == "total":
        label = text(line.label_zh, READING_TYPES[line.label_en].label_zh)
    return label, text(unit), *(number(value, scale, places) for value in figures), percent(line.share, 2)


def substitutions(document: MonthDocument) -> Table:
    """T10.1: every substitution of the month, and why one does not count."""
    columns = (
        Column("计量量", "Total"),
        Column("起止", "From, to", 28),
        Column("替代量", "Amount", 20, "right"),
        Column("单位", "Unit", 11),
        Column("方法与原因", "Method, reason"),
        Column("编制 / 复核", "By, approved by", 22),
        Column("凭证 SHA-256", "Proof", 23),
        Column("结论", "Outcome", 19),
    )
    found = [_substitution(line) for line in document.substitutions]
    return Table(
        "T10.1", "数据替代", "Substitutions", columns, rows(found),
        "一次侧值，与计量值分列，合计见 T1.4；未被采纳的替代不计入。凭证以 SHA-256 标识。",
        "On the primary side; listed apart from what was measured, added up in T1.4. What was refused counts nowhere. "
        "A proof is named by its SHA-256.",
    )  # fmt: skip


def _substitution(line: SubstitutionLine) -> tuple[Cell, ...]:
    unit, scale = _SHOWN_UNITS[line.unit]
    told = ("已复核", "approved") if line.accepted else (line.refused_zh, line.refused_en)
    return (
        text(line.meter, READING_TYPES[line.reading_type].label_zh, small=True),
        text(f"{moment(line.start)[:16]} →\n{moment(line.end)[:16]}", small=True),
        number(line.amount, scale, 3),
        text(unit),
        text(f"{line.method_zh}：{line.reason}", line.method_en, small=True),
        text(f"{line.author} / {line.approver or '—'}", small=True),
        text(line.evidence_sha256[:12] + "…", small=True),
        text(*told, small=True),
    )
