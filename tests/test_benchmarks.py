"""The benchmarks run: what they compare with has to come to the same result, and each of them can be loaded."""

import importlib
from itertools import chain
from pathlib import Path

import pytest

from benchmarks import _journal
from benchmarks._park import PER_GATEWAY, TOTALS, births, polls
from benchmarks.stream import world

NAMES = sorted(path.stem for path in Path(_journal.__file__).parent.glob("[!_]*.py"))
METERS, POLLS, EVERY_MS = PER_GATEWAY + 5, 40, 60_000


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_loaded(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_the_plain_pipeline_comes_to_the_same_ledger(tmp_path: Path) -> None:
    journal, context = tmp_path / "journal.db", world(METERS)
    _journal.write(journal, births(METERS), chain.from_iterable(polls(METERS, POLLS, EVERY_MS)))
    _journal.recompute(journal, tmp_path / "ledger.db", context)
    _seconds, rows = _journal.plain_pipeline(journal, tmp_path / "plain.db", context.park)
    assert len(rows) >= METERS * len(TOTALS) * 2
    assert rows == _journal.closed_rows(tmp_path / "ledger.db", context.park)
