"""The registry's facts, read again only when somebody has written: every live picture asks for them."""

import threading
from pathlib import Path

from storage.facts.state import Facts
from storage.registry import RegistryReader


class KnownFacts:
    """What the registry says now, read again when it has changed. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digest, self._facts = "", Facts()
        self._none = Facts()

    def at(self, path: Path) -> Facts:
        """Its facts; none while there is no registry of facts."""
        if not path.exists():
            return self._none
        with self._lock, RegistryReader(path) as registry:
            head = registry.head()
            if head.digest != self._digest:
                self._facts, self._digest = registry.facts(head.number), head.digest
            return self._facts
