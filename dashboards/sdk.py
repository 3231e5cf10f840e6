"""The Foundation SDK's models, imported in one place.

Pinned to 0.0.21: newer-looking versions on PyPI are for Grafana 10. The classic dashboard model is used on purpose, because
Grafana 11 to 13 all read it; the SDK's advice to use its successor, which only Grafana 12 and later know, is silenced here.
"""

import json
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.variants import Dataquery
    from grafana_foundation_sdk.models import (
        alerting,
        common,
        dashboard,
        expr,
        stat,
        statetimeline,
        table,
        timeseries,
        units,
    )

__all__ = [
    "Dataquery",
    "alerting",
    "common",
    "dashboard",
    "expr",
    "plain",
    "stat",
    "statetimeline",
    "table",
    "timeseries",
    "units",
]


def plain(model: object) -> Any:
    """A model as dicts, lists and scalars, as it goes over the wire."""
    return json.loads(json.dumps(model, cls=JSONEncoder))
