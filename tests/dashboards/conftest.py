"""A real InfluxDB, and a month of a park in it."""

import time
from collections.abc import Iterator

import pytest

from tests.dashboards.month import DAY, HOUR, PARK, history, live
from tests.dashboards.store import Store
from tests.fakes.influx import KINDS, InfluxDB, influxdb


@pytest.fixture(scope="session", params=KINDS)
def influxd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """An InfluxDB for these tests."""
    with influxdb(request.param, tmp_path_factory.mktemp("influx")) as server:
        yield server


@pytest.fixture
def store(influxd: InfluxDB) -> Iterator[Store]:
    """An empty serving store."""
    empty = Store(influxd)
    yield empty
    empty.close()


@pytest.fixture(scope="module")
def now_ms() -> int:
    """Now, on a whole second."""
    return time.time_ns() // 1_000_000_000 * 1000


@pytest.fixture(scope="module")
def month_store(influxd: InfluxDB, now_ms: int) -> Iterator[Store]:
    """A month of the park until now."""
    full = Store(influxd)
    full.write("live", live(PARK, now_ms - 3 * HOUR, now_ms))
    full.write("history", history(PARK, now_ms - 31 * DAY, now_ms))
    yield full
    full.close()
