"""Closing a month of 1,000 meters with all checks, reports excluded: 20 enterprises, 15-minute intervals, frames around the edges.

The journal holds an hour of frames on either side of both month edges, one segment per quarter hour, as ingest groups them.
Files are written before, so only the close is timed; one process, one core. Memory is the process's peak. What a report and the
verification of a pack take is measured by `benchmarks.evidence`.
"""

import json
import resource
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter, process_time

from benchmarks import evidence
from factors.fuel import FuelTable
from factors.table import FactorTable
from metering.intervals import QUARTER_MS, Span, local_month, to_ms
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.facts.fact import Fact
from storage.facts.kinds import MeterFact, ProductionFact
from storage.facts.state import Facts
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, JournalReader, Offset
from storage.journal_writer import JournalWriter
from storage.ledger import IntervalRow, LedgerReader, ProgressRow, Results, Snapshot
from storage.ledger_writer import LedgerWriter
from storage.months import MonthRow, MonthStore
from storage.segment import Record
from verification.close import Sources, close_month
from verification.document import parse
from verification.lines import RegistryState

METERS, ENTERPRISES, MONTH, TOTAL = 1_000, 20, "2026-10", "energy_import_total"
PER_ENTERPRISE = METERS // ENTERPRISES
STEP_WH, EPOCH, HOUR = 2_500, 1, 4
EVIDENCE_METERS = 200
"""Their pack's time is scaled to 1,000."""
CLOSED_AT_MS = to_ms(datetime(2026, 11, 2, 1, tzinfo=UTC))


def park() -> Park:
    """Each enterprise has a boundary meter and 49 sub-meters behind it."""
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH",
            "enterprises": [{"id": f"e{i}", "name": f"e{i}"} for i in range(ENTERPRISES)],
            "sites": [{"id": f"s{i}", "enterprise": f"e{i}", "name": "s"} for i in range(ENTERPRISES)],
            "gateways": [{"id": f"g{i}", "site": f"s{i}"} for i in range(ENTERPRISES)],
            "meters": [_meter(i) for i in range(METERS)],
        }
    )  # fmt: skip


def _meter(i: int) -> dict[str, object]:
    enterprise, place = divmod(i, PER_ENTERPRISE)
    boundary = f"m{enterprise * PER_ENTERPRISE}"
    role = "sub_meter" if place else "grid_boundary"
    common = {"id": f"m{i}", "gateway": f"g{enterprise}", "roles": {TOTAL: role}, "max_power_w": 10**6}
    return {**common, "parent": boundary} if place else common


def rate(i: int) -> int:
    """Wh per quarter hour: a boundary meter sees what its children do, and 2 % more."""
    return STEP_WH if i % PER_ENTERPRISE else STEP_WH * (PER_ENTERPRISE - 1) * 102 // 100


def facts(registry: Park) -> Facts:
    """Records of all meters, and output of all enterprises."""
    found: list[Fact] = [
        MeterFact(meter=m.id, serial=m.id, valid_from=date(2020, 1, 1), calibrated_until=date(2030, 1, 1))
        for m in registry.meters
    ]
    found += [
        ProductionFact(enterprise=e.id, month=MONTH, output_10k_cny="100", value_added_10k_cny="30")  # type: ignore[arg-type]  # as typed
        for e in registry.enterprises
    ]
    return Facts(tuple(found))


def write_ledger(path: Path, span: Span) -> None:
    writer = LedgerWriter(path)
    for i in range(METERS):
        rows = list(_rows(i, span))
        progress = [ProgressRow(f"m{i}", TOTAL, span.end_ms, rows[-1].closing, False)]
        writer.commit(Snapshot("x", Offset(1, 0), i + 1, b""), Results(intervals=rows, progress=progress))
    writer.close()


