"""What the journal alone says of the measured stretches of a total whose month has holes."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from metering.intervals import Span
from metering.registry import Meter
from storage.shifts import Shifts
from verification.balance import Frames, first_after, read_edge


def recount(
    journal: Frames,
    meter: Meter,
    reading_type: str,
    month: Span,
    runs: Iterable[Span],
    zone: ZoneInfo,
    shifts: Shifts,
) -> int | None:
    """Base units over all runs of closed intervals; None where readings do not enclose one of them.

    A run that begins after a hole counts from its first reading on, as the ledger's first interval does.
    """
    found = 0
    for run in runs:
        end = read_edge(journal, meter, reading_type, run.end_ms, zone, shifts)
        begin = read_edge(journal, meter, reading_type, run.start_ms, zone, shifts)
        start = None if begin is None else begin.position
        if start is None and run.start_ms > month.start_ms:
            start = first_after(journal, meter, reading_type, run.start_ms, zone, shifts)
        if start is None or end is None:
            return None
        found += end.position - start
    return found
