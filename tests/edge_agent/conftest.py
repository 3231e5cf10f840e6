"""The real broker, for the tests of publisher and agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tanyun.broker import find_mosquitto
from tests.fakes.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto of its own for each test; its secrets are under tmp_path."""
    if find_mosquitto() is None:
        pytest.skip("no mosquitto on this machine")
    with Mosquitto(tmp_path) as broker:
        yield broker
