"""Energy of the month's days before today, kept for a few seconds: they hardly change, and are many rows."""

import threading
import time
from collections.abc import Iterable

from api.inventory import Key
from metering.intervals import Span
from storage.ledger import LedgerReader

KEEP_S = 60.0


class PastDays:
    """One remembered answer, shared by all requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._span = Span(0, 0)
        self._read_at_s = 0.0
        self._sums: dict[Key, int] = {}
        self._keys: frozenset[Key] = frozenset()

    def sums(self, ledger: LedgerReader, keys: Iterable[Key], span: Span) -> dict[Key, int]:
        """Energy of each total within `span`; totals without any interval are absent. Up to KEEP_S seconds old."""
        wanted = frozenset(keys)
        with self._lock:
            now_s = time.monotonic()
            known = self._span
            grows = span.start_ms == known.start_ms and span.end_ms >= known.end_ms
            if not grows or wanted != self._keys or now_s - self._read_at_s > KEEP_S:
                known, self._sums, self._read_at_s = Span(span.start_ms, span.start_ms), {}, now_s
                self._keys = wanted
            for key, energy in interval_sums(ledger, wanted, Span(known.end_ms, span.end_ms)).items():
                self._sums[key] = self._sums.get(key, 0) + energy
            self._span = span
            return dict(self._sums)


def interval_sums(ledger: LedgerReader, keys: Iterable[Key], span: Span) -> dict[Key, int]:
    """Energy of each total within `span`; totals without any interval are absent."""
    rows = {key: ledger.intervals(*key, *span) for key in keys} if span.end_ms > span.start_ms else {}
    return {key: sum(row.energy for row in found) for key, found in rows.items() if found}
