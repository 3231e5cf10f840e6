"""What differs between two documents of one month: every figure by its path."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from verification.document import Change, MonthDocument

NOT_FIGURES = frozenset(
    {
        "schema",
        "revision",
        "reason",
        "closed_at",
        "journal",
        "changes",
        "registry",
        "budgets",
        "comparisons",
        "year",
        "evidence",
        "applied_ratios",
        "ledger",
        "dated",
        "tariffs",
        "series",
    }
)
"""Fields, at any depth, that differ between two closes of the same figures: circumstances, other months, rows of proof."""
ITEM_NAMES = ("use", "id", "meter", "parent", "month", "day", "role", "name")
"""What names an item of a list in a change's path, the first that it has."""


def differences(old: MonthDocument, new: MonthDocument) -> tuple[Change, ...]:
    """Every figure that differs, by its path; an empty text where one side has none."""
    before, after = _figures(old), _figures(new)
    paths = dict.fromkeys([*before, *after])
    return tuple(
        Change(path=path, old=before.get(path, ""), new=after.get(path, ""))
        for path in paths
        if before.get(path) != after.get(path)
    )


def _figures(document: MonthDocument) -> dict[str, str]:
    return dict(_leaves("", msgspec.to_builtins(document)))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in NOT_FIGURES:
                continue
            yield from _leaves(f"{path}.{key}" if path else key, item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}[{_item_name(item, index)}]", item)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def _item_name(item: Any, index: int) -> str:
    if not isinstance(item, dict):
        return str(index)
    name = next((str(item[key]) for key in ITEM_NAMES if key in item), str(index))
    # A two-way meter has two lines, one per reading type.
    return f"{name}/{item['reading_type']}" if item.get("reading_type") else name
