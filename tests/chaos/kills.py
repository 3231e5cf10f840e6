"""Ingest, stream and broker are killed (SIGKILL) at random points while readings pour in: `python -m tests.chaos.kills`.

Ten gateways of 20 meters send frames of 20 readings, two of them totals that rise by random counts, with gaps; they keep what is not
acked, as agents do. Afterwards every frame is in the journal once, its chain holds, every interval of the ledger is what plain
arithmetic makes of the counts that were sent, and a ledger made anew from the journal is the same one.
Last line: one JSON object. Usage: scripts/kills [--readings 10000000] [--seed 1] [--kills 60]
"""

import argparse
import asyncio
import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from itertools import pairwise
from pathlib import Path

from benchmarks._park import NAMES, TOTALS
from benchmarks.end_to_end import GATEWAYS, METERS, OURS, POLL_MS, Chain, Meters
from edge_agent.outbox import Frame
from edge_agent.readings_body import readings_body
from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.intervals import QUARTER_MS
from metering.registry import load_registry
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from stream.context import Context
from stream.policy import Policy
from tests.stream.runs import run_through

WH_PER_COUNT = 10
WAITING = 2_000
"""Frames that a gateway has to send at once."""
Points = list[tuple[int, int]]
"""(UTC ms, position in Wh)."""
Key = tuple[str, str]


class Counting(Meters):
    """Meters whose totals rise by random counts; it remembers them all."""

    points: defaultdict[Key, Points]

    def poll_at(self, t_ms: int, chance: random.Random) -> None:
        """A frame of every meter."""
        made: list[Frame] = []
        for name, device in zip(self.meters, self._devices, strict=True):
            counts = {}
            for kind in TOTALS:
                points = self.points[name, kind]
                before = points[-1][1] // WH_PER_COUNT if points else chance.randrange(1 << 20)
                counts[kind] = before + chance.choice((0, 1, chance.randrange(100)))
                points.append((t_ms, counts[kind] * WH_PER_COUNT))
            said = [(r, t_ms, counts.get(r.reading_type, chance.uniform(0, 400))) for r in device.registers]
            self.last += 1
            made.append(Frame(self.last, device.declaration, t_ms, readings_body(device.aliases, said)))
        self.queue.extend(made)
        self._more.set()


