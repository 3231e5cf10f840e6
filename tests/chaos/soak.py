"""Months on the accelerated clock without a fault: memory and open files of every process stand still, the stores grow as days do.

Usage: scripts/soak [--days N]. Last line: one JSON object; exit code 1 when something grows that should not.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final

import msgspec

from metering.intervals import QUARTER_MS
from tests.chaos import judge
from tests.chaos.chain import Chain, scratch

DAY_MS: Final = 86_400_000
WARM_SHARE: Final = 0.4
"""Of the run, in which caches, pools and the allocator may still grow (ours)."""
MOST_GROWTH: Final = 0.05
"""Of the resident memory, that the rest of the run may add by its slope before it is called a leak (ours)."""
MOST_FILES: Final = 2
"""Open files that a process may have more in the second half than in the first: what it holds for a moment (ours)."""
SAME_PACE: Final = 0.15
"""By how much a store's bytes per day may differ between the two halves of the run (ours)."""
STORES: Final = ("journal.db", "ledger.db")
_SECONDS_PER_DAY: Final = 60.0
"""A slower chain than this has stopped."""


class Sample(msgspec.Struct, frozen=True):
    """One moment: simulated day, resident bytes and open files by process, bytes by store."""

    day: float
    rss: Mapping[str, int]
    files: Mapping[str, int]
    stores: Mapping[str, int]


class Verdict(msgspec.Struct):
    """What the samples say; `grown` names what should not have grown."""

    days: float
    rss_mb: dict[str, float]
    rss_growth: dict[str, float]
    """Slope over the run after its warm part, as a share of the process's memory."""
    files: dict[str, int]
    store_kb_per_day: dict[str, float]
    grown: list[str]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs, which single peaks do not move."""
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0])


def judged(samples: Sequence[Sample]) -> Verdict:
    """Hold the samples, at least eight of them, against the limits above."""
    end = samples[-1].day
    warm = [sample for sample in samples if sample.day >= WARM_SHARE * end]
    span = warm[-1].day - warm[0].day
    verdict = Verdict(round(end, 2), {}, {}, {}, {}, [])
    for name in samples[-1].rss:
        seen = [(sample.day, float(sample.rss[name])) for sample in warm if name in sample.rss]
        typical = statistics.median(size for _day, size in seen)
        growth = slope(seen) * span / typical
        verdict.rss_mb[name], verdict.rss_growth[name] = round(typical / 2**20, 1), round(growth, 4)
        verdict.files[name] = warm[-1].files[name]
        if growth > MOST_GROWTH:
            verdict.grown.append(f"memory of {name}")
        if _files_grew([sample.files[name] for sample in warm if name in sample.files]):
            verdict.grown.append(f"open files of {name}")
    for store in STORES:
        first, second = _pace(warm, store)
        verdict.store_kb_per_day[store] = round(second / 1024, 1)
        if abs(second - first) > SAME_PACE * first:
            verdict.grown.append(f"{store} by another pace ({first:.0f}, then {second:.0f} B/day)")
    return verdict


def _files_grew(counts: Sequence[int]) -> bool:
    half = len(counts) // 2
    return min(counts[half:]) > max(counts[:half]) or counts[-1] > counts[0] + MOST_FILES


def _pace(samples: Sequence[Sample], store: str) -> tuple[float, float]:
    """Bytes per day in each half."""
    middle = samples[len(samples) // 2]

    def between(a: Sample, b: Sample) -> float:
        return (b.stores[store] - a.stores[store]) / (b.day - a.day)

    return between(samples[0], middle), between(middle, samples[-1])


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096


def open_files(pid: int) -> int:
    """How many descriptors it has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def sample_of(chain: Chain, start_ms: int, tick_ms: int) -> Sample:
    """The chain now."""
    pids = {name: child.process.pid for name, child in chain.children.items() if child.process is not None}
    rss, files = {}, {}
    for name, pid in pids.items():
        with suppress(OSError):
            files[name] = open_files(pid)
            rss[name] = resident(pid)
    sizes = {store: (chain.data / store).stat().st_size for store in STORES}
    return Sample((tick_ms - start_ms) / DAY_MS, rss, files, sizes)


def _reached(chain: Chain, t_ms: int) -> bool:
    return not 0 <= chain.tick_ms() < t_ms


def soak(days: int, every: float) -> Verdict:
    """Run the chain through so many days; AssertionError where the ledger is not what the meters say."""
    folder = scratch()
    now = time.time_ns() // 1_000_000
    start_ms = (now // QUARTER_MS - (days + 1) * 96) * QUARTER_MS
    samples: list[Sample] = []
    with Chain(folder, 0, start_ms, 0.0) as chain:
        chain.until(lambda: chain.progress_ms() > start_ms, 120, "first intervals")
        while (samples[-1].day if samples else 0.0) < days:
            due_ms = start_ms + round((len(samples) + 1) * every * DAY_MS)
            chain.until(partial(_reached, chain, due_ms), every * _SECONDS_PER_DAY + 60, "progress")
            samples.append(sample_of(chain, start_ms, due_ms))
            newest = samples[-1]
            print(f"day {newest.day:.1f}: {sum(newest.rss.values()) >> 20} MiB", file=sys.stderr, flush=True)
        last_ms = start_ms + days * DAY_MS
        chain.until(lambda: chain.progress_ms() > last_ms, 180, "all readings")
        chain.hold(*chain.children, number=15)
        judge.assert_exact(
            chain, start_ms + DAY_MS, last_ms
        )  # On its first ticks a busy machine still starts its meters.
        judge.assert_journal_is_whole(chain)
        verdict = judged(samples)
        verdict.grown += [f"deaths of {c.name}" for c in chain.children.values() if c.deaths]
    shutil.rmtree(folder)
    return verdict


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--days", type=int, default=92, help="simulated days (default: 92)")
    asked = parser.parse_args()
    begun = time.monotonic()
    verdict = soak(asked.days, asked.days / 40)
    print(json.dumps(msgspec.to_builtins(verdict) | {"seconds": round(time.monotonic() - begun)}))
    raise SystemExit(bool(verdict.grown))


if __name__ == "__main__":
    main()
