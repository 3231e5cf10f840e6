"""What one local day of the ledger says about each meter: how much of it was measured, and how well."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from metering.intervals import QUARTER_MS, Span
from metering.quality import Quality
from metering.registry import Park
from storage.ledger import LedgerReader, QuarterRow
from storage.line_protocol import Field, point, series
from stream.projection.schema import Tags

Key = tuple[str, str]


class MeterDays:
    """The lines `meter_day`, one per meter and local day."""

    def __init__(self, park: Park, tags: Tags) -> None:
        self._totals = {meter.id: tuple(meter.roles) for meter in park.meters if meter.roles}
        self._series = {meter: series("meter_day", tags.place(meter)) for meter in self._totals}
        self._began: dict[Key, int] = {}

    @property
    def keys(self) -> list[Key]:
        """The totals it wants to see the quarters of."""
        return [(meter, kind) for meter, kinds in self._totals.items() for kind in kinds]

    def lines(
        self, ledger: LedgerReader, quarters: Iterable[Mapping[Key, QuarterRow]], day: Span, elapsed: int
    ) -> Iterator[str]:
        """A day's lines, from its rows by quarter; `elapsed` are the quarters of it that are over.

        A total counts from the day of its first interval: what was not there yet is not missing. From then on a quarter without a
        row is one that nobody measured.
        """
        rows: dict[str, list[QuarterRow]] = defaultdict(list)
        for by_key in quarters:
            for (meter, _), row in by_key.items():
                if row.closed:
                    rows[meter].append(row)
        for meter, kinds in self._totals.items():
            there = sum(self._began_by(ledger, (meter, kind), day.end_ms) for kind in kinds)
            if there:
                line = point(self._series[meter], _fields(rows[meter], there * elapsed), day.start_ms)
                if line is not None:
                    yield line

    def _began_by(self, ledger: LedgerReader, key: Key, end_ms: int) -> bool:
        if key not in self._began or self._began[key] >= end_ms:  # a backlog may have come since
            first = ledger.first_start(*key)
            if first is None:
                return False
            self._began[key] = first
        return self._began[key] < end_ms


def _fields(rows: list[QuarterRow], expected: int) -> list[tuple[str, Field]]:
    """`expected`: the quarters of all its totals that are over."""
    coverage = sum(row.coverage_ms for row in rows) / (expected * QUARTER_MS)
    edges = sum(row.edge_read for row in rows) / expected
    return [
        ("coverage", min(1.0, coverage)),
        ("edge_read", min(1.0, edges)),
        ("worst", max((row.quality for row in rows), default=None)),
        ("poor", sum(row.quality >= Quality.ESTIMATED for row in rows)),
    ]
