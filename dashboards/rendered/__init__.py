"""What `dashboards.build` has built, read without the Foundation SDK: servers need no alpha package."""

import json
from pathlib import Path
from typing import Any

from dashboards import names

FOLDER = Path(__file__).parent
BOARDS = (names.FLEET, names.SUBSTATION, names.CARBON, names.MONTHS, names.QUALITY, names.PIPELINE)


def board(uid: str) -> dict[str, Any]:
    """A dashboard's JSON."""
    out: dict[str, Any] = _read(f"{uid}.json")
    return out


def boards() -> list[dict[str, Any]]:
    """All dashboards."""
    return [board(uid) for uid in BOARDS]


def alert_groups() -> list[dict[str, Any]]:
    """The rule groups as Grafana's HTTP API takes them."""
    out: list[dict[str, Any]] = _read("alert-groups.json")
    return out


def _read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))
