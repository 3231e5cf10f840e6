"""Enterprise carbon: now, today, the month against its budget, by which factor."""

from dashboards import names
from dashboards.boards import ONE_SCOPE, Board
from dashboards.influxql import RANGE, SCOPE, STEP, InfluxQL, select
from dashboards.panels import Column, Look, Sized, chart, grid, number

_TONNES = 1_000_000  # grams
_RECENT = "time > now() - 3h"
_METHOD = {"national": ("全国平均 National average", "blue"), "provincial": ("省级 Provincial", "purple")}
_T = Look("t CO₂", 2)
"""Any text is a unit to Grafana; this one it writes after the number."""
_ABOUT_METHODS = (
    "两种基于地点的因子：企业报告用全国平均，园区盘查用省级。基于市场的结果见已关账月份的核算。 "
    "Two location-based factors: enterprises report by the national average, parks by the provincial one. "
    "Market-based figures are in the accounts of closed months."
)


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=names.CARBON,
        title="企业碳排放 Enterprise carbon",
        about="实时排放、当月累计、预算与月末预测。 Emission now, this month, against the budget, with a forecast.",
        variables=[ONE_SCOPE],
        rows=[
            ("现在 Now", _now()),
            ("本月 This month", _month()),
            ("构成与因子 What it consists of", _parts()),
            ("已关账月份的核算 Accounts of closed months", _accounts()),
        ],
        since="now-30d",
        refresh="5m",
    )


def _now() -> list[Sized]:
    hourly = select(
        f'last("emission_g") * 4 / {_TONNES}', "boundary", _RECENT, SCOPE, "\"size\" = '15m'", by='"method"'
    )
    today = select(
        f'last("emission_g") / {_TONNES}',
        "boundary",
        "time > now() - 24h",
        SCOPE,
        "\"size\" = 'day'",
        by='"method"',
    )
    power = select(
        'last("power_w")', "boundary", _RECENT, SCOPE, "\"size\" = '15m'", "\"method\" = 'national'"
    )
    used = 'last("month_emission_g") / last("budget_emission_g")'
    pace = 'last("forecast_emission_g") / last("budget_emission_g")'
    within = Look("percentunit", 1, ((None, "green"), (0.9, "orange"), (1.0, "red")))
    budget = '"budget_emission_g" > 0'
    return [
        number(
            "当前排放 Emission now",
            InfluxQL(hourly, alias="$tag_method"),
            Look("t CO₂/h", 3),
            about=_ABOUT_METHODS,
            width=6,
        ),
        number("今日 Today", InfluxQL(today, alias="$tag_method"), _T, width=6),
        number("净购电功率 Purchased power", InfluxQL(power), Look("watt", 1)),
        number(
            "预算已用 Budget used",
            InfluxQL(select(used, "forecast", _RECENT, SCOPE, budget)),
            within,
            none="无预算 no budget",
        ),
        number(
            "按此速度月末将用 Budget used at month end",
            InfluxQL(select(pace, "forecast", _RECENT, SCOPE, budget)),
            within,
            none="无预算 no budget",
        ),
    ]


def _month() -> list[Sized]:
    def line(field: str, ref: str, name: str) -> InfluxQL:
        fields = f'last("{field}") / {_TONNES}'
        query = select(fields, "forecast", RANGE, SCOPE, "\"method\" = 'national'", by=STEP, fill="previous")
        return InfluxQL(query, ref, name)

    daily = select(
        f'sum("emission_g") / {_TONNES}',
        "boundary",
        RANGE,
        SCOPE,
        "\"size\" = 'day'",
        by=f'{STEP}, "method"',
        fill="none",
    )
    return [
        chart(
            "当月累计、预算与预测 Month to date, budget, forecast",
            [
                line("month_emission_g", "A", "当月累计 Month to date"),
                line("forecast_emission_g", "B", "月末预测 Forecast for month end"),
                line("budget_emission_g", "C", "预算 Budget"),
            ],
            _T,
            every="15m",
            points=400,
        ),
        chart(
            "每日排放 Emission per day",
            [InfluxQL(daily, alias="$tag_method")],
            _T,
            every="1d",
            bars=True,
            about=_ABOUT_METHODS,
        ),
    ]


def _parts() -> list[Sized]:
    return [*_rates(), *_per_kwh()]


def _rates() -> list[Sized]:
    rate = select(
        f'mean("emission_g") * 4 / {_TONNES}',
        "boundary",
        RANGE,
        SCOPE,
        "\"size\" = '15m'",
        by=f'{STEP}, "method"',
        fill="null",
    )
    energy = select(
        'sum("energy")', "interval", RANGE, '"enterprise" =~ /^${scope:regex}$/', '"reading_type" =~ /^energy_/',
        by=f'{STEP}, "role"', fill="none",
    )  # fmt: skip
    return [
        chart(
            "排放速率 Emission rate",
            [InfluxQL(rate, alias="$tag_method")],
            Look("t CO₂/h", 3),
            every="15m",
            points=400,
        ),
        chart(
            "各类电量 Energy by role",
            [InfluxQL(energy, alias="$tag_role")],
            Look("watth"),
            every="1d",
            bars=True,
            stacked=True,
        ),
    ]


