"""A large park: 1,000 gateways × 20 meters at one server, from poll to ledger.

1. *Capacity*: every gateway has more to send than the server takes; readings per second into the ledger, over the window.
   `shortest_period_s` is the poll period of the whole park that this allows.
2. *Latency* at half of that (`latency_period_s`): ms from a reading's time to its row in the ledger, as a watcher sees it
   every 20 ms.
3. *Overload*: twice the capacity for a while. Outboxes have to fill and nothing to be lost; then half the capacity again:
   `recovery_s` until the outboxes are as empty as before.
4. *Outage*: the server is gone for 48 simulated hours (15-minute polls), then drains, `drain_s` from the first ack on.
   `fairness` is Jain's index over what the gateways have drained at half time: 1 when all are equally far, 1/n when one has
   everything; `drained_spread_1_4`, `_2_4`, `_3_4` are the shares of the gateway that is furthest less those of the last
   one, when a quarter, half and three quarters of all has gone. `sent_again_frames`: for want of an ack, in all phases.

`lost` and `duplicated` count frames over all phases, journal against what was sent, and every total in the ledger against its
meter. `rss_mb` is the peak of ingest and stream together. The fleet runs on the same machine and takes its share of it.

Usage: scripts/bench load [--gateways 1000] [--meters 20] [--seconds 20] [--outage-hours 48]
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks._fleet import Gateway
from edge_agent.device import make_device
from edge_agent.outbox import Outbox
from metering.registry import load_registry
from storage.journal import JournalReader, Offset
from storage.ledger import latest_of
from tanyun.broker import BrokerPlan, plan_broker
from tests.fakes.gateway import config_for, toy_profile

READINGS = 3
"""Per frame: a total, a power, a voltage."""
QUARTER_MS = 900_000


def registry(gateways: int, meters: int) -> str:
    """A park of that size."""
    lines = [
        'id = "park"\nname = "园区"\ngrid_scope = "CN-AH"\n[[enterprises]]\nid = "e"\nname = "企业"\n',
        '[[sites]]\nid = "s"\nenterprise = "e"\nname = "厂区"\n',
    ]
    for g in range(gateways):
        lines.append(f'[[gateways]]\nid = "g{g}"\nsite = "s"\n')
        lines += [
            f'[[meters]]\nid = "g{g}-m{m}"\ngateway = "g{g}"\n'
            f'roles = {{ energy_import_total = "sub_meter" }}\n'
            for m in range(meters)
        ]
    return "".join(lines)


class Server:
    """Broker, ingest and stream as processes."""

    def __init__(self, folder: Path, plan: BrokerPlan) -> None:
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._argv = {
            "broker": plan.argv,
            **{
                role: (sys.executable, "-m", "tanyun", role, "run", "--config", str(folder / "server.toml"))
                for role in ("ingest", "stream")
            },
        }
        self.peak_kb: dict[str, int] = {}

    def start(self, *names: str) -> None:
        """Start some or all."""
        for name in names or self._argv:
            with (self._folder / f"{name}.log").open("ab") as log:
                self._children[name] = subprocess.Popen(self._argv[name], stdout=log, stderr=log)

    def stop(self, *names: str) -> None:
        """Stop some or all."""
        self.look()
        for name in names or list(self._children):
            child = self._children.pop(name)
            child.send_signal(signal.SIGTERM)
            child.wait(60)

    def look(self) -> None:
        """Peak resident memory of ingest and stream."""
        for name in ("ingest", "stream"):
            child = self._children.get(name)
            with suppress(OSError, AttributeError, StopIteration):
                text = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")  # type: ignore[union-attr]
                value = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))
                self.peak_kb[name] = max(value, self.peak_kb.get(name, 0))


class Bench:
    """The fleet, the server and what is measured."""

    def __init__(self, folder: Path, gateways: int, meters: int) -> None:
        self.folder = folder
        self.figures: dict[str, float] = {}
        (folder / "park.toml").write_text(registry(gateways, meters), encoding="utf-8")
        self.plan = plan_broker(folder, load_registry(folder / "park.toml"), prefer="mosquitto")
        broker = f'[broker]\nport = {self.plan.port}\nuser = "host"\npassword_file = "secrets/mqtt-host"\n'
        text = 'registry = "park.toml"\ndata = "data"\nreports = "r"\n' + broker
        (folder / "server.toml").write_text(text, encoding="utf-8")
        self.server = Server(folder, self.plan)
        template = config_for(folder, 1, [f"m{i}" for i in range(meters)])
        outbox = Outbox(folder / "template.db", 1_000_000)
        devices = [make_device(meter, toy_profile(), outbox) for meter in template.meters]
        self.fleet = [Gateway("park", f"g{g}", devices, outbox) for g in range(gateways)]
        self.frames_per_poll = meters

    @property
    def backlog(self) -> int:
        """Frames at the gateways."""
        return sum(len(gateway.queue) for gateway in self.fleet)

    @property
    def made(self) -> int:
        """Frames ever made."""
        return sum(gateway.last for gateway in self.fleet)

    def connect(self) -> list[asyncio.Task[None]]:
        """All gateways, each with its own login."""
        return [asyncio.ensure_future(g.run(self.plan.port, self.plan.password(g.name))) for g in self.fleet]

    async def poll_at(self, frames_per_s: float, seconds: float) -> None:
        """The gateways poll one after the other, evenly, so many frames per second in all."""
        begun, done, at = time.monotonic(), 0, 0
        while (passed := time.monotonic() - begun) < seconds:
            while done < passed * frames_per_s:
                self.fleet[at % len(self.fleet)].poll(time.time_ns() // 1_000_000)
                done, at = done + self.frames_per_poll, at + 1
            await asyncio.sleep(0.005)

    async def until(self, done: Callable[[], bool], seconds: float, what: str) -> float:
        """Seconds until something; it must come."""
        begun = time.monotonic()
        while not done():
            assert time.monotonic() - begun < seconds, f"no {what} within {seconds} s"
            self.server.look()
            await asyncio.sleep(0.05)
        return time.monotonic() - begun

    def in_ledger(self) -> bool:
        """Every total of every meter is in the ledger as far as it was polled."""
        with suppress(sqlite3.OperationalError), self.ledger() as db:
            count, least = db.execute("SELECT count(*), min(t_ms) FROM progress").fetchone()
            return bool(count == len(self.fleet) * self.frames_per_poll and least >= self.polled_ms)
        return False

    polled_ms = 0
    """No later than the last poll of any gateway."""

    @contextmanager
    def ledger(self) -> Iterator[sqlite3.Connection]:
        """Read-only."""
        db = sqlite3.connect(f"file:{self.folder / 'data' / 'ledger.db'}?mode=ro", uri=True)
        try:
            yield db
        finally:
            db.close()

    def cursor(self) -> int:
        """Segments in the ledger."""
        with suppress(sqlite3.OperationalError), self.ledger() as db:
            row = db.execute("SELECT segment FROM snapshot").fetchone()
            return int(row[0]) if row else 0
        return 0

    def frames_in_ledger(self) -> int:
        """Frames of the segments that the ledger has."""
        with suppress(sqlite3.OperationalError):
            db = sqlite3.connect(f"file:{self.folder / 'data' / 'journal.db'}?mode=ro", uri=True)
            try:
                query = "SELECT coalesce(sum(frames), 0) FROM segment WHERE id < ?"
                return int(db.execute(query, (self.cursor(),)).fetchone()[0])
            finally:
                db.close()
        return 0

    def settle(self) -> Coroutine[Any, Any, float]:
        """Until nothing is at the gateways and everything is in the ledger."""
        self.polled_ms = min(g.queue[-1].t_ms if g.queue else 0 for g in self.fleet)
        return self.until(lambda: self.backlog == 0 and self.in_ledger(), 900, "empty outboxes")


async def capacity(bench: Bench, seconds: float) -> float:
    """Frames per second into the ledger while there is always more to send."""
    per_gateway = 2 * bench.frames_per_poll
    end, first = time.monotonic() + seconds, bench.frames_in_ledger()
    begun = time.monotonic()
    while time.monotonic() < end:
        for gateway in bench.fleet:
            if len(gateway.queue) < per_gateway:
                gateway.poll(time.time_ns() // 1_000_000)
        bench.server.look()
        await asyncio.sleep(0.02)
    found = (bench.frames_in_ledger() - first) / (time.monotonic() - begun)
    await bench.settle()
    return found


async def latency(bench: Bench, rate: float, seconds: float) -> list[float]:
    """Milliseconds from the time of readings to their rows, of a few hundred meters all over the park."""
    wanted = [g.meters[0] for g in bench.fleet[:: max(1, len(bench.fleet) // 200)]]
    marks = ",".join("?" * len(wanted))
    query = f"SELECT readings FROM latest WHERE meter IN ({marks})"  # noqa: S608  question marks
    known: dict[str, int] = {}
    found: list[float] = []

    async def watch() -> None:
        while True:
            with suppress(sqlite3.OperationalError), bench.ledger() as db:
                stored = db.execute(query, wanted).fetchall()
                now_ms = time.time() * 1000
                rows = [
                    (row.meter, row.t_ms) for (readings,) in stored for row in latest_of(readings)
                    if row.reading_type == "energy_import_total"
                ]  # fmt: skip
                found.extend(now_ms - t for meter, t in rows if known.get(meter, t) != t)
                known.update(rows)
            bench.server.look()
            await asyncio.sleep(0.02)

    with bench.ledger() as db:
        known.update(db.execute(query, wanted).fetchall())
    watcher = asyncio.ensure_future(watch())
    await bench.poll_at(rate, seconds)
    watcher.cancel()
    await bench.settle()
    return sorted(found)


async def overload(bench: Bench, rate: float, seconds: float) -> dict[str, float]:
    """Twice what it can, then half of it, until the outboxes are as they were."""
    await bench.poll_at(2 * rate, seconds)
    peak = bench.backlog
    calm = asyncio.ensure_future(bench.poll_at(rate / 2, 600))
    recovery = await bench.until(lambda: bench.backlog < rate, 600, "recovery")
    calm.cancel()
    await bench.settle()
    return {"overload_backlog_frames": peak, "recovery_s": recovery}


async def outage(bench: Bench, hours: float) -> dict[str, float]:
    """The server goes, the park polls on for so many simulated hours, the server comes back."""
    bench.server.stop("ingest", "stream")
    polls = int(hours * 4)
    now = time.time_ns() // 1_000_000
    for i in range(polls):
        for gateway in bench.fleet:
            # Ten ms stand for a quarter: the time of readings must not go back.
            gateway.poll(now - (polls - i) * 10)
        await asyncio.sleep(0)
    held, before = bench.backlog, {g.name: len(g.queue) for g in bench.fleet}
    bench.server.start("ingest", "stream")
    await bench.until(lambda: bench.backlog < held, 600, "first ack")
    begun = time.monotonic()
    spreads, fairness = {}, 0.0
    for left in (3, 2, 1):
        await bench.until(lambda: bench.backlog <= held * left / 4, 3600, f"{left} quarters of the backlog")  # noqa: B023  called here
        shares = [1 - len(g.queue) / before[g.name] for g in bench.fleet]
        spreads[f"drained_spread_{4 - left}_4"] = max(shares) - min(shares)
        if left == 2:
            fairness = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
            spreads["least_drained_at_half"] = min(shares)
    await bench.until(lambda: bench.backlog == 0, 3600, "empty outboxes")
    drain_s = time.monotonic() - begun
    await bench.settle()
    return {
        "outage_frames": held,
        "drain_s": drain_s,
        "drain_readings_per_s": held * READINGS / drain_s,
        "fairness": fairness,
        **spreads,
    }


def judge(bench: Bench) -> dict[str, int]:
    """Frames sent against the journal, totals against the ledger."""
    stored, wrong = 0, 0
    with JournalReader(bench.folder / "data" / "journal.db") as journal:
        refused = sum(journal.quarantine_counts().values())
        cursor = Offset(1, 0)
        while batch := journal.segments(cursor, 256):
            for _segment, records in batch:
                stored += sum("/DDATA/" in record.topic for record in records)
            cursor = Offset(batch[-1][0] + 1, 0)
    with sqlite3.connect(f"file:{bench.folder / 'data' / 'journal.db'}?mode=ro", uri=True) as db:
        distinct = int(db.execute("SELECT count(*) FROM frame").fetchone()[0])
    with bench.ledger() as db:
        position = dict(db.execute("SELECT meter, position FROM progress").fetchall())
    for gateway in bench.fleet:
        wrong += sum(
            position.get(meter) != gateway.total * 10 for meter in gateway.meters
        )  # a count is 10 Wh
    return {
        "lost": bench.made - distinct,
        "duplicated": stored - distinct,
        "refused": refused,
        "totals_wrong": wrong,
    }


async def measure(bench: Bench, seconds: float, hours: float) -> dict[str, float]:
    """All phases."""
    bench.server.start()
    await asyncio.sleep(3)
    tasks = bench.connect()
    try:
        for gateway in bench.fleet:
            gateway.poll(time.time_ns() // 1_000_000)
        bench.figures["first_poll_s"] = await bench.settle()
        rate = await capacity(bench, seconds)
        delays = await latency(bench, rate / 2, seconds)
        bench.figures |= {
            "sustained_readings_per_s": rate * READINGS,
            "shortest_period_s": len(bench.fleet) * bench.frames_per_poll / rate,
            "latency_period_s": 2 * len(bench.fleet) * bench.frames_per_poll / rate,
            "p50_ms": delays[len(delays) // 2],
            "p99_ms": delays[int(len(delays) * 0.99)],
        }
        bench.figures |= await overload(bench, rate, seconds)
        bench.figures |= await outage(bench, hours)
        bench.server.look()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        bench.server.stop()
    bench.figures["sent_again_frames"] = sum(g.sent_again for g in bench.fleet)
    return {**bench.figures, "rss_mb": sum(bench.server.peak_kb.values()) / 1024, **judge(bench)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench load")
    parser.add_argument("--gateways", type=int, default=1000)
    parser.add_argument("--meters", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--outage-hours", type=float, default=48)
    asked = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (hard, hard)
    )  # A thousand connections, here and at the broker.
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # The server's processes do not outlive this one.
    os.environ.setdefault("LANGUAGE", "en")
    subprocess.run((sys.executable, "-m", "tanyun", "warm"), check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="tanyun-load-") as folder:
        bench = Bench(Path(folder), asked.gateways, asked.meters)
        figures = asyncio.run(measure(bench, asked.seconds, asked.outage_hours))
    for name, value in figures.items():
        print(f"{name:28} {value:14,.3f}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
