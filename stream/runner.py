"""The short loop around the step: read a batch, step, commit state, rows and cursor together."""

import fcntl
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from factors.policy import FactorPolicy
from factors.table import FactorTable
from metering.intervals import local_month
from metering.registry import Park
from storage.journal import JournalReader, Offset
from storage.ledger import (
    OLDEST_VERSION,
    LedgerReader,
    RebuildPoint,
    Results,
    Snapshot,
    joined_results,
)
from storage.ledger_writer import LedgerWriter
from storage.slices import JournalSlice
from storage.sqlite import set_aside_older
from stream.batch import Birth, runs, take_birth
from stream.context import Context, Key
from stream.history import JournalHistory
from stream.policy import Policy
from stream.rebuild import WorkerError, cores, made_of, told_by, usable
from stream.requests import Answer, Difference, Request, Requests, difference
from stream.restate import restate
from stream.share import Told
from stream.sources.replay import Replay
from stream.sources.source import Reach, Source
from stream.sources.tail import BATCH_SEGMENTS, Tail
from stream.state import State, StateError
from stream.step import step_through
from stream.together import together, whence

log = logging.getLogger("tanyun.stream")
START = Offset(1, 0)
IDLE_S = 0.05
PACE_S = 0.2
"""From one commit's beginning to the next while the stream keeps up (ours). Each writes the newest reading of everything that
was heard, however many frames that were: without a pause, ingest on the same core is left with half of it."""
LONG_SEGMENTS = 20_000
"""A journal from which a ledger is rebuilt by several processes: to start them takes as long as to read so much (ours)."""
MOST_WORKERS = 8
"""More would find what one process cannot write (ours)."""
MANY = 20
"""Totals from which on it is faster to compute them together: to start the workers takes as long as some meters' readings (ours)."""
LATE, DECLARED, FACTORS = "late_reading", "declared_anew", "factors"
"""Reasons of restatements that nobody asked for."""


