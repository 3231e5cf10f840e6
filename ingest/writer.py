"""Group commit: what came in since the last one goes to the journal in one synced transaction, then the acks go out."""

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from ingest.host import Host
from ingest.session import Stored
from metering import frames
from metering.sparkplug import Payload
from storage.journal import NewEvent
from storage.journal_writer import JournalWriter
from storage.segment import Record

log = logging.getLogger("tanyun.ingest")
MAX_COMMIT = 2_000


class StoredInJournal(Stored):
    """Asks the journal for what is not in the commit being built."""

    def __init__(self, journal: JournalWriter) -> None:
        super().__init__(journal.progress())
        self._journal = journal

    def digest_of(self, gateway: str, epoch: int, number: int) -> bytes | None:
        """Digest of a stored frame."""
        fresh = super().digest_of(gateway, epoch, number)
        return fresh if fresh is not None else self._journal.digest_of(gateway, epoch, number)

    def is_loss(self, gateway: str, epoch: int, number: int) -> bool:
        """Whether a number's frame is declared lost."""
        return super().is_loss(gateway, epoch, number) or self._journal.is_loss(gateway, epoch, number)


class Command(msgspec.Struct, frozen=True, gc=False):
    """An NCMD to send."""

    gateway: str
    payload: Payload


class Writer:
    """Owns the journal and the host. Not a thread: `store` is called by the one that drains the queue."""

    def __init__(self, journal: JournalWriter, host: Host, now_ms: Callable[[], int]) -> None:
        self._journal, self._host, self._now_ms = journal, host, now_ms
        host.restore(journal.births(), journal.gateways())

    def store(self, records: list[Record], notices: Sequence[NewEvent] = ()) -> list[Command]:
        """Judge and commit; what to tell the gateways now that it is on disk. Notices are events of ingest itself."""
        self._host.reset()
        self._host.commit.events.extend(notices)
        for record in records:
            self._host.receive(record)
        commit, answer = self._host.close_commit(), self._host.answer
        if commit:
            started = time.perf_counter()
            self._journal.commit(commit, self._now_ms())
            log.debug("commit frames=%d seconds=%.4f", len(commit.entries), time.perf_counter() - started)
        for event in commit.events:
            log.warning("%s gateway=%s %s", event.kind, event.gateway, event.detail)
        now = self._now_ms()
        acks = [
            Command(gateway, frames.ack_payload(self._ack(gateway, epoch, now)))
            for gateway, epoch in sorted(answer.acks)
        ]
        acks += [
            Command(gateway, frames.ack_payload(self._ack(gateway, epoch, now)._replace(nonce=nonce)))
            for gateway, (epoch, nonce) in sorted(answer.times.items())
        ]
        rebirths = [Command(gateway, frames.rebirth_payload(now)) for gateway in sorted(answer.rebirths)]
        epochs = [Command(gateway, frames.new_epoch_payload(now)) for gateway in sorted(answer.new_epochs)]
        return [*rebirths, *acks, *epochs]

    def _ack(self, gateway: str, epoch: int, now: int) -> frames.Ack:
        return frames.Ack(self._journal.ack_id, epoch, self._host.acked(gateway, epoch), now)
