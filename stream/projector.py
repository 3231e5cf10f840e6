"""The projector: follows ledger, journal and closed months into the serving store, live first, backfill after.

Nothing waits for it. A line that is written twice overwrites itself, so every crash is cured by repeating the last step.
"""

import logging
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec

from factors.table import FactorTable
from metering.intervals import local_day, month_of, previous_month
from metering.registry import Park
from storage.errors import StoreError
from storage.influx import InfluxDeniedError, InfluxDownError, InfluxMissingError, Refused, Retention, Writer
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from storage.line_protocol import point, series
from storage.months import MonthStore
from stream.projection.boundaries import Boundaries
from stream.projection.derived import DayBook, Factors
from stream.projection.documents import closed, revised
from stream.projection.minutes import Minutes
from stream.projection.months import MonthBook
from stream.projection.schema import Tags
from stream.projection.sources import Chunk, Events, Gauges, Intervals, Source
from stream.projection.states import TICK_S, States
from stream.projection.store import Gap, Position, ProjectorStore

log = logging.getLogger("tanyun.projector")
IDLE_S = 0.25
SWITCH_S = 0.0005
"""How long the encoding thread keeps the interpreter while the sending one wants it. Ten times that, Python's own choice,
is about what a whole request takes."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
DAYS_PER_PASS = 8
"""Days derived before the live end is looked at again."""
_MARKS: dict[str, Retention] = {"journal": "live", "minutes": "live", "ledger": "history"}
"""Source → the retention policy that remembers how far it was projected. When that is less than we know, lines were lost."""
_MARK_QUERY = "SELECT last(\"floor\") FROM projection WHERE source = '{source}'"
NEVER = -1
"""The mark of a store that has none: the first mark, 0, is written before anything else."""
_DAY_MS = 24 * 3_600_000


class Files(msgspec.Struct, frozen=True):
    """What is read, and the projector's own file."""

    journal: Path
    ledger: Path
    months: Path
    facts: Path
    own: Path


class Job(msgspec.Struct):
    """A step on its way to the server, and the position that holds when it has arrived."""

    position: Position
    chunk: Chunk


