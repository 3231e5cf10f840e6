"""A park as it runs: gateways of 20 meters, frames as they come from all of them at once.

A frame has 20 readings of which two are totals; the gauges are random floats, the worst that a codec can meet. 1 % of the frames
come after the next one of their meter, 0.1 % come twice. All frames have one length, so that a poll of the whole park is
made as one table of bytes.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from metering import frames
from metering.protobuf_wire import bytes_field, float_field, uint_field
from metering.reading_types import READING_TYPES
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.segment import Record

U8 = NDArray[np.uint8]
PER_GATEWAY, POLL_MS = 20, 15_000
T0 = 1_793_458_800_000
TOTALS = ("energy_import_total", "energy_export_total")
GAUGES = tuple(
    name
    for name, known in READING_TYPES.items()
    if known.kind == "gauge" and known.unit in {"W", "V", "A", "VA", "var", "1", "Hz"}
)
NAMES = (*TOTALS, *GAUGES, "temperature_1", "temperature_2", "flow", "power_thermal")[:20]
_COUNT = 1 << 22
"""Where totals begin: four bytes as a varint, for months."""
_FIRST_ALIAS = 128
"""Two bytes as a varint, up to 16,383."""


def park(meters: int) -> Park:
    """`meters` meters, each with an import and an export, behind a current transformer."""
    roles = {"energy_import_total": "grid_boundary", "energy_export_total": "export"}
    gateways = -(-meters // PER_GATEWAY)
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}],
            "gateways": [{"id": f"g{i}", "site": "s"} for i in range(gateways)],
            "meters": [
                {"id": f"m{i}", "gateway": f"g{i // PER_GATEWAY}", "roles": roles, "ct": "80", "max_power_w": 10**6}
                for i in range(meters)
            ],
        }
    )  # fmt: skip


def births(meters: int) -> list[Record]:
    """One of each meter."""
    return [
        Record(f"spBv1.0/p/DBIRTH/g{i // PER_GATEWAY}/m{i}", encode(Payload(_declared(i), timestamp=T0)), T0)
        for i in range(meters)
    ]


def _declared(meter: int) -> tuple[Metric, ...]:
    unit = {name: "kWh" if name in TOTALS else READING_TYPES[name].unit for name in NAMES}
    return tuple(
        Metric(
            name=name, alias=_alias(meter, i), datatype=DataType.UINT32 if name in TOTALS else DataType.FLOAT, is_null=True,
            properties={frames.PROPERTY_UNIT: unit[name], frames.PROPERTY_SCALE: -2},
        )
        for i, name in enumerate(NAMES)
    )  # fmt: skip


def _alias(meter: int, reading: int) -> int:
    return _FIRST_ALIAS + meter % PER_GATEWAY * len(NAMES) + reading


def _template(meter: int) -> bytes:
    """A frame with the time `T0`, totals of `_COUNT` and gauges of zero."""
    metrics = []
    for i, name in enumerate(NAMES):
        said = uint_field(2, _alias(meter, i)) + uint_field(3, T0)
        if name in TOTALS:
            said += uint_field(4, DataType.UINT32) + uint_field(10, _COUNT)
        else:
            said += uint_field(4, DataType.FLOAT) + float_field(12, 0.0)
        metrics.append(bytes_field(2, said))
    return uint_field(1, T0) + b"".join(metrics) + uint_field(3, 7)


def _varint(value: NDArray[np.int64], size: int) -> U8:
    """Numbers as varints of `size` bytes, one row each."""
    parts = value[:, None] >> 7 * np.arange(size) & 0x7F
    parts[:, :-1] |= 0x80
    return parts.astype(np.uint8)


def _places(template: bytes, wanted: bytes) -> list[int]:
    found, at = [], template.find(wanted)
    while at >= 0:
        found.append(at)
        at = template.find(wanted, at + 1)
    return found


def polls(meters: int, count: int, poll_ms: int = POLL_MS) -> Iterator[list[Record]]:
    """What arrives, poll by poll."""
    rng = np.random.default_rng(1)
    table = np.frombuffer(b"".join(map(_template, range(meters))), np.uint8).reshape(meters, -1)
    one = table[0].tobytes()
    times, totals = _places(one, uint_field(3, T0)[1:]), _places(one, uint_field(10, _COUNT)[1:])
    gauges = [at + 1 for at in _places(one, float_field(12, 0.0))]
    assert (len(times), len(totals), len(gauges)) == (21, 2, 18)
    topics = [f"spBv1.0/p/DDATA/g{i // PER_GATEWAY}/m{i}" for i in range(meters)]
    held: dict[int, Record] = {}
    for tick in range(count):
        t = T0 + tick * poll_ms + np.arange(meters)
        now, stamp = table.copy(), _varint(t, 6)
        for at in times:
            now[:, at : at + 6] = stamp
        for i, at in enumerate(totals):
            now[:, at : at + 4] = _varint(np.full(meters, _COUNT + tick * (2 - i)), 4)
        shown = rng.uniform(1, 400, (meters, len(gauges))).astype("<f4").view(np.uint8).reshape(meters, -1, 4)
        for i, at in enumerate(gauges):
            now[:, at : at + 4] = shown[:, i]
        late, twice = rng.random(meters) < 0.01, rng.random(meters) < 0.001
        out: list[Record] = []
        for i, (topic, body, t_ms) in enumerate(zip(topics, now, t.tolist(), strict=True)):
            record = Record(topic, body.tobytes(), t_ms + 40)
            if late[i] and i not in held:
                held[i] = record
                continue
            out.append(record)
            if i in held:
                out.append(held.pop(i))
            if twice[i]:
                out.append(record)
        yield out
