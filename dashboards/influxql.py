"""InfluxQL: the one query language that InfluxDB 1.x, 2.x and 3.x all answer, and how Grafana's JSON carries it."""

from dashboards.names import DATASOURCE
from dashboards.sdk import Dataquery, common

HERE = common.DataSourceRef(type_val="influxdb", uid=DATASOURCE)
"""The data source of every panel and rule, by its pinned uid."""

LIVE = frozenset({"reading", "gateway", "meter_state", "pipeline"})
"""Measurements of the retention policy `live` (35 days); every other one is in `history` (for ever)."""

NOW = "time > now() - 10m"
"""What is: states are written every 15 s, whatever time range the reader looks at."""
ENTERPRISE = '"enterprise" =~ /^${enterprise:regex}$/'
METER = '"meter" =~ /^${meter:regex}$/'
SCOPE = '"scope" =~ /^${scope:regex}$/'
"""The readers' choices; multi-values arrive as (a|b), All as .*"""
RANGE = "$timeFilter"
STEP = "time($__interval)"


class InfluxQL(Dataquery):
    """A query as Grafana's InfluxDB plugin stores it. The SDK has no type for it."""

    def __init__(self, query: str, ref_id: str = "A", alias: str = "", *, table: bool = False) -> None:
        """`alias` names the series, e.g. `$tag_gateway`; `table` asks for one table instead of series."""
        self.query = query
        self.ref_id = ref_id
        self.alias = alias
        self.result_format = "table" if table else "time_series"

    def to_json(self) -> dict[str, object]:
        """What the SDK's encoder writes."""
        named = {"alias": self.alias} if self.alias else {}
        return {
            "datasource": HERE,
            "query": self.query,
            "rawQuery": True,
            "refId": self.ref_id,
            "resultFormat": self.result_format,
            **named,
        }


def source(measurement: str) -> str:
    """The full name of a measurement, database and retention policy included."""
    policy = "live" if measurement in LIVE else "history"
    return f'"tanyun"."{policy}"."{measurement}"'


def select(fields: str, measurement: str, *where: str, by: str = "", fill: str = "") -> str:
    """A SELECT over one measurement; `by` is the GROUP BY list."""
    return _statement(fields, source(measurement), where, by, fill)


def select_from(fields: str, inner: str, *where: str, by: str = "", fill: str = "") -> str:
    """A SELECT over another SELECT."""
    return _statement(fields, f"({inner})", where, by, fill)


def _statement(fields: str, origin: str, where: tuple[str, ...], by: str, fill: str) -> str:
    words = [f"SELECT {fields} FROM {origin}"]  # noqa: S608  built from constants of this package
    words += [f"WHERE {' AND '.join(where)}"] if where else []
    words += [f"GROUP BY {by}"] if by else []
    words += [f"fill({fill})"] if fill else []
    return " ".join(words)
