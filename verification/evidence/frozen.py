"""Frozen meters in a pack: which quarter hours are in question because a meter stood still is the ledger's word, not the frames'."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from metering.intervals import QUARTER_MS, Span
from storage.shifts import FROZEN
from verification.evidence.judge import Event
from verification.evidence.track import QUESTIONABLE, Rows

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


def marked(rows: Rows, frozen: Sequence[Span]) -> Rows:
    """Those in question where the meter was frozen."""
    if not frozen:
        return rows
    spans = [(span.start_ms <= rows.start) & (rows.start < span.end_ms) for span in frozen]
    worst = np.where(np.any(spans, axis=0), np.maximum(rows.quality, QUESTIONABLE), rows.quality)
    return replace(rows, quality=worst)
