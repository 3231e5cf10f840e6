"""Alerts about power, balance and the month. What calendar months and factors are is computed by the stream, never here."""

from dashboards.alert import Alert, Ask, Both
from dashboards.alert_time import DAY, HOUR, MINUTE
from dashboards.influxql import RANGE, select, select_from
from dashboards.names import CARBON, MONTHS, QUALITY, SUBSTATION

_METER = '"enterprise", "gateway", "meter"'
_SCOPE = '"scope_kind", "scope"'
_NATIONAL = "\"method\" = 'national'"
_ENTERPRISE = "\"scope_kind\" = 'enterprise'"
POWER_FACTOR_STANDARD = 0.9
"""Of (83)水电财字第215号 for industry above 160 kVA at high voltage; others have 0.85 or 0.80."""
LOADED_WH = 1000
"""In the newest 15 minutes. A plant that stands still has a poor factor and no surcharge."""
LOSS_ALLOWANCE = 0.05
"""Half of the 10 % of readings that may be missing in a month (completeness at least 90 %)."""

_FACTORS = select_from(
    'mean("pf")',
    select('abs("value") AS "pf"', "reading", RANGE, "\"reading_type\" = 'power_factor'", by=_METER),
    RANGE,
    by=_METER,
)
_GRID = "\"role\" = 'grid_boundary' AND \"reading_type\" = 'energy_import_total'"
_PHASES = select(
    'mean("value") AS "amperes"',
    "reading",
    RANGE,
    '"reading_type" =~ /^current_l[123]$/',
    by=f'{_METER}, "reading_type"',
)
_IMBALANCE = select_from(
    '"imbalance"',
    select_from(
        'spread("amperes") / max("amperes") AS "imbalance", max("amperes") AS "highest"',
        _PHASES,
        RANGE,
        by=_METER,
    ),
    RANGE,
    '"highest" > 5',
    by=_METER,
)
_REMAINDER = '(sum("in_wh") - sum("out_wh"))'
_BALANCE = select_from(
    '"share"',
    select(
        f'{_REMAINDER} AS "wh", {_REMAINDER} / sum("in_wh") AS "share"',
        "balance",
        RANGE,
        by='"enterprise", "meter"',
    ),
    RANGE,
    '("wh" > 50000 OR "wh" < -50000)',
    by='"enterprise", "meter"',
)
_PACE = 'last("forecast_emission_g") / last("budget_emission_g")'
_MEASURED = 'last("month_energy_wh") / last("forecast_energy_wh")'
"""The share of the month that is measured: the forecast goes on at the pace of what is measured."""
_MONTH = "\"size\" = 'month'"
_QUARTERS = "\"size\" = '15m'"

