"""The balance against the stream itself: random histories through a real journal and a real ledger."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.intervals import QUARTER_MS, Span
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from storage.segment import Record
from storage.shifts import NO_SHIFTS, all_shifts
from tests.stream.runs import run_through
from tests.stream.strategies import DEVICES, T0, births, context, park, streams
from tests.stream.test_runner import write_journal
from tests.stream.test_step import changes
from verification.balance import read_month


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(size=12), changes(), st.integers(1, 30), st.integers(1, 200))
def test_the_meter_and_its_adjustments_equal_the_intervals(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[Record]],
    changed: dict[str, dict[str, object]],
    first: int,
    length: int,
) -> None:
    """Wherever two readings enclose both edges and nothing is pending between them."""
    folder, registry = tmp_path_factory.mktemp("run"), park("Asia/Shanghai", **changed)
    write_journal(folder / "journal", [*births(), *(record for part in parts for record in part)], 50)
    run_through(folder / "journal", folder / "ledger", context(registry))
    span = Span(T0 + first * QUARTER_MS, T0 + (first + length) * QUARTER_MS)
    with JournalReader(folder / "journal") as journal, LedgerReader(folder / "ledger") as ledger:
        shifts = all_shifts(ledger)
        progress = {(row.meter, row.reading_type): row for row in ledger.progress()}
        for name, device in DEVICES.items():
            key = name, device.reading_type
            rows = ledger.intervals(*key, *span)
            if len(rows) != length or not all(row.closed for row in rows) or progress[key].pending:
                continue
            meter = registry.meter(name)
            assert meter is not None
            found = read_month(journal, meter, key[1], span, registry.tz, shifts.get(key, NO_SHIFTS))
            if found.opening is not None:
                assert found.energy == sum(row.energy for row in rows)
