"""Fleet: which gateways and meters answer, how far behind they are, and what is alarming."""

from dashboards import names
from dashboards.boards import ENTERPRISES, Board
from dashboards.influxql import ENTERPRISE, NOW, RANGE, STEP, InfluxQL, select, select_from
from dashboards.panels import YES_NO, Column, Look, Sized, alerts, chart, grid, number, timeline

SILENT_S = 900
_GOOD_HIGH = ((None, "red"), (0.95, "orange"), (0.99, "green"))
_BAD_ABOVE_ZERO = ((None, "green"), (1, "red"))
_AGE = Look("s", 0, ((None, "green"), (300, "orange"), (SILENT_S, "red")))
_CLOCK = Look("s", 1, ((None, "red"), (-60, "orange"), (-10, "green"), (10, "orange"), (60, "red")))
_SHARE = Look("percentunit", 1, ((None, "green"), (0.01, "orange"), (0.05, "red")))
_HOUR = "time > now() - 1h"
_ONLINE = select('last("online") AS "online"', "gateway", NOW, by='"gateway"')
_AGES = select('last("age_s") AS "age_s"', "meter_state", NOW, ENTERPRISE, by='"meter"')


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=names.FLEET,
        title="设备总览 Fleet",
        about="网关与电表是否在线、数据是否及时。 Whether gateways and meters answer, and how fresh their readings are.",
        variables=[ENTERPRISES],
        rows=[("现在 Now", _now()), ("网关 Gateways", _gateways()), ("电表 Meters", _meters())],
    )


def _now() -> list[Sized]:
    state = ('last("failed_share") AS "failed", last("pending") AS "pending"', "meter_state", NOW, ENTERPRISE)
    states = select(*state, by='"meter"')
    return [
        number(
            "在线网关 Gateways online", InfluxQL(select_from('sum("online")', _ONLINE, NOW)), Look(decimals=0)
        ),
        number(
            "失联网关 Gateways silent",
            InfluxQL(select_from('count("online") - sum("online")', _ONLINE, NOW)),
            Look(decimals=0, steps=_BAD_ABOVE_ZERO),
        ),
        number(
            "15 分钟无数据的电表 Meters without readings for 15 min",
            InfluxQL(select_from('count("age_s")', _AGES, NOW, f'"age_s" > {SILENT_S}')),
            Look(decimals=0, steps=_BAD_ABOVE_ZERO),
            none="0",
        ),
        number(
            "读数成功率 Reads that succeed",
            InfluxQL(select_from('1 - mean("failed")', states, NOW)),
            Look("percentunit", 2, _GOOD_HIGH),
        ),
        number(
            "待判定的电表 Meters with a pending event",
            InfluxQL(select_from('sum("pending")', states, NOW)),
            Look(decimals=0, steps=_BAD_ABOVE_ZERO),
            about="读数回落或跳变，尚未判定；关账前必须处理。 A fall or jump not explained yet; it blocks the month.",
        ),
        number(
            "最大积压 Longest backlog",
            InfluxQL(
                select_from(
                    'max("age")',
                    select('last("backlog_age_s") AS "age"', "gateway", NOW, by='"gateway"'),
                    NOW,
                )
            ),
            _AGE,
        ),
    ]


def _gateways() -> list[Sized]:
    fields = (
        'last("online") AS "online", last("backlog_age_s") AS "backlog", last("clock_ahead_s") AS "clock", '
        'last("accepted_frames") AS "frames"'
    )
    return [
        grid(
            "网关 Gateways",
            InfluxQL(select(fields, "gateway", NOW, by='"gateway"'), table=True),
            [
                Column("gateway", "网关 Gateway"),
                Column("online", "在线 Online", Look(words=YES_NO)),
                Column("backlog", "最新读数的年龄 Age of its newest reading", _AGE),
                Column("clock", "时钟偏差 Clock ahead", _CLOCK),
                Column("frames", "已收帧号 Frames accepted", Look("none", 0)),
            ],
            width=12,
            about="时钟偏差为负：偏慢。 A negative clock: it is behind.",
        ),
        alerts("告警 Alerts"),
        chart(
            "最新读数的年龄 Age of the newest reading",
            [
                InfluxQL(
                    select('max("backlog_age_s")', "gateway", RANGE, by=f'{STEP}, "gateway"', fill="null"),
                    alias="$tag_gateway",
                )
            ],
            Look("s"),
            points=300,
            only="2d",
        ),
        timeline(
            "在线状态 Online",
            InfluxQL(
                select('min("online")', "gateway", RANGE, by=f'{STEP}, "gateway"', fill="null"),
                alias="$tag_gateway",
            ),
            Look(words=YES_NO),
            only="2d",
        ),
    ]


def _meters() -> list[Sized]:
    fields = 'last("age_s") AS "age", last("failed_share") AS "failed", last("pending") AS "pending"'
    to_substation = f"/d/{names.SUBSTATION}?var-enterprise=${{__data.fields[0]}}&var-meter=${{__value.raw}}"
    spread = select(
        'spread("value") AS "spread", count("value") AS "readings"', "reading", _HOUR, ENTERPRISE,
        '"reading_type" =~ /^(power_active|voltage_l1)$/', by='"meter", "reading_type"',
    )  # fmt: skip
    return [
        grid(
            "电表 Meters",
            InfluxQL(
                select(fields, "meter_state", NOW, ENTERPRISE, by='"enterprise", "gateway", "meter"'),
                table=True,
            ),
            [
                Column("enterprise", "企业 Enterprise"),
                Column("gateway", "网关 Gateway"),
                Column("meter", "电表 Meter", link=to_substation),
                Column("age", "最新读数的年龄 Age", _AGE),
                Column("failed", "读取失败 Reads failed", _SHARE),
                Column(
                    "pending", "待判定 Pending", Look(words={"0": ("–", "green"), "1": ("是 Yes", "red")})
                ),
            ],
            width=14,
            height=12,
        ),
        grid(
            "一小时未变的读数 Values that have not moved for 1 h",
            InfluxQL(
                select_from(
                    '"spread", "readings"',
                    spread,
                    _HOUR,
                    '"spread" = 0',
                    '"readings" >= 8',
                    by='"meter", "reading_type"',
                ),
                table=True,
            ),
            [
                Column("meter", "电表 Meter"),
                Column("reading_type", "读数 Reading"),
                Column("readings", "读数个数 Readings", Look("none", 0)),
                Column("spread", "极差 Spread"),
            ],
            width=10,
            height=12,
            about="停机时功率恒为零属正常。 A machine that is off has a constant power of zero: normal.",
        ),
    ]
