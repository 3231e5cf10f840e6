"""A small park with a real ledger and journal, filled by plain arithmetic, and a projector over them."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from factors.table import FactorTable
from metering.intervals import QUARTER_MS, to_ms
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.influx import Target, Writer
from storage.influx_setup import init
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, GatewayState, Offset
from storage.journal_writer import JournalWriter
from storage.ledger import (
    IntervalRow,
    LatestRow,
    LedgerReader,
    NewLedgerEvent,
    ProgressRow,
    Results,
    Snapshot,
)
from storage.ledger_writer import LedgerWriter
from storage.segment import Record
from stream.projector import Files, Projector

ZONE = ZoneInfo("Asia/Shanghai")
NOW_MS = to_ms(datetime(2026, 11, 20, 12, 7, tzinfo=ZONE))
MONTH_MS = to_ms(datetime(2026, 11, 1, tzinfo=ZONE))
DAY_MS = 24 * 3_600_000
IMPORT, EXPORT, YIELD = "energy_import_total", "energy_export_total", "energy_generation_total"
PARK: dict[str, object] = {
    "id": "p", "name": "园区", "grid_scope": "CN-AH",
    "enterprises": [{"id": "e1", "name": "甲", "monthly_carbon_budget_t": 2.5}, {"id": "e2", "name": "乙"}],
    "sites": [{"id": "s1", "enterprise": "e1", "name": "一"}, {"id": "s2", "enterprise": "e2", "name": "二"}],
    "gateways": [{"id": "g1", "site": "s1"}, {"id": "g2", "site": "s2"}],
    "meters": [
        {"id": "gate", "gateway": "g1", "roles": {IMPORT: "grid_boundary", EXPORT: "export"}},
        {"id": "pv", "gateway": "g1", "parent": "gate", "roles": {YIELD: "pv_generation"}},
        {"id": "line", "gateway": "g1", "parent": "gate", "roles": {IMPORT: "sub_meter"}},
        {"id": "shop", "gateway": "g1", "parent": "gate", "roles": {IMPORT: "resold"}},
        {"id": "other", "gateway": "g2", "roles": {IMPORT: "grid_boundary"}},
        {"id": "water", "gateway": "g2", "roles": {"volume_total": "sub_meter"}},
    ],
}  # fmt: skip
ENERGY = {
    ("gate", IMPORT): 1000, ("gate", EXPORT): 40, ("pv", YIELD): 300, ("line", IMPORT): 900, ("shop", IMPORT): 250,
    ("other", IMPORT): 777, ("water", "volume_total"): 12,
}  # fmt: skip
"""Base units per quarter hour."""


def row(key: tuple[str, str], start_ms: int, energy: int, **changes: object) -> IntervalRow:
    """A closed interval; `changes` are fields."""
    fields: dict[str, object] = {
        "meter": key[0], "reading_type": key[1], "start_ms": start_ms, "end_ms": start_ms + QUARTER_MS, "part": 0,
        "revision": 1, "opening": 10_000, "closing": 10_000 + energy,
        "emission_ug": energy * 530_600 if "volume" not in key[1] else None, "factor_id": None,
        "coverage_ms": QUARTER_MS, "edge_read": True, "quality": 0, "closed": True,
    }  # fmt: skip
    return IntervalRow(**(fields | changes))  # type: ignore[arg-type]  # fields by name


def quarters(start_ms: int, count: int) -> list[IntervalRow]:
    """All totals over `count` quarters."""
    starts = range(start_ms, start_ms + count * QUARTER_MS, QUARTER_MS)
    return [row(key, start, energy) for start in starts for key, energy in ENERGY.items()]


class Plant:
    """What the meters said; the clock stands until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now_ms, self.seq, self.number = folder, NOW_MS, 0, 0
        self.park: Park = parse_registry(PARK)
        self.files = Files(
            *(
                folder / name
                for name in ("journal.db", "ledger.db", "months.db", "registry.db", "projector.db")
            )
        )
        self.ledger, self.journal = LedgerWriter(self.files.ledger), JournalWriter(self.files.journal)

    def commit(self, rows: Sequence[IntervalRow], events: Sequence[NewLedgerEvent] = ()) -> None:
        """One commit of the stream."""
        self.seq += 1
        newest = {(r.meter, r.reading_type): r for r in rows}
        progress = [ProgressRow(r.meter, r.reading_type, r.end_ms, r.closing, False) for r in newest.values()]
        latest = [
            LatestRow(r.meter, r.reading_type, r.end_ms, float(r.closing), r.end_ms) for r in newest.values()
        ]
        results = Results(list(rows), latest, progress, list(events))
        cursor = Offset(self.journal.commit(Commit(), 1) + 1, 0)
        self.ledger.commit(Snapshot(self.journal.journal_id, cursor, self.seq, b""), results)

    def new_ledger(self) -> None:
        """The stream's ledger is moved away and made again."""
        self.ledger.close()
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            (self.folder / name).unlink(missing_ok=True)
        self.ledger, self.seq = LedgerWriter(self.files.ledger), 0

    def birth(self, meter: str, *names: tuple[str, str, int], epoch: int = 1) -> Entry:
        """A meter's birth: name, unit and alias of each gauge."""
        metrics = tuple(
            Metric(
                name=name,
                alias=alias,
                timestamp=1,
                datatype=DataType.FLOAT,
                is_null=True,
                properties={"engUnit": unit},
            )
            for name, unit, alias in names
        )
        record = Record(f"spBv1.0/p/DBIRTH/g1/{meter}", encode(Payload(metrics, 1)), 1)
        return Entry(record, BirthIndex("g1", meter, epoch))

    def frame(self, meter: str, t_ms: int, *values: tuple[int, float]) -> Entry:
        """A frame: alias and value of each gauge."""
        self.number += 1
        metrics = tuple(
            Metric(alias=alias, timestamp=t_ms, datatype=DataType.FLOAT, value=value)
            for alias, value in values
        )
        record = Record(f"spBv1.0/p/DDATA/g1/{meter}", encode(Payload(metrics, t_ms)), t_ms)
        return Entry(record, FrameIndex("g1", meter, 1, self.number, t_ms, b""))

    def store(self, entries: Sequence[Entry]) -> None:
        """One segment of the journal, heard just now from a gateway that is there."""
        state = GatewayState("g1", online=True, since_ms=1, last_received_ms=self.now_ms)
        self.journal.commit(Commit(entries=list(entries), gateways=[state]), self.now_ms)

    @contextmanager
    def projector(self, writer: Writer, target: Target | None = None) -> Iterator[Projector]:
        """A projector that makes its database when it is missing."""
        with Projector(
            self.park, self.files, writer, FactorTable.load(), lambda: self.now_ms,
            prepare=lambda: init(target) if target else None,
        ) as projector:  # fmt: skip
            projector.start()
            yield projector

    def sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        """What the ledger holds: energy and number of 15-minute intervals of every total, newest revisions."""
        found = {}
        with LedgerReader(self.files.ledger) as ledger:
            for key in ENERGY:
                rows = ledger.intervals(*key, 0, 1 << 62)
                found[key] = (
                    sum(r.energy for r in rows),
                    len({r.start_ms - r.start_ms % QUARTER_MS for r in rows}),
                )
        return {key: value for key, value in found.items() if value[1]}

    def points(self) -> dict[tuple[str, str, int], tuple[float, float]]:
        """Every 15-minute interval of the ledger: its energy and revision."""
        with LedgerReader(self.files.ledger) as ledger:
            rows = [line for key in ENERGY for line in ledger.quarters(*key, 0, 1 << 62)]
        return {(r.meter, r.reading_type, r.start_ms): (r.energy, r.revision) for r in rows}

    def close(self) -> None:
        """Close the files."""
        self.ledger.close()
        self.journal.close()


def f32(value: float) -> float:
    """What is left of a number in four bytes."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
