"""Tables T8 to T11 of the monthly report and its appendices: data quality, events, corrections, checks, proofs."""

from collections.abc import Iterator
from fractions import Fraction

from metering.reading_types import READING_TYPES
from verification.document import CheckLine, FactorLine, MeterLine, MonthDocument
from verification.formats import tables_changes, tables_reported
from verification.formats.cells import (
    NONE,
    VERIFIED,
    Badge,
    Cell,
    Column,
    Number,
    Table,
    Text,
    kwh,
    moment,
    rows,
    text,
)

USES = {
    "enterprise": ("企业口径", "enterprise"),
    "park": ("园区口径", "park"),
    "pv_generation": ("光伏自发自用", "PV self-use"),
    "export": ("上网", "export"),
}


def tables(document: MonthDocument) -> Iterator[Table]:
    """T8 to T11, in order."""
    yield _t8(document)
    yield _t8_records(document)
    yield _t9(document)
    yield tables_changes.changes(document)
    if document.substitutions:
        yield tables_reported.substitutions(document)
    yield _t11(document)


def appendices(document: MonthDocument) -> Iterator[Table]:
    """A: factors, B: balance, C: raw readings."""
    yield _factors(document)
    yield _balance(document)
    yield _readings(document)


def _t8(document: MonthDocument) -> Table:
    gaps = {fact.meter: fact.longest_gap_minutes for fact in document.meter_facts}
    columns = (
        Column("表计", "Meter"),
        Column("计量量", "Total", 34),
        Column("应有点", "Expected", 18, "right"),
        Column("实有点", "Read", 18, "right"),
        Column("完整率 %", "Complete", 20, "right", "=ROUNDDOWN({3}/{2}*100,2)"),
        Column("最长缺口 min", "Longest gap", 24, "right"),
        Column("估算形状 kWh", "Estimated shape", 28, "right"),
    )
    found = [_quality(line, gaps.get(line.meter)) for line in document.meters]
    return Table(
        "T8.1",
        "数据质量",
        "Data quality",
        columns,
        rows(found),
        "完整率向下取两位：100.00 % 即全部。插补点不计入；“估算形状”的电量本身由其后的底数确定。"
        "官方限值 90 %（重点用能单位能耗在线监测）。",
        "Rounded down: 100.00 % is all of it. Interpolated points never count; where "
        "the shape is estimated, the energy is exact. Official limit 90 %.",
    )


