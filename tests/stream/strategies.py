"""Parks, histories of meters and streams of records for the tests of `stream/`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from hypothesis import strategies as st

from factors.policy import FactorPolicy, enterprise_policy, factor_for
from factors.table import FactorTable
from metering import frames
from metering.intervals import QUARTER_MS
from metering.protobuf_wire import DecodeError
from metering.quality import Quality
from metering.registry import Meter, Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from metering.sparkplug import decode as decode_payload
from metering.topics import parse_topic
from storage.ledger import (
    CheckpointRow,
    EventRow,
    IntervalRow,
    LatestRow,
    NewLedgerEvent,
    ProgressRow,
    Results,
)
from storage.segment import Record
from stream.context import Context
from stream.kernels import (
    accumulate,
    decode,
    entries,
    intmath,
    lane,
    meaning,
    order,
    power,
    records,
    still,
    vee,
)
from stream.policy import Policy
from stream.restate import restate
from stream.state import State
from stream.step import step
from tests.naive import Naive

AS_OF = date(2026, 11, 20)
T0 = 1_793_458_800_000
"""2026-10-31 15:00 UTC: an hour before the month ends in Shanghai."""
TABLE = FactorTable.load()


@dataclass(frozen=True)
class Device:
    """A meter of the test park and how its gateway declares its total."""

    gateway: str
    reading_type: str
    role: str
    datatype: DataType
    unit: str
    alias: int | None
    scale: int = 0
    resolution: int | None = None
    max_power_w: int | None = None
    ct: str = "1"
    pt: str = "1"
    modulus: int | None = None


DEVICES = {
    "plain": Device(
        "gw1",
        "energy_import_total",
        "grid_boundary",
        DataType.UINT32,
        "kWh",
        1,
        -2,
        None,
        500_000,
        "400/5",
        modulus=1_000_000,
    ),
    "float": Device("gw1", "energy_import_total", "sub_meter", DataType.DOUBLE, "kWh", 2, 0, -2),
    "tiny": Device(
        "gw2", "energy_export_total", "export", DataType.INT64, "Wh", 1, -4, None, None, "1/3", "7/11"
    ),
    "pv": Device("gw2", "energy_generation_total", "pv_generation", DataType.UINT64, "Wh", 2, modulus=10_000),
    "heat": Device("gw2", "heat_total", "sub_meter", DataType.INT32, "GJ", 3, -3, None, 2_000_000),
    "foreign": Device("gw3", "energy_import_total", "resold", DataType.FLOAT, "Wh", None),
    "high": Device(
        "gw3",
        "energy_import_total",
        "grid_boundary",
        DataType.UINT64,
        "kWh",
        9,
        0,
        None,
        None,
        "2500",
        "2200",
    ),
}


def park(zone: str = "Asia/Shanghai", **changed: dict[str, object]) -> Park:
    meters = [
        {
            "id": name,
            "gateway": d.gateway,
            "roles": {d.reading_type: d.role},
            "ct": d.ct,
            "pt": d.pt,
            "max_power_w": d.max_power_w,
        }
        | changed.get(name, {})
        for name, d in DEVICES.items()
    ]
    return parse_registry(
        {
            "id": "p", "name": "p", "zone": zone, "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}],
            "gateways": [{"id": f"gw{i}", "site": "s"} for i in (1, 2, 3)], "meters": meters,
        }
    )  # fmt: skip


def context(registry: Park | None = None, policy: FactorPolicy | None = None) -> Context:
    registry = registry or park()
    return Context(registry, Policy(TABLE, policy or enterprise_policy(), registry.tz, AS_OF))


def naive(registry: Park | None = None, policy: FactorPolicy | None = None) -> Naive:
    chosen = policy or enterprise_policy()
    return Naive(registry or park(), lambda role, month: factor_for(TABLE, role, chosen, month, AS_OF))


def birth(meter: str, device: Device | None = None) -> Record:
    device = device or DEVICES[meter]
    properties: dict[str, Property] = {frames.PROPERTY_UNIT: device.unit, frames.PROPERTY_SCALE: device.scale}
    if device.resolution is not None:
        properties[frames.PROPERTY_RESOLUTION] = device.resolution
    if device.modulus is not None:
        properties[frames.PROPERTY_MODULUS] = device.modulus
    metric = Metric(
        name=device.reading_type,
        alias=device.alias,
        datatype=device.datatype,
        is_null=True,
        properties=properties,
    )
    return Record(f"spBv1.0/p/DBIRTH/{device.gateway}/{meter}", encode(Payload((metric,), timestamp=1)), 1)


def births() -> list[Record]:
    return [birth(meter) for meter in DEVICES]


def frame(meter: str, t: int, raw: float | None, device: Device | None = None) -> Record:
    device = device or DEVICES[meter]
    name = device.reading_type if device.alias is None else None
    metric = Metric(
        name=name, alias=device.alias, timestamp=t, datatype=device.datatype, value=raw, is_null=raw is None
    )
    payload = Payload((metric,), timestamp=t + 7)
    return Record(f"spBv1.0/p/DDATA/{device.gateway}/{meter}", encode(payload), t + 50)


def readings(meter: str, *pairs: tuple[int, float], start: int = T0) -> list[Record]:
    """Frames of one meter from (ms after `start`, raw value)."""
    return [frame(meter, start + after, raw) for after, raw in pairs]


GAPS = st.one_of(
    st.sampled_from(
        [QUARTER_MS, QUARTER_MS // 2, 60_000, 5_000, QUARTER_MS + 60_000, QUARTER_MS + 60_001, 2 * QUARTER_MS]
    ),
    st.integers(1, 4 * QUARTER_MS),
    st.integers(1, 3 * 96 * QUARTER_MS),
)
RISES = st.one_of(st.integers(0, 40), st.just(0), st.integers(0, 10**6))


@st.composite
def histories(draw: st.DrawFn, meter: str, size: int = 10) -> list[Record]:
    """A meter's frames in their own order: mostly a rising total, at times a dip, a jump, a late or a repeated reading."""
    device = DEVICES[meter]
    t = T0 + draw(st.integers(0, QUARTER_MS))
    count = draw(st.integers(0, 10**6))
    out = []
    for _ in range(draw(st.integers(0, size))):
        odd = draw(st.integers(0, 15))
        if odd in {12, 13}:
            count = draw(st.integers(0, 60)) if odd == 12 else max(0, count - draw(st.integers(1, 40)))
        elif odd == 14 and device.modulus is not None:
            count = device.modulus - draw(st.integers(1, 9))
        elif odd == 15:
            count += draw(st.integers(0, 10**7))
        if odd == 0:
            shown, at = draw(st.integers(0, 2**31 - 1)), t + 1
        elif odd == 1:
            shown, at = count, max(0, t - draw(GAPS))
        elif odd == 2:
            shown, at = count + draw(st.integers(0, 1)), t
        else:
            t, count = t + draw(GAPS), count + draw(RISES)
            count = count % device.modulus if device.modulus is not None else count
            shown, at = count, t
        value = shown / 8 if device.datatype in {DataType.DOUBLE, DataType.FLOAT} else shown
        out.append(frame(meter, at, None if odd == 3 else value))
    return out