class Runner:
    """The embedded run: the local journal's tail into the ledger. One thread, no event loop."""

    def __init__(
        self,
        journal: Path,
        ledger: Path,
        context: Context,
        end: Offset | None = None,
        batch: int = BATCH_SEGMENTS,
    ) -> None:
        """With `end`, it recomputes what lies before that place of the journal, and no more; `batch` segments at a time."""
        self._journal = JournalReader(journal)
        self._ledger = LedgerWriter(ledger)
        self._stored = LedgerReader(ledger)
        self._path, self._file, self._context = journal, ledger, context
        self._source: Source = (
            Tail(self._journal, batch) if end is None else Replay(self._journal, end, batch)
        )
        stored = self._ledger.snapshot()
        if stored is not None and stored.journal_id != self._journal.journal_id:
            msg = (
                f"the ledger was made from journal {stored.journal_id}, this one is {self._journal.journal_id}; "
                "put the right journal back, or move the ledger file away to rebuild it"
            )
            raise StateError(msg)
        last = self._journal.last_segment()
        if stored is not None and stored.cursor.segment > last + 1:
            msg = (
                f"the ledger has read the journal up to segment {stored.cursor.segment - 1}, but it ends at {last}: "
                "an older journal was put back beside a newer ledger; move the ledger file away to rebuild it"
            )
            raise StateError(msg)
        self._end = end
        self.caught_up = False
        """Whether the last `advance` read everything that there was."""
        self._state = State.restore(stored.state) if stored else State()
        self._snapshot = stored or Snapshot(self._journal.journal_id, START, 0, b"")
        self._learn_aliases()
        self._restate_alone(self._state.declared_anew(context), DECLARED)
        self._restate_alone(self._factors_anew(), FACTORS)

    def close(self) -> None:
        """Close all files."""
        for file in (self._journal, self._stored, self._ledger):
            file.close()

    @property
    def cursor(self) -> Offset:
        """Everything before it is in the ledger."""
        return self._snapshot.cursor

    def rebuild(self, workers: int | None = None, stopped: Callable[[], bool] = lambda: False) -> None:
        """Make a ledger that is empty from a long journal, in the order of time instead of that of arrival, by several processes.

        It counts with its last commit. One that was broken off goes on, unless registry or factors are others now. Without
        `workers` it is left to `advance` where that is as fast.
        """
        if self.cursor != START:
            return
        end = self._end or Offset(self._journal.last_segment() + 1, 0)
        known = made_of(self._snapshot.journal_id, self._context)
        points = self._ledger.rebuild_points(known)
        if not usable(points, end):
            self._ledger.clear()
            points = []
            if workers is None and end.segment < LONG_SEGMENTS:
                return
        workers = points[0].workers if points else workers or min(cores(), MOST_WORKERS)
        try:
            with self._ledger.filling():
                found = self._filled(
                    told_by(workers, self._path, end, self._context, points), known, workers, stopped
                )
        except WorkerError as error:
            log.warning("rebuild_failed reason=%s: the journal is read in order of arrival", error)
            self._ledger.clear()
            return
        if found is not None:
            self._finish(*found, end)

    def _filled(
        self, found: Iterator[Told], known: str, workers: int, stopped: Callable[[], bool]
    ) -> tuple[State, Results] | None:
        """Store what the workers find; their states together, and what only holds in the end. None when it was stopped."""
        state, rest = State(), Results()
        for told in found:
            if stopped():
                return None
            self._ledger.fill(
                told.closed, told.results, RebuildPoint(told.worker, workers, told.point), known
            )
            if told.rest is not None:
                state.take_in(State.restore(told.state))
                rest = joined_results(rest, told.rest)
        return state, rest

    def _finish(self, state: State, rest: Results, end: Offset) -> None:
        """Commit a rebuild."""
        seq = self._ledger.last_fill()
        self._state, self._snapshot = state, Snapshot(self._snapshot.journal_id, end, seq, b"")
        self._learn_aliases()
        if rest.late:
            self._restate(rest.late, rest, end, LATE)
        self._commit(rest, end)
        log.info("rebuilt segments=%d totals=%d", end.segment - 1, len(state.channels))

    def advance(self) -> int:
        """As much as there is, at most `AT_ONCE` batches; the number of records.

        After a commit that failed the run is over: its state is ahead of the ledger.
        """
        if self.cursor == START:
            self._ledger.clear()
        reach = Reach(self._source, self._snapshot.cursor)
        results = step_through(self._state, reach.batches(), self._context)
        self.caught_up = reach.ended
        if reach.count:
            if results.late:
                self._restate(results.late, results, reach.cursor, LATE)
            self._commit(results, reach.cursor)
        return reach.count

    def follow_day(self, policy: Policy) -> None:
        """Use the factors as of a new day. Where one of a month that may still be reported is another, the month is restated."""
        old, self._context.policy = self._context.policy, policy
        zone = self._context.park.tz
        roles = [channel.key for channel in self._state.channels]
        months = sorted(
            month for month in old.months for key in roles
            if old.factor(self._context.role(key), month) != policy.factor(self._context.role(key), month)
        )  # fmt: skip
        if months:
            start = local_month(months[0], zone).start_ms
            self._restate_alone(dict.fromkeys(roles, start), FACTORS)

    def _factors_anew(self) -> dict[Key, int]:
        """Total → the first month, of those that may still be reported, whose rows have another factor than that of today.

        A notice comes with new data, so with a restart. A month takes one factor: its first row tells.
        """
        policy, zone, found = self._context.policy, self._context.park.tz, dict[Key, int]()
        for channel in self._state.channels:
            role = self._context.role(channel.key)
            for month in reversed(policy.reportable()):
                span = local_month(month, zone)
                row = self._stored.first_interval(*channel.key, *span)
                if role is not None and row is not None and row.factor_id != policy.factor(role, month)[0]:
                    found[channel.key] = span.start_ms
        return found

    def carry_out(self, request: Request) -> Answer:
        """Compute totals again from a moment on; every line that differs."""
        wanted = {
            channel.key: request.from_ms
            for channel in self._state.channels
            if request.meter in {None, channel.meter}
        }
        return Answer(len(wanted), self._restate_alone(wanted, request.reason))

    def _restate_alone(self, wanted: Mapping[Key, int], reason: str) -> list[Difference]:
        """Restate without new records, in a commit of its own."""
        if not wanted:
            return []
        results, end = Results(), self._snapshot.cursor
        wanted = dict(wanted)
        if len(wanted) >= MANY:
            try:
                results, left = self._together(wanted, reason)
            except WorkerError as error:
                log.warning("restate_failed reason=%s: every total is computed by itself", error)
            else:
                wanted = left
        if wanted:
            self._restate(wanted, results, end, reason)
        told = list(self._differences(results))
        self._commit(results, end)
        return told

    def _together(self, wanted: Mapping[Key, int], reason: str) -> tuple[Results, dict[Key, int]]:
        """What many totals that are computed again change, and those that have to be computed by themselves."""
        with JournalSlice(self._path, self._snapshot.cursor) as journal:
            from_ = whence(wanted, self._context, journal, self._stored)
            beside = self._file.with_name(f"{self._file.name}.again")
            workers = min(cores(), MOST_WORKERS)
            results, late = together(
                self._state, from_, self._context, journal, self._path, self._stored, beside, workers, reason
            )
        left = {key: from_ms for key, from_ms in wanted.items() if key in late or key not in from_.kept}
        return results, left

    def _restate(self, wanted: Mapping[Key, int], results: Results, end: Offset, reason: str) -> None:
        with JournalHistory(self._path, end) as history:
            restate(self._state, wanted, self._context, history, self._stored, results, reason)
        log.info("restated totals=%d reason=%s", len(wanted), reason)

    def _differences(self, results: Results) -> Iterator[Difference]:
        """The closed intervals among the results beside what the ledger has of them."""
        for row in results.intervals:
            known = self._stored.intervals(row.meter, row.reading_type, row.start_ms, row.start_ms + 1)
            old = known[-1] if known else None
            if row.closed or (old is not None and old.closed):
                yield difference(old, row)

    def _commit(self, results: Results, cursor: Offset) -> None:
        known = self._snapshot
        reached = Snapshot(known.journal_id, cursor, known.change_seq + 1, self._state.snapshot())
        self._ledger.commit(reached, results)
        self._snapshot = reached

    def _learn_aliases(self) -> None:
        """What the births before the cursor declare, under the registry as it is now."""
        for run in runs(self._journal.births_before(self._snapshot.cursor.segment)):
            if isinstance(run, Birth):
                take_birth(self._state.aliases, run, self._context.park)


