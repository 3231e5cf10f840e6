"""The projector against InfluxDB 1.6.7: how fast it is up to the socket, and against a bare writer of the same lines.

A journal of 1,000 meters, read every 15 s, eight gauges each, is projected into an empty server; then its lines, made beforehand,
are written into another empty server by the same client. Runs alternate, first one then the other first; the ratio is the median
of the pairs', the rates are the medians of the runs. With benchmarks/panels.py: the slowest panel too.
Usage: scripts/bench influx [minutes of readings] [pairs]
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from factors.table import FactorTable
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.influx import BATCH_LINES, GZIP_LEVEL, Refused, Retention, Target, WriterV1
from storage.influx_setup import init
from storage.journal import BirthIndex, Commit, Entry, FrameIndex
from storage.journal_writer import JournalWriter
from storage.segment import Record
from stream.projector import SWITCH_S, Files, Projector
from tests.fakes.influx import Influxd

METERS, POLL_S, FRAMES_PER_SEGMENT = 1000, 15, 250
WARM_STEPS = 4
"""The live end, then the start of the backlog with the births."""
WARM_SHARE = 0.5
"""At least this much is left to be timed."""
GAUGES = {
    "power_active": ("kW", 42.137), "voltage_l1": ("V", 230.4), "voltage_l2": ("V", 231.1), "voltage_l3": ("V", 229.8),
    "current_l1": ("A", 61.25), "current_l2": ("A", 59.75), "current_l3": ("A", 63.5), "power_factor": ("1", 0.957),
}  # fmt: skip


class ToTheSocket:
    """Compresses as the real writer does, and sends nothing."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, retention: Retention, lines: Sequence[str]) -> list[Refused]:
        """Everything but the socket."""
        del retention
        for start in range(0, len(lines), BATCH_LINES):
            gzip.compress("\n".join(lines[start : start + BATCH_LINES]).encode(), GZIP_LEVEL, mtime=0)
        self.lines += lines
        return []

    def query(self, retention: Retention, influxql: str) -> list[dict[str, Any]]:
        """An empty store."""
        del retention, influxql
        return []


def park() -> Park:
    """Fifty gateways of twenty meters."""
    gateways = [{"id": f"g{i}", "site": "s"} for i in range(METERS // 20)]
    meters = [
        {"id": f"m{i}", "gateway": f"g{i // 20}", "roles": {"energy_import_total": "grid_boundary"}}
        for i in range(METERS)
    ]
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": gateways, "meters": meters,
        }
    )  # fmt: skip


def fill(journal: JournalWriter, minutes: int, end_ms: int) -> int:
    """Births, then all frames in the order of time; the number of points in them."""
    births = [_birth(meter) for meter in range(METERS)]
    journal.commit(Commit(entries=births), end_ms)
    polls = minutes * 60 // POLL_S
    pending: list[Entry] = []
    for poll in range(polls):
        for meter in range(METERS):
            pending.append(_frame(meter, poll, end_ms - (polls - poll) * POLL_S * 1000 + meter))
            if len(pending) == FRAMES_PER_SEGMENT:
                journal.commit(Commit(entries=pending), end_ms)
                pending = []
    journal.commit(Commit(entries=pending), end_ms)
    return polls * METERS * len(GAUGES)


def _alias(meter: int, gauge: int) -> int:
    return 1 + (meter % 20) * len(GAUGES) + gauge


def _birth(meter: int) -> Entry:
    metrics = tuple(
        Metric(
            name=name,
            alias=_alias(meter, i),
            timestamp=1,
            datatype=DataType.DOUBLE,
            is_null=True,
            properties={"engUnit": unit},
        )
        for i, (name, (unit, _)) in enumerate(GAUGES.items())
    )
    topic = f"spBv1.0/p/DBIRTH/g{meter // 20}/m{meter}"
    return Entry(Record(topic, encode(Payload(metrics, 1)), 1), BirthIndex(f"g{meter // 20}", f"m{meter}", 1))


