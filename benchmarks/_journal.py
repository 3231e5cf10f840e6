"""What the headline work costs with files: the journal's bytes, the recomputation from it, and the start of the stream."""

import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from itertools import count, islice, pairwise
from pathlib import Path

from factors.policy import MissingFactor, enterprise_policy, factor_for
from factors.table import FactorTable
from metering.intervals import QUARTER_MS, month_of
from metering.registry import Park
from metering.sparkplug import body_digest, decode
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, JournalReader
from storage.journal_writer import JournalWriter
from storage.ledger import LedgerReader
from storage.merkle import chain_next, merkle_root
from storage.sealing import seal_before
from storage.segment import Record, packed
from stream.context import Context
from stream.runner import START, Runner
from tests.fakes.sparkplug_proto import parse, value_of

SEGMENT, ROUNDS = 50, 3
"""Frames per group commit (ours)."""
READINGS = 20
CT = 80
AS_OF = date(2026, 11, 20)
Rows = dict[tuple[str, str, int], tuple[int, int, int | None]]


def measure(
    folder: Path, declared: Sequence[Record], records: Sequence[Record], world: Callable[[], Context]
) -> dict[str, float]:
    """All figures of this file."""
    journal = folder / "data" / "journal.db"
    commit_s = write(journal, declared, records)
    readings = READINGS * len(records)
    live = used(journal)
    ours_s: list[float] = []
    plain_s: list[float] = []
    rows: Rows = {}
    park = world().park
    for i in range(ROUNDS):
        ours_s.append(recompute(journal, folder / f"ledger{i}.db", world()))
        seconds, rows = plain_pipeline(journal, folder / f"plain{i}.db", park)
        plain_s.append(seconds)
        assert rows == closed_rows(folder / f"ledger{i}.db", park)
    begun = time.process_time()
    done = seal_before(journal, 1 << 62)
    seal_s = time.process_time() - begun
    sealed_s = [recompute(journal, folder / f"sealed{i}.db", world()) for i in range(ROUNDS)]
    assert closed_rows(folder / "sealed0.db", park) == rows
    best = sorted(ours_s)[1]
    print(
        f"journal: {live} bytes live, {used(journal)} sealed, {done.bytes_before / 1e6 / seal_s:.0f} MB/s to seal"
    )
    return {
        "vs_plain_python": round(sorted(plain_s)[1] / best, 1),
        "recompute_sealed_vs_live": round(sorted(sealed_s)[1] / best, 2),
        "live_bytes_per_reading": round(live / readings, 2),
        "sealed_bytes_per_reading": round(used(journal) / readings, 2),
        "live_body_bytes_per_reading": round(done.bytes_before / readings, 2),
        "sealed_body_bytes_per_reading": round(done.bytes_after / readings, 2),
        # Of the CPU time of the commits alone; `benchmarks.end_to_end` has its share of all that ingest does.
        "hash_chain_share_of_commit": round(hash_s(records) / commit_s, 3),
    } | ready(folder)  # fmt: skip


def of_body(record: Record) -> bytes:
    """A frame's digest, as its gateway numbered it."""
    return body_digest(decode(record.payload))


def write(
    path: Path,
    declared: Sequence[Record],
    records: Iterable[Record],
    digest: Callable[[Record], bytes] = of_body,
) -> float:
    """The records as ingest would commit them; the seconds that the frames took."""
    writer, seconds = JournalWriter(path), 0.0
    writer.commit(Commit([Entry(record, BirthIndex(*_of(record), 1)) for record in declared]), 1)
    number, coming = count(1), iter(records)
    while some := list(islice(coming, SEGMENT)):
        entries = [
            Entry(record, FrameIndex(*_of(record), 1, next(number), record.received_ms - 40, digest(record)))
            for record in some
        ]
        begun = time.process_time()
        writer.commit(Commit(entries), some[-1].received_ms)
        seconds += time.process_time() - begun
    writer.close()
    return seconds


def _of(record: Record) -> tuple[str, str]:
    *_, gateway, meter = record.topic.split("/")
    return gateway, meter


def hash_s(records: Sequence[Record]) -> float:
    """What roots and chain cost of that."""
    leaves = [packed(records[at : at + SEGMENT]) for at in range(0, len(records), SEGMENT)]
    chain, begun = bytes(32), time.process_time()
    for i, some in enumerate(leaves):
        chain = chain_next(chain, i, merkle_root(some))
    return time.process_time() - begun


def used(path: Path) -> int:
    """Bytes of the file's pages that hold something, index of frames included."""
    with sqlite3.connect(path) as db:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def recompute(journal: Path, ledger: Path, context: Context) -> float:
    """Seconds from the journal to a committed ledger."""
    runner = Runner(journal, ledger, context)
    begun = time.process_time()
    while runner.advance():
        pass
    seconds = time.process_time() - begun
    runner.close()
    return seconds