class Projector:
    """One thread that reads and encodes, one that compresses and sends. A context manager."""

    def __init__(
        self, park: Park, files: Files, writer: Writer, table: FactorTable,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        prepare: Callable[[], object] = lambda: None, probes: Mapping[str, Callable[[], bool]] | None = None,
    ) -> None:  # fmt: skip
        self._park, self._files, self._writer, self._clock, self._prepare = (
            park,
            files,
            writer,
            clock,
            prepare,
        )
        self._open = ExitStack()
        self._store = self._open.enter_context(ProjectorStore(files.own))
        self._pool = self._open.enter_context(ThreadPoolExecutor(1, "projector-writer"))
        self._tags, factors = Tags(park), Factors(table, park, clock)
        boundaries = Boundaries(park, files.facts)
        self._book = DayBook(park, self._tags, factors, boundaries, clock)
        self._months = MonthBook(park, self._tags, factors, boundaries, self._book, self._store, clock)
        self._states = States(park, self._tags, files.own.parent, probes or {})
        self._journal: JournalReader | None = None
        self._ledger: LedgerReader | None = None
        self._by_minute = False
        self._sources: list[Source] = []
        self._positions: dict[str, Position] = {}
        self._sent: tuple[Future[list[Refused]], Job] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start(self, *, rebuild: bool = False) -> None:
        """Open what is there by now, and compare notes with the serving store. Raises the errors of `storage.influx`."""
        self._follow()
        for source in self._sources:
            if rebuild:
                self._rewind(source.name, 0)
        if rebuild:
            self._store.forget_months()
        self._compare()

    def _follow(self) -> None:
        """Take up files that have appeared: the journal and ledger are made by their own writers."""
        if self._journal is None and self._files.journal.exists():
            self._journal = self._open.enter_context(JournalReader(self._files.journal))
            self._take_up(Gauges(self._journal, self._park, self._tags, self._clock))
        if self._ledger is None and self._files.ledger.exists():
            self._ledger = self._open.enter_context(LedgerReader(self._files.ledger))
            self._take_up(Intervals(self._ledger, self._tags))
            self._take_up(Events(self._ledger, self._tags))
        if not self._by_minute and self._journal is not None and self._ledger is not None:
            self._by_minute = True
            self._take_up(Minutes(self._ledger, self._journal, self._park, self._tags, self._clock))

    def _take_up(self, source: Source) -> None:
        """A position from an older file of that kind is void: its numbers meant other changes."""
        position = self._store.position(source.name)
        if position is None or position.origin != source.origin() or position.live > source.head():
            if position is not None:
                log.warning("projector_source_replaced source=%s", source.name)
            position = Position(source.name, source.origin(), 0, NEVER, [])
            self._store.save(position)
        self._sources.append(source)
        self._positions[source.name] = position

    def _compare(self) -> None:
        """What the store has been told, against what we told it: it may have been wiped, or restored from a backup."""
        for name, retention in _MARKS.items():
            position = self._positions.get(name)
            if position is None:
                continue
            rows = self._ask(retention, _MARK_QUERY.format(source=name))
            known = int(rows[0]["last"]) if rows else NEVER
            if known < position.marked:
                log.warning("projector_store_lost source=%s known=%d told=%d", name, known, position.marked)
                self._rewind(name, max(known, 0))
                if name == "ledger" and "events" in self._positions:
                    self._rewind("events", 0)
                    self._store.forget_months()

    def _ask(self, retention: Retention, influxql: str) -> list[dict[str, Any]]:
        """An answer, after making what the answer needs."""
        try:
            return self._writer.query(retention, influxql)
        except InfluxMissingError:
            log.warning("projector_store_missing retention=%s", retention)
            self._prepare()
            return self._writer.query(retention, influxql)

    def _rewind(self, name: str, floor: int) -> None:
        """Everything above `floor` is to be written again, after what is new."""
        position = self._positions[name]
        floor = min(floor, position.floor)
        gaps = [Gap(floor, position.live)] if position.live > floor else []
        self._keep(msgspec.structs.replace(position, gaps=gaps, marked=floor))

    def _keep(self, position: Position) -> None:
        self._store.save(position)
        self._positions[position.name] = position

    def advance(self) -> bool:
        """One step: read and encode while the step before travels. False when there was nothing to do."""
        job = self._next()
        busy = job is not None or self._sent is not None
        self.settle()
        if job is not None:
            self._positions[job.position.name] = job.position
            lines = job.chunk.lines
            self._sent = self._pool.submit(self._writer.write, job.chunk.retention, lines), job
        return busy

    def settle(self) -> None:
        """Wait until the step on its way is stored, and keep its position. After an error, positions are as they were kept."""
        if self._sent is None:
            return
        (future, job), self._sent = self._sent, None
        try:
            refused = future.result()
        except StoreError:
            self._positions = {name: self._store.position(name) or p for name, p in self._positions.items()}
            raise
        if refused:
            log.error("projector_lines_refused count=%d reason=%s", len(refused), refused[0].reason)
        self._store.save(job.position, job.chunk.dirty, refused, job.chunk.dropped)

    def _next(self) -> Job | None:
        """The live ends first; then the newest gap."""
        for source in self._sources:
            position, head = self._positions[source.name], source.head()
            if head - position.live > 2 * source.window:
                position = self._jump(source, position, head - source.window)
            if head > position.live:
                chunk = source.chunk(position.live, head)
                return Job(msgspec.structs.replace(position, live=chunk.until), chunk)
        for source in self._sources:
            position = self._positions[source.name]
            if position.gaps:
                *older, gap = position.gaps
                chunk = source.chunk(gap.start, gap.until)
                rest = [Gap(chunk.until, gap.until)] if chunk.until < gap.until else []
                return Job(msgspec.structs.replace(position, gaps=[*older, *rest]), chunk)
        return None

    def _jump(self, source: Source, position: Position, live: int) -> Position:
        """Leave a backlog to the backfill. Kept with the next step of this source."""
        log.info("projector_backlog source=%s from=%d until=%d", source.name, position.live, live)
        gap = Gap(position.live, live)
        return msgspec.structs.replace(position, live=live, gaps=[*position.gaps, gap])

    def derive(self) -> bool:
        """Days and months whose intervals have changed, the newest day first; whether some are left."""
        self.settle()
        self._close_months()
        quarters = self._store.dirty()
        if self._ledger is None:
            return False
        days: dict[tuple[int, int], set[int]] = {}
        for quarter in quarters:
            days.setdefault(local_day(quarter, self._park.tz), set()).add(quarter)
        spans = sorted(days)
        chosen = [*spans[-1:], *spans[: DAYS_PER_PASS - 1]] if len(spans) > 1 else spans
        self._derive_days({span: days[span] for span in chosen})
        return bool(self._store.dirty())

    def _derive_days(self, days: Mapping[tuple[int, int], set[int]]) -> None:
        assert self._ledger is not None  # noqa: S101  the caller has looked
        lines: list[str] = []
        months: dict[str, list[int]] = {}
        for start_ms, end_ms in sorted(days):
            span = local_day(start_ms, self._park.tz)
            more, rows = self._book.derive(self._ledger, span, days[start_ms, end_ms])
            lines += more
            self._store.keep_days(rows)
            months.setdefault(month_of(start_ms, self._park.tz), []).append(start_ms)
        for month in (self._months.current(), previous_month(self._months.current())):
            months.setdefault(month, [])
        for month, starts in months.items():
            self._months.settle(month)
            lines += self._months.derive(month, starts)
        self._write("history", lines)
        self._store.clean(quarter for quarters in days.values() for quarter in quarters)

    def _close_months(self) -> None:
        """Revisions that have appeared since."""
        if not self._files.months.exists():
            return
        with MonthStore(self._files.months, writable=False) as months:
            known = self._store.months()
            new = {key: revision for key, revision in months.newest().items() if known.get(key) != revision}
            lines = [
                line
                for key, newest in new.items()
                for line in _documents(self._tags, months, key, range(known.get(key, 0) + 1, newest + 1))
            ]
        self._write("history", lines)
        self._store.keep_months(new)

    def tick(self) -> None:
        """States of now; then the marks of what is stored, after making sure that the store still has the last ones."""
        self.settle()
        self._follow()
        self._compare()
        journal = self._positions.get("journal")
        projected = journal.floor if journal is not None else 0
        self._write("live", list(self._states.lines(self._journal, self._ledger, projected, self._clock())))
        for name, retention in _MARKS.items():
            position = self._positions.get(name)
            if position is not None:
                self._mark(position, retention)

    def _mark(self, position: Position, retention: Retention) -> None:
        """Written after what it speaks of. One stamp a day: a mark overwrites the day's earlier ones."""
        now_ms = self._clock()
        line = point(
            series("projection", {"source": position.name}),
            [("floor", position.floor)],
            now_ms - now_ms % _DAY_MS,
        )
        self._write(retention, [line] if line is not None else [])
        self._keep(msgspec.structs.replace(position, marked=position.floor))

    def _write(self, retention: Retention, lines: list[str]) -> None:
        refused = self._writer.write(retention, lines)
        if refused:
            log.error("projector_lines_refused count=%d reason=%s", len(refused), refused[0].reason)
            self._store.refuse(refused)

    def progress(self) -> dict[str, tuple[int, int]]:
        """Source → (numbers still to be projected, its newest number)."""
        heads = {source.name: source.head() for source in self._sources}
        return {
            name: (heads[name] - position.live + position.missing, heads[name])
            for name, position in self._positions.items()
        }

    def catch_up(self) -> None:
        """Everything that is there now: live, backfill, derived; marks before and after."""
        self.tick()
        while self.advance():
            pass
        while self.derive():
            pass
        self.tick()


