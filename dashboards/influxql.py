"""How Grafana's JSON carries a query in InfluxQL (`influxql_text`)."""

from dashboards.influxql_text import (
    ENTERPRISE,
    LIVE,
    METER,
    MINUTES,
    NOW,
    RANGE,
    SCOPE,
    STEP,
    select,
    select_from,
    source,
)
from dashboards.names import DATASOURCE
from dashboards.sdk import Dataquery, common

__all__ = [
    "ENTERPRISE",
    "HERE",
    "LIVE",
    "METER",
    "MINUTES",
    "NOW",
    "RANGE",
    "SCOPE",
    "STEP",
    "InfluxQL",
    "select",
    "select_from",
    "source",
]

HERE = common.DataSourceRef(type_val="influxdb", uid=DATASOURCE)
"""The data source of every panel and rule, by its pinned uid."""


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
