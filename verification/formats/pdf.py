"""The PDF: every figure becomes text here, exactly; the typst template only lays text out.

Data reaches the template through `sys_inputs` alone, where nothing in a name can become markup.
"""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import typst
from noto_cjk_sans_otc import FONT_PATH

from metering.reading_types import READING_TYPES
from storage.months import MonthRow
from verification.document import (
    Change,
    CheckLine,
    Energy,
    FactorLine,
    MeterLine,
    MonthDocument,
    exact_decimal,
    half_up,
    parse,
)
from verification.formats.chart import daily_chart

TEMPLATE = Path(__file__).with_name("report.typ")
WH_PER_WAN_KWH = 10_000_000
UG_PER_T = 10**12
KG_PER_T = 1000
WH_PER_KWH = 1000
NONE = "—"
CHANGES_SHOWN = 60
"""The JSON has all of them."""

OUTCOMES = {
    "PASS": ("通过", "Pass"),
    "PASS_WITH_FINDINGS": ("通过，有需说明事项", "Pass with findings"),
    "FINDING": ("需说明", "Finding"),
    "FAIL": ("不通过", "Fail"),
    "INSUFFICIENT_DATA": ("数据不足", "Insufficient data"),
}
VERIFIED = {
    "two_sources": (
        "两个独立来源转录一致，未核对原件",
        "transcribed alike by two sources, original not checked",
    ),
    "one_source": ("单一来源转录，未核对原件", "transcribed from one source, original not checked"),
    "unverified": ("未核实", "not verified"),
    "by_definition": ("按规则，无数值可转录", "by rule, no value to transcribe"),
}
USES = {
    "enterprise": ("企业口径", "enterprise"),
    "park": ("园区口径", "park"),
    "pv_generation": ("光伏自发自用", "PV self-use"),
    "export": ("上网", "export"),
}


def render(row: MonthRow) -> bytes:
    """The PDF of a stored revision."""
    document = parse(row.document)
    inputs = {
        "view": json.dumps(_view(document, row.digest), ensure_ascii=False),
        "chart": daily_chart(document.daily).decode(),
    }
    return typst.compile(
        str(TEMPLATE),
        root=str(TEMPLATE.parent),
        font_paths=[str(Path(str(FONT_PATH)).parent)],
        ignore_system_fonts=True,
        format="pdf",
        sys_inputs=inputs,
    )


def kwh(wh: str | None) -> str:
    """Exact kWh with three places, which a Wh always has."""
    return NONE if wh is None else half_up(Fraction(int(wh), WH_PER_KWH), 3)


def wan_kwh(wh: str | None) -> str:
    """万kWh, two places, half up."""
    return NONE if wh is None else half_up(Fraction(int(wh), WH_PER_WAN_KWH), 2)


def tonnes(ug: str | None) -> str:
    """TCO2, two places, half up."""
    return NONE if ug is None else half_up(Fraction(int(ug), UG_PER_T), 2)


def percent(part: int, whole: int) -> str:
    """Two places, rounded down: 100.00 % means all of it."""
    return f"{half_up(Fraction(part * 10_000 // whole, 100), 2)} %"


def _view(document: MonthDocument, digest: str) -> dict[str, Any]:
    plain = msgspec.to_builtins(document)
    primary = next(line for line in document.emissions if line.primary)
    other = next(line for line in document.emissions if not line.primary)
    return {
        "scope": plain["scope"],
        "park": plain["park"],
        "month": document.month,
        "zone": document.zone,
        "start": document.start,
        "end": document.end,
        "revision": str(document.revision),
        "reason": document.reason or "",
        "closed_at": document.closed_at,
        "digest": digest,
        "journal": {key: str(value) for key, value in plain["journal"].items()},
        "outcome": _outcome(document.outcome),
        "formula": _formula(document),
        "headline": [
            ["购入电量", "Purchased electricity", wan_kwh(document.energy.purchased_wh), "万kWh"],
            ["折标准煤（当量值）", "Standard coal", _tce(document.energy), "tce"],
            [primary.label_zh, primary.label_en, tonnes(primary.emission_ug), "tCO2"],
            [other.label_zh, other.label_en, tonnes(other.emission_ug), "tCO2"],
        ],
        "energy": list(_energy_rows(document)),
        "coal_factor": document.energy.standard_coal_kgce_per_kwh,
        "emissions": [_emission_row(line) for line in plain["emissions"]],
        "undetermined_days": sum(line.energy_wh is None for line in document.daily),
        "meters": [_meter_row(line) for line in document.meters],
        "balances": [_balance_row(line) for line in document.meters],
        "all_equal": all(line.balance.equal for line in document.meters),
        "parents": [
            [p.name or p.parent, kwh(p.inflow_wh), kwh(p.outflow_wh), kwh(p.unmetered_wh)]
            for p in document.parents
        ],
        "brackets": [item for line in document.meters for item in _bracket_rows(line)],
        "factors": [_factor_row(line) for line in document.factors],
        "enterprises": [
            [
                e.name,
                wan_kwh(e.purchased_wh),
                tonnes(e.emission_ug),
                tonnes(e.provincial_emission_ug),
                _outcome(e.outcome),
            ]
            for e in document.enterprises
        ],
        "checks": [_check_row(line) for line in document.checks],
        "changes": [
            [c.path, c.old or NONE, c.new or NONE] for c in _days_last(document.changes)[:CHANGES_SHOWN]
        ],
        "changes_count": str(len(document.changes)),
    }