def _rows(i: int, span: Span) -> Iterator[IntervalRow]:
    step = rate(i)
    for number, start in enumerate(range(span.start_ms, span.end_ms, QUARTER_MS)):
        opening = number * step
        yield IntervalRow(
            f"m{i}",
            TOTAL,
            start,
            start + QUARTER_MS,
            0,
            1,
            opening,
            opening + step,
            None,
            None,
            QUARTER_MS,
            True,
            0,
            True,
        )


def write_journal(path: Path, span: Span) -> None:
    writer = JournalWriter(path)
    births = [
        Entry(
            Record(f"spBv1.0/p/DBIRTH/{_gateway(i)}/m{i}", encode(Payload((_birth(),))), 0),
            BirthIndex(_gateway(i), f"m{i}", EPOCH),
        )
        for i in range(METERS)
    ]
    writer.commit(Commit(entries=births), span.start_ms)
    number = 0
    for edge in span:
        for t_ms in range(edge - HOUR * QUARTER_MS, edge + HOUR * QUARTER_MS + 1, QUARTER_MS):
            number += 1
            writer.commit(Commit(entries=[_frame(i, t_ms, number, span) for i in range(METERS)]), t_ms)
    writer.close()


def _gateway(i: int) -> str:
    return f"g{i // PER_ENTERPRISE}"


def _birth() -> Metric:
    return Metric(name=TOTAL, alias=1, datatype=DataType.INT64, properties={"engUnit": "Wh"})


def _frame(i: int, t_ms: int, number: int, span: Span) -> Entry:
    value = 10**9 + rate(i) * ((t_ms - span.start_ms) // QUARTER_MS)
    payload = encode(Payload((Metric(alias=1, timestamp=t_ms, datatype=DataType.INT64, value=value),), t_ms))
    record = Record(f"spBv1.0/p/DDATA/{_gateway(i)}/m{i}", payload, t_ms + 40)
    return Entry(record, FrameIndex(_gateway(i), f"m{i}", EPOCH, number * METERS + i, t_ms, b"\0" * 16))


def close(folder: Path, registry: Park) -> list[MonthRow]:
    with (
        LedgerReader(folder / "ledger.db") as ledger,
        JournalReader(folder / "journal.db") as journal,
        MonthStore(folder / "months.db") as months,
    ):
        sources = Sources(
            registry, ledger, journal, months, FactorTable.load(), FuelTable.load(), facts(registry),
            RegistryState(revision=1, digest=""),
        )  # fmt: skip
        return close_month(sources, MONTH, CLOSED_AT_MS)


def close_figures() -> dict[str, float]:
    """The keys of this part of the benchmark."""
    registry = park()
    span = local_month(MONTH, registry.tz)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_ledger(folder / "ledger.db", span)
        write_journal(folder / "journal.db", span)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, worked = perf_counter(), process_time()
        rows = close(folder, registry)
        seconds, worked = perf_counter() - started, process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _expect(rows, span)
    print(f"{len(rows)} documents, {METERS} meters: {seconds:.1f} s, {worked:.1f} s of it computing")
    print(f"memory: {peak // 1024} MiB at most, {(peak - before) // 1024} MiB more than before the close")
    return {"close_1000_meters_s": round(seconds, 1), "close_peak_mib": peak // 1024}


def _expect(rows: list[MonthRow], span: Span) -> None:
    """The close found what was put in, and nothing to complain of."""
    whole = parse(rows[-1].document)
    quarters = (span.end_ms - span.start_ms) // QUARTER_MS
    assert whole.energy.purchased_wh == str(ENTERPRISES * rate(0) * quarters)
    assert len(whole.meters) == METERS
    assert all(line.balance.equal or line.balance.journal_wh for line in whole.meters)
    wrong = [c for c in whole.checks if c.outcome not in ("PASS", "NOT_DUE")]
    assert not wrong, wrong


def main() -> None:
    print(json.dumps({**close_figures(), **evidence.measure(EVIDENCE_METERS)}))


if __name__ == "__main__":
    main()
