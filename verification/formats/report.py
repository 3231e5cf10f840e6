"""The monthly report as one value: what stands on its cover, its tables, its charts. A pure function of the stored row."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from storage.months import MonthRow, verification_code
from verification.accounting.history import purchased_of
from verification.accounting.reported import PURCHASED
from verification.document import EmissionLine, MonthDocument, half_up, parse
from verification.formats import tables_carbon, tables_energy, tables_quality
from verification.formats.cells import (
    NONE,
    Number,
    Table,
    moment,
    tce,
    tonnes,
    wan_kwh,
)
from verification.lines import EmissionTotals
from verification.restate import reason_text

TITLE_ZH, TITLE_EN = "月度动态核查报告", "Monthly dynamic verification report"
NOTE_ZH = (
    "万kWh、tce、tCO2 均由未舍入值四舍五入，因四舍五入，分项之和可能不等于合计。进线与上网不相抵，分项不与总表相加。"
    "“—”表示未确定、未提供或尚未发生，不是零。排放因子与折标系数为转录、未核对原件。"
    "本报告为月度核查结果，不是 GB/T 32151 规定的年度核算报告。"
)
NOTE_EN = (
    "Figures are rounded half up from unrounded sums, so parts may not add up to the total. Import and export are not netted; "
    "sub-meters are not added to their parent. — is not determined, not given or not yet, never zero. Factors and coefficients are "
    "transcribed, their originals not checked. This is a monthly result, not an annual report under GB/T 32151."
)
GROUPS = {
    "T1": ("能源", "Energy"), "T2": ("电力", "Electricity"), "T3": ("化石燃料", "Fuels"), "T4": ("热力", "Heat"),
    "T5": ("二氧化碳排放", "Emissions"), "T6": ("强度、等级与预算", "Intensity, grades, budgets"), "T7": ("可再生能源", "Renewables"),
    "T8": ("数据质量", "Data quality"), "T9": ("异常", "Events"), "T10": ("更正", "Corrections"), "T11": ("核查", "Verification"),
    "T12": ("签署", "Sign-off"), "A": ("附录 A 排放因子", "Emission factors"), "B": ("附录 B 平衡", "Balance"),
    "C": ("附录 C 原始读数", "Raw readings"), "D": ("附录 D 凭证", "Proofs"),
}  # fmt: skip
"""Headings of level 1."""


@dataclass(frozen=True)
class Report:
    """A stored revision as its reports say it."""

    row: MonthRow

    @cached_property
    def document(self) -> MonthDocument:
        return parse(self.row.document)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """T1 to T11."""
        document = self.document
        found = (tables_energy, tables_carbon, tables_quality)
        return tuple(table for module in found for table in module.tables(document))

    @cached_property
    def appendices(self) -> tuple[Table, ...]:
        return tuple(tables_quality.appendices(self.document))

    @property
    def code(self) -> str:
        return verification_code(self.row.digest)

    @property
    def title(self) -> str:
        year, month = self.document.month.split("-")
        return f"{year} 年 {int(month)} 月{TITLE_ZH}"

    def cover(self) -> list[tuple[str, str, str]]:
        """T0: Chinese label, English label, what stands there."""
        d = self.document
        return [
            ("园区", "park", f"{d.park.name} {d.park.name_en}".strip()),
            *self._who(),
            ("核算期", "period", f"{d.start[:10]} 00:00 — {d.end[:10]} 00:00（{d.zone}）"),
            ("版次", "revision", f"第 {d.revision} 版" + (f"；{reason_text(d.reason)}" if d.reason else "")),
            ("核算边界", "boundary", d.facts.boundary or self.formula()),
            ("核算标准", "standard", d.facts.standard or NONE),
            ("因子口径", "factor policy", "；".join(self._policies())),
            ("联系人", "contact", f"{d.facts.contact} {d.facts.phone}".strip() or NONE),
            ("生成时刻", "generated at", f"{moment(d.closed_at)}（关账时刻，{d.zone} time of the close）"),
            ("数据摘要", "data hash, SHA-256", self.row.digest),
        ]

    def _who(self) -> list[tuple[str, str, str]]:
        d = self.document
        if d.scope.kind == "park":
            return [("园区编号", "park id", d.scope.id), ("省级因子地区", "province", d.park.grid_scope)]
        code = d.scope.credit_code or "未登记 not in the registry"
        return [
            ("企业", "enterprise", f"{d.scope.name} {d.scope.name_en}".strip()),
            ("统一社会信用代码", "credit code", code),
            ("行业代码", "industry (GB/T 4754)", d.facts.industry or NONE),
        ]

    def _policies(self) -> list[str]:
        lines: Sequence[EmissionTotals | EmissionLine] = self.document.totals or self.document.emissions
        return [f"{line.label_zh}{'（主口径）' if line.primary else ''}" for line in lines]

    def formula(self) -> str:
        """The boundary over meter roles, in words."""
        terms = [f"{'−' if t.sign < 0 else '+'} {t.label_zh} {t.label_en}" for t in self.document.formula]
        return " ".join(terms).removeprefix("+ ")

    def headline(self) -> list[tuple[str, str, Number, str]]:
        """The figures that a reader looks for first: label, English, figure, unit."""
        d = self.document
        energy = d.energy_total.standard_coal_kgce if d.energy_total else d.energy.standard_coal_kgce
        bought, more = wan_kwh(purchased_of(d)), self._substituted()
        first: list[tuple[str, str, Number, str]] = [
            (f"购入电量{more and '（含数据替代）'}", f"Purchased electricity{more}", bought, "万kWh"),
            ("综合能源消费量（当量值）", "Energy, calorific value", tce(energy), "tce"),
        ]
        if d.totals:
            chosen = sorted(d.totals, key=lambda line: not line.primary)[:2]
            return first + [(t.label_zh, t.label_en, tonnes(t.including_ug), "tCO2") for t in chosen]
        lines = sorted(d.emissions, key=lambda line: not line.primary)
        return first + [(e.label_zh, e.label_en, tonnes(e.emission_ug), "tCO2") for e in lines]

    def _substituted(self) -> str:
        """That some of the purchased electricity was; empty where none was."""
        line = next((line for line in self.document.reported if line.id == PURCHASED), None)
        return ", with substitutions" if line is not None and line.substituted != "0" else ""

    def composition(self) -> list[tuple[str, str, Fraction, str]]:
        """Parts of the primary total: label, English, µg, share as text; empty when one is not determined."""
        primary = next((t for t in self.document.totals if t.primary), None)
        if primary is None:
            return []
        parts = [
            ("直接排放", "direct", primary.direct_ug),
            ("电力", "electricity", primary.electricity_ug),
            ("热力", "heat", primary.heat_ug),
        ]
        if any(ug is None for *_labels, ug in parts):
            return []
        known = [(zh, en, Fraction(ug or 0)) for zh, en, ug in parts]
        whole = sum(ug for *_labels, ug in known)
        return (
            [(zh, en, ug, f"{half_up(ug * 100 / whole, 1)} %") for zh, en, ug in known if ug] if whole else []
        )
