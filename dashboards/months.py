"""Monthly verification: every enterprise and month, from the revisions that `tanyun month close` has frozen."""

from dashboards import names
from dashboards.boards import SCOPES, Board
from dashboards.influxql import RANGE, SCOPE, InfluxQL, select
from dashboards.panels import Column, Look, Sized, chart, grid, number, timeline

_NATIONAL = "\"method\" = 'national'"
_OUTCOME = Look(
    words={
        "0": ("合格 PASS", "green"),
        "1": ("合格，有发现 PASS WITH FINDINGS", "yellow"),
        "2": ("不合格 FAIL", "red"),
        "3": ("数据不足 INSUFFICIENT DATA", "orange"),
    }
)
_CLOSED = Look(words={"0": ("未关账 open", "orange"), "1": ("已关账 closed", "green")})
_SHARE = Look("percentunit", 2, ((None, "red"), (0.9, "orange"), (0.98, "green")))


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=names.MONTHS,
        title="月度核查 Monthly verification",
        about="各企业各月的核查结论、完整率、修订。 Outcome, completeness and revisions of every enterprise and month.",
        variables=[SCOPES],
        rows=[("各月 Months", _table()), ("趋势 Trend", _trend()), ("修订 Revisions", _revisions())],
        since="now-400d",
        refresh="15m",
    )


_COLUMNS = [
    Column("kind", "类别 Kind"),
    Column("scope", "范围 Scope"),
    Column("closed", "状态 State", _CLOSED),
    Column("outcome", "结论 Outcome", _OUTCOME),
    Column("completeness", "完整率 Completeness", _SHARE),
    Column("findings", "发现 Findings", Look("none", 0)),
    Column("energy_wh", "电量 Energy", Look("watth", 1)),
    Column("emission_g", "排放 Emission", Look("massg", 1)),
    Column("estimated_wh", "其中估算 Estimated", Look("watth", 1)),
    Column("revision", "修订 Revision", Look("none", 0)),
]


def _table() -> list[Sized]:
    fields = (
        '"scope_kind" AS "kind", "scope", "closed", "outcome", "completeness", "findings", '
        '"energy_wh", "emission_g", "estimated_wh", "revision"'
    )
    outcome = select('"outcome"', "month", RANGE, SCOPE, _NATIONAL, by='"scope"')
    return [
        number(
            "未关账的月份 Months not closed",
            InfluxQL(select('count("closed")', "month", RANGE, SCOPE, _NATIONAL, '"closed" = 0')),
            Look(decimals=0, steps=((None, "green"), (1, "orange"))),
            none="0",
            about="当月总是未关账。 The running month is always open.",
        ),
        number(
            "已关账 Months closed",
            InfluxQL(select('sum("closed")', "month", RANGE, SCOPE, _NATIONAL)),
            Look(decimals=0),
            none="0",
        ),
        timeline("结论 Outcome", InfluxQL(outcome, alias="$tag_scope"), _OUTCOME, width=16, every="1d"),
        grid(
            "各企业各月 Every enterprise and month",
            InfluxQL(select(fields, "month", RANGE, SCOPE, _NATIONAL), table=True),
            _COLUMNS,
            show_time=True,
            height=10,
        ),
    ]


def _trend() -> list[Sized]:
    share = select('"estimated_wh" / "energy_wh"', "month", RANGE, SCOPE, _NATIONAL, by='"scope"')

    def by_scope(field: str) -> InfluxQL:
        return InfluxQL(
            select(f'"{field}"', "month", RANGE, SCOPE, _NATIONAL, by='"scope"'), alias="$tag_scope"
        )

    return [
        chart(
            "每月排放 Emission per month",
            [by_scope("emission_g")],
            Look("massg"),
            every="1d",
            bars=True,
            width=8,
        ),
        chart("完整率 Completeness", [by_scope("completeness")], Look("percentunit", 2), every="1d", width=8),
        chart(
            "估算占比 Estimated share",
            [InfluxQL(share, alias="$tag_scope")],
            Look("percentunit", 2),
            every="1d",
            width=8,
        ),
    ]


def _revisions() -> list[Sized]:
    fields = (
        '"scope_kind" AS "kind", "scope", "revision", "outcome", "energy_wh", "energy_wh_change", "emission_g", '
        '"emission_g_change", "changes", "reason"'
    )
    texts = '"scope_kind" AS "kind", "scope", "revision", "path", "old", "new"'
    return [
        grid(
            "修订过的月份 Months that were revised",
            InfluxQL(select(fields, "revision", RANGE, SCOPE, '"revision" > 1'), table=True),
            [
                *_COLUMNS[:2],
                Column("revision", "修订 Revision", Look("none", 0)),
                Column("outcome", "结论 Outcome", _OUTCOME),
                Column("energy_wh", "电量 Energy", Look("watth", 1)),
                Column("energy_wh_change", "电量变化 Change of energy", Look("watth", 1)),
                Column("emission_g", "排放 Emission", Look("massg", 1)),
                Column("emission_g_change", "排放变化 Change of emission", Look("massg", 1)),
                Column("changes", "变动项 Figures changed", Look("none", 0)),
                Column("reason", "原因 Reason"),
            ],
            show_time=True,
            about="与上一修订相比。 Against the revision before.",
        ),
        grid(
            "逐项差异 Figure by figure",
            InfluxQL(select(texts, "change", RANGE, SCOPE), table=True),
            [
                *_COLUMNS[:2],
                Column("revision", "修订 Revision", Look("none", 0)),
                Column("path", "项目 Figure"),
                Column("old", "原值 Before"),
                Column("new", "新值 After"),
            ],
            show_time=True,
            height=10,
            about="每次修订最多 900 项，全部见报告。 At most 900 of a revision; the report has all.",
        ),
    ]
