"""Tables T1 (energy by kind) and T2 (electricity) of the monthly report; T2.7 and T2.8 are in tables_tariff.py."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from metering.reading_types import READING_TYPES
from verification.document import MeterLine, MonthDocument
from verification.formats import tables_reported, tables_tariff
from verification.formats.cells import (
    BASES,
    NONE,
    VERIFIED,
    Cell,
    Column,
    Number,
    Table,
    Text,
    factor,
    kwh,
    moment,
    number,
    percent,
    rows,
    tce,
    text,
    tonnes,
    unit,
    wan_kwh,
)
from verification.lines import EnergyLine, MeterFacts, PowerLine, YearMonth


def tables(document: MonthDocument) -> Iterator[Table]:
    """T1 and T2, in order."""
    yield _t1(document)
    yield _t1_uses(document)
    yield _t1_year(document)
    if document.reported:
        yield tables_reported.reported(document)
    yield _t2(document)
    yield _t2_boundary(document)
    yield _t2_meters(document)
    yield _t2_demand(document)
    yield _t2_parents(document)
    yield _t2_bills(document)
    yield from tables_tariff.tables(document)


def _t1(document: MonthDocument) -> Table:
    lines = [_energy(line) for line in document.energy_types]
    total = document.energy_total
    if total is not None:
        lines.append(
            (
                Text("综合能源消费量（当量值）", "Total, calorific value", strong=True),
                text("tce"),
                Number(None, 2),
                Number(None, 2),
                Number(None, 2),
                Number(None, 2),
                text(None),
                Number(None, 4),
                tce(total.standard_coal_kgce, strong=True),
            )
        )
    if total is not None and total.equal_value_kgce is not None:
        blank = (Number(None, 2),) * 4
        lines.append(
            (
                Text("综合能源消费量（等价值）", "Total, equal value"),
                text("tce"),
                *blank,
                text(None),
                Number(None, 4),
                tce(total.equal_value_kgce),
            )
        )
    columns = (
        Column("能源", "Energy"),
        Column("单位", "Unit", 14),
        Column("购进", "Purchased", 22, "right"),
        Column("消费", "Consumed", 22, "right"),
        Column("期初库存", "Opening", 18, "right"),
        Column("期末库存", "Closing", 18, "right"),
        Column("依据", "Basis", 16),
        Column("折标系数", "kgce/unit", 17, "right"),
        Column("折标准煤", "tce", 19, "right"),
    )
    return Table(
        "T1.1",
        "能源购进、消费与库存",
        "Energy purchased, consumed and in stock",
        columns,
        rows(lines),
        "耗能工质（水、压缩空气等）只列示，不计入合计；折标系数为当量值。",
        "Energy-carrying media are shown, never added. Coefficients are calorific values.",
        "T1.1",
    )


def _energy(line: EnergyLine) -> tuple[Cell, ...]:
    mark = "" if line.in_total else "（不计入）"
    zh, en = BASES[line.basis]
    return (
        text(line.label_zh + mark, line.label_en),
        unit(line.unit),
        number(line.purchased),
        number(line.consumed),
        number(line.opening_stock),
        number(line.closing_stock),
        text(zh, en),
        number(line.coefficient_kgce, places=4),
        tce(line.standard_coal_kgce if line.in_total else None),
    )


def _t1_uses(document: MonthDocument) -> Table:
    columns = (
        Column("能源", "Energy"),
        Column("单位", "Unit", 14),
        Column("工业生产", "Production", 24, "right"),
        Column("非生产", "Other", 22, "right"),
        Column("原料用", "Feedstock", 22, "right"),
        Column("运输", "Transport", 22, "right"),
        Column("折标系数来源", "Source of the coefficient", 44),
    )
    found = [
        (
            text(e.label_zh, e.label_en),
            unit(e.unit),
            number(e.production_use),
            number(e.other_use),
            number(e.feedstock_use),
            number(e.transport_use),
            text(e.coefficient_source, VERIFIED.get(e.coefficient_verified, (NONE, ""))[0], small=True),
        )
        for e in document.energy_types
    ]
    return Table("T1.2", "消费用途", "Uses", columns, rows(found))


def _t1_year(document: MonthDocument) -> Table:
    columns = (
        Column("月份", "Month"),
        Column("版次", "Revision", 22, "right"),
        Column("购入电量 万kWh", "Purchased", 32, "right"),
        Column("折标准煤 tce", "Standard coal", 30, "right"),
        Column("排放 tCO2", "As closed", 30, "right"),
        Column("按本月因子 tCO2", "Under this month's factor", 34, "right"),
    )
    lines: list[tuple[Cell, ...]] = [
        (
            text(m.month),
            text(_revision(document, m)),
            wan_kwh(m.purchased_wh),
            tce(m.standard_coal_kgce),
            tonnes(m.emission_ug),
            tonnes(m.restated_emission_ug),
        )
        for m in document.year
    ]
    lines.append(_so_far(document.year))
    names = {"previous_month": ("上月", "month before"), "last_year": ("上年同月", "same month last year")}
    for c in document.comparisons:
        zh, en = names[c.id]
        figures = (wan_kwh(c.purchased_wh), tce(c.standard_coal_kgce), tonnes(c.emission_ug), Number(None, 2))
        lines.append(
            (text(f"{zh} {c.month}", en), text(None if c.revision is None else f"r{c.revision}"), *figures)
        )
    return Table(
        "T1.3",
        "本年各月与对比",
        "The year's months, and what to compare with",
        columns,
        rows(lines),
        "尚未发生或未关账的月份显示“—”，不补零、不插值。",
        "A month that has not occurred or is not closed shows —: neither zero nor interpolated.",
    )


def _so_far(year: Sequence[YearMonth]) -> tuple[Cell, ...]:
    """The months that are closed, together; a month without a figure leaves its sum without one."""
    closed = [m for m in year if m.emission_ug is not None or m.purchased_wh is not None]
    sums = [
        None
        if not closed or None in told
        else str(sum(Fraction(value) for value in told if value is not None))
        for told in (
            [m.purchased_wh for m in closed],
            [m.standard_coal_kgce for m in closed],
            [m.emission_ug for m in closed],
            [m.restated_emission_ug for m in closed],
        )
    ]
    label = text(f"本年累计（已关账 {len(closed)} 个月）", "closed months together")
    return label, text(None), wan_kwh(sums[0]), tce(sums[1]), tonnes(sums[2]), tonnes(sums[3])


def _revision(document: MonthDocument, line: YearMonth) -> str | None:
    """The closed one; of the document's own month, its own."""
    revision = document.revision if line.month == document.month else line.revision
    return None if revision is None else f"r{revision}"


