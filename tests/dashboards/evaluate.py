"""Alert rules evaluated as Grafana does: query, reduce, arithmetic over labels, threshold, then pending time and missing data."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.dashboards.macros import Window, expand, seconds
from tests.dashboards.store import Labels, Store

Json = dict[str, Any]
Number = tuple[Labels, float]
_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else math.nan,
    ast.Lt: lambda a, b: float(a < b), ast.Gt: lambda a, b: float(a > b),
    ast.And: lambda a, b: float(bool(a) and bool(b)), ast.Or: lambda a, b: float(bool(a) or bool(b)),
}  # fmt: skip
_TESTS: dict[str, Callable[[float, list[float]], bool]] = {
    "gt": lambda value, limits: value > limits[0],
    "lt": lambda value, limits: value < limits[0],
    "outside_range": lambda value, limits: value < limits[0] or value > limits[1],
}
_EVALUATIONS_TO_RESOLVE = 2
"""Grafana's default for a series that is gone."""


def _union(one: list[Number], other: list[Number], combine: Callable[[float, float], float]) -> list[Number]:
    """Grafana's join: equal labels, or one's labels contained in the other's."""
    out = []
    for labels_a, a in one:
        for labels_b, b in other:
            if labels_a.items() <= labels_b.items() or labels_b.items() <= labels_a.items():
                out.append((max(labels_a, labels_b, key=len), combine(a, b)))
    return out


def arithmetic(text: str, values: Mapping[str, list[Number]]) -> list[Number]:
    """A math expression over reduced queries."""

    def walk(node: ast.expr) -> list[Number]:
        match node:
            case ast.Name(id=name):
                return values[name]
            case ast.Constant(value=int() | float() as value):
                return [({}, float(value))]
            case (
                ast.BinOp(left=left, op=op, right=right)
                | ast.Compare(left=left, ops=[op], comparators=[right])
            ):
                return _union(walk(left), walk(right), _OPERATORS[type(op)])
            case ast.BoolOp(op=op, values=[left, right]):
                return _union(walk(left), walk(right), _OPERATORS[type(op)])
        raise AssertionError(ast.dump(node))

    python = text.replace("$", "").replace("&&", " and ").replace("||", " or ")
    return walk(ast.parse(python, mode="eval").body)


def numbers(rule: Json, store: Store, now_ms: int) -> dict[str, list[Number]]:
    """Every step's result by its refId; the condition's values are 1 (fires) or 0."""
    out: dict[str, list[Number]] = {}
    rows: dict[str, list[tuple[Labels, list[float]]]] = {}
    for step in rule["data"]:
        name, model = step["refId"], step["model"]
        if step["datasourceUid"] != "__expr__":
            rows[name] = _asked(step, store, now_ms)
        elif model["type"] == "reduce":
            assert (model["reducer"], model["settings"]) == ("last", {"mode": "dropNN"})
            out[name] = [
                (labels, values[-1] if values else math.nan) for labels, values in rows[model["expression"]]
            ]
        elif model["type"] == "math":
            out[name] = arithmetic(model["expression"], out)
        else:
            test = model["conditions"][0]["evaluator"]
            fires = _TESTS[test["type"]]
            out[name] = [
                (labels, float(fires(value, test["params"]))) for labels, value in out[model["expression"]]
            ]
    return out


def _asked(step: Json, store: Store, now_ms: int) -> list[tuple[Labels, list[float]]]:
    ago = step["relativeTimeRange"]
    window = Window(now_ms - ago["from"] * 1000, now_ms - ago["to"] * 1000)
    found = store.query(expand(step["model"]["query"], window))
    return [(series.tags, [row[1] for row in series.rows if row[1] is not None]) for series in found]


def firing(rule: Json, store: Store, now_ms: int) -> list[Labels]:
    """The instances over the threshold now, pending time aside."""
    return [labels for labels, fires in numbers(rule, store, now_ms)[rule["condition"]] if fires]


@dataclass(slots=True)
class _Instance:
    since_ms: int | None = None
    missing: int = 0


@dataclass(slots=True)
class Alarm:
    """One rule over time, with its pending time, missing series and no-data setting."""

    rule: Json
    _instances: dict[frozenset[tuple[str, str]], _Instance] = field(default_factory=dict)

    def evaluate(self, store: Store, now_ms: int) -> list[Labels]:
        """The instances that are alerting after this evaluation."""
        results = numbers(self.rule, store, now_ms)[self.rule["condition"]]
        if results:
            self._update({frozenset(labels.items()): bool(fires) for labels, fires in results}, now_ms)
        elif self.rule["noDataState"] == "Alerting":
            self._update({frozenset(): True}, now_ms)
        elif self.rule["noDataState"] == "OK":
            self._instances.clear()
        return [
            dict(labels) for labels, instance in self._instances.items() if self._alerting(instance, now_ms)
        ]

    def _update(self, results: Mapping[frozenset[tuple[str, str]], bool], now_ms: int) -> None:
        for labels, fires in results.items():
            instance = self._instances.setdefault(labels, _Instance())
            instance.missing = 0
            instance.since_ms = (instance.since_ms or now_ms) if fires else None
        for labels in set(self._instances) - set(results):
            self._instances[labels].missing += 1
            if self._instances[labels].missing >= _EVALUATIONS_TO_RESOLVE:
                del self._instances[labels]

    def _alerting(self, instance: _Instance, now_ms: int) -> bool:
        return (
            instance.since_ms is not None and now_ms - instance.since_ms >= seconds(self.rule["for"]) * 1000
        )
