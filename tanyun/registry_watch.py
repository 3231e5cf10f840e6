"""Notices that the registry's file says something else.

A role that read it at its start ends then, and whoever keeps it running (`tanyun serve`, systemd, a container engine) starts it again.
"""

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from metering.config import ConfigError
from metering.registry import load_registry

log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]
LOOK_S = 1.0


def end_when_changed(watch: "RegistryWatch") -> None:
    """From now on this process ends as by SIGTERM when the registry has another valid content."""

    def look() -> None:
        while not watch.changed():
            time.sleep(LOOK_S)
        log.info("registry_changed: this role ends, to be started again with it")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="registry-watch", daemon=True).start()


@dataclass(slots=True)
class RegistryWatch:
    """Ask it every now and then. A file that is being written, or is wrong, changes nothing: the roles go on with what they have."""

    file: Path
    _known: bytes = field(init=False, default=b"")
    _stamp: _Stamp | None = field(init=False, default=None)
    _waiting: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._stamp = self._look()
        self._known = self.file.read_bytes() if self._stamp is not None else b""

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