def _days_last(changes: Sequence[Change]) -> list[Change]:
    """What a reader looks for first: the month's figures, then the meters', then the days'."""
    return sorted(changes, key=lambda change: change.path.startswith("daily["))


def _outcome(code: str) -> dict[str, str]:
    zh, en = OUTCOMES[code]
    return {"code": code, "zh": zh, "en": en}


def _formula(document: MonthDocument) -> str:
    terms = [f"{'−' if t.sign < 0 else '+'} {t.label_zh} {t.label_en}" for t in document.formula]
    return " ".join(terms).removeprefix("+ ")


def _tce(energy: Energy) -> str:
    coal = energy.standard_coal_kgce
    return NONE if coal is None else half_up(Fraction(coal) / KG_PER_T, 2)


def _energy_rows(document: MonthDocument) -> Iterator[list[Any]]:
    """Label, English, 万kWh, tce, tCO2 under the primary factor, and whether it is the result."""
    e = document.energy
    yield _carbon_row(document, "关口购入", "Grid import", e.grid_import_wh)
    yield _carbon_row(document, "转供出", "Resold", e.resold_wh)
    yield [
        *_carbon_row(document, "购入电量（按边界公式）", "Purchased, by the formula", e.purchased_wh)[:5],
        True,
    ]
    yield _plain_row("光伏发电", "PV generation", e.pv_generation_wh)
    yield _plain_row("上网", "Export", e.export_wh)
    yield _plain_row("光伏自用（发电 − 上网）", "PV self-use (generation − export)", e.pv_self_use_wh)
    yield _plain_row("其中：分项计量", "of which sub-metered", e.sub_meter_wh)
    yield _plain_row("未计量/损耗（总表 − 分表）", "Unmetered / losses (parents − children)", e.unmetered_wh)


def _plain_row(zh: str, en: str, wh: str | None) -> list[Any]:
    return [zh, en, wan_kwh(wh), "", "", False]


def _carbon_row(document: MonthDocument, zh: str, en: str, wh: str | None) -> list[Any]:
    factor = next(line.factor_ug_per_wh for line in document.emissions if line.primary)
    if wh is None:
        return [zh, en, NONE, NONE, NONE, False]
    coal = Fraction(int(wh), WH_PER_KWH) * Fraction(document.energy.standard_coal_kgce_per_kwh) / KG_PER_T
    carbon = NONE if factor is None else half_up(int(wh) * Fraction(factor) / UG_PER_T, 2)
    return [zh, en, wan_kwh(wh), half_up(coal, 2), carbon, False]


def _emission_row(line: dict[str, Any]) -> dict[str, Any]:
    factor = line["factor_ug_per_wh"]
    return {
        **line,
        "energy": wan_kwh(line["energy_wh"]),
        "factor": NONE if factor is None else exact_decimal(Fraction(factor) / 1_000_000),
        "emission": tonnes(line["emission_ug"]),
    }


def _meter_row(line: MeterLine) -> dict[str, Any]:
    kind = READING_TYPES[line.reading_type]
    return {
        "meter": line.meter,
        "name": line.name,
        "profile": line.profile,
        "kind_zh": kind.label_zh,
        "kind_en": kind.label_en,
        "role": f"{line.role_zh} {line.role_en}",
        "ratio": f"{line.ct} × {line.pt}",
        "unit": "kWh" if line.unit == "Wh" else f"10³ {line.unit}",
        "opening": kwh(line.opening_wh),
        "closing": kwh(line.closing_wh),
        "energy": kwh(line.energy_wh),
        "estimated": kwh(line.estimated_wh) if line.estimated_wh != "0" else "",
        "emission": tonnes(line.emission_ug),
        "complete": percent(line.points_read, line.points_expected),
        "points": f"{line.points_read} / {line.points_expected}",
        "pending": line.pending,
    }


def _balance_row(line: MeterLine) -> list[Any]:
    kind, found = READING_TYPES[line.reading_type], line.balance
    return [line.meter, kind.label_zh, kwh(found.ledger_wh), kwh(found.journal_wh), found.equal]


def _bracket_rows(line: MeterLine) -> Iterator[list[str]]:
    kind = READING_TYPES[line.reading_type].label_zh
    edges = (("期初 start", line.balance.opening_bracket), ("期末 end", line.balance.closing_bracket))
    for edge, pair in edges:
        # A reading on the edge stands on both sides of it: once is enough.
        for item in dict.fromkeys(pair):
            place = f"{item.segment}/{item.index}"
            yield [line.meter, kind, edge, item.t, item.raw, item.count, kwh(item.base_wh), place]


def _factor_row(line: FactorLine) -> dict[str, Any]:
    zh, en = VERIFIED[line.verified]
    use_zh, use_en = USES[line.use]
    return {
        "use": f"{use_zh} {use_en}",
        "id": line.id,
        "label_zh": line.label_zh,
        "label_en": line.label_en,
        "value": line.value_kg_per_kwh,
        "notice": line.notice or NONE,
        "published": line.published or NONE,
        "mark_zh": zh,
        "mark_en": en,
    }


def _check_row(line: CheckLine) -> dict[str, Any]:
    return {**msgspec.to_builtins(line), "outcome": _outcome(line.outcome), "meters": "、".join(line.meters)}
