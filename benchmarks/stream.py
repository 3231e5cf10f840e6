"""From journal records to ledger rows on one core: decoding against the protobuf library, and the whole step.

One meter per payload, 20 readings of which 2 are totals, 1 % of the payloads out of order, 0.1 % delivered twice; every
value of a gauge is a random float. The step takes bodies of segments as the journal has them, 50 frames each, and as many at
once as the tail gives a stream that catches up (`stream.sources.tail.BATCH_BYTES`, 4 MB, some 10,000 payloads); with its
snapshot, without the ledger's disk. Births and the first poll of every meter, where its channels are made, are not timed.
CPU time of one thread, so that what else runs on the machine counts less; medians of interleaved runs; ratios are of the same
run. Then, with files: the journal's size, a recomputation from it against a plain Python one, and start-up; and from the broker to the
ledger (`benchmarks/end_to_end.py`).

Not measured here: the growth from 1,000 to 10,000 meters.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

from benchmarks import _journal as _files
from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering import frames
from metering.protobuf_wire import bytes_field, float_field, uint_field
from metering.reading_types import READING_TYPES
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.segment import Record, packed
from stream.batch import decode_columns
from stream.context import Context
from stream.policy import Policy
from stream.records import Block
from stream.sources.tail import BATCH_BYTES
from stream.state import State
from stream.step import step
from tests.fakes.sparkplug_proto import parse, value_of

METERS, FRAMES, SEGMENT, ROUNDS = 100, 400, 50, 5
POLL_MS = 60_000
T0 = 1_793_458_800_000
TOTALS = ("energy_import_total", "energy_export_total")
GAUGES = tuple(
    name
    for name, known in READING_TYPES.items()
    if known.kind == "gauge" and known.unit in {"W", "V", "A", "VA", "var", "1", "Hz"}
)
NAMES = (*TOTALS, *GAUGES, "temperature_1", "temperature_2", "flow", "power_thermal")[:20]


def park(meters: int = METERS) -> Park:
    roles = {"energy_import_total": "grid_boundary", "energy_export_total": "export"}
    listed = [
        {"id": f"m{i}", "gateway": f"g{i % 10}", "roles": roles, "ct": "80", "max_power_w": 10**6}
        for i in range(meters)
    ]
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": f"g{i}", "site": "s"} for i in range(10)],
            "meters": listed,
        }
    )  # fmt: skip


def births(meters: int = METERS) -> list[Record]:
    out = []
    for meter in range(meters):
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


def data(meters: int = METERS, frames_each: int = FRAMES) -> list[Record]:
    rng = random.Random(1)
    records = [_frame(meter, tick, rng) for tick in range(frames_each) for meter in range(meters)]
    for _ in range(len(records) // 100):
        at = rng.randrange(len(records) - meters)
        records[at], records[at + meters] = records[at + meters], records[at]
    return records + rng.choices(records, k=len(records) // 1000)


def _alias(meter: int, reading: int) -> int:
    return meter * len(NAMES) + reading + 1


def _frame(meter: int, tick: int, rng: random.Random) -> Record:
    t = T0 + tick * POLL_MS + meter
    metrics = []
    for i, name in enumerate(NAMES):
        said = uint_field(2, _alias(meter, i)) + uint_field(3, t)
        if name in TOTALS:
            said += uint_field(4, DataType.UINT32) + uint_field(10, 1_000_000 + tick * 7)
        else:
            said += uint_field(4, DataType.FLOAT) + float_field(12, rng.uniform(0, 400))
        metrics.append(bytes_field(2, said))
    body = uint_field(1, t) + b"".join(metrics) + uint_field(3, tick % 256)
    return Record(f"spBv1.0/p/DDATA/g{meter % 10}/m{meter}", body, t + 40)


def by_batch(payloads: Sequence[bytes]) -> None:
    """Decode as much at once as the tail gives."""
    for some in batches(payloads):
        decode_columns(some)


def by_protobuf(payloads: Sequence[bytes]) -> list[tuple[int, int, int, object]]:
    """The same fields as the columns have: frame, alias, time, value."""
    return [
        (i, m.alias, m.timestamp, value_of(m))
        for i, payload in enumerate(payloads)
        for m in parse(payload).metrics
    ]


def segments(records: Sequence[Record]) -> list[bytes]:
    """Their bodies, `SEGMENT` records each, as the journal has them."""
    return [b"".join(packed(records[at : at + SEGMENT])) for at in range(0, len(records), SEGMENT)]


def batches(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """What the tail gives at once."""
    start = size = 0
    for i, body in enumerate(bodies, 1):
        size += len(body)
        if size >= BATCH_BYTES or i == len(bodies):
            yield bodies[start:i]
            start, size = i, 0


def pipeline(start: Sequence[Record], bodies: Sequence[bytes], context: Context) -> tuple[float, int]:
    """The seconds that all segments took, and the intervals they closed. `start`, births and a first poll, is not timed."""
    state, closed = State(), 0
    step(state, start, context)
    started = process_time()
    for some in batches(bodies):
        block, _counts = Block.of_bodies(some)
        closed += sum(row.closed for row in step(state, block, context).intervals)
        state.snapshot()
    return process_time() - started, closed


def timed(work: Callable[[], object]) -> float:
    started = process_time()
    work()
    return process_time() - started


def world(meters: int = METERS) -> Context:
    registry = park(meters)
    return Context(registry, Policy(FactorTable.load(), enterprise_policy(), registry.tz, date(2026, 11, 20)))


def headline(declared: Sequence[Record], records: Sequence[Record]) -> dict[str, float]:
    """Decoding and the step, in memory."""
    context = world()
    start, records = [*declared, *records[:METERS]], records[METERS:]
    payloads, bodies = [record.payload for record in records], segments(records)
    columns, _ = decode_columns(payloads)
    assert len(columns) == len(NAMES) * len(records) == len(by_protobuf(payloads))
    _, closed = pipeline(start, bodies, context)
    assert closed >= METERS * len(TOTALS) * (FRAMES // 15 - 1)
    runs = [
        (
            timed(lambda: by_batch(payloads)), timed(lambda: by_protobuf(payloads)),
            pipeline(start, bodies, context)[0], timed(lambda: np.copy(columns)),
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
    return {
        "decode_vs_protobuf": round(protobuf_s / decode_s, 1),
        "pipeline_readings_per_s": round(len(columns) / pipeline_s),
        "pipeline_totals_per_s": round(len(TOTALS) * len(records) / pipeline_s),
        "vs_memory_copy": round(pipeline_s / copy_s, 1),
    }


def by_size() -> dict[str, float]:
    """Cost of a reading with 10, 100 and 1,000 meters, the same number of payloads each."""
    cost = {}
    for meters in (10, 100, 1000):
        declared, records = births(meters), data(meters, 20_000 // meters + 1)
        context, bodies = world(meters), segments(records[meters:])
        seconds = min(pipeline([*declared, *records[:meters]], bodies, context)[0] for _ in range(3))
        cost[meters] = seconds * 1e9 / (len(NAMES) * (len(records) - meters))
    dearest = max(cost.values())
    for meters, ns in cost.items():
        print(f"{meters:6} meters {ns:7.1f} ns per reading {'█' * round(40 * ns / dearest)}")
    return {
        "ns_per_reading_10_meters": round(cost[10], 1),
        "ns_per_reading_1000_meters": round(cost[1000], 1),
    }


def main() -> None:
    declared, records = births(), data()
    result = headline(declared, records) | by_size()
    with tempfile.TemporaryDirectory() as folder:
        result |= _files.measure(Path(folder), declared, records, world)
    from benchmarks import end_to_end  # noqa: PLC0415  it takes its messages from here

    print(json.dumps(result | end_to_end.figures()))


if __name__ == "__main__":
    main()
