"""A small park with a real journal, ledger and month store, filled by plain arithmetic instead of the stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest

from factors.fuel import FuelTable
from factors.table import FactorTable
from metering.intervals import QUARTER_MS, Span, local_month, to_ms
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from storage.facts.fact import Fact
from storage.facts.kinds import MeterFact
from storage.facts.state import Facts
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, JournalReader, Offset
from storage.journal_writer import JournalWriter
from storage.ledger import IntervalRow, LedgerReader, NewLedgerEvent, ProgressRow, Results, Snapshot
from storage.ledger_writer import LedgerWriter
from storage.months import MonthRow, MonthStore
from storage.segment import Record
from verification.close import Sources, check_month, close_month
from verification.document import MonthDocument
from verification.lines import RegistryState

MONTH = "2026-10"
CLOSED_AT_MS = to_ms(datetime(2026, 11, 2, 1, tzinfo=UTC))
EPOCH = 7
NEAR_MS = 4 * QUARTER_MS

PARK = {
    "id": "demo",
    "name": "示范高新区",
    "name_en": "Demo High-Tech Park",
    "grid_scope": "CN-AH",
    "enterprises": [
        {"id": "jingmi", "name": "示范精密制造有限公司", "name_en": "Demo Precision", "credit_code": "91340100DEMO000001"},
        {"id": "guangdian", "name": "示范光电有限公司"},
    ],
    "sites": [
        {"id": "s1", "enterprise": "jingmi", "name": "一号厂房"},
        {"id": "s2", "enterprise": "guangdian", "name": "二号厂房"},
    ],
    "gateways": [{"id": "gw1", "site": "s1"}, {"id": "gw2", "site": "s2"}],
    "meters": [
        {
            "id": "m-grid", "gateway": "gw1", "name": "总进线", "profile": "acrel_dtsd1352", "ct": "400/5",
            "roles": {"energy_import_total": "grid_boundary", "energy_export_total": "export"},
        },
        {
            "id": "m-pv", "gateway": "gw1", "name": "屋顶光伏", "profile": "huawei_sun2000", "parent": "m-grid",
            "roles": {"energy_generation_total": "pv_generation"},
        },
        {
            "id": "m-line", "gateway": "gw1", "name": "生产线", "profile": "chint_dtsu666", "parent": "m-grid",
            "roles": {"energy_import_total": "sub_meter"},
        },
        {
            "id": "m-press", "gateway": "gw1", "name": "冲压机", "parent": "m-line",
            "roles": {"energy_import_total": "sub_meter"},
        },
        {
            "id": "m-resold", "gateway": "gw1", "name": "转供电", "parent": "m-grid",
            "roles": {"energy_import_total": "resold"},
        },
        {"id": "m-two", "gateway": "gw2", "name": "总进线", "roles": {"energy_import_total": "grid_boundary"}},
    ],
}  # fmt: skip

# Counts of each total per quarter hour; one count is 0.01 kWh before the ratios.
RATES = {
    ("m-grid", "energy_import_total"): 100,
    ("m-grid", "energy_export_total"): 2,
    ("m-pv", "energy_generation_total"): 1200,
    ("m-line", "energy_import_total"): 5300,
    ("m-press", "energy_import_total"): 1001,
    ("m-resold", "energy_import_total"): 3500,
    ("m-two", "energy_import_total"): 2999,
}
FLOATS = {"m-line"}
INITIAL = 500_000


@dataclass
class Plant:
    """What the meters said and what the ledger holds; change it, then `build`."""

    folder: Path
    park: Park
    month: Span
    rates: dict[tuple[str, str], int] = field(default_factory=lambda: dict(RATES))
    until_ms: dict[str, int] = field(default_factory=dict)
    """Meter → time of its last frame; later ones are missing."""
    shift_ms: dict[str, int] = field(default_factory=dict)
    """Meter → how much later than the grid its frames near the edges are."""
    unread: set[tuple[str, int]] = field(default_factory=set)
    """(meter, interval end) without a read at the edge."""
    pending: set[str] = field(default_factory=set)
    ledger_error_wh: dict[str, int] = field(default_factory=dict)
    events: list[NewLedgerEvent] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    """What the registry holds; in order by default, so that a month without faults passes."""
    closed_at_ms: int = CLOSED_AT_MS

    def count(self, key: tuple[str, str], t_ms: int) -> int:
        """The register at a time: 15-minute steps of its rate, linear in between."""
        elapsed = t_ms - self.month.start_ms
        return INITIAL + self.rates[key] * elapsed // QUARTER_MS

    def position(self, key: tuple[str, str], t_ms: int) -> int:
        meter = self.park.meter(key[0])
        assert meter is not None
        ratio = meter.ct * meter.pt
        return self.count(key, t_ms) * 10 * ratio.numerator // ratio.denominator

    def expected(self, key: tuple[str, str]) -> int:
        return self.position(key, self.month.end_ms) - self.position(key, self.month.start_ms)

    def build(self) -> None:
        for file in self.folder.glob("*.sqlite*"):
            if not file.name.startswith("months"):
                file.unlink()
        self._journal()
        self._ledger()

    def _journal(self) -> None:
        writer = JournalWriter(self.folder / "journal.sqlite")
        births = [self._birth(meter.id, meter.gateway) for meter in self.park.meters]
        writer.commit(Commit(entries=births), self.month.start_ms)
        frames = list(self._frames())
        for at in range(0, len(frames), 20):
            writer.commit(Commit(entries=frames[at : at + 20]), self.month.end_ms)
        writer.close()

    def _birth(self, meter: str, gateway: str) -> Entry:
        metrics = tuple(
            Metric(name=name, alias=alias, datatype=self._datatype(meter), properties=self._properties(meter))
            for alias, (_, name) in self._aliases(meter)
        )
        record = Record(f"spBv1.0/demo/DBIRTH/{gateway}/{meter}", encode(Payload(metrics)), 0)
        return Entry(record, BirthIndex(gateway, meter, EPOCH))

    def _aliases(self, meter: str) -> list[tuple[int, tuple[str, str]]]:
        return [(10 + i, key) for i, key in enumerate(self.rates) if key[0] == meter]

    @staticmethod
    def _datatype(meter: str) -> DataType:
        return DataType.FLOAT if meter in FLOATS else DataType.UINT32

    @staticmethod
    def _properties(meter: str) -> dict[str, Property]:
        if meter in FLOATS:
            return {"engUnit": "kWh", "scale": 0, "resolution": -2}
        return {"engUnit": "kWh", "scale": -2}

    def _frames(self) -> Iterator[Entry]:
        number = 0
        edges = [e for edge in self.month for e in range(edge - NEAR_MS, edge + NEAR_MS + 1, QUARTER_MS)]
        edges = sorted({*edges, *self.until_ms.values()})
        for at in edges:
            for meter in self.park.meters:
                t_ms = at + self.shift_ms.get(meter.id, 0)
                if t_ms <= self.until_ms.get(meter.id, t_ms):
                    number += 1
                    yield self._frame(meter.id, meter.gateway, t_ms, number)

    def _frame(self, meter: str, gateway: str, t_ms: int, number: int) -> Entry:
        metrics = tuple(
            Metric(alias=alias, timestamp=t_ms, datatype=self._datatype(meter), value=self._raw(key, t_ms))
            for alias, key in self._aliases(meter)
        )
        record = Record(f"spBv1.0/demo/DDATA/{gateway}/{meter}", encode(Payload(metrics, t_ms)), t_ms + 200)
        return Entry(record, FrameIndex(gateway, meter, EPOCH, number, t_ms, b"\0" * 16))

    def _raw(self, key: tuple[str, str], t_ms: int) -> int | float:
        count = self.count(key, t_ms)
        return count / 100 if key[0] in FLOATS else count

    def _ledger(self) -> None:
        writer = LedgerWriter(self.folder / "ledger.sqlite")
        results = Results(events=self.events)
        for key in self.rates:
            results.intervals += self._rows(key)
            t_ms = min(self.until_ms.get(key[0], self.month.end_ms), self.month.end_ms)
            results.progress.append(ProgressRow(*key, t_ms, self.position(key, t_ms), key[0] in self.pending))
        writer.commit(Snapshot("x", Offset(1, 0), 1, b""), results)
        writer.close()

    def _rows(self, key: tuple[str, str]) -> Iterator[IntervalRow]:
        last = self.until_ms.get(key[0], self.month.end_ms)
        closing = self.position(key, self.month.start_ms)
        for start in range(self.month.start_ms, self.month.end_ms, QUARTER_MS):
            end = start + QUARTER_MS
            if end > last:
                return
            wrong = self.ledger_error_wh.get(key[0], 0) if end == self.month.end_ms else 0
            opening, closing = closing, self.position(key, end)
            yield IntervalRow(
                *key, start, end, 0, 1, opening, closing + wrong,
                None, None, QUARTER_MS, (key[0], end) not in self.unread, 0, True,
            )  # fmt: skip

    def close(
        self,
        reason: str | None = None,
        *,
        at_ms: int = CLOSED_AT_MS,
        incomplete: bool = False,
        month: str = MONTH,
    ) -> list[MonthRow]:
        with self.sources() as sources:
            return close_month(sources, month, at_ms, reason, allow_incomplete=incomplete)

    def check(self, now_ms: int, month: str = MONTH) -> list[MonthDocument]:
        with self.sources() as sources:
            return check_month(sources, month, now_ms)

    @contextmanager
    def sources(self) -> Iterator[Sources]:
        with (
            LedgerReader(self.folder / "ledger.sqlite") as ledger,
            JournalReader(self.folder / "journal.sqlite") as journal,
            MonthStore(self.folder / "months.sqlite") as months,
        ):
            yield Sources(
                self.park, ledger, journal, months, FactorTable.load(), FuelTable.load(), Facts(tuple(self.facts)),
                RegistryState(revision=1, digest=""),
            )  # fmt: skip


def in_order(park: Park) -> list[Fact]:
    """Records of every meter: calibrated, and with proven ratios where there are transformers."""
    return [
        MeterFact(
            meter=meter.id, serial=f"sn-{meter.id}", valid_from=date(2020, 1, 1), calibrated_until=date(2030, 1, 1),
            ct=str(meter.ct), pt=str(meter.pt), ratio_proof="photo of the plate",
        )
        for meter in park.meters
    ]  # fmt: skip


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    return Plant(tmp_path, park, local_month(MONTH, park.tz), facts=in_order(park))


@pytest.fixture
def month_rows(plant: Plant) -> list[MonthRow]:
    """A closed month without any finding to speak of: two enterprises and the park."""
    plant.build()
    return plant.close()
