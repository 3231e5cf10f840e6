"""The real InfluxDB 1.6.7, and a month of a park in it."""

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.dashboards.month import DAY, HOUR, PARK, history, live
from tests.dashboards.store import Store
from tests.fakes.influx import Influxd


@pytest.fixture(scope="session")
def influx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An InfluxDB for these tests."""
    if shutil.which("influxd") is None:
        pytest.skip("no influxd here (Debian: apt install influxdb)")
    with Influxd(tmp_path_factory.mktemp("influx")) as server:
        yield server.url


@pytest.fixture
def store(influx_url: str) -> Iterator[Store]:
    """An empty serving store."""
    empty = Store(influx_url)
    yield empty
    empty.close()


@pytest.fixture(scope="module")
def now_ms() -> int:
    """Now, on a whole second."""
    return time.time_ns() // 1_000_000_000 * 1000


@pytest.fixture(scope="module")
def month_store(influx_url: str, now_ms: int) -> Iterator[Store]:
    """A month of the park until now."""
    full = Store(influx_url)
    full.write("live", live(PARK, now_ms - 3 * HOUR, now_ms))
    full.write("history", history(PARK, now_ms - 31 * DAY, now_ms))
    yield full
    full.close()
