"""What the projector follows: the ledger's commits, its events, and the journal's segments. Each turns a range of numbers into lines."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from metering.intervals import HOUR_MS
from metering.registry import Park
from storage.influx import RETENTIONS, Retention
from storage.journal import JournalReader, Offset
from storage.ledger import LedgerReader
from storage.line_protocol import MAX_T_MS, point
from storage.segment import Record
from stream.batch import Aliases, Birth, Readings, readings, runs, take_birth
from stream.projection.schema import Tags

CHUNK_ROWS = 10_000
"""Intervals per step; with it, what is lost by a kill and written again."""
CHUNK_FRAMES = 6_000
"""Frames per step, some ten readings each: few requests are left half full, and a position is kept as rarely as about twice a second."""
_STRETCHES = 3
"""Stretches of the journal whose aliases are kept between steps."""
_DAY_MS = 24 * HOUR_MS
_MARGIN_MS = 2 * HOUR_MS
"""The store drops whole shards when they have passed; a step must not end in one of those."""


class Chunk(msgspec.Struct, gc=False):
    """A step of one source: the lines of everything in `(start, until]`."""

    until: int
    retention: Retention
    lines: list[str]
    dirty: set[int] = msgspec.field(default_factory=set)
    """Quarters whose derived results change with it."""
    dropped: int = 0
    """Readings that are older than the store keeps, or from an impossible future."""


class Source(Protocol):
    """Numbered changes. `window` is how many of them the live cursor keeps when it jumps ahead of a backlog."""

    name: str
    window: int

    def origin(self) -> str:
        """Whose numbers these are."""
        ...

    def head(self) -> int:
        """The newest number."""
        ...

    def chunk(self, start: int, until: int) -> Chunk:
        """The next step of `(start, until]`."""
        ...


class Intervals:
    """Intervals, by the ledger's change_seq."""

    name = "ledger"
    window = 200

    def __init__(self, ledger: LedgerReader, tags: Tags) -> None:
        self._ledger, self._tags = ledger, tags

    def origin(self) -> str:
        return self._ledger.ledger_id()

    def head(self) -> int:
        return self._ledger.change_seq()

    def chunk(self, start: int, until: int) -> Chunk:
        until = self._ledger.changes_end(start, until, CHUNK_ROWS)
        rows = self._ledger.changed_quarters(start, until)
        line = self._tags.interval_line
        return Chunk(until, "history", [line(row) for row in rows], {row.start_ms for row in rows})


class Events:
    """Events, by their id."""

    name = "events"
    window = CHUNK_ROWS

    def __init__(self, ledger: LedgerReader, tags: Tags) -> None:
        self._ledger, self._tags = ledger, tags

    def origin(self) -> str:
        return self._ledger.ledger_id()

    def head(self) -> int:
        return self._ledger.last_event()

    def chunk(self, start: int, until: int) -> Chunk:
        until = min(until, start + CHUNK_ROWS)
        lines = [
            point(self._tags.event(g.meter, g.kind), [("count", g.count), ("detail", g.detail)], g.t_ms)
            for g in self._ledger.event_groups(start, until)
        ]
        return Chunk(until, "history", [line for line in lines if line is not None])


class Gauges:
    """Instantaneous readings, by the journal's segments, decoded as the stream decodes them."""

    name = "journal"
    window = 50

    def __init__(self, journal: JournalReader, park: Park, tags: Tags, clock: Callable[[], int]) -> None:
        self._journal, self._park, self._tags, self._clock = journal, park, tags, clock
        self._aliases = Aliases()
        self._known = {0: self._aliases}
        """Segment → the meaning of aliases after it: the live end and the gaps each go on where they were."""

    def origin(self) -> str:
        return self._journal.journal_id

    def head(self) -> int:
        return self._journal.last_segment()

    def chunk(self, start: int, until: int) -> Chunk:
        self._aliases = self._known.pop(start, Aliases())
        if not self._aliases:
            self._decode(self._journal.births_before(start + 1))
        until = self._journal.segments_end(start, until, CHUNK_FRAMES)
        segments = self._journal.segments(Offset(start + 1, 0), until - start)
        lines, dropped = self._decode([record for _, records in segments for record in records])
        while len(self._known) >= _STRETCHES:
            self._known.pop(next(iter(self._known)))
        self._known[until] = self._aliases
        return Chunk(until, "live", lines, dropped=dropped)

    def _decode(self, records: Sequence[Record]) -> tuple[list[str], int]:
        lines: list[str] = []
        dropped, now_ms = 0, self._clock()
        kept = (now_ms - RETENTIONS["live"] * 1000 + _MARGIN_MS, min(now_ms + _DAY_MS, MAX_T_MS))
        for run in runs(records):
            if isinstance(run, Birth):
                take_birth(self._aliases, run, self._park)
            else:
                dropped += self._encode(readings(run, self._aliases).compact(), kept, lines)
        return lines, dropped

    def _encode(self, columns: Readings, kept: tuple[int, int], lines: list[str]) -> int:
        """Append the lines of the gauges that lie within `kept`; the number of those that do not."""
        bindings = columns.binding
        if not bindings:
            return 0
        gauge = np.array([b.kind == "gauge" for b in bindings], np.bool_)[columns.which]
        timely = gauge & (columns.t >= kept[0]) & (columns.t <= kept[1])
        which = columns.which[timely]
        value = columns.real[timely] * np.array([b.multiplier for b in bindings])[which]
        heads = [self._tags.reading(b.meter, b.reading_type) if b.kind == "gauge" else "" for b in bindings]
        rows = zip(which.tolist(), value.tolist(), columns.t[timely].tolist(), strict=True)
        lines += [f"{heads[w]}{v!r} {t}" for w, v, t in rows]
        return int(np.count_nonzero(gauge) - np.count_nonzero(timely))
