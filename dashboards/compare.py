"""What differs between the content we want and what Grafana gives back."""

from collections.abc import Iterator
from typing import Any

REDACTED = "[REDACTED]"
"""What Grafana shows of a secret."""
_LONGEST = 60
_SERVERS = frozenset({"orgID", "id", "version", "updated", "provenance"})
"""Keys that the server sets."""


def differences(wanted: Any, current: Any, path: str = "") -> Iterator[str]:
    """A line for each difference. Keys that only Grafana has are its own defaults: no difference."""
    if isinstance(wanted, dict) and isinstance(current, dict):
        for key, value in wanted.items():
            if key in _SERVERS or (_nothing(value) and _nothing(current.get(key))):
                continue
            yield from differences(value, current.get(key), f"{path}.{key}" if path else key)
    elif isinstance(wanted, list) and isinstance(current, list) and len(wanted) == len(current):
        for i, (one, other) in enumerate(zip(wanted, current, strict=True)):
            yield from differences(one, other, f"{path}[{i}]")
    elif current not in (wanted, REDACTED):
        yield f"{path}: {_short(current)} → {_short(wanted)}"


def _nothing(value: object) -> bool:
    """Go leaves out what is empty; JSON numbers and texts that matter are not."""
    return value is None or value in ("", 0, [], {})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