def _t2(document: MonthDocument) -> Table:
    columns = (
        Column("来源", "Source"),
        Column("方向", "Direction", 20),
        Column("电量 万kWh", "Energy", 26, "right"),
        Column("因子 kgCO2/kWh", "Factor", 26, "right"),
        Column("排放 tCO2", "Emission", 26, "right", "={2}*10000*{3}/1000"),
        Column("凭证", "Evidence", 40),
    )
    return Table(
        "T2.1",
        "电力来源",
        "Electricity by source",
        columns,
        rows([_power(line) for line in document.power]),
        "每千瓦时只在一行中出现；上网电量单列，不与购入电量相抵。零排放电量须有凭证，否则按购入计。",
        "Each kWh stands in one line; export is listed by itself and never netted. Power counts as zero only with evidence.",
    )


def _power(line: PowerLine) -> tuple[Cell, ...]:
    direction = ("购入", "in") if line.direction == "in" else ("输出", "out")
    return (
        text(line.label_zh, line.label_en),
        text(*direction),
        wan_kwh(line.energy_wh),
        factor(line.factor_ug_per_wh),
        tonnes(line.emission_ug),
        text("、".join(line.evidence), small=True),
    )


def _t2_boundary(document: MonthDocument) -> Table:
    e = document.energy
    found = [
        ("购入电量（按边界公式）", "Purchased, by the formula", e.purchased_wh),
        ("关口购入", "Grid import", e.grid_import_wh),
        ("转供出", "Resold", e.resold_wh),
        ("光伏发电", "PV generation", e.pv_generation_wh),
        ("上网", "Export", e.export_wh),
        ("光伏自用（发电 − 上网）", "PV self-use (generation − export)", e.pv_self_use_wh),
        ("其中：分项计量", "of which sub-metered", e.sub_meter_wh),
        ("未计量/损耗（总表 − 分表）", "Unmetered / losses (parents − children)", e.unmetered_wh),
    ]
    columns = (
        Column("项目", "Item"),
        Column("电量 万kWh", "万kWh", 40, "right"),
        Column("电量 kWh", "kWh", 50, "right"),
    )
    return Table(
        "T2.2",
        "边界电量",
        "Electricity at the boundary",
        columns,
        rows([(text(zh, en), wan_kwh(wh), kwh(wh)) for zh, en, wh in found]),
        "计量值，不含数据替代；上报值见 T1.4。",
        "As measured, without substitutions; what is reported stands in T1.4.",
    )