class Kills(Chain):
    """The chain, and who kills its processes."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        self.chance = random.Random(seed)
        gateways = [Counting(g.name, g._devices, g._outbox) for g in self.meters]
        self.fleet = list(gateways)
        self.gateways = gateways
        self.points: defaultdict[Key, Points] = defaultdict(list)
        for gateway in gateways:
            gateway.points = self.points
        self.killed = dict.fromkeys(("ingest", "stream", "broker"), 0)

    def kill(self, name: str) -> None:
        """And start it again."""
        child = self.child(name)
        child.kill()
        child.wait()
        self.killed[name] += 1
        self.server.start(name)

    async def kill_at_random(self, frames: int) -> None:
        """Each time when about so many frames more are acked; until cancelled."""
        while True:
            goal = self.acked + self.chance.randint(1, 2 * frames)
            while self.acked < goal:  # noqa: ASYNC110  acks come from outside
                await asyncio.sleep(0.01)
            self.kill(self.chance.choice(("ingest", "ingest", "stream", "stream", "broker")))

    @property
    def acked(self) -> int:
        """Frames that are on the server's disk."""
        return sum(gateway.acked for gateway in self.gateways)

    async def pour(self, readings: int) -> None:
        """Send that many, as fast as they are taken."""
        polls, first_ms = readings // (len(NAMES) * METERS * GATEWAYS), self._t_ms
        for i in range(polls):
            self.polled_ms = first_ms + i * POLL_MS + self.chance.randrange(POLL_MS)
            for gateway in self.gateways:
                if self.chance.random() > 0.02 or i in {0, polls - 1}:
                    gateway.poll_at(self.polled_ms, self.chance)
            while min(len(g.queue) for g in self.gateways) > WAITING:  # noqa: ASYNC110  acks empty them
                await asyncio.sleep(0.02)
            await asyncio.sleep(0)
        await self.until(lambda: self.backlog == 0, 3600, "empty outboxes")

    async def run(self, readings: int, kills: int) -> None:
        """From the first frame to the last row, with about so many kills."""
        self.server.start("broker", *OURS)
        tasks = self.connect()
        killer = asyncio.ensure_future(self.kill_at_random(readings // len(NAMES) // kills))
        try:
            await self.pour(readings)
            killer.cancel()
            await self.until(self.in_ledger, 600, "last row")
        finally:
            for task in (killer, *tasks):
                task.cancel()
            await asyncio.gather(killer, *tasks, return_exceptions=True)
            self.server.stop()


def intervals(points: Points) -> Iterator[tuple[int, int, int, bool]]:
    """(start, opening, closing, whether it is over), by the definition: linear between reads, rounded down at the edges."""
    start, opening = points[0][0] // QUARTER_MS * QUARTER_MS, points[0][1]
    for (t0, p0), (t1, p1) in pairwise(points):
        while start + QUARTER_MS <= t1:
            closing = p0 + (p1 - p0) * (start + QUARTER_MS - t0) // (t1 - t0)
            yield start, opening, closing, True
            start, opening = start + QUARTER_MS, closing
    if points[-1][0] > start:
        yield start, opening, points[-1][1], False


def assert_every_frame_once(folder: Path, made: int) -> None:
    """In the journal, whose chain holds."""
    with JournalReader(folder / "data" / "journal.db") as journal:
        journal.verify_chain()
        assert not sum(journal.quarantine_counts().values())
    with closing(sqlite3.connect(f"file:{folder / 'data' / 'journal.db'}?mode=ro", uri=True)) as db:
        found = db.execute(
            "SELECT count(*), count(DISTINCT gateway || epoch || '/' || number) FROM frame"
        ).fetchone()
    assert found == (made, made), (found, made)


def assert_ledger(ledger: Path, points: dict[Key, Points]) -> int:
    """Every interval is what the counts say; how many."""
    checked = 0
    with LedgerReader(ledger) as reader:
        for key, known in points.items():
            rows = reader.intervals(*key, 0, 1 << 62)
            said = [(row.start_ms, row.opening, row.closing, row.closed) for row in rows]
            assert said == [*intervals(known)], key
            assert sum(row.energy for row in rows) == known[-1][1] - known[0][1], key
            checked += len(rows)
    return checked


def assert_same_ledger(folder: Path, points: dict[Key, Points]) -> None:
    """As one made from the journal, undisturbed."""
    park = load_registry(folder / "park.toml")
    world = Context(park, Policy(FactorTable.load(), enterprise_policy(), park.tz, date.today()))  # noqa: DTZ011  as the role has it, below
    run_through(folder / "data" / "journal.db", folder / "anew.db", world)
    with LedgerReader(folder / "data" / "ledger.db") as live, LedgerReader(folder / "anew.db") as anew:
        for key in points:
            one, other = (
                [(r.start_ms, r.opening, r.closing, r.emission_ug, r.factor_id, r.coverage_ms, r.quality, r.closed)
                 for r in reader.intervals(*key, 0, 1 << 62)]
                for reader in (live, anew)
            )  # fmt: skip
            assert one == other, key


def figures(folder: Path, readings: int, seed: int, kills: int) -> dict[str, object]:
    """Run, judge, tell."""
    chain, begun = Kills(folder, seed), time.monotonic()
    asyncio.run(chain.run(readings, kills))
    made = sum(gateway.last for gateway in chain.gateways)
    assert_every_frame_once(folder, made)
    checked = assert_ledger(folder / "data" / "ledger.db", chain.points)
    assert_same_ledger(folder, chain.points)
    return {
        "seed": seed, "readings": made * len(NAMES), "frames": made, "killed": chain.killed, "intervals_checked": checked,
        "sent_again_frames": sum(g.sent_again for g in chain.gateways), "seconds": round(time.monotonic() - begun),
    }  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="scripts/kills")
    parser.add_argument("--readings", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=60)
    asked = parser.parse_args()
    os.environ.setdefault("LANGUAGE", "en")
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it tells of every write to a broker that is dead
    subprocess.run((sys.executable, "-m", "tanyun", "warm"), check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="tanyun-kills-") as folder:
        print(json.dumps(figures(Path(folder), asked.readings, asked.seed, asked.kills)))


if __name__ == "__main__":
    main()
