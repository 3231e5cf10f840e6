"""Many runs, each with a seed of its own. Last line: one JSON object.

Usage: scripts/chaos --runs N [--seed S] [--faults F]
"""

import argparse
import json
import random
import sys
import time
from collections import Counter

import msgspec

from tests.chaos.run import run


def main() -> None:
    """Run and print; exit code 1 when a run failed. `--seed S --runs 1` plays a failed run's schedule again."""
    parser = argparse.ArgumentParser(prog="scripts/chaos")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--seed", type=int, default=None, help="of the first run; the next ones follow from it"
    )
    parser.add_argument("--faults", type=int, default=150, help="per run")
    parser.add_argument("--keep", action="store_true", help="keep the files of good runs too")
    asked = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 31) if asked.seed is None else asked.seed
    total: Counter[str] = Counter()
    failed, begun = [], time.monotonic()
    for i in range(asked.runs):
        seed = first + i
        print(f"seed {seed}", flush=True)
        try:
            outcome = run(seed, asked.faults, keep=asked.keep)
        except Exception as error:  # noqa: BLE001  whatever it was, the next seed is another one
            failed.append(seed)
            print(
                f"FAILED: scripts/chaos --runs 1 --seed {seed} --faults {asked.faults}\n{type(error).__name__}: {error}",
                file=sys.stderr,
                flush=True,
            )
            continue
        print(msgspec.json.encode(outcome).decode(), flush=True)
        total.update(outcome.by_fault)
        total.update(
            {
                "runs_good": 1,
                "intervals_checked": outcome.intervals,
                "deaths": outcome.deaths,
                "muddled": outcome.muddled,
            }
        )
        total.update({"faults_total": outcome.faults})
    print(json.dumps({**total, "failed_seeds": failed, "seconds": round(time.monotonic() - begun)}))
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
