"""Tables T5.2 (electricity by declared factors) and T5.3 (the series): only where an enterprise declares one."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from factors.series import Series
from metering.intervals import MINUTE_MS, iso
from metering.series import UNKNOWN
from verification.declared_lines import DeclaredLine
from verification.document import MonthDocument
from verification.formats.cells import (
    NONE,
    VERIFIED,
    Cell,
    Column,
    Table,
    Text,
    kwh,
    number,
    rows,
    text,
    tonnes,
)

MOST_PARTS = 40
"""Printed per total; a month of quarter hours has up to 2,976, all of them in the document."""
_BASES = {"contract": ("供电合同", "contract"), "grid_intensity": ("电网碳强度", "grid intensity")}


def tables(document: MonthDocument) -> Iterator[Table]:
    """T5.2 and T5.3."""
    if document.declared:
        yield _parts(document)
    if document.series:
        yield _series(document)


def _parts(document: MonthDocument) -> Table:
    columns = (
        Column("范围", "Scope, meter", 40),
        Column("申报因子 kgCO2/kWh", "Declared factor", 36, "right"),
        Column("序列", "Series"),
        Column("电量 kWh", "Energy", 28, "right"),
        Column("其中估计 kWh", "of it estimated", 26, "right"),
        Column("tCO2", "Emission", 24, "right"),
    )
    return Table(
        "T5.2",
        "市场法（申报因子）购入电力排放",
        "Market-based by declared factors: purchased electricity",
        columns,
        rows([_line(line) for line in _printed(document)]),
        f"每个申报因子一行；合计按边界公式，与位置法并列，不替代、不相加，也不再扣减绿证。无申报因子的时段不计算，合计亦无数值（{NONE}）。"
        f"每表至多列 {MOST_PARTS} 行，全部见 JSON。",
        "One part per declared factor; the sum follows the boundary formula and stands beside the location-based figures, with no "
        "certificates taken off. Time without a declared factor stops the sum. "
        f"At most {MOST_PARTS} parts per meter are printed; the JSON has all.",
    )


def _printed(document: MonthDocument) -> Iterator[DeclaredLine]:
    shown: dict[tuple[str, str], int] = {}
    for line in document.declared:
        key = line.meter, line.reading_type
        shown[key] = shown.get(key, 0) + 1
        if shown[key] <= MOST_PARTS:
            yield line


def _line(line: DeclaredLine) -> tuple[Cell, ...]:
    whole = not line.meter
    scope = (
        Text("合计", "by the boundary formula", strong=True)
        if whole
        else text(line.meter, "−" if line.sign < 0 else "")
    )
    none = NONE if whole else "无申报因子"
    return (
        scope,
        text(line.factor_kg_per_kwh or none),
        text(line.series or None, small=True),
        kwh(line.energy_wh),
        kwh(line.estimated_wh),
        tonnes(line.emission_ug, strong=whole),
    )


def _series(document: MonthDocument) -> Table:
    columns = (
        Column("序列", "Series", 48),
        Column("依据、来源", "Basis, source"),
        Column("起止", "From, to", 44),
        Column("步长 分钟", "Step", 20, "right"),
        Column("有值/全部", "Given", 24, "right"),
        Column("核验", "Verified", 30),
    )
    zone = ZoneInfo(document.zone)
    return Table(
        "T5.3",
        "申报因子序列",
        "Declared factor series",
        columns,
        rows([_one(one, zone) for one in document.series]),
    )


def _one(series: Series, zone: ZoneInfo) -> tuple[Cell, ...]:
    zh, en = _BASES[series.basis]
    words = series.values.split(" ")
    proof = f"SHA-256 {series.document_sha256}" if series.document_sha256 else ""
    return (
        text(series.label or series.id, series.id if series.label else "", small=True),
        text(f"{zh}：{series.source}", proof or en, small=True),
        text(f"{_minute(series.start_ms, zone)} — {_minute(series.end_ms, zone)}", small=True),
        number(str(series.step_ms), MINUTE_MS, 0),
        text(f"{len(words) - words.count(UNKNOWN)}/{len(words)}"),
        text(VERIFIED["declared"][0], series.declared_by, small=True),
    )


def _minute(t_ms: int, zone: ZoneInfo) -> str:
    return iso(t_ms, zone)[:16].replace("T", " ")
