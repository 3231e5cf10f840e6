"""What the host knows of a gateway's session, and of what the journal holds."""

from collections.abc import Mapping

import msgspec

from ingest.admission import Declarations, Declared
from ingest.quick import Rules

REBIRTH_PAUSE_MS = 2_000


class Answer(msgspec.Struct):
    """What to send once the commit is on disk. Acks name (gateway, epoch); the number is looked up then."""

    acks: set[tuple[str, int]]
    rebirths: set[str]
    new_epochs: set[str]
    times: dict[str, tuple[int, int]] = {}
    """Gateway → (its epoch, the number of its newest time request)."""


class Session(msgspec.Struct):
    """A gateway as this host knows it: its births and whether it is there."""

    online: bool = False
    since_ms: int = 0
    last_received_ms: int = 0
    bdseq: int | None = None
    births: dict[str, Declarations] = {}
    """Meter (empty: the gateway itself) → what its birth declared."""
    rules: dict[str, Rules] = {}
    """The same for the short way."""
    by_epoch: dict[tuple[str, int], dict[int, Declared]] = {}
    """(Meter, epoch) → what the aliases of that outbox mean."""
    verified: dict[int, int] = {}
    """Epoch → up to which number the frames of this session's outbox are those of the journal. That is what is acked: an old
    copy of an outbox has other frames than the journal behind the last one that they share."""
    asked_ms: int = -REBIRTH_PAUSE_MS
    doubted: dict[str, bool] = {}
    """Meters whose frames have metrics that their birth lacks → whether a birth has come since."""

    def learn(self, meter: str, birth: Declarations) -> None:
        """Take in a birth."""
        self.births[meter], self.rules[meter] = birth, Rules(birth)
        self.by_epoch[meter, birth.epoch] = birth.by_alias

    def forget(self) -> None:
        """The births of another session do not count in this one."""
        self.births.clear()
        self.rules.clear()

    def decodes(self, meter: str, epoch: int, birth: Declarations) -> bool:
        """True when frames of an epoch mean what this birth declares."""
        return epoch == birth.epoch or self.by_epoch.get((meter, epoch)) == birth.by_alias


class Stored:
    """What the journal holds already: the highest number of each outbox, and what a stored frame said."""

    def __init__(self, progress: Mapping[tuple[str, int], int]) -> None:
        self.progress = dict(progress)
        self.fresh: dict[tuple[str, int, int], bytes] = {}
        """Digests of frames in the commit being built."""
        self.losses: set[tuple[str, int, int]] = set()
        """Of them, those that are declared lost."""
        self.found: set[tuple[str, int, int]] = set()
        """Of them, those that were declared lost before."""

    def begin(self) -> None:
        """Nothing is in the new commit yet."""
        self.fresh.clear()
        self.losses.clear()
        self.found.clear()

    def digest_of(self, gateway: str, epoch: int, number: int) -> bytes | None:
        """Digest of a frame, or None when it fell into a lost range. Overridden to ask the journal."""
        return self.fresh.get((gateway, epoch, number))

    def is_loss(self, gateway: str, epoch: int, number: int) -> bool:
        """Whether under a number stands the word that its frame is lost. Overridden likewise."""
        return (gateway, epoch, number) in self.losses
