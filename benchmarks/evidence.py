"""`tanyun evidence verify` for 1,000 meters and a month of 15-minute frames, and what a report takes.

A pack of fewer meters is made by the real chain (journal, stream, close, pack) and verified; its time is scaled by frames.
Each frame has two totals and four gauges. Usage: scripts/bench evidence [meters]
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from factors.fuel import FuelTable
from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.intervals import QUARTER_MS, Span, local_month, to_ms
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from storage.facts.state import Facts
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, JournalReader
from storage.journal_writer import JournalWriter
from storage.ledger import LedgerReader
from storage.months import MonthRow, MonthStore
from storage.segment import Record
from stream.context import Context
from stream.policy import Policy
from tests.stream.runs import run_through
from verification.close import Sources as CloseSources
from verification.close import close_month
from verification.evidence.pack import Sources, write_pack
from verification.evidence.verify import verify_pack
from verification.formats import RENDERERS
from verification.lines import RegistryState

MONTH = "2026-10"
METERS = 1000
GAUGES = {"voltage_l1": "V", "voltage_l2": "V", "voltage_l3": "V", "power_active": "W"}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def make_park(meters: int) -> Park:
    data: dict[str, object] = {
        "id": "bench", "name": "基准园区", "grid_scope": "CN-AH",
        "enterprises": [{"id": "e1", "name": "基准企业"}],
        "sites": [{"id": "s1", "enterprise": "e1", "name": "厂房"}],
        "gateways": [{"id": "g1", "site": "s1"}],
        "meters": [
            {"id": f"m{n:04d}", "gateway": "g1", "name": f"表 {n}", "ct": "400/5",
             "roles": {"energy_import_total": "grid_boundary" if n == 0 else "sub_meter"}}
            for n in range(meters)
        ],
    }  # fmt: skip
    return parse_registry(data)


def _birth(meter: str, place: int) -> Entry:
    totals = ("energy_import_total", "energy_export_total")
    units: dict[str, dict[str, Property]] = {name: {"engUnit": "kWh", "scale": -2} for name in totals}
    units |= {name: {"engUnit": unit, "scale": 0, "resolution": -1} for name, unit in GAUGES.items()}
    metrics = tuple(
        Metric(
            name=name,
            alias=8 * place + at,
            datatype=DataType.UINT32 if name in totals else DataType.FLOAT,
            properties=properties,
        )
        for at, (name, properties) in enumerate(units.items(), start=1)
    )
    topic = f"spBv1.0/bench/DBIRTH/g1/{meter}"
    return Entry(Record(topic, encode(Payload(metrics)), 0), BirthIndex("g1", meter, 1))


def entries(park: Park, span: Span) -> Iterator[list[Entry]]:
    """One commit per quarter hour, as a gateway of that size makes them; two hours beyond each edge. Aliases are the gateway's."""
    births = [_birth(meter.id, place) for place, meter in enumerate(park.meters)]
    first = births
    number = 0
    for at in range(span.start_ms - 8 * QUARTER_MS, span.end_ms + 9 * QUARTER_MS, QUARTER_MS):
        found, first = first, []
        for place, meter in enumerate(park.meters):
            number += 1
            count = 100_000 + (at - span.start_ms) // QUARTER_MS * (7 + place % 5)
            metrics = (
                Metric(alias=8 * place + 1, timestamp=at, datatype=DataType.UINT32, value=count),
                Metric(alias=8 * place + 2, timestamp=at, datatype=DataType.UINT32, value=0),
                *(
                    Metric(alias=8 * place + i, timestamp=at, datatype=DataType.FLOAT, value=230.5 + i)
                    for i in range(3, 7)
                ),
            )
            record = Record(f"spBv1.0/bench/DDATA/g1/{meter.id}", encode(Payload(metrics, at)), at + 200)
            found.append(Entry(record, FrameIndex("g1", meter.id, 1, number, at, b"\0" * 16)))
        yield found


def build(folder: Path, meters: int) -> tuple[list[MonthRow], Path]:
    """The closed month and its park's pack."""
    park = make_park(meters)
    span = local_month(MONTH, park.tz)
    writer = JournalWriter(folder / "journal.db")
    for batch in entries(park, span):
        writer.commit(Commit(entries=batch), span.end_ms)
    writer.close()
    policy = Policy(FactorTable.load(), enterprise_policy(), park.tz, date(2026, 11, 1))
    run_through(folder / "journal.db", folder / "ledger.db", Context(park, policy))
    with (
        LedgerReader(folder / "ledger.db") as ledger,
        JournalReader(folder / "journal.db") as journal,
        MonthStore(folder / "months.db") as months,
    ):
        state = RegistryState(revision=0, digest="")
        sources = CloseSources(
            park, ledger, journal, months, FactorTable.load(), FuelTable.load(), Facts(()), state
        )
        rows = close_month(sources, MONTH, to_ms(datetime(2026, 11, 2, tzinfo=UTC)))
        wanted = Sources(
            park, folder / "journal.db", ledger, FactorTable.load(), KEY, "tanyun bench", {}, lambda _revision: Facts(),
            FuelTable.load(), months,
        )  # fmt: skip
        return rows, write_pack(rows[-1], wanted, folder)


def verify_seconds(pack: Path) -> tuple[float, float, int]:
    """How long a pack takes to verify, how much of both processes' time is computing, and how many frames it has."""
    begun, worked = time.perf_counter(), _worked()
    verdict = verify_pack(pack, KEY.public_key())
    seconds = time.perf_counter() - begun
    assert verdict.equal, verdict.difference
    return seconds, _worked() - worked, verdict.frames


def _worked() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in used)


def report_seconds(rows: list[MonthRow]) -> float:
    """The slowest of all formats together, over every scope."""
    slowest = 0.0
    for row in rows:
        begun = time.perf_counter()
        for render in RENDERERS.values():
            render(row)
        slowest = max(slowest, time.perf_counter() - begun)
    return slowest


def measure(meters: int) -> dict[str, float]:
    """Both figures, and what they were taken from."""
    with tempfile.TemporaryDirectory() as name:
        rows, pack = build(Path(name), meters)
        size = pack.stat().st_size
        seconds, worked, frames = verify_seconds(pack)
        peak = max(
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        print(
            f"{meters} meters: {frames} frames, pack {size / 1e6:.1f} MB, verified in {seconds:.2f} s, {worked:.2f} s of it computing"
        )
        print(f"memory: a process has had {peak // 1024} MiB at most, building the pack included")
        report = report_seconds(rows)
    return {
        "evidence_verify_1000_meters_s": round(seconds * METERS / meters, 1),
        "evidence_cpu_1000_meters_s": round(worked * METERS / meters, 1),
        "evidence_meters_measured": meters,
        "report_s": round(report, 2),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200)))
