"""A server lives through simulated months: does memory, do open files grow, and do journal and ledger grow as predicted?

Ingest's judgement and journal, stream and ledger in one process, fed poll by poll: every gateway 96 polls a simulated day. After
a warm-up of a quarter of the time, straight lines are laid through resident memory and open files per simulated day.

- `rss_slope_kb_per_day`, `fds_slope_per_day`: have to be 0 within `rss_noise_kb_per_day`, the spread of the residuals over the days.
- `journal_bytes_per_frame`, `ledger_bytes_per_interval`: what to plan disks with; first against last quarter in `*_drift`.

Usage: scripts/bench soak [days] [gateways]
"""

import gc
import json
import resource
import sqlite3
import statistics
import sys
import tempfile
from contextlib import closing
from datetime import date
from pathlib import Path

from factors.policy import enterprise_policy
from factors.table import FactorTable
from ingest.host import Host
from ingest.writer import StoredInJournal, Writer
from metering.registry import load_registry
from storage.journal import JournalReader
from storage.journal_writer import JournalWriter
from storage.ledger import LedgerWriter
from stream.policy import Policy
from stream.runner import Runner
from stream.step import Context
from tanyun.environment import use_kernel_cache
from tests.ingest import gateway as said

DAY_POLLS, POLL_MS, METERS = 96, 900_000, 5


def registry(gateways: int) -> str:
    """A park whose meters have one total each."""
    head = 'id = "p"\nname = "园区"\ngrid_scope = "CN-AH"\n[[enterprises]]\nid = "e"\nname = "企业"\n'
    lines = [head, '[[sites]]\nid = "s"\nenterprise = "e"\nname = "厂区"\n']
    for g in range(gateways):
        lines.append(f'[[gateways]]\nid = "g{g}"\nsite = "s"\n')
        lines += [
            f'[[meters]]\nid = "g{g}-m{m}"\ngateway = "g{g}"\nroles = {{ energy_import_total = "sub_meter" }}\n'
            for m in range(METERS)
        ]
    return "".join(lines)


def resident_kb() -> int:
    """Resident memory now."""
    gc.collect()
    return (
        int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() // 1024
    )


def bytes_of(store: Path) -> int:
    """What a store takes on disk once its write-ahead log is in it."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        return int(
            db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]
        )


def slope(values: list[float]) -> tuple[float, float]:
    """Least squares over 0, 1, 2 …: (slope, spread of the residuals per day of the range)."""
    days = list(range(len(values)))
    line = statistics.linear_regression(days, values)
    rest = [value - line.intercept - line.slope * day for day, value in zip(days, values, strict=True)]
    return line.slope, statistics.pstdev(rest) / len(values)


class Server:
    """Ingest and stream on files of their own."""

    def __init__(self, folder: Path, gateways: int) -> None:
        (folder / "park.toml").write_text(registry(gateways), encoding="utf-8")
        park = load_registry(folder / "park.toml")
        self.journal, self.ledger = folder / "journal.db", folder / "ledger.db"
        self.now_ms = said.NOW_MS
        journal = JournalWriter(self.journal)
        stored = StoredInJournal(journal)
        self.writer = Writer(journal, Host(park, stored), lambda: self.now_ms)
        policy = Policy(FactorTable.load(), enterprise_policy(), park.tz, date(2026, 9, 21))
        self.runner = Runner(JournalReader(self.journal), LedgerWriter(self.ledger), Context(park, policy))
        self.names = [f"g{g}" for g in range(gateways)]
        self.numbers = dict.fromkeys(self.names, 0)

    def births(self) -> None:
        """All gateways begin a session, as they do now and then."""
        for name in self.names:
            records = [
                said.nbirth(gateway=name, t_ms=self.now_ms),
                *(said.dbirth(f"{name}-m{m}", gateway=name) for m in range(METERS)),
            ]
            self.writer.store(records)

    def poll(self) -> int:
        """Every gateway once; the stream follows. Frames stored."""
        self.now_ms += POLL_MS
        for name in self.names:
            records = []
            for m in range(METERS):
                self.numbers[name] += 1
                total = said.total(self.now_ms // POLL_MS % (1 << 32), timestamp=self.now_ms)
                records.append(
                    said.frame(self.numbers[name], f"{name}-m{m}", total, gateway=name, t_ms=self.now_ms)
                )
            self.writer.store(records)
        while self.runner.advance():
            pass
        return len(self.names) * METERS


def main() -> None:
    """Run and print."""
    days, gateways = (int(text) for text in [*sys.argv[1:3], *["90", "4"][len(sys.argv) - 1 :]])
    use_kernel_cache()
    rss: list[float] = []
    fds: list[float] = []
    sizes: list[tuple[int, int]] = []
    frames = 0
    with tempfile.TemporaryDirectory(prefix="tanyun-soak-") as folder:
        server = Server(Path(folder), gateways)
        for _day in range(days):
            server.births()
            frames += sum(server.poll() for _ in range(DAY_POLLS))
            rss.append(resident_kb())
            fds.append(len(list(Path("/proc/self/fd").iterdir())))
            sizes.append((bytes_of(server.journal), bytes_of(server.ledger)))
    settled = days // 4
    rss_slope, noise = slope(rss[settled:])
    per_day = frames / days
    growth = [(sizes[-1][i] - sizes[settled][i]) / (days - 1 - settled) / per_day for i in (0, 1)]
    early = [(sizes[days // 2][i] - sizes[settled][i]) / (days // 2 - settled) / per_day for i in (0, 1)]
    figures = {
        "days": days, "frames": frames, "rss_mb": rss[-1] / 1024, "rss_slope_kb_per_day": rss_slope, "rss_noise_kb_per_day": noise,
        "fds_slope_per_day": slope(fds[settled:])[0], "journal_bytes_per_frame": growth[0], "ledger_bytes_per_interval": growth[1],
        "journal_drift": growth[0] / max(early[0], 1) - 1, "ledger_drift": growth[1] / max(early[1], 1) - 1,
    }  # fmt: skip
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
