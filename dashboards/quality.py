"""Data quality: coverage, estimates, edges, completeness, and what happened to meters.

What sums a whole range up asks the days (`meter_day`), not the quarters: 30 days of 200 meters are half a million of those.
"""

from dashboards import names
from dashboards.boards import ENTERPRISES, Board
from dashboards.influxql import ENTERPRISE, NOW, RANGE, STEP, InfluxQL, select
from dashboards.panels import Column, Look, Sized, chart, grid, number

_GOOD = Look("percentunit", 2, ((None, "red"), (0.9, "orange"), (0.98, "green")))
_BAD = Look("percentunit", 2, ((None, "green"), (0.02, "orange"), (0.1, "red")))
_SCOPE = '"scope" =~ /^${enterprise:regex}$/'
_NATIONAL = "\"method\" = 'national'"


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=names.QUALITY,
        title="数据质量 Data quality",
        about="覆盖率、估算占比、整点读数与事件。 Coverage, estimated share, reads on the edges, and events.",
        variables=[ENTERPRISES],
        rows=[("总体 Overall", _overall()), ("随时间 Over time", _over_time()), ("明细 Details", _details())],
        since="now-7d",
        refresh="5m",
    )


def _of(fields: str, by: str) -> str:
    return select(fields, "interval", RANGE, ENTERPRISE, by=by)


def _days(fields: str, by: str = "") -> str:
    return select(fields, "meter_day", RANGE, ENTERPRISE, by=by)


def _overall() -> list[Sized]:
    failed = select('mean("failed_share")', "meter_state", NOW, ENTERPRISE)
    return [
        number(
            "平均覆盖率 Mean coverage",
            InfluxQL(_days('mean("coverage")')),
            _GOOD,
            width=6,
            about="按日与电表平均；无记录的时段计为零。 Over days and meters; intervals without a record count as zero.",
        ),
        number(
            "估算电量占比 Estimated share",
            InfluxQL(
                select(
                    'sum("estimated_wh") / sum("energy_wh")',
                    "boundary",
                    RANGE,
                    _SCOPE,
                    "\"size\" = 'day'",
                    _NATIONAL,
                )
            ),
            _BAD,
            width=6,
            about="结算边界内，按整日。 Of the energy over the boundary, by whole days.",
        ),
        number(
            "整点有读数 Intervals whose edge was read",
            InfluxQL(_days('mean("edge_read")')),
            _GOOD,
            width=6,
            about="±60 秒内。 Within ±60 s.",
        ),
        number("读取失败 Reads failed", InfluxQL(failed), _BAD, width=6),
    ]


def _over_time() -> list[Sized]:
    complete = select(
        'mean("complete")', "boundary", RANGE, _SCOPE, "\"size\" = '15m'", _NATIONAL,
        by=f'{STEP}, "scope"', fill="null",
    )  # fmt: skip
    bad = select(
        'count("quality")',
        "interval",
        RANGE,
        ENTERPRISE,
        '"quality" >= 2',
        by=f'{STEP}, "enterprise"',
        fill="0",
    )
    return [
        chart(
            "覆盖率 Coverage",
            [InfluxQL(_of('mean("coverage")', f'{STEP}, "enterprise" fill(null)'), alias="$tag_enterprise")],
            Look("percentunit", 2),
            every="1h",
            points=200,
        ),
        chart(
            "完整率 Completeness",
            [InfluxQL(complete, alias="$tag_scope")],
            Look("percentunit", 2),
            every="1h",
            points=200,
        ),
        chart(
            "估算或存疑的时段 Intervals estimated or questionable",
            [InfluxQL(bad, alias="$tag_enterprise")],
            Look(decimals=0),
            every="1h",
            points=200,
            bars=True,
        ),
        chart(
            "事件 Events",
            [
                InfluxQL(
                    select('sum("count")', "event", RANGE, by=f'{STEP}, "kind"', fill="none"),
                    alias="$tag_kind",
                )
            ],
            Look(decimals=0),
            every="1h",
            points=200,
            bars=True,
            stacked=True,
        ),
    ]


def _details() -> list[Sized]:
    fields = 'mean("coverage") AS "coverage", mean("edge_read") AS "edges", sum("poor") AS "poor", max("worst") AS "worst"'
    events = select('"gateway", "meter", "kind", "detail"', "event", RANGE) + " ORDER BY time DESC LIMIT 200"
    words = {
        "0": ("有效 valid", "green"),
        "1": ("推算 derived", "blue"),
        "2": ("估算 estimated", "orange"),
        "3": ("存疑 questionable", "red"),
    }
    return [
        grid(
            "各电表 Meters",
            InfluxQL(_days(fields, '"enterprise", "meter"'), table=True),
            [
                Column("enterprise", "企业 Enterprise"),
                Column("meter", "电表 Meter"),
                Column("coverage", "覆盖率 Coverage", _GOOD),
                Column("edges", "整点读数 Edges read", _GOOD),
                Column("poor", "估算或存疑的时段 Poor intervals", Look(decimals=0)),
                Column("worst", "最差质量 Worst quality", Look(words=words)),
            ],
            width=12,
            height=12,
            about="按整日汇总。 By whole days.",
        ),
        grid(
            "最近事件 Newest events",
            InfluxQL(events, table=True),
            [
                Column("gateway", "网关 Gateway"),
                Column("meter", "电表 Meter"),
                Column("kind", "事件 Event"),
                Column("detail", "说明 Detail"),
            ],
            width=12,
            height=12,
            show_time=True,
        ),
    ]
