"""Whose energy is added up by which formula in a month: the registry of facts says it, as it does for the close."""

from hashlib import sha256
from pathlib import Path

from metering.registry import Park
from storage.facts.formulas import park_of
from storage.facts.state import Facts
from storage.known_facts import KnownFacts
from stream.projection.schema import Scope, scopes


class Boundaries:
    """The scopes of every month."""

    def __init__(self, park: Park, facts: Path) -> None:
        """`facts` is the registry's file; park.toml's formulas hold while there is none."""
        self._park, self._file, self._known = park, facts, KnownFacts()
        self._found: dict[str, tuple[Facts, list[Scope]]] = {}

    def of(self, month: str) -> list[Scope]:
        """Enterprises and park, those that have a formula which counts anything."""
        facts = self._known.at(self._file)
        if month not in self._found or self._found[month][0] is not facts:
            counting = [scope for scope in scopes(park_of(self._park, facts, month)) if scope.formula]
            self._found[month] = facts, counting
        return self._found[month][1]

    def digest(self, month: str) -> str:
        """Of everything that is counted: another one when any formula, role or meter has changed."""
        said = repr([(scope.kind, scope.id, scope.formula) for scope in self.of(month)])
        return sha256(said.encode()).hexdigest()
