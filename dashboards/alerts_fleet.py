"""Alerts about gateways and meters."""

from dashboards.alert import Alert, Ask, Both
from dashboards.alert_time import HOUR, MINUTE
from dashboards.influxql import RANGE, select, select_from
from dashboards.names import FLEET

_STATE = 10 * MINUTE
"""States are written every 15 s; one that is older says nothing about now."""
_METER = '"enterprise", "gateway", "meter"'
_ONLINE = Ask("online", select('last("online")', "gateway", RANGE, by='"gateway"'), _STATE)
_BACKLOG = Ask("backlog", select('last("backlog_age_s")', "gateway", RANGE, by='"gateway"'), _STATE)
_CLOCK = Ask("clock", select('last("clock_ahead_s")', "gateway", RANGE, by='"gateway"'), _STATE)
"""Day values are read at 00:00 ± 1 min (national online-monitoring rule): a clock may be off by no more."""
_AGE = Ask("age", select('last("age_s")', "meter_state", RANGE, by=_METER), _STATE)
_MOVES = select(
    'spread("value") AS "spread", mean("value") AS "level", count("value") AS "readings"',
    "reading",
    RANGE,
    '"reading_type" =~ /^(power_active|voltage_l1|flow|power_thermal)$/',
    by=f'{_METER}, "reading_type"',
)
_STUCK = select_from(
    '"level"',
    _MOVES,
    RANGE,
    '"spread" = 0',
    '"level" != 0',
    '"readings" >= 8',
    by=f'{_METER}, "reading_type"',
)

ALERTS = (
    Alert(
        key="gateway-silent",
        title=Both("网关失联", "Gateway silent"),
        severity="critical",
        meaning=Both("网关与服务器断开超过 5 分钟；数据在网关本地保存，恢复后补传。",
                     "The gateway has been disconnected for more than 5 minutes; it keeps its readings and sends them later."),
        todo=Both("检查网关供电与网络；一台网关失联时，其下电表的告警自动不发。",
                  "Check the gateway's power and network; alerts of the meters behind it are held back by themselves."),
        group="fleet", board=FLEET, panel=9, who="gateway",
        asks=[_ONLINE], test="lt", limits=[0.5], pending_s=5 * MINUTE,
    ),
    Alert(
        key="gateway-backlog",
        title=Both("网关在线但数据滞后", "Gateway online, readings late"),
        severity="warning",
        meaning=Both("网关在线，但最新读数已超过 30 分钟：正在补传，或总线全部无响应。",
                     "The gateway is online, yet its newest reading is over 30 minutes old: it drains a backlog, or its bus "
                     "is dead."),
        todo=Both("看积压是否在下降；不降则检查总线接线。",
                  "See whether the backlog shrinks; if it does not, check the bus."),
        group="fleet", board=FLEET, panel=11, who="gateway", shows="{{ humanizeDuration $values.backlog.Value }}",
        asks=[_BACKLOG, _ONLINE], value="$backlog * $online", test="gt", limits=[30 * MINUTE], pending_s=15 * MINUTE,
    ),
    Alert(
        key="gateway-clock",
        title=Both("网关时钟不准", "Gateway clock wrong"),
        severity="warning",
        meaning=Both("网关发送时所报时间与服务器相差超过 60 秒，电量会记入错误的时段。",
                     "The time at which it says it sends differs from the server's by more than 60 s: energy lands in wrong intervals."),
        todo=Both("检查网关的 NTP 对时（chronyc tracking）；先确认服务器时间正确。",
                  "Check NTP on the gateway (chronyc tracking); make sure first that the server's time is right."),
        group="fleet", board=FLEET, panel=9, who="gateway", shows="{{ $values.clock.Value }} s",
        asks=[_CLOCK], test="outside_range", limits=[-60, 60], pending_s=10 * MINUTE,
    ),
    Alert(
        key="meter-silent",
        title=Both("电表无数据", "Meter silent"),
        severity="warning",
        meaning=Both("网关正常，但此表比同网关最新读数落后 15 分钟以上。",
                     "Its gateway is fine, but this meter is more than 15 minutes behind the gateway's newest reading."),
        todo=Both("检查电表供电、RS-485 接线与站号。", "Check the meter's supply, the RS-485 line and its unit id."),
        group="fleet", board=FLEET, panel=14, who="meter", shows="{{ humanizeDuration $values.age.Value }}",
        asks=[_AGE, _BACKLOG, _ONLINE], value="($age - $backlog) * $online",
        test="gt", limits=[15 * MINUTE], pending_s=10 * MINUTE,
    ),
    Alert(
        key="meter-frozen",
        title=Both("读数冻结", "Value frozen"),
        severity="warning",
        meaning=Both("有功功率、电压等读数两小时内一点未变且不为零：表计或转换器可能返回旧值。",
                     "Power, voltage or flow has not moved at all for two hours and is not zero: the meter or a converter "
                     "may be repeating an old value."),
        todo=Both("对照表计显示屏；重启转换器或更换表计。", "Compare with the meter's display; restart the converter or change the meter."),
        group="energy", board=FLEET, panel=15, who="meter", shows="{{ $labels.reading_type }} = {{ $values.level.Value }}",
        asks=[Ask("level", _STUCK, 2 * HOUR)], test="outside_range", limits=[0, 0], pending_s=30 * MINUTE, no_data="OK",
    ),
)  # fmt: skip