def _documents(tags: Tags, months: MonthStore, key: tuple[str, str, str], revisions: range) -> Iterator[str]:
    """The lines of a month's revisions that are not projected yet, and its figures by the newest."""
    before = months.get(*key, revisions.start - 1)
    for revision in revisions:
        row = months.get(*key, revision)
        if row is not None:
            yield from revised(row, before)
            if revision == revisions[-1]:
                yield from closed(tags, row)
        before = row


class Loop:
    """Runs a projector until told to stop; the server may come and go."""

    def __init__(self, projector: Projector, wait: Callable[[float], bool]) -> None:
        self._projector, self._wait = projector, wait
        self._pause_s = FIRST_PAUSE_S
        self._next_tick = 0.0
        self._down = ""
        self._to_derive = False

    def run(self, *, rebuild: bool = False) -> None:
        """Until `wait` says so."""
        sys.setswitchinterval(SWITCH_S)
        started = False
        while not self._wait(0.0):
            try:
                if not started:
                    self._projector.start(rebuild=rebuild)
                    started = True
                busy = self._once()
            except (InfluxDownError, InfluxMissingError, InfluxDeniedError) as error:
                self._back_off(error)
            else:
                self._is_up()
                if not busy and self._wait(IDLE_S):
                    break

    def _once(self) -> bool:
        """A few steps, and every `TICK_S` what belongs to the clock."""
        if time.monotonic() >= self._next_tick:
            self._projector.tick()
            self._to_derive = self._projector.derive()
            self._next_tick = time.monotonic() + TICK_S
            for name, (left, head) in self._projector.progress().items():
                if left:
                    log.info(
                        "projector_progress source=%s left=%d percent=%.1f",
                        name,
                        left,
                        100 * (1 - left / max(head, 1)),
                    )
        if self._projector.advance():
            return True
        if self._to_derive:
            self._to_derive = self._projector.derive()
        return self._to_derive

    def _back_off(self, error: StoreError) -> None:
        if str(error) != self._down:
            log.warning("projector_store_down error=%s", error)
        self._down = str(error)
        self._next_tick = 0.0  # compare notes before anything else once it is back
        self._wait(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311  spreads retries, protects nothing
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def _is_up(self) -> None:
        if self._down:
            log.info("projector_store_up")
        self._down, self._pause_s = "", FIRST_PAUSE_S
