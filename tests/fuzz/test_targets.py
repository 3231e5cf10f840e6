"""Every fuzz target on its seeds, on some hundred mutations of them, and on every input that was ever a finding."""

import random
from pathlib import Path

import pytest

from tests.fuzz.mutate import inputs
from tests.fuzz.targets import TARGETS

FOUND = sorted((Path(__file__).parent / "found").glob("*.bin"))
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_or_refuses_whatever_comes(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    for data in inputs(
        seeds, random.Random(f"fixed {name}"), len(seeds) + (300 if target.weight > 1 else 60)
    ):
        target.run(data)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_once_a_finding_is_none_any_more(path: Path) -> None:
    TARGETS[path.name.split("-")[0]].run(path.read_bytes())