def _t2_meters(document: MonthDocument) -> Table:
    facts = {fact.meter: fact for fact in document.meter_facts}
    columns = (
        Column("表计", "Meter"),
        Column("计量量、角色", "Total, role", 27),
        Column("CT × PT", "Ratio", 23),
        Column("期初", "Opening", 25, "right"),
        Column("期末", "Closing", 25, "right"),
        Column("本月", "Month", 25, "right"),
        Column("tCO2", "Emission", 17, "right"),
    )
    return Table(
        "T2.3",
        "表计底数",
        "Meter readings",
        columns,
        rows([_meter(line, facts.get(line.meter)) for line in document.meters]),
        "一次侧累计底数，单位 kWh（水 m³、热 MJ）；tCO2 按主口径因子。变比未证实：登记册中没有互感器变比的证明文件。",
        "Totals on the primary side in kWh (water m³, heat MJ). Unproven: no document in the registry proves the transformer ratios.",
    )


def _meter(line: MeterLine, facts: MeterFacts | None) -> tuple[Cell, ...]:
    kind = READING_TYPES[line.reading_type]
    shown = _ratio(line, facts)
    transformed = shown not in {"1 × 1", "1"} and line.unit in {"Wh", "varh"}
    state = "变比未证实 unproven" if transformed and not (facts and facts.ratio_proof) else ""
    pending = "（待判 pending）" if line.pending else ""
    return (
        text(line.meter + pending, line.name),
        text(kind.label_zh, line.role_zh),
        text(shown, state),
        kwh(line.opening_wh),
        kwh(line.closing_wh),
        kwh(line.energy_wh),
        tonnes(line.emission_ug),
    )


def _ratio(line: MeterLine, facts: MeterFacts | None) -> str:
    """The ratio at commissioning, or what was declared since and applied to this month."""
    first = Fraction(line.ct) * Fraction(line.pt)
    applied = facts.applied_ratios if facts and line.unit in {"Wh", "varh"} else ()
    if not applied or [Fraction(ratio) for ratio in applied] == [first]:
        return f"{line.ct} × {line.pt}"
    return " → ".join(applied)


def _t2_demand(document: MonthDocument) -> Table:
    columns = (
        Column("表计", "Meter"),
        Column("最大需量 kW", "Largest demand", 36, "right"),
        Column("时刻", "At", 56),
        Column("功率因数", "cosφ", 30, "right"),
    )
    found = [
        (text(m.meter), number(m.max_demand_w, 1000), text(moment(m.max_demand_at)), number(m.power_factor))
        for m in document.meter_facts
        if m.max_demand_w is not None or m.power_factor is not None
    ]
    return Table(
        "T2.4",
        "最大需量与功率因数",
        "Largest demand and power factor",
        columns,
        rows(found),
        "需量为 15 分钟电量 × 4（区间法，不大于滑差值）；功率因数 = P/√(P²+Q²)，月度。",
        "Demand is 15-minute energy × 4 (block method, never above the sliding one); cosφ over the month.",
    )


def _t2_parents(document: MonthDocument) -> Table:
    columns = (
        Column("总表", "Parent"),
        Column("流入 kWh", "In", 38, "right"),
        Column("流出 kWh", "Out", 38, "right"),
        Column("未计量/损耗 kWh", "Unmetered", 38, "right", "={1}-{2}"),
    )
    found = [
        (text(p.parent, p.name), kwh(p.inflow_wh), kwh(p.outflow_wh), kwh(p.unmetered_wh))
        for p in document.parents
    ]
    return Table("T2.5", "总表与分表", "Parents and children", columns, rows(found))


def _t2_bills(document: MonthDocument) -> Table:
    columns = (
        Column("票据", "Bill", 26),
        Column("抄表期", "Reading dates", 34),
        Column("倍率", "Multiplier", 15, "right"),
        Column("计费量", "Billed", 24, "right"),
        Column("损耗", "Losses", 18, "right"),
        Column("退补", "Adjusted", 18, "right"),
        Column("表计", "Metered", 24, "right"),
        Column("偏差", "Difference", 0, "right"),
    )
    found = [
        (
            text(b.id, b.meter),
            text(f"{b.start} → {b.end}", b.unit),
            number(b.multiplier, places=0),
            number(b.billed),
            number(b.loss),
            number(b.adjusted),
            number(b.metered),
            percent(b.share, 2),
        )
        for b in document.bills
    ]
    return Table(
        "T2.6",
        "与结算票据核对",
        "Against utility bills",
        columns,
        rows(found),
        "按票据自己的抄表日、计量点和倍率比较，扣除变损/线损和退补电量；偏差单位 %。",
        "Over the bill's own reading dates and multiplier, less losses and adjustments; the difference in %.",
    )
