"""Notices that the registry's file says something else, so that the server's roles can be started again with it."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from metering.config import ConfigError
from metering.registry import load_registry

log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class RegistryWatch:
    """Ask it every now and then. A file that is being written, or is wrong, changes nothing: the roles go on with what they have."""

    file: Path
    _known: bytes = field(init=False, default=b"")
    _stamp: _Stamp | None = field(init=False, default=None)
    _waiting: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._stamp, self._known = self._look(), self.file.read_bytes()

    def changed(self) -> bool:
        """Whether it has another valid content than the roles were started with, and has kept still since it was last asked."""
        stamp = self._look()
        if stamp is None:
            return False
        if stamp != self._stamp:
            self._stamp, self._waiting = stamp, True
            return False
        if not self._waiting:
            return False
        self._waiting = False
        found = self.file.read_bytes()
        if found == self._known:
            return False
        try:
            load_registry(self.file)
        except ConfigError as error:
            log.warning("the registry was changed and is wrong, nothing is restarted: %s", error)
            return False
        self._known = found
        return True

    def _look(self) -> _Stamp | None:
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
