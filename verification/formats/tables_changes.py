"""Table T10 of the monthly report: every figure that differs from the revision before, in words and with its unit."""

import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from metering.dated import DISPLAY_UNITS
from metering.reading_types import READING_TYPES
from metering.units import UNITS
from verification.document import Change, MonthDocument
from verification.formats.cells import (
    OUTCOMES,
    UG_PER_T,
    Cell,
    Column,
    Number,
    Table,
    Text,
    moment,
    number,
    rows,
    text,
)
from verification.restate import reason_text

_PARTS = {
    "energy": "电量", "emissions": "电力排放", "totals": "排放合计", "energy_types": "能源品种", "energy_total": "综合能源消费量",
    "power": "电力来源", "meters": "表计", "daily": "逐日", "intensities": "强度", "checks": "校核", "reported": "上报",
    "parents": "总表与分表", "bills": "结算票据", "production": "产值产量", "certificates": "绿电绿证", "renewable": "可再生能源",
    "substitutions": "数据替代", "meter_facts": "计量器具", "events": "异常事件", "grades": "碳效等级", "periods": "时段电量",
    "factors": "排放因子", "formula": "边界公式", "facts": "企业信息", "heat": "购入热力", "fuels": "化石燃料", "enterprises": "企业",
    "outcome": "核查结论", "scope": "核算对象",
}  # fmt: skip
"""First word of a change's path."""
_FIELDS = {
    "purchased_wh": "购入电量", "grid_import_wh": "关口购入", "resold_wh": "转供出", "pv_generation_wh": "光伏发电", "export_wh": "上网",
    "pv_self_use_wh": "光伏自用", "sub_meter_wh": "分项计量", "unmetered_wh": "未计量/损耗", "standard_coal_kgce": "折标准煤",
    "energy_wh": "本期量", "emission_ug": "排放", "electricity_ug": "电力排放", "heat_ug": "热力排放", "direct_ug": "直接排放",
    "excluding_ug": "合计（不含电热）", "including_ug": "合计（含电热）", "opening_wh": "期初", "closing_wh": "期末",
    "measured": "计量", "substituted": "数据替代", "reported": "上报", "estimated_wh": "估算形状", "factor_id": "因子",
    "factor_ug_per_wh": "因子", "outcome": "结论", "value": "值", "completeness": "完整率", "points_read": "实有点", "consumed": "消费",
    "purchased": "购进", "share": "占比", "accepted_wh": "计入", "consumed_wh": "用电量", "renewable_wh": "其中可再生",
    "journal_wh": "表计（由报文）", "ledger_wh": "各区间之和", "inflow_wh": "流入", "outflow_wh": "流出", "raw": "原始值",
    "base_wh": "一次侧", "count": "计数", "ct": "CT", "pt": "PT", "metered": "表计量", "difference": "偏差", "detail_zh": "说明",
    "max_demand_w": "最大需量", "numerator": "分子", "denominator": "分母", "amount": "数量", "opening": "上次示数", "closing": "本次示数",
    "multiplier": "倍率", "billed": "结算量", "loss": "变损线损", "adjusted": "退补", "expected": "应与表计相等", "start": "自",
    "end": "至", "grade_zh": "等级", "target": "目标",
}  # fmt: skip
"""Last word of it; what is not here stands in the path below the words."""
_KEYS = {
    "standard": "标准口径", "location_national": "位置法（全国）", "location_provincial": "位置法（省级）", "market": "市场法",
    "enterprise": "企业口径", "park": "园区口径", "electricity": "电力", "ordinary": "普通电力", "green_power": "绿电",
    "self_generated": "自发自用", "exported": "上网", "output": "工业总产值", "value_added": "工业增加值",
}  # fmt: skip
"""What a path's brackets name, besides fields."""
_KEY = re.compile(r"\[([^\]]*)\]")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:")
_EXACT = re.compile(r"-?[0-9]+(\.[0-9]+|/[0-9]+)?")
_NOTHING = {"null": "", "true": "是", "false": "否"}
_PLACES = {"tCO2": 6, "tce": 6, "kgCO2/kWh": 4, "%": 2, "": 4, "tce/万元": 6, "tCO2/万元": 6}
_AMOUNTS = frozenset(
    {
        "value", "numerator", "denominator", "target", "amount", "consumed", "purchased", "production_use", "other_use", "feedstock_use",
        "transport_use", "opening_stock", "closing_stock", "billed", "loss", "adjusted", "expected", "metered", "difference", "opening",
        "closing", "multiplier", "share", "completeness",
    }
)  # fmt: skip
"""Fields that are numbers, although their names tell no unit."""
_BARE = frozenset({"opening", "closing", "multiplier"})
"""Of a bill: what a display shows, before its multiplier."""


def changes(document: MonthDocument) -> Table:
    """T10; the days last."""
    columns = (
        Column("项目", "Item"),
        Column("单位", "Unit", 18),
        Column("原值", "Old", 32, "right"),
        Column("新值", "New", 32, "right"),
        Column("差值", "Difference", 28, "right"),
    )
    ordered = sorted(document.changes, key=_rank)
    printed = sum(_rank(change) < _PROOFS for change in ordered)
    reason = reason_text(document.reason or "")
    zh = f"第 {document.revision} 版；更正原因：{reason}。" if reason else "首版，无更正。"
    en = (
        f"Revision {document.revision}; reason: {reason}"
        if reason
        else "First revision, nothing was corrected."
    )
    named = _named(document)
    found = rows([_change(change, named) for change in ordered])
    return Table(
        "T10", "更正", "Corrections against the revision before", columns, found, zh, en, printed=printed
    )