def wait_for_journal(path: Path, stopped: Callable[[], bool]) -> bool:
    """Whether the journal is there: wait until ingest has created it, or until asked to stop."""
    while not stopped():
        try:
            JournalReader(path).close()
        except FileNotFoundError:
            time.sleep(IDLE_S)
        else:
            return True
    return False


@contextmanager
def only_one(ledger: Path) -> Iterator[None]:
    """Hold the ledger for this process; BlockingIOError when another one does."""
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.with_name(f"{ledger.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def run(
    park: Park, journal: Path, ledger: Path, table: FactorTable, policy: FactorPolicy, today: Callable[[], date],
    stopped: Callable[[], bool],
) -> None:  # fmt: skip
    """Follow the journal until `stopped()`, carrying out requests to restate."""
    if not wait_for_journal(journal, stopped):
        return
    with only_one(ledger):
        aside = set_aside_older(ledger, OLDEST_VERSION)
        if aside is not None:
            log.warning(
                "ledger_set_aside file=%s: of an older release; a new one is made from the journal", aside
            )
        in_force = Policy(table, policy, park.tz, today())
        runner, requests = Runner(journal, ledger, Context(park, in_force)), Requests(ledger)
        runner.rebuild(stopped=stopped)
        log.info("stream_ready segment=%d", runner.cursor.segment)
        while not stopped():
            begun = time.monotonic()
            if in_force.as_of != today():
                in_force = Policy(table, policy, park.tz, today())
                runner.follow_day(in_force)
            for name, request in requests.waiting():
                requests.answer(name, runner.carry_out(request))
            if not runner.advance():
                time.sleep(IDLE_S)
            elif runner.caught_up:
                time.sleep(max(0.0, PACE_S - (time.monotonic() - begun)))
        runner.close()
