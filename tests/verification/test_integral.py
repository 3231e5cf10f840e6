"""The balance of an integrated total: a second integral, from the journal's frames alone, agrees with what the stream stored."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.intervals import MINUTE_MS, QUARTER_MS, Span
from storage.facts.state import Facts
from storage.journal import JournalReader
from storage.ledger import LedgerReader, Results, Snapshot
from storage.ledger_writer import LedgerWriter
from storage.segment import Record
from stream.runner import START
from tests.stream.runs import run_through
from tests.stream.strategies import T0, context
from tests.stream.test_power import TOTAL, births, changes, minutely, park, powers, streams
from tests.stream.test_runner import write_journal
from verification.balance import JournalMonth
from verification.completeness import MonthTotal
from verification.intervals import on_quarters
from verification.measure import measure

NO_FACTS = Facts([])


def measured(
    folder: Path, records: list[Record], span: Span, **changed: dict[str, object]
) -> list[MonthTotal]:
    """The totals of the test park over a span, from journal and ledger."""
    registry = park(**changed)
    write_journal(folder / "journal", [*births(), *records], 5)
    run_through(folder / "journal", folder / "ledger", context(registry))
    with JournalReader(folder / "journal") as journal, LedgerReader(folder / "ledger") as ledger:
        return [
            t for t in measure(registry, span, ledger, journal, NO_FACTS).totals if t.reading_type == TOTAL
        ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), changes(), st.integers(-1, 3), st.integers(1, 5))
def test_both_integrals_are_equal_over_any_span(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], changed: dict[str, dict[str, object]],
    first: int, quarters: int,
) -> None:  # fmt: skip
    span = Span(T0 + first * QUARTER_MS, T0 + (first + quarters) * QUARTER_MS)
    for total in measured(tmp_path_factory.mktemp("m"), records, span, **changed):
        if total.journal.closing is not None and total.journal.opening is not None:
            lacking = total.journal.lacks(span)
            assert total.journal.energy == (None if lacking else total.stored or 0)


def test_a_ledger_that_says_otherwise_is_found_out(tmp_path: Path) -> None:
    records, span = minutely("inverter", *([6000.0] * 61)), Span(T0 + QUARTER_MS, T0 + 2 * QUARTER_MS)
    [total] = [t for t in measured(tmp_path, records, span) if t.meter.id == "inverter"]
    assert (total.energy, total.journal.energy) == (1500, 1500)
    assert isinstance(total.journal, JournalMonth)
    with LedgerReader(tmp_path / "ledger") as ledger:
        rows = ledger.intervals("inverter", TOTAL, *span)
    wrong = [msgspec.structs.replace(row, closing=row.closing + 2) for row in rows]
    with JournalReader(tmp_path / "journal") as journal:
        snapshot = Snapshot(journal.journal_id, START, 99, b"")
    writer = LedgerWriter(tmp_path / "ledger")
    writer.commit(snapshot, Results(intervals=wrong))
    writer.close()
    with JournalReader(tmp_path / "journal") as journal, LedgerReader(tmp_path / "ledger") as ledger:
        found = measure(park(), span, ledger, journal, NO_FACTS).totals
    [total] = [t for t in found if t.meter.id == "inverter"]
    assert (total.stored, total.journal.energy) == (1502, 1500)


def test_a_month_with_a_gap_has_no_figure(tmp_path: Path) -> None:
    """What is not known is neither zero nor an average."""
    pairs = [(i * MINUTE_MS, 600.0) for i in range(61) if not 17 <= i <= 42]
    span = Span(T0, T0 + 4 * QUARTER_MS)
    [total] = [t for t in measured(tmp_path, powers("inverter", *pairs), span) if t.meter.id == "inverter"]
    assert (total.energy, total.journal.energy) == (None, None)
    assert total.stored == 600 * (16 + 17) // 60


_TIMES = st.integers(-2 * QUARTER_MS, 8 * QUARTER_MS)


@given(st.lists(st.tuples(_TIMES, _TIMES), max_size=4))
def test_gaps_reach_into_the_quarter_hours_that_a_clock_would_tick_off(pairs: list[tuple[int, int]]) -> None:
    gaps = sorted(Span(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1])
    span = Span(0, 6 * QUARTER_MS)
    touched = [
        any(gap.start_ms < at + QUARTER_MS and gap.end_ms > at for gap in gaps)
        for at in range(0, span.end_ms, QUARTER_MS)
    ]
    found = on_quarters(gaps, span)
    assert touched == [any(s <= at < e for s, e in found) for at in range(0, span.end_ms, QUARTER_MS)]
    assert all(before.end_ms < after.start_ms for before, after in pairwise(found))
