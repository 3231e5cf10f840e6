"""Pipeline health: our own services."""

from dashboards import names
from dashboards.boards import Board
from dashboards.influxql import NOW, RANGE, STEP, InfluxQL, select
from dashboards.panels import Look, Sized, chart, number

_LAG = Look("s", 0, ((None, "green"), (60, "orange"), (300, "red")))
_ROLE = "$tag_role"


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=names.PIPELINE,
        title="系统运行 Pipeline health",
        about="碳云自身的服务：延迟、吞吐、拒收、磁盘。 Tanyun's own services: lag, throughput, refusals, disk.",
        variables=[],
        rows=[("现在 Now", _now()), ("随时间 Over time", _over_time())],
    )


def _now() -> list[Sized]:
    def newest(field: str) -> InfluxQL:
        return InfluxQL(select(f'last("{field}")', "pipeline", NOW, by='"role"'), alias=_ROLE)

    return [
        number("延迟 Lag", newest("lag_s"), _LAG, width=8),
        number("落后的段 Segments behind", newest("segments_behind"), Look(decimals=0), width=8),
        number(
            "磁盘剩余 Disk free",
            newest("disk_free_bytes"),
            Look("bytes", 1, ((None, "red"), (5_000_000_000, "orange"), (20_000_000_000, "green"))),
            width=8,
        ),
    ]


def _over_time() -> list[Sized]:
    by_role = f'{STEP}, "role"'
    rate = 'non_negative_derivative(max("accepted_frames"), 1s)'
    refused = 'non_negative_difference(max("quarantined_total"))'
    return [
        chart(
            "延迟 Lag",
            [InfluxQL(select('max("lag_s")', "pipeline", RANGE, by=by_role, fill="null"), alias=_ROLE)],
            Look("s"),
            only="7d",
        ),
        chart(
            "每秒收到的帧 Frames accepted per second",
            [
                InfluxQL(
                    select(rate, "gateway", RANGE, by=f'{STEP}, "gateway"', fill="none"), alias="$tag_gateway"
                )
            ],
            Look("cps", 2),
            points=300,
            only="2d",
        ),
        chart(
            "拒收并隔离的帧 Frames quarantined",
            [InfluxQL(select(refused, "pipeline", RANGE, by=by_role, fill="none"), alias=_ROLE)],
            Look(decimals=0),
            bars=True,
            only="7d",
        ),
        chart(
            "磁盘剩余 Disk free",
            [
                InfluxQL(
                    select('min("disk_free_bytes")', "pipeline", RANGE, by=by_role, fill="null"), alias=_ROLE
                )
            ],
            Look("bytes", low=0),
            only="7d",
        ),
        chart(
            "落后的段 Segments behind",
            [
                InfluxQL(
                    select('max("segments_behind")', "pipeline", RANGE, by=by_role, fill="null"), alias=_ROLE
                )
            ],
            Look(decimals=0),
            only="7d",
        ),
    ]
