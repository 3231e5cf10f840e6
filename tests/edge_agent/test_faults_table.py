"""The table of faults names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_table_of_faults_names_is_there() -> None:
    table = (ROOT / "docs" / "bus-faults.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", table))
    files = (ROOT / "tests" / "edge_agent").glob("test_*.py")
    there = {
        name for file in files for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 25
    assert not named - there