@st.composite
def streams(draw: st.DrawFn, size: int = 10) -> list[list[Record]]:
    """One history per meter."""
    return [draw(histories(meter, size)) for meter in DEVICES]


def merged(parts: Sequence[Sequence[Record]], order: Sequence[int]) -> list[Record]:
    """The parts interleaved as `order` says (numbers picked from it choose the next part), each keeping its own order."""
    left = [list(part) for part in parts if part]
    out = []
    for step_no in range(sum(map(len, left))):
        part = left[order[step_no % len(order)] % len(left)]
        out.append(part.pop(0))
        left = [part for part in left if part]
    return out


class Memory:
    """The history of what was followed so far."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = [(record, parse_topic(record.topic)) for record in records]

    def records(self, meter: Meter, after_ms: int) -> list[Record]:
        mine = [r for r, topic in self._records if topic is not None and topic.meter == meter.id]
        return [r for r in mine if "/DBIRTH/" in r.topic or _newest(r) > after_ms]


def _newest(record: Record) -> int:
    try:
        payload = decode_payload(record.payload)
    except DecodeError:
        return 1 << 62
    times = [payload.timestamp if m.timestamp is None else m.timestamp for m in payload.metrics]
    return max((t for t in times if t is not None), default=1 << 62)


@dataclass
class Ledger:
    """What a ledger would hold after all commits."""

    intervals: dict[tuple[str, str, int], IntervalRow]
    latest: dict[tuple[str, str], LatestRow]
    progress: dict[tuple[str, str], ProgressRow]
    told: dict[int, NewLedgerEvent]
    checkpoints: dict[tuple[str, str, int], CheckpointRow]

    @classmethod
    def empty(cls) -> "Ledger":
        return cls({}, {}, {}, {}, {})

    def add(self, results: Results) -> None:
        for r in results.intervals:
            known = self.intervals.get((r.meter, r.reading_type, r.start_ms))
            newest = max(r.revision, known.revision if known is not None else 1)
            self.intervals[r.meter, r.reading_type, r.start_ms] = msgspec.structs.replace(r, revision=newest)
        self.progress |= {(r.meter, r.reading_type): r for r in results.progress}
        for id_ in results.withdrawn:
            del self.told[id_]
        for event in results.events:
            if event not in self.told.values():
                self.told[max(self.told, default=0) + 1] = event
        for meter, kind, since in results.outdated:
            self.checkpoints = {
                k: v for k, v in self.checkpoints.items() if k[:2] != (meter, kind) or k[2] < since
            }
        self.checkpoints |= {(r.meter, r.reading_type, r.heard_ms): r for r in results.checkpoints}
        for row in results.latest:
            known_latest = self.latest.get((row.meter, row.reading_type))
            if known_latest is None or row.t_ms >= known_latest.t_ms:
                self.latest[row.meter, row.reading_type] = row

    # What a restatement asks the ledger.
    def interval_rows(self, meter: str, kind: str, start_ms: int, end_ms: int) -> list[IntervalRow]:
        mine = [self.intervals[key] for key in sorted(self.intervals) if key[:2] == (meter, kind)]
        return [row for row in mine if start_ms <= row.start_ms < end_ms]

    def events_noted_after(self, meter: str, kind: str, noted_ms: int) -> list[EventRow]:
        return [
            EventRow(id_, e.t_ms, e.meter, e.reading_type, e.kind, e.detail)
            for id_, e in self.told.items()
            if (e.meter, e.reading_type) == (meter, kind) and e.noted_ms > noted_ms
        ]

    def checkpoint(self, meter: str, kind: str, before_ms: int) -> CheckpointRow | None:
        keys = [key for key in sorted(self.checkpoints) if key[:2] == (meter, kind) and key[2] < before_ms]
        return self.checkpoints[keys[-1]] if keys else None

    @property
    def events(self) -> list[NewLedgerEvent]:
        return list(self.told.values())

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def rows(self) -> list[IntervalRow]:
        """The newest revisions, those aside that a restatement voided."""
        return [self.intervals[key] for key in sorted(self.intervals) if not is_void(self.intervals[key])]

    @property
    def values(self) -> list[IntervalRow]:
        """The rows without their revision numbers: what must not depend on how the readings came."""
        return [msgspec.structs.replace(row, revision=1) for row in self.rows]


def is_void(row: IntervalRow) -> bool:
    """Whether a restatement found no energy to put here."""
    return row.quality == Quality.VOID


class Kept:
    """A ledger as a restatement reads it."""

    def __init__(self, ledger: Ledger) -> None:
        self.intervals = ledger.interval_rows
        self.events_noted_after = ledger.events_noted_after
        self.checkpoint = ledger.checkpoint


def follow(
    records: Sequence[Record],
    world: Context | None = None,
    cuts: Sequence[int] = (),
    *,
    restore: bool = False,
) -> Ledger:
    """Step over the records, cut at `cuts`; with `restore` the state is put down and picked up at each cut."""
    ledger, state, world = Ledger.empty(), State(), world or context()
    edges = [0, *sorted({min(cut, len(records)) for cut in cuts}), len(records)]
    for start, end in pairwise(edges):
        results = step(state, records[start:end], world)
        restate(state, results.late, world, Memory(records[:end]), Kept(ledger), results, "late_reading")
        ledger.add(results)
        if restore:
            aliases, state = state.aliases, State.restore(state.snapshot())
            state.aliases = aliases
    return ledger


@contextmanager
def uncompiled() -> Iterator[None]:
    """Every kernel as the plain function that it was compiled from. Scalars of numpy warn where int64 wraps."""
    with np.errstate(over="ignore"):
        stack: list[Any] = [
            patch.object(module, name, item.py_func)
            for module in (
                intmath,
                decode,
                records,
                entries,
                meaning,
                order,
                vee,
                lane,
                accumulate,
                power,
                still,
            )
            for name, item in vars(module).items()
            if hasattr(item, "py_func")
        ]
        for item in stack:
            item.start()
        try:
            yield
        finally:
            for item in stack:
                item.stop()
