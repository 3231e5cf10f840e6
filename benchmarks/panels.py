"""How long panels take: every query of every dashboard over 30 days of 200 meters, on the real InfluxDB.

States come every 15 s. Raw readings and minutes of all 30 days are stored for the meter that is looked at, those of the other 199
for the last three hours, the states of meters for two days: no panel reads more of them. What was written in a minute instead of a
month is compacted first: nothing is measured before the server is idle. Prints each panel's median of five runs; the last line is
one JSON object.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from benchmarks._process import wait_until_idle
from dashboards import rendered
from tests.dashboards.macros import Window, expand
from tests.dashboards.month import (
    DAY,
    HOUR,
    QUARTER,
    Meter,
    balances,
    boundaries,
    documents,
    events,
    forecasts,
    intervals,
    meter_days,
    minutes,
    months,
    readings,
    states,
)
from tests.dashboards.store import Store
from tests.fakes.influx import Influxd

STEP = 15_000
PER_ENTERPRISE = 10
RUNS = 5
DAYS_OF_MONTHS = 400


def park(meters: int) -> tuple[Meter, ...]:
    """Enterprises of ten meters, each behind a gateway of its own; the first meter of each at the grid."""
    return tuple(
        Meter(
            f"e{i // PER_ENTERPRISE:02}",
            f"gw-{i // PER_ENTERPRISE:02}",
            f"m{i:03}",
            "sub_meter" if i % PER_ENTERPRISE else "grid_boundary",
        )
        for i in range(meters)
    )


def fill(store: Store, meters: tuple[Meter, ...], now_ms: int, days: int) -> int:
    """Write everything; how many lines."""
    start, recent, states_since = now_ms - days * DAY, now_ms - 3 * HOUR, now_ms - 2 * DAY
    day = start - start % DAY
    one_per_gateway = meters[::PER_ENTERPRISE]
    live = chain(
        readings(meters[:1], start, now_ms, STEP),
        readings(meters[1:], recent, now_ms, STEP),
        (
            line
            for line in states(one_per_gateway, start, states_since, STEP)
            if not line.startswith("meter_state")
        ),
        states(meters, states_since, now_ms, STEP),
        minutes(meters[:1], start, now_ms),
        minutes(meters[1:], recent, now_ms),
    )
    history = chain(
        intervals(meters, day, now_ms),
        meter_days(meters, day - 8 * HOUR, now_ms),
        boundaries(meters, day, now_ms, "15m", QUARTER),
        boundaries(meters, day, now_ms, "hour", HOUR),
        boundaries(meters, day - 8 * HOUR, now_ms, "day", DAY),
        forecasts(meters, day, now_ms),
        balances(meters, day, now_ms),
        months(meters, now_ms - 20 * DAY, closed=12),
        documents(meters, now_ms - 20 * DAY, closed=12),
        events(meters, day, now_ms),
    )
    return _write(store, "live", live) + _write(store, "history", history)


def _write(store: Store, policy: str, lines: Iterable[str]) -> int:
    count, batch = 0, []
    for line in lines:
        batch.append(line)
        if len(batch) == 5000:
            store.write(policy, batch)
            count, batch = count + len(batch), []
    store.write(policy, batch)
    return count + len(batch)


def measure(store: Store, now_ms: int, days: int) -> dict[str, float]:
    """Panel → milliseconds of its queries together, with everything chosen that can be."""
    chosen = {"enterprise": [".*"], "scope": ["e00"], "meter": ["m000"]}
    single = chosen | {"enterprise": ["e00"]}
    out = {}
    for board in rendered.boards():
        several = any(v["name"] == "enterprise" and v["multi"] for v in board["templating"]["list"])
        span = DAYS_OF_MONTHS if board["time"]["from"] == f"now-{DAYS_OF_MONTHS}d" else days
        for panel in board["panels"]:
            seen = int(panel["timeFrom"].removesuffix("d")) if "timeFrom" in panel else span
            window = Window(now_ms - seen * DAY, now_ms)
            step_s = window.step_s(panel.get("interval", "1s"), int(panel.get("maxDataPoints", 1000)))
            queries = [
                expand(t["query"], window, step_s, chosen if several else single)
                for t in panel.get("targets", [])
            ]
            if queries:
                out[f"{board['title']} / {panel['title']} ({panel['id']})"] = statistics.median(
                    _run(store, queries) for _ in range(RUNS)
                )
    return out


def _run(store: Store, queries: list[str]) -> float:
    began = time.perf_counter()
    for query in queries:
        store.query(query)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--meters", type=int, default=200)
    options = parser.parse_args()
    now_ms = time.time_ns() // 1_000_000_000 * 1000
    with tempfile.TemporaryDirectory() as folder, Influxd(Path(folder)) as server:
        store = Store(server)
        began = time.perf_counter()
        lines = fill(store, park(options.meters), now_ms, options.days)
        print(f"{lines} lines written in {time.perf_counter() - began:.0f} s")
        print(f"idle after {wait_until_idle(server.pid, 300):.0f} s more")
        took = measure(store, now_ms, options.days)
        store.close()
    for name, ms in sorted(took.items(), key=lambda item: item[1]):
        print(f"{ms:8.1f} ms  {name}")
    slowest = max(took, key=lambda name: took[name])
    print(
        json.dumps(
            {"slowest_panel_ms": round(took[slowest], 1), "slowest_panel": slowest, "panels": len(took)},
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
