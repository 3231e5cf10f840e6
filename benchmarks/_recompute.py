"""A month of 1,000 meters from the journal to a committed ledger, by two workers and the one that writes.

Frames of 20 readings, two of them totals, every meter every 15 s. What is run are a part of the journal and all of it; the month
follows from the difference, so starting the workers and reading the births, once per rebuild, is told apart. CPU time of all
four processes, shared by two cores: what a machine takes on which nothing else runs, and where they keep both cores busy; and,
as `…_by_clock`, the time that went by, in which so short a run writes its rows when the workers are done, a month meanwhile.
"""

import os
import resource
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from statistics import median

from benchmarks import _journal as _files
from benchmarks._park import TOTALS, births, polls
from storage.journal import JournalReader, Offset
from storage.ledger import LedgerReader
from stream.context import Context
from stream.runner import Runner

METERS, POLLS, PART, WORKERS, CORES, ROUNDS = 1000, 3600, 4, 2, 2, 3
"""Fifteen hours, and a quarter of them; medians of three."""
MONTH_TOTALS = 1.7e8


def measure(folder: Path, world: Callable[[int], Context]) -> dict[str, float]:
    """All figures of this file."""
    journal = folder / "park.db"
    frames = chain.from_iterable(polls(METERS, POLLS))
    _files.write(
        journal, births(METERS), frames, lambda _frame: os.urandom(16)
    )  # no rebuild looks at digests
    with JournalReader(journal) as reader:
        head = reader.head()
    part = Offset(head.offset.segment // PART, 0)
    ends = {"part": part, "whole": head.offset}
    runs = [
        [rebuild(journal, folder / f"{name}{i}.db", world(METERS), end) for name, end in ends.items()]
        for i in range(ROUNDS)
    ]
    further = len(TOTALS) * (head.offset.segment - part.segment) * _files.SEGMENT
    month_s, clock_s = (
        MONTH_TOTALS / further * median(whole[i] - less[i] for less, whole in runs) for i in (0, 1)
    )
    (part_s, _), (whole_s, wall_s) = (
        map(median, zip(*some, strict=True)) for some in zip(*runs, strict=True)
    )
    # Not this process, which has records of its own to hold.
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(
        f"rebuild of {METERS} meters: {head.frames} frames, {whole_s:.1f} s of CPU in {WORKERS + 2} processes ({wall_s:.1f} s), "
        f"{part_s:.1f} s for their first 1/{PART}; at most {most >> 10} MB in a worker or the reader; "
        f"{len(TOTALS) * head.frames / MONTH_TOTALS:.1%} of the month was run"
    )
    return {
        "recompute_month_1000_meters_s": round(month_s / CORES), "recompute_month_1000_meters_by_clock_s": round(clock_s),
        "rebuild_mb": most >> 10,
    }  # fmt: skip


def rebuild(journal: Path, ledger: Path, context: Context, end: Offset) -> tuple[float, float]:
    """(seconds of CPU of all processes, seconds) from the journal up to `end` to a committed ledger."""
    runner = Runner(journal, ledger, context, end)
    begun, used = time.perf_counter(), _used_s()
    runner.rebuild(WORKERS)
    seconds = _used_s() - used, time.perf_counter() - begun
    runner.close()
    with LedgerReader(ledger) as reader:
        restated = [e for e in reader.events(limit=1_000_000) if e.kind == "restated"]
    assert not restated, "frames that are hardly out of order restate nothing"
    return seconds


def _used_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)
