"""The checks' limits: data with a label, official with its source or ours."""

import tomllib
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from importlib.resources import files

import msgspec

from verification.lines import Threshold


class _Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: str
    unit: str
    relation: str
    official: bool
    source: str


@cache
def limits() -> dict[str, _Limit]:
    """Every limit of thresholds.toml by its id."""
    text = (files("verification") / "data" / "thresholds.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, _Limit])


def limit(name: str) -> Fraction:
    """A limit as a number; percents as a share."""
    found = limits()[name]
    return Fraction(found.value) / (100 if found.unit == "%" else 1)


def days(name: str) -> int:
    """A limit in whole days."""
    return int(limits()[name].value)


def shown(names: Sequence[str]) -> tuple[Threshold, ...]:
    """Limits as a document shows them."""
    found = ((name, limits()[name]) for name in names)
    return tuple(
        Threshold(id=name, value=f"{x.relation} {x.value}", unit=x.unit, official=x.official, source=x.source)
        for name, x in found
    )
