"""Kernels compiled for the tests go where `tanyun` keeps its own: a folder named by the digest of their source.

Beside the source, numba would not notice that a kernel called by another one has changed.

Also what the projector's tests share: a plant, and a real InfluxDB of its own for each test.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.influx import connect
from tanyun.environment import use_kernel_cache
from tests.fakes.influx import KINDS, AnyWriter, InfluxDB, influxdb
from tests.stream.projector_plant import Plant

use_kernel_cache()


@pytest.fixture(params=KINDS)
def influxd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InfluxDB]:
    """An InfluxDB that may be killed and wiped."""
    (tmp_path / "influx").mkdir()
    with influxdb(request.param, tmp_path / "influx") as server:
        yield server


@pytest.fixture
def writer(influxd: InfluxDB) -> Iterator[AnyWriter]:
    """A client of it."""
    opened = connect(influxd.target)
    yield opened
    opened.close()


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """Its journal, ledger and months."""
    (tmp_path / "data").mkdir()
    made = Plant(tmp_path / "data")
    yield made
    made.close()
