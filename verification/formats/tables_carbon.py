"""Tables T3 to T7 of the monthly report: fuels, heat, emissions, intensity, renewables."""

from collections.abc import Iterator

from verification.document import MonthDocument
from verification.formats import tables_declared
from verification.formats.cells import (
    BASES,
    KG_PER_T,
    NONE,
    UG_PER_T,
    VERIFIED,
    Badge,
    Cell,
    Column,
    Number,
    Table,
    Text,
    factor,
    number,
    percent,
    rows,
    text,
    tonnes,
    unit,
    wan_kwh,
)
from verification.lines import BudgetLine, EmissionTotals, FuelLine

BUDGET_STATES = {
    "green": ("预算内", "within"),
    "yellow": ("已用 ≥ 90 %", "90 % used"),
    "red": ("已超预算", "over"),
    "forecast_over": ("预测将超", "forecast over"),
    "unknown": ("未知", "unknown"),
}
METHODS = {
    "last_year_profile": ("按上年分布", "last year's profile"),
    "mean_of_months": ("按已关账月均值", "mean of months"),
    "none": (NONE, ""),
}


def tables(document: MonthDocument) -> Iterator[Table]:
    """T3 to T7, in order."""
    yield _t3(document)
    yield _t4(document)
    yield _t5(document)
    if document.enterprises:
        yield _t5_enterprises(document)
    yield from tables_declared.tables(document)
    yield _t6_production(document)
    yield _t6(document)
    yield _t6_grades(document)
    yield _t6_budgets(document)
    yield _t7(document)
    yield _t7_certificates(document)


def _t3(document: MonthDocument) -> Table:
    columns = (
        Column("燃料", "Fuel"),
        Column("活动数据", "Activity data", 26, "right"),
        Column("低位发热量", "NCV, GJ/unit", 34),
        Column("单位热值含碳量", "CC, tC/GJ", 34),
        Column("碳氧化率", "OF, %", 32),
        Column("tCO2", "Emission", 20, "right"),
    )
    return Table(
        "T3",
        "化石燃料燃烧排放",
        "Fuels",
        columns,
        rows([_fuel(line) for line in document.fuels]),
        "排放 = 活动数据 × 低位发热量 × 单位热值含碳量 × 碳氧化率 × 44/12；三个参数的来源分别列示。",
        "AD × NCV × CC × OF × 44/12; the source of each of the three parameters by itself.",
    )


def _fuel(line: FuelLine) -> tuple[Cell, ...]:
    activity = number(line.activity)
    return (
        text(line.label_zh, f"{line.label_en}, {unit(line.unit).zh}"),
        activity,
        text(line.ncv_gj_per_unit, line.ncv_source),
        text(line.carbon_tc_per_gj, line.carbon_source),
        text(line.oxidation_pct, line.oxidation_source),
        tonnes(line.emission_ug) if line.emission_ug is not None else text(line.missing_zh, line.missing_en),
    )


def _t4(document: MonthDocument) -> Table:
    columns = (
        Column("热力", "Heat"),
        Column("依据", "Basis", 20),
        Column("热量 GJ", "GJ", 28, "right"),
        Column("因子 tCO2/GJ", "Factor", 26, "right"),
        Column("因子来源", "Source", 46),
        Column("tCO2", "Emission", 22, "right", "={2}*{3}"),
    )
    found = [
        (
            text(h.label_zh, h.label_en),
            text(*BASES[h.basis]),
            number(h.heat_kj, 1_000_000),
            number(h.t_co2_per_gj, places=4),
            text(h.factor_source, VERIFIED.get(h.verified, (NONE, ""))[0], small=True),
            tonnes(h.emission_ug),
        )
        for h in document.heat
    ]
    return Table("T4", "购入热力排放", "Purchased heat", columns, rows(found))


def _t5(document: MonthDocument) -> Table:
    columns = (
        Column("口径", "Accounting"),
        Column("电力因子", "kgCO2/kWh", 18, "right"),
        Column("直接排放", "Direct", 18, "right"),
        Column("电力", "Electricity", 20, "right"),
        Column("热力", "Heat", 18, "right"),
        Column("合计（不含电热）", "Excl. both", 27, "right"),
        Column("合计（含电热）", "Incl. both", 25, "right", "={2}+{3}+{4}"),
    )
    found = [_totals(line) for line in document.totals] or list(_simple(document))
    return Table(
        "T5",
        "二氧化碳排放",
        "Emissions",
        columns,
        rows(found),
        "单位 tCO2。由未舍入值四舍五入；因四舍五入，分项之和可能不等于合计。主口径加粗，各口径并列，不相加。",
        "In tCO2, rounded half up from unrounded sums, so parts may not add up "
        "to the total. The methods stand side by side and are never added.",
    )


def _totals(line: EmissionTotals) -> tuple[Cell, ...]:
    label = Text(
        line.label_zh + ("（主口径）" if line.primary else ""),
        line.missing_en or line.label_en,
        strong=line.primary,
    )
    parts = (line.direct_ug, line.electricity_ug, line.heat_ug, line.excluding_ug)
    return (
        label,
        factor(line.factor_ug_per_wh),
        *(tonnes(part) for part in parts),
        tonnes(line.including_ug, strong=line.primary),
    )


def _simple(document: MonthDocument) -> Iterator[tuple[Cell, ...]]:
    """A month closed by a release that knew electricity alone."""
    for e in document.emissions:
        label = Text(
            e.label_zh + ("（主口径）" if e.primary else ""), e.missing_en or e.label_en, strong=e.primary
        )
        blank = Number(None, 2)
        yield (
            label,
            factor(e.factor_ug_per_wh),
            blank,
            tonnes(e.emission_ug),
            blank,
            blank,
            tonnes(e.emission_ug, strong=e.primary),
        )


