"""Queries as Grafana sends them: macros and variables replaced."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_STEPS_S = (
    1,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    86_400,
    604_800,
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ALL = ".*"


@dataclass(frozen=True, slots=True)
class Window:
    """The time range of a dashboard."""

    start_ms: int
    end_ms: int

    def step_s(self, finest: str = "1s", points: int = 1000) -> int:
        """What Grafana makes of a panel's finest step and number of points."""
        wanted = max(seconds(finest), (self.end_ms - self.start_ms) / 1000 / points)
        return next((step for step in _STEPS_S if step >= wanted), _STEPS_S[-1])


def seconds(text: str) -> int:
    """`15m` → 900."""
    return int(text[:-1]) * _UNITS[text[-1]]


def expand(
    query: str, window: Window, step_s: int = 60, variables: Mapping[str, list[str]] | None = None
) -> str:
    """The query that reaches InfluxDB."""
    text = query.replace("$timeFilter", f"time >= {window.start_ms}ms and time <= {window.end_ms}ms")
    text = text.replace("$__interval", f"{step_s}s")
    for name, values in (variables or {}).items():
        text = text.replace(f"${{{name}:regex}}", _regex(values))
    assert not re.search(r"\$[{\w]", text), f"not expanded: {text}"
    return text


def _regex(values: list[str]) -> str:
    """Grafana's format `regex`; the value of All goes in as it is."""
    if values == [_ALL]:
        return _ALL
    escaped = [re.sub(r"([\\^$*+?.()|\[\]{}/-])", r"\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
