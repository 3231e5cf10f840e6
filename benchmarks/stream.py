"""From journal records to ledger rows on one core: decoding against the protobuf library, and the whole step.

One meter per payload, 20 readings of which 2 are totals, polled every minute, 1 % of the payloads out of order, 0.1 % delivered
twice; every value of a gauge is a random float (`benchmarks/_park.py`). The step takes bodies of segments as the journal has
them, 50 frames each, and as many at once as a stream that catches up (`AT_ONCE` batches of 4 MB, some 80,000 payloads);
with its snapshot, without the ledger's disk. Births and the first poll of every meter, where its channels are made, are not timed.
CPU time of one thread, so that what else runs on the machine counts less; medians of interleaved runs; ratios are of the same
run. Then parks of other sizes; and, with files: the journal's size, a recomputation of it against a plain Python one, start-up,
and the recomputation of 1,000 meters; and from the broker to the ledger (`benchmarks/end_to_end.py`).
"""

import gc
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import chain
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

from benchmarks import _journal as _files
from benchmarks import _recompute, end_to_end
from benchmarks._park import NAMES, TOTALS, births, park, polls
from factors.policy import enterprise_policy
from factors.table import FactorTable
from storage.journal import Offset
from storage.segment import Record, packed
from stream.batch import decode_columns
from stream.context import Context
from stream.policy import Policy
from stream.records import Block, Topics
from stream.share import Share
from stream.sources.source import AT_ONCE, FULL_BYTES
from stream.state import State
from stream.step import step, step_through
from tests.fakes.sparkplug_proto import parse, value_of

METERS, FRAMES, SEGMENT, ROUNDS = 100, 400, 50, 5
POLL_MS = 60_000
SIZES = {10: 160_000, 100: 160_000, 1000: 160_000, 10_000: 480_000}
"""Meters → frames. Ten thousand births take so long that they are read once only."""


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
        if size >= FULL_BYTES or i == len(bodies):
            yield bodies[start:i]
            start, size = i, 0


def pipeline(start: Sequence[Record], bodies: Sequence[bytes], context: Context) -> tuple[float, int]:
    """The seconds that all segments took, and the intervals they closed. `start`, births and a first poll, is not timed."""
    state, topics, closed = State(), Topics(), 0
    for some in (
        start[:-1],
        start[-1:],
    ):  # all bindings are joined when they are asked for again after a birth
        step(state, Block.of_bodies(segments(some), topics)[0], context)
    started = process_time()
    given = list(batches(bodies))
    for at in range(0, len(given), AT_ONCE):
        blocks = (Block.of_bodies(batch, topics)[0] for batch in given[at : at + AT_ONCE])
        results = step_through(state, blocks, context)
        closed += sum(row.closed for row in results.intervals)
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


class InMemory:
    """A source of bodies of segments; it notes when the first batch, of births and a first poll, has been dealt with."""

    def __init__(self, start: Sequence[Record], bodies: Sequence[bytes]) -> None:
        self._batches = iter([segments(start), *batches(bodies)])
        self._topics = Topics()
        self._reads, self.begun = 0, 0.0

    def read(self, cursor: Offset) -> tuple[Block, Offset]:
        self._reads += 1
        if self._reads == 2:
            self.begun = process_time()
        return Block.of_bodies(next(self._batches, []), self._topics)[0], cursor


def by_size() -> dict[str, float]:
    """What a further reading costs a worker that rebuilds the ledger of 10 to 10,000 meters.

    By the difference between a quarter of the frames and all of them: what is done once per meter and rebuild is not in it.
    """
    cost = {}
    for meters, count in SIZES.items():
        context, records = world(meters), [*chain(*polls(meters, count // meters))]
        start, bodies = [*births(meters), *records[:meters]], segments(records[meters:])
        part = len(bodies) // 4
        shared(start, bodies[:1], context)  # what is declared is worked out once
        rounds = range(ROUNDS if meters < max(SIZES) else 1)
        runs = [[shared(start, some, context) for some in (bodies[:part], bodies)] for _ in rounds]
        further = len(NAMES) * SEGMENT * (len(bodies) - part)
        cost[meters] = median(whole - less for less, whole in runs) * 1e9 / further
    dearest = max(cost.values())
    for meters, ns in cost.items():
        print(f"{meters:6} meters {ns:7.1f} ns per reading {'█' * round(40 * ns / dearest)}")
    return {f"ns_per_reading_{meters}_meters": round(ns, 1) for meters, ns in cost.items()}


def shared(start: Sequence[Record], bodies: Sequence[bytes], context: Context) -> float:
    """The seconds that one worker's rebuild took."""
    source = InMemory(start, bodies)
    for _told in Share(source, context).told(Offset(1, 0)):
        pass
    return process_time() - source.begun


def main() -> None:
    declared, records = births(METERS), [*chain(*polls(METERS, FRAMES, POLL_MS))]
    gc.collect()
    gc.freeze()  # a stream has no such heap of records to look through
    result = headline(declared, records) | by_size()
    with tempfile.TemporaryDirectory() as folder:
        result |= _files.measure(Path(folder), declared, records, world)
        result |= _recompute.measure(Path(folder), world)
    print(json.dumps(result | end_to_end.figures()))


if __name__ == "__main__":
    main()
