"""Fill the cache of compiled kernels, so that no role compiles when it is needed."""

from collections.abc import Sequence
from datetime import UTC, datetime

from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering import frames
from metering.intervals import QUARTER_MS
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from storage.segment import Record
from stream.context import Context
from stream.policy import Policy
from stream.state import State
from stream.step import step

_METER = {
    "id": "m",
    "gateway": "g",
    "roles": {"energy_import_total": "grid_boundary"},
    "max_power_w": 1_000_000,
}


def _park() -> Park:
    return parse_registry(
        {
            "id": "warm", "name": "warm", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": "g", "site": "s"}], "meters": [_METER],
        }
    )  # fmt: skip


def _records() -> Sequence[Record]:
    properties: dict[str, Property] = {frames.PROPERTY_UNIT: "kWh", frames.PROPERTY_SCALE: -2}
    declared = Metric(
        name="energy_import_total", alias=1, datatype=DataType.UINT32, is_null=True, properties=properties
    )
    birth = Record("spBv1.0/warm/DBIRTH/g/m", encode(Payload((declared,), timestamp=1, seq=0)), 1)
    data = [
        Record(
            "spBv1.0/warm/DDATA/g/m",
            encode(Payload((Metric(alias=1, value=i),), timestamp=i * QUARTER_MS)),
            1,
        )
        for i in range(1, 4)
    ]
    return [birth, *data]


def warm() -> int:
    """Run the whole step once over four records; the number of intervals it closed (two)."""
    park = _park()
    today = datetime.now(UTC).date()
    context = Context(park, Policy(FactorTable.load(), enterprise_policy(), park.tz, today))
    return sum(row.closed for row in step(State(), _records(), context).intervals)
