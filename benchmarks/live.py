"""From a poll to the ledger, live: the demo's whole chain (14 meters, 3 gateways, polled every 3 s) watched from outside.

Prints the delay between a reading's own time and the moment a reader of the ledger sees it, against the limit of one
second. The watcher looks every 5 ms, which is part of the figure. Usage: scripts/bench live [seconds]
"""

import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from storage.ledger import latest_of

LIMIT_MS = 1000
_LOOK_S = 0.005
_READY_S = 120


def watch(ledger: Path, seconds: float) -> list[float]:
    """Delay in ms of every new newest reading of every meter and type."""
    database = sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)
    known: dict[tuple[str, str], int] = {}
    delays: list[float] = []
    first, deadline = True, time.monotonic() + seconds
    while time.monotonic() < deadline:
        now_ms = time.time() * 1000
        for (readings,) in database.execute("SELECT readings FROM latest"):
            for row in latest_of(readings):
                if known.get((row.meter, row.reading_type)) != row.t_ms and not first:
                    delays.append(now_ms - row.t_ms)
                known[row.meter, row.reading_type] = row.t_ms
        first = False
        time.sleep(_LOOK_S)
    database.close()
    return sorted(delays)


def start(data: Path) -> subprocess.Popen[str]:
    """A demo that has gone live."""
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    argv = [
        sys.executable,
        "-m",
        "tanyun",
        "--lang",
        "en",
        "demo",
        "--fresh",
        "--data",
        str(data),
        "--since",
        str(today),
    ]
    demo = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + _READY_S
    assert demo.stdout is not None
    while "Live now" not in demo.stdout.readline():
        if time.monotonic() > deadline or demo.poll() is not None:
            sys.exit("the demo did not go live")
    return demo


def main() -> None:
    """Run and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "demo"
        demo = start(data)
        try:
            delays = watch(data / "ledger.db", seconds)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
    p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    print(f"{len(delays)} readings seen: p50 {p50:.0f} ms, p99 {p99:.0f} ms, limit {LIMIT_MS} ms")
    print(
        json.dumps(
            {
                "readings": len(delays),
                "p50_ms": round(p50),
                "p99_ms": round(p99),
                "p99_vs_limit": round(p99 / LIMIT_MS, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