def _t5_enterprises(document: MonthDocument) -> Table:
    columns = (
        Column("企业", "Enterprise"),
        Column("购入电量 万kWh", "Purchased, reported", 27, "right"),
        Column("其中替代 万kWh", "of which substituted", 25, "right"),
        Column("全国平均 tCO2", "National", 22, "right"),
        Column("省级平均 tCO2", "Provincial", 22, "right"),
        Column("结论", "Outcome", 36),
    )
    found = [
        (
            text(e.name, e.id),
            wan_kwh(e.reported_wh or e.purchased_wh),
            wan_kwh(e.substituted_wh),
            tonnes(e.emission_ug),
            tonnes(e.provincial_emission_ug),
            Badge(e.outcome),
        )
        for e in document.enterprises
    ]
    return Table("T5.1", "企业", "Enterprises", columns, rows(found))


def _t6_production(document: MonthDocument) -> Table:
    columns = (Column("指标", "Item"), Column("单位", "Unit", 40), Column("本月", "Month", 50, "right"))
    found = [(text(p.label_zh, p.label_en), text(p.unit), number(p.amount)) for p in document.production]
    return Table("T6.1", "产值与产量", "Output", columns, rows(found))


def _t6(document: MonthDocument) -> Table:
    columns = (
        Column("强度", "Intensity"),
        Column("单位", "Unit", 32),
        Column("本月", "Month", 24, "right"),
        Column("目标", "Target", 24, "right"),
        Column("上月", "Month before", 24, "right"),
        Column("上年同月", "Last year", 24, "right"),
    )
    found: list[tuple[Cell, ...]] = [
        (
            text(i.label_zh, i.label_en),
            text(i.unit),
            *(number(v, places=4) for v in (i.value, i.target, i.previous_month, i.last_year)),
        )
        for i in document.intensities
    ]
    return Table("T6.2", "强度", "Intensity", columns, rows(found))


def _t6_grades(document: MonthDocument) -> Table:
    columns = (
        Column("指标", "Item", 40),
        Column("值", "Value", 22, "right"),
        Column("等级", "Grade", 30),
        Column("规则与来源", "Rule, source"),
    )
    found = [
        (
            text(g.label_zh, g.label_en),
            number(g.value, places=4),
            text(g.grade_zh, g.grade_en),
            text(g.rule, g.source if g.official else f"{g.source} ours", small=True),
        )
        for g in document.grades
    ]
    return Table("T6.3", "碳效等级", "Carbon-efficiency grade", columns, rows(found))


def _t6_budgets(document: MonthDocument) -> Table:
    columns = (
        Column("预算", "Budget"),
        Column("年度", "Year's", 21, "right"),
        Column("累计使用", "Used", 21, "right"),
        Column("进度预算", "To date", 21, "right"),
        Column("年末预测", "Forecast", 21, "right"),
        Column("方法", "Method", 27),
        Column("状态", "State", 24),
    )
    return Table(
        "T6.4",
        "用能与碳排放预算",
        "Energy and carbon budgets",
        columns,
        rows([_budget(line) for line in document.budgets]),
    )


def _budget(line: BudgetLine) -> tuple[Cell, ...]:
    zh, en, scale = (
        ("用能预算 tce", "energy", KG_PER_T)
        if line.id == "energy"
        else ("碳排放预算 tCO2", "carbon", UG_PER_T)
    )
    figures = (line.budget, line.used, line.budget_to_date, line.forecast)
    return (
        text(f"{line.year} {zh}", f"{en}, {line.months_used} months"),
        *(number(value, scale) for value in figures),
        text(*METHODS[line.method]),
        text(*BUDGET_STATES[line.state]),
    )


def _t7(document: MonthDocument) -> Table:
    columns = (Column("可再生能源", "Renewables"), Column("万kWh", "", 50, "right"))
    r = document.renewable
    found: list[tuple[Cell, ...]] = []
    if r is not None:
        found = [
            (text("用电量（购入 + 光伏自用）", "Consumed"), wan_kwh(r.consumed_wh)),
            (text("其中可再生", "of which renewable"), wan_kwh(r.renewable_wh)),
            (text("占比 %", "share"), percent(r.share)),
        ]
    return Table("T7.1", "可再生能源利用", "Use of renewables", columns, rows(found))


def _t7_certificates(document: MonthDocument) -> Table:
    columns = (
        Column("编号", "Id", 34),
        Column("合同或证书", "Contract, certificates"),
        Column("生产月", "Produced", 20),
        Column("核销日", "Retired", 24),
        Column("数量 万kWh", "Amount", 24, "right"),
        Column("计入 万kWh", "Counted", 24, "right"),
    )
    found = [
        (
            text(c.id, "绿电 green power" if c.kind == "green_power" else "绿证 GEC"),
            text(c.label, c.refused_zh and f"不计入：{c.refused_zh}"),
            text(c.production_month),
            text(c.retired_on),
            wan_kwh(c.energy_wh),
            wan_kwh(c.accepted_wh),
        )
        for c in document.certificates
    ]
    return Table(
        "T7.2",
        "绿电合同与绿证",
        "Green-power contracts and certificates",
        columns,
        rows(found),
        "每张证书只用一次；1 张 = 1000 kWh；自生产月起两年内有效。",
        "Each certificate is used once; 1 is 1,000 kWh; valid for two years from its production month.",
    )
