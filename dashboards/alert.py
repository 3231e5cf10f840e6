"""An alert rule: queries, a reduction of each to one number per series, arithmetic, a threshold, and what to tell the operator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dashboards.alert_time import MINUTE, duration
from dashboards.influxql import InfluxQL
from dashboards.names import APP, DATASOURCE, FOLDER, PREFIX
from dashboards.sdk import alerting, common, expr, plain

EXPRESSIONS = "__expr__"
RUNBOOKS = "docs/runbooks"
"""Where the pages are; `tanyun grafana push` puts the operator's own address in front."""

Test = Literal["gt", "lt", "outside_range"]
NoData = Literal["OK", "Alerting", "KeepLast"]
Group = Literal["fleet", "energy", "month", "service"]
EVERY: dict[Group, int] = {"fleet": MINUTE, "energy": 5 * MINUTE, "month": 15 * MINUTE, "service": MINUTE}
"""Seconds between two evaluations of a group."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A query of a rule and the window it looks at."""

    name: str
    query: str
    since_s: int
    until_s: int = 0
    """How long ago the window ends."""


@dataclass(frozen=True, slots=True)
class Both:
    """A text in both languages."""

    zh: str
    en: str

    def __str__(self) -> str:
        """As operators read it."""
        return f"{self.zh} {self.en}"


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule. `value` combines the reduced queries, each as `$name`; it may stay empty where there is only one."""

    key: str
    title: Both
    severity: Literal["critical", "warning"]
    meaning: Both
    todo: Both
    group: Group
    board: str
    panel: int
    asks: Sequence[Ask]
    test: Test
    limits: Sequence[float]
    pending_s: int
    """How long it must last. Longer than a reconnect where a reconnect could look like the fault."""
    who: str
    """The label that names who or what is concerned."""
    shows: str = ""
    """The number in the message, as a Go template."""
    value: str = ""
    also: Mapping[str, str] = field(default_factory=dict)
    """Further arithmetic, only to be shown."""
    no_data: NoData = "KeepLast"
    on_error: Literal["Alerting", "KeepLast"] = "KeepLast"
    """KeepLast: a restart of the store neither fires nor clears. That the store is gone is told by one rule alone."""
    quiet_on_holidays: bool = False
    """Muted on the declared holidays: only a working plant makes it meaningful."""

    @property
    def uid(self) -> str:
        """Pinned."""
        return f"{PREFIX}{self.key}"


def _expression(ref_id: str, model: expr.TypeReduce | expr.TypeMath | expr.TypeThreshold) -> alerting.Query:
    model.ref_id = ref_id
    model.datasource = common.DataSourceRef(type_val=EXPRESSIONS, uid=EXPRESSIONS)
    window = alerting.RelativeTimeRange(from_val=0, to=0)
    return alerting.Query(
        ref_id=ref_id, query_type="", datasource_uid=EXPRESSIONS, relative_time_range=window, model=model
    )


def _queries(alert: Alert) -> list[alerting.Query]:
    out = []
    for ask in alert.asks:
        window = alerting.RelativeTimeRange(from_val=ask.since_s, to=ask.until_s)
        model = InfluxQL(ask.query, f"q_{ask.name}")
        out.append(
            alerting.Query(
                ref_id=model.ref_id,
                query_type="",
                datasource_uid=DATASOURCE,
                relative_time_range=window,
                model=model,
            )
        )
    for ask in alert.asks:
        settings = expr.ExprTypeReduceSettings(mode="dropNN")
        out.append(
            _expression(
                ask.name, expr.TypeReduce(expression=f"q_{ask.name}", reducer="last", settings=settings)
            )
        )
    return out


def _condition(alert: Alert) -> list[alerting.Query]:
    sums = ({"value": alert.value} if alert.value else {}) | dict(alert.also)
    math = [_expression(name, expr.TypeMath(expression=text)) for name, text in sums.items()]
    judged = "value" if alert.value else alert.asks[0].name
    evaluator = expr.ExprTypeThresholdConditionsEvaluator(params=list(alert.limits), type_val=alert.test)
    condition = expr.ExprTypeThresholdConditions(evaluator=evaluator)
    return [*math, _expression("fires", expr.TypeThreshold(expression=judged, conditions=[condition]))]


def labels(alert: Alert) -> Mapping[str, str]:
    """What routes go by."""
    when = "working-days" if alert.quiet_on_holidays else "always"
    return {APP[0]: APP[1], "severity": alert.severity, "group": alert.group, "when": when}


def annotations(alert: Alert) -> Mapping[str, str]:
    """What the operator reads."""
    who = f"{{{{ $labels.{alert.who} }}}}: " if alert.who else ""
    shows = f" ({alert.shows})" if alert.shows else ""
    return {
        "summary": f"{who}{alert.title}{shows}",
        "description": f"{alert.meaning.zh}\n{alert.meaning.en}",
        "todo": f"{alert.todo.zh}\n{alert.todo.en}",
        "runbook_url": f"{RUNBOOKS}/{alert.key}.md",
        "__dashboardUid__": alert.board,
        "__panelId__": str(alert.panel),
    }


def rule(alert: Alert) -> alerting.Rule:
    """The rule in the SDK's words."""
    return alerting.Rule(
        uid=alert.uid,
        title=str(alert.title),
        org_id=1,
        folder_uid=FOLDER,
        rule_group=f"{PREFIX}{alert.group}",
        condition="fires",
        data=[*_queries(alert), *_condition(alert)],
        no_data_state=alert.no_data,
        exec_err_state=alert.on_error,
        for_val=duration(alert.pending_s),
        annotations=dict(annotations(alert)),
        labels=dict(labels(alert)),
        is_paused=False,
    )


def groups(alerts: Sequence[Alert]) -> list[dict[str, object]]:
    """The rule groups as Grafana's HTTP API takes them."""
    out: list[dict[str, object]] = []
    for name, every in EVERY.items():
        rules = [rule(alert) for alert in alerts if alert.group == name]
        out.append(
            plain(alerting.RuleGroup(title=f"{PREFIX}{name}", folder_uid=FOLDER, interval=every, rules=rules))
        )
    return out
