"""A pack's frames and beginnings, over random histories: they give back the ledger's rows and events of any span."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.dated import declared_total
from metering.intervals import QUARTER_MS, Span, to_local
from metering.quality import Quality
from metering.registry import Meter
from storage.journal import JournalReader
from storage.ledger import EventRow, IntervalRow, LedgerReader
from storage.segment import Record
from storage.slices import JournalSlice
from tests.stream.runs import run_through
from tests.stream.strategies import DEVICES, T0, births, context, park, readings, streams
from tests.stream.test_runner import write_journal
from tests.stream.test_step import changes
from verification.evidence.births import Key, MeterFacts, dated_of
from verification.evidence.judge import Event
from verification.evidence.replay import Replay
from verification.evidence.selection import DECIDING, WARM_UP, Known, Selector, known_of
from verification.evidence.total import TOLD
from verification.evidence.track import Row


def row_of(row: IntervalRow) -> Row:
    return Row(
        row.start_ms, row.opening, row.closing, row.coverage_ms, row.edge_read, row.quality, row.closed
    )


def told(rows: list[EventRow], span: Span) -> list[Event]:
    return sorted(
        Event(
            e.t_ms,
            e.kind,
            e.detail["position"],
            e.detail.get("adjustment", 0),
            e.detail.get("until_t_ms", e.t_ms),
        )
        for e in rows
        if e.kind in TOLD and span.start_ms <= e.t_ms < span.end_ms
    )


def facts_of(meter: Meter, kind: str) -> MeterFacts:
    dated = dated_of(declared_total(meter, kind, park().tz), kind, meter.max_power_w, meter.power_gap_s)
    roles = {kind: "sub_meter"}
    return MeterFacts(meter.gateway, "e", "", 0, meter.ct, meter.pt, meter.max_power_w, roles, {kind: dated})


def replayed(folder: Path, key: Key, facts: MeterFacts, known: Known, span: Span) -> Replay:
    with JournalReader(folder / "journal") as reader:
        end = reader.head().offset
    with JournalSlice(folder / "journal", end) as journal:
        selection = Selector(journal, key[0], facts, {key: known}, span).select(())
        found = Replay(
            span, {key[0]: facts}, {of: begins for of, (_where, begins) in selection.opening.items()}
        )
        for segment, index in sorted(selection.places):
            found.feed((segment, index), journal.records(segment)[index])
    found.end()
    return found


def expect_the_ledger_again(
    folder: Path,
    records: Iterable[Record],
    changed: Mapping[str, dict[str, object]],
    first: int,
    length: int,
) -> None:
    """`first` and `length` of the span are in intervals after T0."""
    registry = park("Asia/Shanghai", **changed)
    write_journal(folder / "journal", [*births(), *records], 50)
    run_through(folder / "journal", folder / "ledger", context(registry))
    span = Span(T0 + first * QUARTER_MS, T0 + (first + length) * QUARTER_MS)
    with LedgerReader(folder / "ledger") as ledger:
        events = list(ledger.events_of(DECIDING))
        for name, device in DEVICES.items():
            key, meter = (name, device.reading_type), registry.meter(name)
            assert meter is not None
            mine = [e for e in events if (e.meter, e.reading_type) == key]
            total = replayed(folder, key, facts_of(meter, key[1]), known_of(mine), span).totals[key]
            rows = list(total.rows())
            stored = [row_of(row) for row in ledger.intervals(*key, *span) if row.quality != Quality.VOID]
            assert [row for row in rows if row.closed] == [row for row in stored if row.closed]
            if len(stored) == length and all(row.closed for row in stored):
                found = sorted(
                    e for e in total.told.events if e.kind in TOLD and span.start_ms <= e.t < span.end_ms
                )
                assert found == told(mine, span)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(size=25), changes(), st.integers(0, 60), st.integers(1, 200))
def test_what_a_pack_takes_gives_back_the_ledger(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[Record]],
    changed: dict[str, dict[str, object]],
    first: int,
    length: int,
) -> None:
    records = (record for part in parts for record in part)
    expect_the_ledger_again(tmp_path_factory.mktemp("run"), records, changed, first, length)


def test_of_the_frames_of_one_time_after_the_month_a_pack_takes_all(tmp_path: Path) -> None:
    """The second frame of its time shows less: by it the first one does not count, and the pack has to go on to the next."""
    end_ms = 3 * QUARTER_MS
    heat = readings(
        "heat", (905_000, 47), (907_000, 1_107), (944_000, 1_111), (end_ms - 1, 3_652),
        (end_ms + 5, 208), (end_ms + 5, 29), (end_ms + 4_000, 3_688),
    )  # fmt: skip
    expect_the_ledger_again(tmp_path, heat, {}, 0, 3)


def test_of_the_frames_of_one_time_before_the_month_a_pack_takes_all(tmp_path: Path) -> None:
    """More of them than it looks at first."""
    begins = [(60_000, 100 + n) for n in range(2 * WARM_UP)]
    heat = readings("heat", *begins, (QUARTER_MS + 1_000, 140), (2 * QUARTER_MS + 1_000, 150))
    expect_the_ledger_again(tmp_path, heat, {}, 1, 1)


def test_a_register_that_is_none_under_an_earlier_ratio_is_none_in_a_pack_either(tmp_path: Path) -> None:
    """1,064,024,584 kWh behind 2500 × 2200 do not stay below 2^62 Wh, though behind the 120 × 2200 of their time they do."""
    swap = {"at": to_local(T0 + 83_502, ZoneInfo("UTC")), "closing": {"energy_import_total": "7.28"}}
    changed: dict[str, dict[str, object]] = {
        "high": {"exchanges": [swap | {"opening": {"energy_import_total": "2825.838"}, "ct": "120"}]}
    }
    high = readings("high", (900_000, 1_064_024_584), (907_000, 2_579_461), (1_867_000, 2_579_461))
    expect_the_ledger_again(tmp_path, high, changed, 1, 3)