def _quality(line: MeterLine, gap: int | None) -> tuple[Cell, ...]:
    share = Fraction(line.points_read * 10_000 // line.points_expected, 100) if line.points_expected else None
    return (
        text(line.meter, line.name),
        text(READING_TYPES[line.reading_type].label_zh),
        Number(Fraction(line.points_expected), 0),
        Number(Fraction(line.points_read), 0),
        Number(share, 2),
        Number(None if gap is None else Fraction(gap), 0),
        kwh(line.estimated_wh),
    )


def _t8_records(document: MonthDocument) -> Table:
    columns = (
        Column("表计", "Meter"),
        Column("表号", "Serial", 28),
        Column("型号", "Model", 28),
        Column("等级", "Class", 15),
        Column("检定日", "Calibrated", 22),
        Column("有效至", "Until", 22),
        Column("变比证明", "Ratio proof", 34),
    )
    found = [
        (
            text(m.meter),
            text(m.serial),
            text(m.model),
            text(m.accuracy_class),
            text(m.calibrated_on),
            text(m.calibrated_until),
            text(m.ratio_proof, small=True) if m.ratio_proof else Text("变比未证实", "unproven"),
        )
        for m in document.meter_facts
    ]
    return Table("T8.2", "计量器具台账", "Meter records", columns, rows(found))


def _t9(document: MonthDocument) -> Table:
    columns = (
        Column("表计", "Meter", 36),
        Column("事件", "Event"),
        Column("次数", "Count", 16, "right"),
        Column("最早", "First", 42),
        Column("最晚", "Last", 42),
    )
    found = [
        (
            text(e.meter),
            text(e.label_zh, e.label_en),
            Number(Fraction(e.count), 0),
            text(moment(e.first_at)),
            text(moment(e.last_at)),
        )
        for e in document.events
    ]
    return Table("T9", "异常事件", "Events", columns, rows(found))


def _t11(document: MonthDocument) -> Table:
    columns = (
        Column("编号", "Id", 12),
        Column("校核", "Check"),
        Column("结果值", "Found", 26),
        Column("阈值与来源", "Threshold, source", 42),
        Column("结论", "Outcome", 30),
    )
    return Table(
        "T11",
        "核查",
        "Verification",
        columns,
        rows([_check(line) for line in document.checks]),
        "阈值来源标为 official 的出自所列文件，标为 ours 的为本系统规则。",
        "A threshold marked official comes from the source named; one marked ours is this system's rule.",
    )


def _check(line: CheckLine) -> tuple[Cell, ...]:
    meters = f"；涉及表计：{'、'.join(line.meters)}" if line.meters else ""
    formula = f"【{line.formula}】" if line.formula else ""
    return (
        text(line.id),
        Text(
            f"{line.title_zh}：{line.detail_zh}{meters}",
            f"{line.title_en}: {line.detail_en} {formula}".strip(),
            small=True,
        ),
        text(line.value, small=True),
        text(line.threshold, line.threshold_source, small=True),
        Badge(line.outcome),
    )


def _factors(document: MonthDocument) -> Table:
    columns = (
        Column("用途", "Use", 22),
        Column("因子", "Factor"),
        Column("kgCO2/kWh", "", 20, "right"),
        Column("公告与发布日", "Notice, published", 52),
        Column("核对", "Verified", 40),
    )
    return Table(
        "A",
        "排放因子",
        "Emission factors",
        columns,
        rows([_factor(line) for line in document.factors]),
        "数值为转录、未核对原件：尚无人将公告原件附入本系统。因子按月选定，以关账日已发布者为准，月中发布的公告不拆分本月。",
        "Values are transcribed; nobody has attached the official originals yet. One "
        "factor per calendar month, of those published by the day of the close.",
    )


def _factor(line: FactorLine) -> tuple[Cell, ...]:
    return (
        text(*USES[line.use]),
        text(line.label_zh, line.id),
        text(line.value_kg_per_kwh),
        text(line.notice, line.published or NONE, small=True),
        text(*VERIFIED[line.verified], small=True),
    )


def _balance(document: MonthDocument) -> Table:
    columns = (
        Column("表计", "Meter"),
        Column("计量量", "Total", 36),
        Column("各区间之和 kWh", "Σ intervals", 36, "right"),
        Column("表计（由报文） kWh", "Meter, by frames", 36, "right"),
        Column("结果", "Result", 26),
    )
    found = [
        (
            text(m.meter),
            text(READING_TYPES[m.reading_type].label_zh),
            kwh(m.balance.ledger_wh),
            kwh(m.balance.journal_wh),
            text("一致", "equal") if m.balance.equal else Text("不一致", "not equal", strong=True),
        )
        for m in document.meters
    ]
    return Table(
        "B",
        "平衡：各区间之和 = 表计",
        "Balance: the sum of the intervals equals the meter",
        columns,
        rows(found),
        "左：台账中各 15 分钟区间之和；右：由月界前后的原始报文独立重算。",
        "Left: stored intervals. Right: recomputed from the raw frames around both month edges, independently.",
    )


def _readings(document: MonthDocument) -> Table:
    columns = (
        Column("表计", "Meter"),
        Column("月界", "Edge", 16),
        Column("读数时刻", "Time", 44),
        Column("原始值", "Raw", 30, "right"),
        Column("一次侧 kWh", "Primary side", 28, "right"),
        Column("日志", "Place", 18, "right"),
    )
    found = [row for line in document.meters for row in _brackets(line)]
    return Table(
        "C",
        "月界前后的原始读数",
        "Raw readings around the month's edges",
        columns,
        rows(found),
        "“日志”为该报文在日志中的位置（段/序）。两侧各有一条读数时，月界底数按时间线性取整；恰在月界的读数只列一次。",
        "Place: segment/index in the journal. With a reading on each side the total at the edge is linear in time, rounded down.",
    )


def _brackets(line: MeterLine) -> Iterator[tuple[Cell, ...]]:
    edges = (("期初", "start", line.balance.opening_bracket), ("期末", "end", line.balance.closing_bracket))
    for zh, en, pair in edges:
        # A reading on the edge stands on both sides of it: once is enough.
        for item in dict.fromkeys(pair):
            kind = READING_TYPES[line.reading_type].label_zh
            yield (
                text(line.meter, kind),
                text(zh, en),
                text(moment(item.t), small=True),
                text(item.raw, small=True),
                kwh(item.base_wh),
                text(f"{item.segment}/{item.index}", small=True),
            )
