"""Tables T2.7 (energy by time-of-use period) and T2.8 (the calendars): only where a calendar is declared."""

import re
from collections.abc import Iterator

from factors.tariffs import parsed
from metering.periods import PERIOD_LABELS, PLAIN, Period
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
    percent,
    rows,
    text,
)
from verification.tariff_lines import PeriodLine, TariffLine

KINDS = {"workday": "工作日", "weekend": "周末", "holiday": "节假日", "hot": "高温日"}
_UNCOVERED = ("无日历", "no calendar")


def tables(document: MonthDocument) -> Iterator[Table]:
    """T2.7 and T2.8."""
    if document.periods:
        yield _energy(document)
    if document.tariffs:
        yield _calendars(document)


def _energy(document: MonthDocument) -> Table:
    columns = (
        Column("范围", "Scope, meter"),
        Column("时段", "Period", 20),
        Column("电量 kWh", "Energy", 30, "right"),
        Column("占比 %", "Share", 15, "right"),
        Column("其中估计 kWh", "of it estimated", 25, "right"),
        Column("最大需量 kW", "Largest demand", 24, "right"),
        Column("时刻", "At", 28),
    )
    return Table(
        "T2.7",
        "分时电量（尖峰平谷深谷）",
        "Energy by time-of-use period",
        columns,
        rows([_line(line) for line in document.periods]),
        "每个 15 分钟区间只属于一个时段，各时段之和等于本月电量；估计：缺数期间总量准确、时段归属为估计。需量按计量点，15 分钟区间法。",
        "Each 15-minute interval belongs to one period and the periods add up to the month. Estimated: within gaps the sum is exact, "
        "its periods are not. Demand by metering point, block method.",
    )


def _line(line: PeriodLine) -> tuple[Cell, ...]:
    zh, en = PERIOD_LABELS[Period(line.period)] if line.period else _UNCOVERED
    whole = not line.meter
    scope = Text("合计", "by the boundary formula", strong=True) if whole else text(line.meter)
    return (
        scope,
        text(zh, en),
        kwh(line.energy_wh),
        percent(line.share, 2),
        kwh(line.estimated_wh),
        number(line.max_demand_w, 1000),
        text(line.max_demand_at[:16].replace("T", " ") or None, small=True),
    )


def _calendars(document: MonthDocument) -> Table:
    columns = (
        Column("适用", "For", 30),
        Column("日历、依据", "Calendar, notice", 46),
        Column("本月时段", "Periods this month"),
        Column("核验", "Verified", 34),
    )
    return Table(
        "T2.8",
        "分时日历",
        "Time-of-use calendars",
        columns,
        rows([_calendar(line, document.month) for line in document.tariffs]),
        "节假日与调休按国务院办公厅通知。日历不改变电量和排放，只说明电量落在哪个时段。",
        "Holidays and make-up days follow the State Council's notice. A calendar changes neither energy nor emissions.",
    )


def _calendar(line: TariffLine, month: str) -> tuple[Cell, ...]:
    zh, en = VERIFIED.get(line.verified, (line.verified or NONE, ""))
    days = f"{line.first_day} — {line.last_day}"
    mark = "" if line.holidays_known else "；本年节假日通知未登记，按平常日"
    name = f"{line.name_zh}，{line.notice}" if line.notice else line.name_zh
    if line.holiday_notice:
        mark += f"；{line.holiday_notice}：{VERIFIED[line.holiday_verified][0]}"
    return (
        text(f"{line.enterprise} {line.meter}".strip(), days, small=True),
        text(name, line.note, small=True),
        text("\n".join([*_shown(line.periods, month), *_special(line)]), small=True),
        text(zh + mark, en, small=True),
    )


def _shown(periods: str, month: str) -> Iterator[str]:
    """The lines of the notation that the month uses."""
    found = parsed(periods)
    for row, line in zip(found.text.split("\n"), found.lines, strict=True):
        if int(month[5:]) in line.months:
            yield _in_chinese(row)


def _in_chinese(row: str) -> str:
    """A line of the notation in the words of a report."""
    head, rest = re.split(r":(?!\d{2})", row.translate(PLAIN), maxsplit=1)
    words = [KINDS.get(word, word) for word in re.split(r"[\s,]+", head.strip())]
    months = [word for word in words if word[0].isdigit()]
    kinds = [word for word in words if not word[0].isdigit()]
    labels = {str(period): zh for period, (zh, _en) in PERIOD_LABELS.items()}
    said = re.sub(r"[a-z]+", lambda found: labels.get(found[0], found[0]), rest.strip())
    return f"{'、'.join(months)} 月{' '.join(['', *kinds])}：{said.replace(', ', '、').replace('; ', '；')}"


def _special(line: TariffLine) -> Iterator[str]:
    """Days that are not what their weekday says: holidays, hot days and make-up days come from notices."""
    for kind in ("holiday", "hot"):
        days = [day.day[8:] for day in line.days if kind in day.kinds]
        if days:
            yield f"{KINDS[kind]}：{'、'.join(days)} 日"
