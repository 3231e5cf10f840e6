"""What a soak run calls growth. The run itself: scripts/soak."""

import os
from pathlib import Path

from tests.chaos.soak import STORES, Sample, judged, open_files, resident

MB = 2**20


def samples(rss_per_day: float = 0.0, file_every: int = 0, bend: float = 1.0) -> list[Sample]:
    """Forty days of one process that first warms up, with a peak every seventh day."""
    found = []
    for day in range(1, 41):
        warm = min(day, 10) * MB
        rss = round(100 * MB + warm + day * rss_per_day * MB) + (20 * MB if day % 7 == 0 else 0)
        files = 12 + (day // file_every if file_every else 0) + (day % 3 == 0)
        size = round(1000 * day + max(day - 28, 0) * 1000 * (bend - 1))
        found.append(Sample(float(day), {"ingest": rss}, {"ingest": files}, dict.fromkeys(STORES, size)))
    return found


def test_warming_up_and_peaks_are_not_growth() -> None:
    verdict = judged(samples())
    assert verdict.grown == []
    assert verdict.rss_growth == {"ingest": 0.0}


def test_a_leak_of_a_third_of_a_megabyte_a_day_is_named() -> None:
    assert judged(samples(rss_per_day=0.35)).grown == ["memory of ingest"]


def test_a_file_left_open_every_few_days_is_named() -> None:
    assert judged(samples(file_every=6)).grown == ["open files of ingest"]


def test_a_store_that_grows_by_another_pace_is_named() -> None:
    assert [what.split()[0] for what in judged(samples(bend=1.5)).grown] == list(STORES)


def test_a_process_is_measured_from_outside() -> None:
    before = open_files(os.getpid())
    with Path(os.devnull).open("rb"):
        assert open_files(os.getpid()) == before + 1
    assert MB < resident(os.getpid()) < 64 * 1024 * MB
