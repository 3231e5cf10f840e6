"""Facts of the small park that the tests share."""

from collections.abc import Callable
from typing import Any

import pytest

from metering.registry import Park, parse_registry
from storage.facts.fact import Fact
from storage.facts.kinds import KINDS


@pytest.fixture
def park() -> Park:
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH",
            "enterprises": [{"id": "a", "name": "a"}, {"id": "b", "name": "b"}],
            "sites": [{"id": "s", "enterprise": "a", "name": "s"}], "gateways": [{"id": "g", "site": "s"}],
            "meters": [{"id": "m", "gateway": "g", "roles": {"energy_import_total": "grid_boundary"}}],
        }
    )  # fmt: skip


@pytest.fixture
def fact() -> Callable[..., Any]:
    """A fact of a kind with the fields that it needs; others by name."""

    def make(kind: str, **given: object) -> Fact:
        return KINDS[kind].model_validate({**_LEAST[kind], **given})

    return make


_LEAST: dict[str, dict[str, object]] = {
    "enterprise": {
        "enterprise": "a", "name": "甲公司", "short_name": "甲", "credit_code": "91350100M000100Y43", "industry": "3982",
        "valid_from": "2026-01-01",
    },
    "meter": {"meter": "m", "serial": "202411110002", "valid_from": "2026-01-01"},
    "bill": {
        "enterprise": "a", "number": "1", "meter": "m", "start": "2026-09-25", "end": "2026-10-25", "opening": "10",
        "closing": "20", "multiplier": "80", "billed": "800",
    },
    "certificate": {
        "enterprise": "a", "first": "GEC0001", "last": "GEC0010", "production_month": "2026-09", "status": "retired",
        "month": "2026-10",
    },
    "production": {"enterprise": "a", "month": "2026-10", "output_10k_cny": "1250.5"},
    "energy": {"enterprise": "a", "month": "2026-10", "energy": "diesel", "unit": "t", "consumed": "1.5"},
}  # fmt: skip