def _frame(meter: int, poll: int, t_ms: int) -> Entry:
    metrics = tuple(
        Metric(
            alias=_alias(meter, i),
            timestamp=t_ms,
            value=round(nominal * (1 + (meter * 31 + poll * 17 + i) % 97 / 1000), 3),
        )
        for i, (_, nominal) in enumerate(GAUGES.values())
    )
    record = Record(f"spBv1.0/p/DDATA/g{meter // 20}/m{meter}", encode(Payload(metrics, t_ms)), t_ms)
    number = poll * METERS + meter + 1
    return Entry(record, FrameIndex(f"g{meter // 20}", f"m{meter}", 1, number, t_ms, b""))


def project(data: Path, own: Path, writer: WriterV1 | ToTheSocket, registry: Park) -> tuple[float, float]:
    """(wall seconds, CPU seconds of this process) of projecting the journal, after the first steps have read the births."""
    files = Files(data / "journal.db", data / "ledger.db", data / "months.db", data / "registry.db", own)
    with Projector(registry, files, writer, FactorTable.load()) as projector:
        projector.start()
        for _ in range(WARM_STEPS):
            projector.advance()
        projector.settle()
        if isinstance(writer, ToTheSocket):
            writer.lines.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        while projector.advance():
            pass
        return time.perf_counter() - wall, time.process_time() - cpu


def into_server(data: Path, lines: Sequence[str] | None, registry: Park) -> float:
    """Wall seconds of a run into an empty server: the projector's, or a bare writer's when there are lines."""
    with tempfile.TemporaryDirectory() as folder, Influxd(Path(folder)) as server:
        init(Target(server.url))
        writer = WriterV1(Target(server.url))
        if lines is None:
            seconds, _ = project(data, Path(folder) / "projector.db", writer, registry)
        else:
            started = time.perf_counter()
            assert writer.write("live", lines) == []
            seconds = time.perf_counter() - started
        writer.close()
    return seconds


def pair(data: Path, lines: Sequence[str], registry: Park, *, bare_first: bool) -> tuple[float, float]:
    """Seconds of (the projector, a bare writer), one right after the other, so that both meet the same machine."""
    if bare_first:
        bare = into_server(data, lines, registry)
        return into_server(data, None, registry), bare
    return into_server(data, None, registry), into_server(data, lines, registry)


def slowest_panel_ms() -> float | None:
    """What benchmarks/panels.py says, when it is there."""
    if not (Path(__file__).parent / "panels.py").exists():
        return None
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.panels"], stdout=subprocess.PIPE, text=True, check=True
    )
    print(run.stdout, end="")
    found: float = json.loads(run.stdout.splitlines()[-1])["slowest_panel_ms"]
    return found


def main() -> None:
    """Run and print."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    registry = park()
    sys.setswitchinterval(SWITCH_S)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        journal = JournalWriter(data / "journal.db")
        points = fill(journal, minutes, time.time_ns() // 1_000_000)
        journal.close()
        project(data, data / "warm.db", ToTheSocket(), registry)
        socket = ToTheSocket()
        _, cpu = project(data, data / "socket.db", socket, registry)
        assert WARM_SHARE * points < len(socket.lines) < points
        points = len(socket.lines)
        runs = [pair(data, socket.lines, registry, bare_first=bool(i % 2)) for i in range(pairs)]
    rate, bare_rate = (points / median(seconds) for seconds in zip(*runs, strict=True))
    ratio = median(bare / projected for projected, bare in runs)
    day_s = METERS * len(GAUGES) * 86_400 / POLL_S / rate
    print(f"{points} points: up to the socket {points / cpu:,.0f} points per second of one core")
    print(
        f"into influxd 1.6.7: projector {rate:,.0f}/s, bare writer {bare_rate:,.0f}/s, ratio {ratio:.2f} ({pairs} pairs)"
    )
    print(
        f"one day of {METERS} meters at {POLL_S} s, {len(GAUGES)} gauges each, at that rate: {day_s:,.0f} s"
    )
    result: dict[str, float | None] = {
        "projector_points_per_s": round(points / cpu), "projector_vs_bare_writer": round(ratio, 3),
        "catch_up_day_1000_meters_s": round(day_s),
    }  # fmt: skip
    panel = slowest_panel_ms()
    print(json.dumps(result | ({} if panel is None else {"slowest_panel_ms": panel})))


if __name__ == "__main__":
    main()