def differing(
    document: MonthDocument, found: Iterable[Change]
) -> Iterator[tuple[Change, tuple[str, ...], bool]]:
    """Each change with the five cells of T10 as they are printed, in its order, and whether it only leads to the proof."""
    named = _named(document)
    for change in sorted(found, key=_rank):
        label, *cells = _change(change, named)
        words = label.zh if isinstance(label, Text) else label.plain
        yield change, (words, *(cell.plain for cell in cells)), _rank(change) == _PROOFS


_FIRST, _OTHER, _DAYS, _PROOFS = range(4)
_HEADLINES = frozenset({"energy", "energy_total", "emissions", "totals", "reported", "outcome"})
_TECHNICAL = re.compile(
    r"_ms$|_bracket\[|_en$|\.inputs\[|\.(segment|index|id|meter|kind|label_zh|formula|unit|energy)$|\.meters\[|\.evidence"
)


def _rank(change: Change) -> int:
    """What a reader looks for first; then the other figures, the days, and what only leads to the proof."""
    if _TECHNICAL.search(change.path):
        return _PROOFS
    head = _head(change.path)
    return _FIRST if head in _HEADLINES else _DAYS if head == "daily" else _OTHER


_Named = Mapping[tuple[str, str], tuple[str, str]]
"""(Section, id) → label and unit of the lines that bring both."""


def _named(document: MonthDocument) -> _Named:
    found = {("intensities", line.id): (line.label_zh, line.unit) for line in document.intensities}
    found |= {("production", line.id): (line.label_zh, line.unit) for line in document.production}
    found |= {("energy_types", line.id): (line.label_zh, line.unit) for line in document.energy_types}
    found |= {("grades", line.id): (line.label_zh, "") for line in document.grades}
    return found | {("bills", line.id): (line.id, line.unit) for line in document.bills}


def _change(change: Change, named: _Named) -> tuple[Cell, ...]:
    path = change.path
    unit, scale = _unit(path)
    counted = bool(unit)
    if not counted and _is_amount(path):
        counted, (unit, scale) = True, _of_line(path, named)
    label = text(_words(path, named), path, small=True)
    before, after = (_NOTHING.get(value, value) for value in (change.old, change.new))
    if not counted or not all(_EXACT.fullmatch(value) for value in (before, after) if value):
        return label, text(unit or None), _said(before), _said(after), text(None)
    places = _PLACES.get(unit, 3)
    old, new = (number(value or None, scale, places) for value in (before, after))
    known = old.value is not None and new.value is not None
    return label, text(unit or None), old, new, Number(_less(new, old) if known else None, places)


def _is_amount(path: str) -> bool:
    """Whether the value is a number, although the name of its field does not tell its unit."""
    return path.rsplit(".", 1)[-1] in _AMOUNTS and not path.startswith("checks")


def _of_line(path: str, named: _Named) -> tuple[str, int | Fraction]:
    head, last = _head(path), path.rsplit(".", 1)[-1]
    if last in {"share", "completeness"}:
        return "%", Fraction(1, 100)
    if last in _BARE or (head == "intensities" and last != "value"):
        return "", 1
    return named.get((head, next(iter(_KEY.findall(path)), "")), ("", ""))[1], 1


def _head(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _said(value: str) -> Text:
    shown = OUTCOMES[value][0] if value in OUTCOMES else moment(value) if _TIME.match(value) else value
    return text(shown, small=True)


def _less(new: Number, old: Number) -> Fraction:
    return (new.value or Fraction(0)) - (old.value or Fraction(0))


def _words(path: str, named: _Named) -> str:
    """`meters[gate/energy_import_total].energy_wh` is 表计 gate/正向有功电能：本期量."""
    head, last = _head(path), path.rsplit(".", 1)[-1]
    key = next(iter(_KEY.findall(path)), "")
    meter, _slash, total = key.rpartition("/")
    if total in READING_TYPES:
        key = f"{meter}/{READING_TYPES[total].label_zh}"
    label, _of = named.get((head, key), ("", ""))
    key = label or _KEYS.get(key) or _FIELDS.get(key, key)
    field = _FIELDS.get(_KEY.sub("", last), "")
    return f"{_PARTS.get(head, head)} {key}".strip() + (f"：{field}" if field and last != path else "")


def _unit(path: str) -> tuple[str, int | Fraction]:
    """The unit that is printed and how many of the document's it holds; an empty one where the value is no amount."""
    last = path.rsplit(".", 1)[-1]
    if path.startswith("reported[") and last in {"measured", "substituted", "reported"}:
        return _of_reported(_KEY.findall(path)[0])
    for suffix, unit, scale in (
        ("_ug", "tCO2", UG_PER_T),
        ("_kgce", "tce", 1000),
        ("_ug_per_wh", "kgCO2/kWh", 1_000_000),
        ("_w", "kW", 1000),
    ):
        if last.endswith(suffix) and "coefficient" not in last:
            return unit, scale
    return _of_total(_KEY.findall(path)) if last.endswith("_wh") else ("", 1)


def _of_total(keys: list[str]) -> tuple[str, int | Fraction]:
    """`_wh` of a total that is none of active energy counts in its own base unit."""
    total = keys[0].rpartition("/")[2] if keys else ""
    base = READING_TYPES[total].unit if total in READING_TYPES else "Wh"
    unit = DISPLAY_UNITS[base]
    return unit, UNITS[unit].factor


def _of_reported(key: str) -> tuple[str, int | Fraction]:
    if key.endswith("_kgce"):
        return "tce", 1000
    return _of_total([key]) if key.endswith("_wh") or "/" in key else ("tCO2", UG_PER_T)