def _per_kwh() -> list[Sized]:
    intensity = select(
        'sum("emission_g") / sum("energy_wh") * 1000',
        "boundary",
        RANGE,
        SCOPE,
        "\"size\" = 'day'",
        by='"method"',
    )
    factor = select(
        'last("kg_per_kwh") AS "factor"',
        "factor",
        "time > now() - 62d",
        SCOPE,
        by='"scope_kind", "scope", "method", "factor_id"',
    )
    columns = [
        Column("scope", "范围 Scope"),
        Column("method", "方法 Method", Look(words=_METHOD)),
        Column("factor_id", "因子 Factor"),
        Column("factor", "kg CO₂/kWh", Look("none", 4)),
        Column("scope_kind", "类别 Kind"),
    ]
    return [
        number(
            "单位电量排放 Emission per kWh",
            InfluxQL(intensity, alias="$tag_method"),
            Look("g CO₂/kWh", 1),
            width=6,
            about="单位产值与产品的强度见已关账月份的核算。 Intensity per output and product: in the accounts of closed months.",
        ),
        grid(
            "所用因子 Factors in force",
            InfluxQL(factor, table=True),
            columns,
            width=18,
            about="因子编号指明公告与数据年份。 The id names notice and data year.",
        ),
    ]


_ACCOUNTS = {
    "market": ("基于市场 Market-based", "green"),
    "standard": ("核算标准 By the standard", "blue"),
    "location_national": ("基于地点，全国 Location, national", "text"),
    "location_provincial": ("基于地点，省级 Location, provincial", "text"),
}


_YEAR = "time > now() - 400d"
"""Of months, whatever range is chosen: a month's stamp is its first moment."""


def _accounts() -> list[Sized]:
    return [_by_method(), *_kinds(), _periods()]


def _by_method() -> Sized:
    emission = Look("massg", 2)
    parts = '"scope", "method", "direct_g", "electricity_g", "heat_g", "including_g"'
    return grid(
        "各方法的排放 Emission by method",
        InfluxQL(select(parts, "account", _YEAR, SCOPE), table=True),
        [
            Column("scope", "范围 Scope"),
            Column("method", "方法 Method", Look(words=_ACCOUNTS)),
            Column("direct_g", "直接 Direct", emission),
            Column("electricity_g", "电力 Electricity", emission),
            Column("heat_g", "热力 Heat", emission),
            Column("including_g", "合计 Total", emission),
        ],
        show_time=True,
        about="基于市场：有凭证的绿电按 0 计。 Market-based: evidenced green power counts 0.",
    )


_PERIODS = {
    "sharp": ("尖峰 Sharp peak", "red"),
    "peak": ("高峰 Peak", "orange"),
    "flat": ("平段 Flat", "text"),
    "valley": ("低谷 Valley", "green"),
    "deep": ("深谷 Deep valley", "blue"),
    "none": ("无日历 No calendar", "text"),
}


def _periods() -> Sized:
    return grid(
        "分时电量 Energy by time-of-use period",
        InfluxQL(
            select('"scope", "kind", "energy_wh", "share", "estimated_wh"', "period", _YEAR, SCOPE),
            table=True,
        ),
        [
            Column("scope", "范围 Scope"),
            Column("kind", "时段 Period", Look(words=_PERIODS)),
            Column("energy_wh", "电量 Energy", Look("watth", 2)),
            Column("share", "占比 Share", Look("percentunit", 1)),
            Column("estimated_wh", "其中估计 Estimated", Look("watth", 2)),
        ],
        show_time=True,
        about="已关账月份；估计：缺数期间总量准确、时段为估计。 Closed months; within gaps the sum is exact, its periods are estimated.",
    )


def _kinds() -> list[Sized]:
    return [
        grid(
            "各能源品种 Kinds of energy",
            InfluxQL(
                select('"scope", "kind", "consumed", "standard_coal_kg"', "energy_type", _YEAR, SCOPE),
                table=True,
            ),
            [
                Column("scope", "范围 Scope"),
                Column("kind", "品种 Kind"),
                Column("consumed", "消费量（各自单位） Consumed, in its own unit", Look("none", 2)),
                Column("standard_coal_kg", "折标煤 Standard coal", Look("masskg", 1)),
            ],
            show_time=True,
            width=12,
        ),
        grid(
            "强度 Intensity",
            InfluxQL(select('"scope", "kind", "value", "target"', "intensity", _YEAR, SCOPE), table=True),
            [
                Column("scope", "范围 Scope"),
                Column("kind", "指标 Measure"),
                Column("value", "数值 Value", Look("none", 4)),
                Column("target", "目标 Target", Look("none", 4)),
            ],
            show_time=True,
            width=12,
        ),
    ]
