"""What a restatement changes in the ledger: revisions of intervals, events found and events withdrawn."""

from typing import TYPE_CHECKING, Protocol

import msgspec

from metering.intervals import QUARTER_MS
from metering.quality import Quality
from storage.ledger import CheckpointRow, EventRow, IntervalRow, NewLedgerEvent, Results, detail_text
from stream.context import Key
from stream.kernels import columns as c

if TYPE_CHECKING:
    from stream.restate import Fresh

FOREVER = 1 << 62
NOTED_BY_NO_READING = -1
"""A restatement is told once; computing again neither finds nor withdraws it."""


class Stored(Protocol):
    """What the ledger has of a total."""

    def intervals(self, meter: str, reading_type: str, start_ms: int, end_ms: int) -> list[IntervalRow]: ...
    def events_noted_after(self, meter: str, reading_type: str, noted_ms: int) -> list[EventRow]: ...
    def checkpoint(self, meter: str, reading_type: str, before_ms: int) -> CheckpointRow | None: ...


def revise(results: Results, key: Key, again: "Fresh", stored: Stored, reason: str) -> None:
    """Put a total that was computed again into `results`, in place of what the batch said of it."""
    _drop(results, key)
    first = max(again.begins_ms - again.begins_ms % QUARTER_MS, 0)
    old = {row.start_ms: row for row in stored.intervals(*key, first, FOREVER)}
    position = int(again.state.arrays[0, c.LAST_POS])
    changed = changed_rows(old, {row.start_ms: row for row in again.intervals}, position)
    results.intervals += changed
    results.outdated.append((*key, again.begins_ms + 1))
    results.checkpoints += again.checkpoints
    _revise_events(results, key, again, stored)
    revised = [
        row for row in changed if row.revision > 1 and row.start_ms in old and old[row.start_ms].closed
    ]
    if revised:
        results.events.append(_restated(key, old, revised, reason))


def _drop(results: Results, key: Key) -> None:
    results.intervals = [row for row in results.intervals if (row.meter, row.reading_type) != key]
    results.events = [row for row in results.events if (row.meter, row.reading_type) != key]
    results.checkpoints = [row for row in results.checkpoints if (row.meter, row.reading_type) != key]
    results.progress = [row for row in results.progress if (row.meter, row.reading_type) != key]


def changed_rows(
    old: dict[int, IntervalRow], new: dict[int, IntervalRow], position: int
) -> list[IntervalRow]:
    """The rows to write, by start: a closed row that differs gets the next revision, an open one is replaced.

    A stored interval that is no more, because the total before it is now in doubt, is voided: no energy, at `position`.
    """
    voided = {start: _void(row, position) for start, row in old.items() if start not in new}
    out = []
    for start, row in sorted((voided | new).items()):
        known = old.get(start)
        if known is None:
            out.append(row)
            continue
        row = msgspec.structs.replace(row, revision=known.revision)  # noqa: PLW2901  the same interval
        if row != known:
            out.append(msgspec.structs.replace(row, revision=known.revision + known.closed))
    return out


def _void(row: IntervalRow, position: int) -> IntervalRow:
    return msgspec.structs.replace(
        row, opening=position, closing=position, emission_ug=0, coverage_ms=0, edge_read=False,
        quality=Quality.VOID.value, closed=False,
    )  # fmt: skip


def _revise_events(results: Results, key: Key, again: "Fresh", stored: Stored) -> None:
    known = {
        (e.t_ms, e.kind, detail_text(e.detail)): e.id
        for e in stored.events_noted_after(*key, again.begins_ms)
    }
    found = {(e.t_ms, e.kind, detail_text(e.detail)): e for e in again.events}
    results.events += [e for place, e in found.items() if place not in known]
    results.withdrawn += [id_ for place, id_ in known.items() if place not in found]


def _restated(
    key: Key, old: dict[int, IntervalRow], revised: list[IntervalRow], reason: str
) -> NewLedgerEvent:
    """The event that names what a restatement changed among closed intervals."""
    detail = {
        "reason": reason,
        "from_ms": revised[0].start_ms,
        "to_ms": revised[-1].end_ms,
        "intervals": len(revised),
        "energy_before": sum(old[row.start_ms].energy for row in revised),
        "energy_after": sum(row.energy for row in revised),
    }
    return NewLedgerEvent(revised[0].start_ms, *key, "restated", detail, NOTED_BY_NO_READING)