def closed_rows(ledger: Path, park: Park) -> Rows:
    """The newest closed intervals."""
    with LedgerReader(ledger) as reader:
        return {
            (row.meter, row.reading_type, row.start_ms): (row.opening, row.closing, row.emission_ug)
            for meter in park.meters for kind in meter.roles
            for row in reader.intervals(meter.id, kind, 0, 1 << 62) if row.closed
        }  # fmt: skip


def plain_pipeline(journal: Path, out: Path, park: Park) -> tuple[float, Rows]:
    """What one would write in an afternoon: the protobuf library, dictionaries, SQLite; no events, no state, nothing live."""
    db = sqlite3.connect(out)
    db.execute("CREATE TABLE interval(meter, reading_type, start_ms, opening, closing, emission_ug)")
    begun = time.process_time()
    meaning: dict[tuple[str, int], tuple[str, str]] = {}
    reads: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    latest: dict[tuple[str, int], tuple[int, object]] = {}
    with JournalReader(journal) as reader:
        for _segment, records in reader.segments(START, 1 << 40):
            for record in records:
                _take(record, meaning, reads, latest)
    rows = _intervals(reads, park)
    db.executemany("INSERT INTO interval VALUES(?,?,?,?,?,?)", ((*key, *row) for key, row in rows.items()))
    db.commit()
    db.close()
    return time.process_time() - begun, rows


def _take(
    record: Record, meaning: dict[tuple[str, int], tuple[str, str]],
    reads: dict[tuple[str, str], dict[int, int]], latest: dict[tuple[str, int], tuple[int, object]],
) -> None:  # fmt: skip
    _, _, kind, gateway, meter = record.topic.split("/")
    for metric in parse(record.payload).metrics:
        alias = gateway, metric.alias
        if kind == "DBIRTH":
            meaning[alias] = (meter, metric.name)
            continue
        t_ms, value = metric.timestamp, value_of(metric)
        if alias not in latest or t_ms >= latest[alias][0]:
            latest[alias] = (t_ms, value)
        if meaning[alias][1].endswith("_total"):
            reads[meaning[alias]][t_ms] = value * 10 * CT  # 0.01 kWh


def _intervals(reads: dict[tuple[str, str], dict[int, int]], park: Park) -> Rows:
    table, policy = FactorTable.load(), enterprise_policy()
    rows: Rows = {}
    found: dict[tuple[str, str], tuple[int, int] | None] = {}
    for (meter, kind), known in reads.items():
        role = {m.id: m for m in park.meters}[meter].roles[kind]
        times = sorted(known)
        start = times[0] - times[0] % QUARTER_MS
        opening = known[times[0]]
        for t0, t1 in pairwise(times):
            while start + QUARTER_MS <= t1:
                edge = start + QUARTER_MS
                closing = known[t0] + (known[t1] - known[t0]) * (edge - t0) // (t1 - t0)
                key = (role, month_of(start, park.tz))
                if key not in found:
                    factor = factor_for(table, role, policy, key[1], AS_OF)
                    found[key] = None if isinstance(factor, MissingFactor) else (factor.num, factor.den)
                used = found[key]
                emission = closing * used[0] // used[1] - opening * used[0] // used[1] if used else None
                rows[meter, kind, start] = (opening, closing, emission)
                start, opening = edge, closing
    return rows


def ready(folder: Path) -> dict[str, float]:
    """Seconds until `tanyun stream run` follows the journal: with an empty cache of kernels, and with a full one."""
    (folder / "park.toml").write_text(
        'id = "p"\nname = "p"\ngrid_scope = "CN-AH"\nmeters = []\nenterprises = [{ id = "e", name = "e" }]\n'
        'sites = [{ id = "s", enterprise = "e", name = "s" }]\ngateways = [{ id = "g0", site = "s" }]\n',
        encoding="utf-8",
    )
    (folder / "server.toml").write_text(
        'registry = "park.toml"\ndata = "data"\nreports = "reports"\n[broker]\nuser = "u"\npassword_file = "pw"\n',
        encoding="utf-8",
    )
    world = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    world["XDG_CACHE_HOME"] = str(folder / "cache")
    (cold, cold_cpu), *warm = [_start_s(folder, world) for _ in range(4)]
    return {
        "ready_warm_s": round(sorted(warm)[1][0], 2), "ready_cold_s": round(cold, 2), "ready_cold_cpu_s": round(cold_cpu, 2),
    }  # fmt: skip


def _start_s(folder: Path, world: dict[str, str]) -> tuple[float, float]:
    """Seconds until it is ready, and of CPU until it has left: what they would be on an idle machine."""
    argv = (sys.executable, "-m", "tanyun", "stream", "run", "-c", str(folder / "server.toml"))
    begun, used = time.perf_counter(), _children_s()
    with subprocess.Popen(argv, env=world, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "stream_ready" in line:
                seconds = time.perf_counter() - begun
                process.terminate()
                process.communicate()
                return seconds, _children_s() - used
    msg = f"the stream left with {process.returncode}"
    raise RuntimeError(msg)


def _children_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
