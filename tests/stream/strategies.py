"""Parks, histories of meters and streams of records for the tests of `stream/`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

from factors.policy import FactorPolicy, enterprise_policy, factor_for
from factors.table import FactorTable
from metering import frames
from metering.intervals import QUARTER_MS
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from storage.ledger import IntervalRow, LatestRow, NewLedgerEvent, ProgressRow, Results
from storage.segment import Record
from stream.kernels import accumulate, decode, intmath
from stream.policy import Policy
from stream.state import State
from stream.step import Context, step
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


DEVICES = {
    "plain": Device(
        "gw1", "energy_import_total", "grid_boundary", DataType.UINT32, "kWh", 1, -2, None, 500_000, "400/5"
    ),
    "float": Device("gw1", "energy_import_total", "sub_meter", DataType.DOUBLE, "kWh", 2, 0, -2),
    "tiny": Device(
        "gw2", "energy_export_total", "export", DataType.INT64, "Wh", 1, -4, None, None, "1/3", "7/11"
    ),
    "pv": Device("gw2", "energy_generation_total", "pv_generation", DataType.UINT64, "Wh", 2),
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
        odd = draw(st.integers(0, 11))
        if odd == 0:
            shown, at = draw(st.integers(0, 2**31 - 1)), t + 1
        elif odd == 1:
            shown, at = count, max(0, t - draw(GAPS))
        elif odd == 2:
            shown, at = count + draw(st.integers(0, 1)), t
        else:
            t, count = t + draw(GAPS), count + draw(RISES)
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


@dataclass
class Ledger:
    """What a ledger would hold after all commits."""

    intervals: dict[tuple[str, str, int], IntervalRow]
    latest: dict[tuple[str, str], LatestRow]
    progress: dict[tuple[str, str], ProgressRow]
    events: list[NewLedgerEvent]

    def add(self, results: Results) -> None:
        self.intervals |= {(r.meter, r.reading_type, r.start_ms): r for r in results.intervals}
        self.progress |= {(r.meter, r.reading_type): r for r in results.progress}
        self.events += results.events
        for row in results.latest:
            known = self.latest.get((row.meter, row.reading_type))
            if known is None or row.t_ms >= known.t_ms:
                self.latest[row.meter, row.reading_type] = row

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def rows(self) -> list[IntervalRow]:
        return [self.intervals[key] for key in sorted(self.intervals)]


def follow(
    records: Sequence[Record],
    world: Context | None = None,
    cuts: Sequence[int] = (),
    *,
    restore: bool = False,
) -> Ledger:
    """Step over the records, cut at `cuts`; with `restore` the state is put down and picked up at each cut."""
    ledger, state, world = Ledger({}, {}, {}, []), State(), world or context()
    edges = [0, *sorted({min(cut, len(records)) for cut in cuts}), len(records)]
    for start, end in pairwise(edges):
        ledger.add(step(state, records[start:end], world))
        if restore:
            state = State.restore(state.snapshot())
    return ledger


@contextmanager
def uncompiled() -> Iterator[None]:
    """Every kernel as the plain function that it was compiled from. Scalars of numpy warn where int64 wraps."""
    with np.errstate(over="ignore"):
        stack: list[Any] = [
            patch.object(module, name, item.py_func)
            for module in (intmath, decode, accumulate)
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
