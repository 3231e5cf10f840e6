"""From journal records to ledger rows on one core: decoding against the protobuf library, and the whole step.

One meter per payload, 20 readings of which 2 are totals, 1 % of the payloads out of order, 0.1 % delivered twice.
The step is measured with its snapshot, without the ledger's disk. Medians of interleaved runs.
"""

import json
import random
from collections.abc import Callable, Sequence
from datetime import date
from statistics import median
from time import perf_counter

import numpy as np

from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering import frames
from metering.reading_types import READING_TYPES
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.segment import Record
from stream.batch import decode_columns
from stream.context import Context
from stream.policy import Policy
from stream.state import State
from stream.step import step
from tests.fakes.sparkplug_proto import parse, value_of

METERS, FRAMES, BATCH, ROUNDS = 100, 100, 1000, 7
POLL_MS = 60_000
T0 = 1_793_458_800_000
TOTALS = ("energy_import_total", "energy_export_total")
GAUGES = tuple(
    name
    for name, known in READING_TYPES.items()
    if known.kind == "gauge" and known.unit in {"W", "V", "A", "VA", "var", "1", "Hz"}
)
NAMES = (*TOTALS, *GAUGES, "temperature_1", "temperature_2", "flow", "power_thermal")[:20]


def park() -> Park:
    roles = {"energy_import_total": "grid_boundary", "energy_export_total": "export"}
    meters = [
        {"id": f"m{i}", "gateway": f"g{i % 10}", "roles": roles, "ct": "80", "max_power_w": 10**6}
        for i in range(METERS)
    ]
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": f"g{i}", "site": "s"} for i in range(10)],
            "meters": meters,
        }
    )  # fmt: skip


def births() -> list[Record]:
    out = []
    for meter in range(METERS):
        metrics = tuple(
            Metric(
                name=name, alias=_alias(meter, i), datatype=DataType.UINT32 if name in TOTALS else DataType.FLOAT, is_null=True,
                properties={frames.PROPERTY_UNIT: "kWh" if name in TOTALS else READING_TYPES[name].unit, frames.PROPERTY_SCALE: -2},
            )
            for i, name in enumerate(NAMES)
        )  # fmt: skip
        out.append(
            Record(f"spBv1.0/p/DBIRTH/g{meter % 10}/m{meter}", encode(Payload(metrics, timestamp=T0)), T0)
        )
    return out


def data() -> list[Record]:
    rng = random.Random(1)
    records = [_frame(meter, tick, rng) for tick in range(FRAMES) for meter in range(METERS)]
    for _ in range(len(records) // 100):
        at = rng.randrange(len(records) - METERS)
        records[at], records[at + METERS] = records[at + METERS], records[at]
    return records + rng.choices(records, k=len(records) // 1000)


def _alias(meter: int, reading: int) -> int:
    return meter * len(NAMES) + reading + 1


def _frame(meter: int, tick: int, rng: random.Random) -> Record:
    t = T0 + tick * POLL_MS + meter
    metrics = tuple(
        Metric(
            alias=_alias(meter, i), timestamp=t, datatype=DataType.UINT32 if name in TOTALS else DataType.FLOAT,
            value=1_000_000 + tick * 7 if name in TOTALS else rng.uniform(0, 400),
        )
        for i, name in enumerate(NAMES)
    )  # fmt: skip
    payload = Payload(metrics, timestamp=t, seq=tick % 256)
    body = encode(payload)
    return Record(f"spBv1.0/p/DDATA/g{meter % 10}/m{meter}", body, t + 40)


def by_protobuf(payloads: Sequence[bytes]) -> list[tuple[int, int, int, object]]:
    """The same fields as the columns have: frame, alias, time, value."""
    return [
        (i, m.alias, m.timestamp, value_of(m))
        for i, payload in enumerate(payloads)
        for m in parse(payload).metrics
    ]


def pipeline(declared: Sequence[Record], records: Sequence[Record], context: Context) -> tuple[float, int]:
    """The seconds that all data records took, and the intervals they closed."""
    state, closed = State(), 0
    step(state, declared, context)
    started = perf_counter()
    for at in range(0, len(records), BATCH):
        closed += sum(row.closed for row in step(state, records[at : at + BATCH], context).intervals)
        state.snapshot()
    return perf_counter() - started, closed


def timed(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def main() -> None:
    registry = park()
    context = Context(
        registry, Policy(FactorTable.load(), enterprise_policy(), registry.tz, date(2026, 11, 20))
    )
    declared, records = births(), data()
    payloads = [record.payload for record in records]
    columns, _ = decode_columns(payloads)
    assert len(columns) == len(NAMES) * len(records) == len(by_protobuf(payloads))
    _, closed = pipeline(declared, records, context)
    assert closed >= METERS * len(TOTALS) * (FRAMES // 15 - 1)
    runs = [
        (
            timed(lambda: decode_columns(payloads)), timed(lambda: by_protobuf(payloads)),
            pipeline(declared, records, context)[0], timed(lambda: np.copy(columns)),
        )
        for _ in range(ROUNDS)
    ]  # fmt: skip
    decode_s, protobuf_s, pipeline_s, copy_s = (median(run[i] for run in runs) for i in range(4))
    print(
        f"{len(records)} payloads, {len(columns)} readings, {closed} intervals closed; medians of {ROUNDS} interleaved runs"
    )
    print(
        f"decode {decode_s * 1e3:.1f} ms, protobuf {protobuf_s * 1e3:.1f} ms, step {pipeline_s * 1e3:.1f} ms, copy {copy_s * 1e3:.2f} ms"
    )
    result = {
        "decode_vs_protobuf": round(protobuf_s / decode_s, 1),
        "pipeline_readings_per_s": round(len(columns) / pipeline_s),
        "pipeline_totals_per_s": round(len(TOTALS) * len(records) / pipeline_s),
        "vs_memory_copy": round(pipeline_s / copy_s, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
