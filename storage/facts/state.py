"""What holds: facts of one state of the registry, asked by kind, subject and day."""

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import zip_longest
from typing import TypeVar

from storage.facts.fact import Fact, State

Kind = TypeVar("Kind", bound=Fact)
Lasting = TypeVar("Lasting", bound=State)


class Facts:
    """Every fact that is not withdrawn, each in its newest form. Never changes."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self.all: Sequence[Fact] = tuple(facts)
        self._by_kind: dict[str, list[Fact]] = {}
        self._by_subject: dict[tuple[str, str], list[Fact]] = {}
        for fact in self.all:
            self._by_kind.setdefault(fact.KIND, []).append(fact)
            self._by_subject.setdefault((fact.KIND, fact.subject), []).append(fact)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self.all == other.all

    def __hash__(self) -> int:
        return hash(self.all)

    def of(self, kind: type[Kind], subject: str | None = None) -> list[Kind]:
        """All facts of a kind, of one subject or of all; states with their earlier and later ones."""
        found = (
            self._by_kind.get(kind.KIND) if subject is None else self._by_subject.get((kind.KIND, subject))
        )
        return [fact for fact in found or () if isinstance(fact, kind)]

    def in_force(self, kind: type[Lasting], subject: str, day: date, key: str = "") -> Lasting | None:
        """The state of a subject on a day: the newest that began by then, unless its end has come."""
        begun = [f for f in self.of(kind, subject) if f.key == key and f.valid_from <= day]
        newest = max(begun, key=lambda fact: fact.valid_from, default=None)
        if newest is None or (newest.valid_to is not None and day >= newest.valid_to):
            return None
        return newest

    def through(self, kind: type[Lasting], subject: str, first: date, end: date) -> list[Lasting]:
        """Every state of a subject that is in force on some day of `[first, end)`, by their begin."""
        found = sorted(self.of(kind, subject), key=lambda fact: (fact.key, fact.valid_from))
        ends = _ends(found)
        return [f for f, until in zip(found, ends, strict=True) if f.valid_from < end and first < until]

    def with_(self, facts: Iterable[Fact]) -> "Facts":
        """With more facts, each in place of the one it replaces."""
        place = {_place(fact): fact for fact in self.all}
        return Facts(tuple({**place, **{_place(fact): fact for fact in facts}}.values()))


def _place(fact: Fact) -> tuple[str, str, str, date | None]:
    return fact.KIND, fact.subject, fact.key, fact.valid_from if isinstance(fact, State) else None


def _ends(found: Sequence[State]) -> list[date]:
    """When each stops to hold: at its own end or when the next of the same key begins."""
    ends = []
    for fact, following in zip_longest(found, found[1:]):
        until = fact.valid_to or date.max
        if following is not None and following.key == fact.key:
            until = min(until, following.valid_from)
        ends.append(until)
    return ends