ALERTS = (
    Alert(
        key="demand-near-contract",
        title=Both("需量接近合同值", "Demand near contract"),
        severity="warning",
        meaning=Both("最近的 15 分钟需量超过合同需量的 90%；超过合同部分加倍收费。",
                     "The newest 15-minute demand exceeds 90 % of the contract; the part above the contract is charged double."),
        todo=Both("错峰或停用可中断负荷；长期超限则变更合同需量。", "Shift or shed load; if it lasts, change the contract."),
        group="energy", board=SUBSTATION, panel=5, who="scope", shows="{{ humanizePercentage $values.value.Value }}",
        asks=[
            Ask("demand", select('last("demand_w")', "boundary", RANGE, _QUARTERS, _ENTERPRISE, _NATIONAL, by='"scope"'), 2 * HOUR),
            Ask("contract", select('last("contract_demand_w")', "forecast", RANGE, _ENTERPRISE, _NATIONAL, by='"scope"'), DAY),
        ],
        value="$demand / $contract", test="gt", limits=[0.9], pending_s=5 * MINUTE, quiet_on_holidays=True,
    ),
    Alert(
        key="power-factor",
        title=Both("功率因数低于标准", "Power factor below standard"),
        severity="warning",
        meaning=Both("关口表一小时平均功率因数低于 0.90，按月计会被加收力调电费。",
                     "The grid meter's mean power factor of an hour is below 0.90; a month like that costs a surcharge."),
        todo=Both("检查无功补偿柜是否投入、电容是否损坏。", "Check that the capacitor bank is switched in and sound."),
        group="energy", board=SUBSTATION, panel=10, who="meter", shows="{{ $values.pf.Value }}",
        asks=[
            Ask("pf", _FACTORS, HOUR),
            Ask("energy", select('last("energy")', "interval", RANGE, _GRID, by=_METER), 2 * HOUR),
        ],
        value=f"($pf < {POWER_FACTOR_STANDARD}) && ($energy > {LOADED_WH})", test="gt", limits=[0], pending_s=HOUR, quiet_on_holidays=True,
    ),
    Alert(
        key="phase-imbalance",
        title=Both("三相不平衡", "Phases out of balance"),
        severity="warning",
        meaning=Both("15 分钟平均三相电流相差超过 25%（最大相大于 5 A 时）。",
                     "The mean phase currents of 15 minutes differ by more than 25 % (where the highest exceeds 5 A)."),
        todo=Both("检查缺相、熔断与单相负荷分配。", "Look for a lost phase or fuse; spread single-phase loads."),
        group="energy", board=SUBSTATION, panel=13, who="meter", shows="{{ humanizePercentage $values.imbalance.Value }}",
        asks=[Ask("imbalance", _IMBALANCE, 15 * MINUTE)], test="gt", limits=[0.25], pending_s=30 * MINUTE, no_data="OK",
        quiet_on_holidays=True,
    ),
    Alert(
        key="balance-mismatch",
        title=Both("母子表不平衡", "Parent and children disagree"),
        severity="warning",
        meaning=Both("24 小时内总表与分表之差超过 5% 且超过 50 kWh：漏装、变比错误或接线错误。",
                     "Over 24 hours the parent and the sum of its children differ by more than 5 % and 50 kWh: an unmetered branch, "
                     "a wrong ratio or wrong wiring."),
        todo=Both("核对各表 CT/PT 变比与接线；新增回路要登记。", "Check CT/PT ratios and wiring; register new branches."),
        group="energy", board=SUBSTATION, panel=7, who="meter", shows="{{ humanizePercentage $values.share.Value }}",
        asks=[Ask("share", _BALANCE, DAY)], test="outside_range", limits=[-0.05, 0.05], pending_s=2 * HOUR, no_data="OK",
        quiet_on_holidays=True,
    ),
    Alert(
        key="carbon-budget",
        title=Both("碳预算将超支", "Carbon budget will be exceeded"),
        severity="warning",
        meaning=Both("按本月至今的速度，月末排放将超过预算。", "At this month's pace the emission at month end exceeds the budget."),
        todo=Both("查看每日排放与用电构成，安排减载或购买绿电。", "See the daily emission and its parts; plan reductions or green power."),
        group="energy", board=CARBON, panel=8, who="scope", shows="{{ humanizePercentage $values.pace.Value }}",
        asks=[Ask("pace", select(_PACE, "forecast", RANGE, '"budget_emission_g" > 0', _NATIONAL, by=_SCOPE), 2 * HOUR)],
        test="gt", limits=[1.0], pending_s=6 * HOUR,
    ),
    Alert(
        key="factor-missing",
        title=Both("缺少排放因子", "Emission factor missing"),
        severity="critical",
        meaning=Both("有电量却没有可用的排放因子，排放量因此不出数（绝不估填）。",
                     "There is energy but no emission factor for it, so no emission is given (it is never guessed)."),
        todo=Both("在 factors/ 中补充官方因子并注明公告。", "Add the official factor with its notice to the factor tables."),
        group="energy", board=CARBON, panel=14, who="scope", shows="{{ $labels.method }}",
        asks=[
            Ask("without", select('count("energy_wh") - count("emission_g")', "boundary", RANGE, _QUARTERS,
                                  by=f'{_SCOPE}, "method"', fill="0"), 6 * HOUR)
        ],
        test="gt", limits=[0], pending_s=30 * MINUTE,
    ),
    Alert(
        key="completeness-low",
        title=Both("当月缺数过多", "Too many readings missing this month"),
        severity="warning",
        meaning=Both("本月允许的 10% 缺数额度已用过半；关账要求完整率不低于 90%。",
                     "Half of the 10 % of readings that may be missing this month is used up; the close needs at least 90 %."),
        todo=Both("在剩余天数内恢复失联的网关与电表；网关会补传。",
                  "Bring back silent gateways and meters in the days left; gateways send what they kept."),
        group="month", board=QUALITY, panel=8, who="scope",
        shows='{{ humanizePercentage $values.complete.Value }}, 剩余 days left ≈ {{ printf "%.0f" $values.days_left.Value }}',
        asks=[
            Ask("complete", select('last("complete")', "boundary", RANGE, _MONTH, _NATIONAL, by=_SCOPE), 40 * DAY),
            Ask("measured", select(_MEASURED, "forecast", RANGE, _NATIONAL, by=_SCOPE), 3 * DAY),
        ],
        value="$measured / $complete - $measured", also={"days_left": "(1 - $measured / $complete) * 30"},
        test="gt", limits=[LOSS_ALLOWANCE], pending_s=HOUR,
    ),
    Alert(
        key="month-overdue",
        title=Both("月度关账逾期", "Month close overdue"),
        severity="warning",
        meaning=Both("有月份结束十天以上仍未关账。", "A month ended more than ten days ago and is still not closed."),
        todo=Both("运行 tanyun month close 该月，处理其发现。", "Run `tanyun month close` for it and settle its findings."),
        group="month", board=MONTHS, panel=5, who="scope",
        asks=[Ask("closed", select('min("closed")', "month", RANGE, _NATIONAL, by=_SCOPE), 100 * DAY, 41 * DAY)],
        test="lt", limits=[0.5], pending_s=HOUR, no_data="OK",
    ),
)  # fmt: skip
