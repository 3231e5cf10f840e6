"""What a pack says besides its frames, and how a difference is told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from verification.document import FactorLine
from verification.evidence.births import Key, MeterFacts
from verification.evidence.judge import Begins, Event
from verification.evidence.replay import Where

ELECTRIC = "Wh"
"""Base unit of active energy: only that enters a formula."""
Formula = tuple[tuple[str, int], ...]


class Difference(NamedTuple):
    """A place where what the pack says is not what follows from its frames."""

    place: str
    said: str
    found: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pack's tables say."""

    meters: Mapping[str, MeterFacts]
    formulas: Mapping[tuple[str, str], Formula]
    factors: Mapping[str, FactorLine]
    """By use."""
    ratios: Mapping[str, Fraction]
    """Factor id → µg per base unit."""
    opening: Mapping[Key, tuple[Where, Begins]]
    """The reading that each total's month begins with."""
    events: Mapping[Key, tuple[Event, ...]]
    """The ledger's events of the month that say which readings count and what they mean."""


def unlike(place: str, said: object, found: object) -> Iterator[Difference]:
    if said != found:
        yield Difference(place, shown(said), shown(found))


def shown(value: object) -> str:
    return "—" if value is None else str(value)
