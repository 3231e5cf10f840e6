"""Who has uploaded what: an act names files of its own actor only, and nobody fills the server's disk with files."""

import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from api.errors import Problem
from api.throttle import Buckets
from metering.i18n import _

BURST: Final = 30
PER_S: Final = 1 / 300
"""Files of 20 MiB: 30 at once, then one in five minutes, for each caller. Ours: one month has 17 findings at most."""
SPARE_BYTES: Final = 1 << 30
"""Room on the disk that is left to the journal."""
_REMEMBERED: Final = 20_000


class Uploads:
    """In memory of the one API process: a file that no act had named before its restart is uploaded again."""

    def __init__(self) -> None:
        self.budget = Buckets(BURST, PER_S)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def note(self, who: str, digest: str) -> None:
        """A caller has shown these bytes."""
        with self._lock:
            self._known[who, digest] = None
            self._known.move_to_end((who, digest))
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def has(self, who: str, digest: str) -> bool:
        """Whether a caller has. Whoever only knows a digest must not be given the file that belongs to it."""
        return (who, digest) in self._known


def insist_on_room(folder: Path) -> None:
    """503 when what is left on the disk belongs to the readings."""
    if shutil.disk_usage(folder).free < SPARE_BYTES:
        raise Problem(503, "disk nearly full", _("no files are taken while the server's disk is nearly full"))
