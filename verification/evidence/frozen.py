"""Frozen meters in a pack: which quarter hours are in question because a meter stood still is the ledger's word, not the frames'."""

from collections.abc import Iterable, Sequence

from metering.intervals import QUARTER_MS, Span
from storage.shifts import FROZEN
from verification.evidence.judge import Event
from verification.evidence.total import QUESTIONABLE, Row

_FOREVER = 1 << 62


def frozen_spans(events: Iterable[Event]) -> list[Span]:
    """From where a meter froze to the end of the quarter hour in which it moved again."""
    spans: list[Span] = []
    for event in sorted(event for event in events if event.kind in FROZEN):
        if event.kind == "frozen":
            spans.append(Span(event.t, _FOREVER))
        elif spans:
            spans[-1] = Span(spans[-1].start_ms, event.t + QUARTER_MS)
    return spans


def marked(row: Row, frozen: Sequence[Span]) -> Row:
    """A row that is in question where the meter was frozen."""
    if any(span.start_ms <= row.start_ms < span.end_ms for span in frozen):
        return row._replace(quality=max(row.quality, QUESTIONABLE))
    return row
