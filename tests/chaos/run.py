"""One run: the chain under a seeded schedule of overlapping faults, then calm, then judgement."""

import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from metering.intervals import QUARTER_MS
from storage.journal import JournalReader
from tests.chaos import judge
from tests.chaos.chain import Chain, scratch
from tests.chaos.faults import FAULTS, Event, schedule

LANES: Final = 6
"""Schedules that run beside each other."""
DAYS: Final = 2
PACE_S: Final = 0.1
SETTLE_S: Final = 180.0


class Outcome(msgspec.Struct):
    """What a run did and found."""

    seed: int
    faults: int
    skipped: int
    by_fault: dict[str, int]
    deaths: int
    muddled: int
    intervals: int
    frames: int
    quarantined: dict[str, int]
    events: dict[str, int]
    projected: int
    disk: str
    network: str
    settle_s: float
    seconds: float


def run(
    seed: int, count: int, *, events: Sequence[Event] | None = None, days: int = DAYS, keep: bool = False
) -> Outcome:
    """`count` faults; AssertionError names what is not as it should be. `events` instead: exactly these, one after another."""
    begun, folder = time.monotonic(), scratch()
    now = time.time_ns() // 1_000_000
    start_ms = (now // QUARTER_MS - days * 96) * QUARTER_MS
    done: Counter[tuple[str, str]] = Counter()
    try:
        with Chain(folder, seed, start_ms, PACE_S) as chain:
            chain.until(lambda: chain.progress_ms() > start_ms, 90, "first intervals")
            lanes = [list(events)] if events is not None else _lanes(chain, seed, count)
            skipped = _play(chain, lanes, done)
            outcome = _settle(chain, start_ms, done, begun)
            outcome.skipped = skipped
    except BaseException:
        print(f"seed {seed}: files are kept in {folder}", file=sys.stderr)
        raise
    if not keep:
        shutil.rmtree(folder)
    return outcome


def _lanes(chain: Chain, seed: int, count: int) -> list[list[Event]]:
    return [schedule(chain, seed, lane, count // LANES) for lane in range(LANES)]


def _play(chain: Chain, lanes: list[list[Event]], done: Counter[tuple[str, str]]) -> int:
    """All lanes at once. What one lane does to a disk or a process, another may do to it at the same time; not to one disk."""
    busy = {name: threading.Lock() for name in [*chain.disks, *chain.children, *chain.wires.links]}
    errors: list[BaseException] = []
    skipped = [0]

    def play(lane: list[Event]) -> None:
        try:
            for event in lane:
                time.sleep(event.after_s)
                machine = (
                    event.target.removeprefix("edge ") if event.target.startswith("edge ") else event.target
                )
                machine = "server" if machine in {"ingest", "stream", "projector"} else machine
                with busy[machine]:
                    worked = FAULTS[event.fault][0](chain, random.Random(event.seed), event.target)
                done[event.fault, event.target] += worked
                skipped[0] += not worked
        except BaseException as error:  # noqa: BLE001  raised again by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=play, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return skipped[0]


def _settle(chain: Chain, start_ms: int, done: Counter[tuple[str, str]], begun: float) -> Outcome:
    chain.heal()
    healed = time.monotonic()
    chain.until(lambda: chain.tick_ms() == -1, SETTLE_S + 0.3 * 96 * DAYS, "live phase")
    # What was on its way when the clock went live, and a poll of every meter behind it.
    now = time.time_ns() // 1_000_000
    chain.until(lambda: chain.progress_ms() > now, SETTLE_S, "readings after the faults")
    settled = time.monotonic() - healed
    last_tick = _last_tick(chain)
    if chain.influx is not None:
        chain.hold("ingest", "stream", number=15)
        chain.until(lambda: _projected(chain), SETTLE_S, "InfluxDB at the ledger's end")
    chain.hold(*chain.children, number=15)
    intervals = judge.assert_exact(chain, start_ms, last_tick)
    refused = judge.assert_journal_is_whole(chain)
    found = judge.assert_visible(chain, done)
    by_fault: Counter[str] = Counter()
    for (fault, _target), count in done.items():
        by_fault[fault] += count
    return Outcome(
        chain.seed, sum(done.values()), 0, dict(by_fault), sum(c.deaths for c in chain.children.values()),
        sum(link.changed for link in chain.wires.links.values()), intervals, _frames(chain), dict(refused), dict(found),
        judge.assert_projected(chain), chain.disks["server"].kind,
        f"{len(chain.cables)} gateways in network namespaces" if chain.cables else "TCP proxies",
        round(settled, 1), round(time.monotonic() - begun, 1),
    )  # fmt: skip


def _projected(chain: Chain) -> bool:
    try:
        judge.assert_projected(chain)
    except (AssertionError, KeyError):
        return False
    return True


def _last_tick(chain: Chain) -> int:
    return int(msgspec.json.decode((chain.folder / "demo" / "clock.json").read_bytes())["tick"])


def _frames(chain: Chain) -> int:
    with JournalReader(chain.data / "journal.db") as journal:
        return journal.head().frames
