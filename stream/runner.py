"""The short loop around the step: read a batch, step, commit state, rows and cursor together."""

import logging
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from factors.policy import FactorPolicy
from factors.table import FactorTable
from metering.registry import Park
from storage.journal import JournalReader, Offset
from storage.ledger import LedgerWriter, Snapshot
from stream.policy import Policy
from stream.sources.tail import Tail
from stream.state import State, StateError
from stream.step import Context, step

log = logging.getLogger("tanyun.stream")
START = Offset(1, 0)
IDLE_S = 0.05


class Runner:
    """The embedded run: the local journal's tail into the ledger. One thread, no event loop."""

    def __init__(self, journal: JournalReader, ledger: LedgerWriter, context: Context) -> None:
        self._source, self._ledger, self._context = Tail(journal), ledger, context
        stored = ledger.snapshot()
        if stored is not None and stored.journal_id != journal.journal_id:
            msg = (
                f"the ledger was made from journal {stored.journal_id}, this one is {journal.journal_id}; "
                "put the right journal back, or move the ledger file away to rebuild it"
            )
            raise StateError(msg)
        if stored is not None and stored.cursor.segment > journal.last_segment() + 1:
            msg = (
                f"the ledger has read the journal up to segment {stored.cursor.segment - 1}, but it ends at {journal.last_segment()}: "
                "an older journal was put back beside a newer ledger; move the ledger file away to rebuild it"
            )
            raise StateError(msg)
        self._state = State.restore(stored.state) if stored else State()
        self._state.check(context.park)
        self._snapshot = stored or Snapshot(journal.journal_id, START, 0, b"")

    @property
    def cursor(self) -> Offset:
        """Everything before it is in the ledger."""
        return self._snapshot.cursor

    def advance(self) -> int:
        """One batch; the number of records it had. After a commit that failed the run is over: its state is ahead of the ledger."""
        records, cursor = self._source.read(self._snapshot.cursor)
        if not records:
            return 0
        results = step(self._state, records, self._context)
        reached = Snapshot(
            self._snapshot.journal_id, cursor, self._snapshot.change_seq + 1, self._state.snapshot()
        )
        self._ledger.commit(reached, results)
        self._snapshot = reached
        return len(records)

    def follow_day(self, policy: Policy) -> None:
        """Use the factors as of a new day: open intervals are provisional under the factor of today."""
        self._context.policy = policy


def wait_for_journal(path: Path, stopped: Callable[[], bool]) -> JournalReader | None:
    """The journal, once ingest has created it; None when asked to stop before."""
    while not stopped():
        try:
            return JournalReader(path)
        except FileNotFoundError:
            time.sleep(IDLE_S)
    return None


def run(
    park: Park, journal: Path, ledger: Path, table: FactorTable, policy: FactorPolicy, today: Callable[[], date],
    stopped: Callable[[], bool],
) -> None:  # fmt: skip
    """Follow the journal until `stopped()`."""
    reader = wait_for_journal(journal, stopped)
    if reader is None:
        return
    in_force = Policy(table, policy, park.tz, today())
    writer = LedgerWriter(ledger)
    runner = Runner(reader, writer, Context(park, in_force))
    log.info("stream_ready segment=%d", runner.cursor.segment)
    while not stopped():
        if in_force.as_of != today():
            in_force = Policy(table, policy, park.tz, today())
            runner.follow_day(in_force)
        if not runner.advance():
            time.sleep(IDLE_S)
    reader.close()
    writer.close()
