"""Random parks and what their meters send, made up from the requirement alone: nothing here is taken from `strategies`.

A meter counts a true energy that flows at a changing rate. What it shows of that suffers what real meters suffer: it turns over, starts
from zero, stands a digit lower, comes back with an older total, jumps, dips, says two things at once, is exchanged, gets another
transformer. What it sends suffers what networks do: twice, late, in another order, long after.
"""

from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from metering import frames
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from storage.segment import Record

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
TURNS = [
    ("Europe/Berlin", "2026-10-25T00:00"), ("America/New_York", "2026-11-01T00:00"), ("Australia/Lord_Howe", "2026-10-04T00:00"),
    ("Asia/Kathmandu", "2026-10-31T22:00"), ("Asia/Shanghai", "2026-10-31T23:00"), ("UTC", "2026-10-31T23:30"),
]  # fmt: skip
"""Zones, and where their clocks or months turn."""
KINDS = {
    "energy_import_total": ("grid_boundary", ["Wh", "kWh", "MWh"]),
    "energy_export_total": ("export", ["kWh"]),
    "energy_generation_total": ("pv_generation", ["kWh"]),
    "heat_total": ("sub_meter", ["MJ", "GJ", "kWh"]),
    "volume_total": ("sub_meter", ["m3", "L"]),
}
TYPES = {
    DataType.UINT32: 1 << 32, DataType.INT32: 1 << 31, DataType.UINT64: 1 << 63, DataType.INT64: 1 << 63, DataType.DOUBLE: 1 << 50,
}  # fmt: skip
"""And what their counts stay below."""


@dataclass
class Model:
    """A meter and its total."""

    name: str
    gateway: str
    kind: str
    role: str
    unit: str
    alias: int | None
    datatype: DataType
    scale: int
    modulus: int | None
    power_w: int | None
    ct: str
    changes: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"ratio_changes": [], "exchanges": []}
    )


@dataclass
class Stream:
    """A park and the messages of its gateways."""

    park: Park
    births: list[Record]
    data: list[Record]


def stream(seed: int) -> Stream:
    """One of 2^64."""
    chance = Random(seed)
    zone, turn = chance.choice(TURNS)
    turn_ms = round(datetime.fromisoformat(turn).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000
    start = turn_ms - chance.choice((0, HOUR, 5 * HOUR, 2 * DAY)) + chance.randrange(HOUR)
    models = [_model(chance, i) for i in range(chance.randint(1, 4))]
    data = []
    for model in models:
        said = _said(chance, model, start)
        if len(said) > 2:
            _declare(chance, model, [t for t, _count in said], zone)
        data += [_frame(chance, model, t, count) for t, count in said]
    meters = [
        {"id": m.name, "gateway": m.gateway, "roles": {m.kind: m.role}, "ct": m.ct, "max_power_w": m.power_w, **m.changes}
        for m in models
    ]  # fmt: skip
    document: dict[str, object] = {
        "id": "p", "name": "p", "zone": zone, "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
        "sites": [{"id": "s", "enterprise": "e", "name": "s"}],
        "gateways": [{"id": name, "site": "s"} for name in ("north", "south")], "meters": meters,
    }  # fmt: skip
    return Stream(parse_registry(document), [_birth(model) for model in models], data)


def delivered(seed: int, data: list[Record]) -> list[Record]:
    """Some twice, some late, some long after, or all in another order."""
    chance = Random(seed)
    out = list(data) + [record for record in data if chance.random() < 0.1]
    reach = chance.choice((1, 2, 5, 50, len(out) + 1))
    return [
        record
        for _place, record in sorted(
            ((i + chance.random() * reach, r) for i, r in enumerate(out)), key=lambda p: p[0]
        )
    ]


def _model(chance: Random, number: int) -> Model:
    kind = chance.choice(list(KINDS))
    role, units = KINDS[kind]
    datatype = chance.choice(list(TYPES))
    scale = chance.choice((-4, -3, -2, -1, 0, 0, 1))
    whole = chance.choice((None, None, 10_000, 1_000_000, 99_999_999))
    power = chance.choice((None, 5_000, 100_000, 2_000_000)) if kind != "volume_total" else None
    ct = chance.choice(("1", "80", "400/5", "1/3", "37/11")) if kind.startswith("energy") else "1"
    return Model(
        f"x{number}", chance.choice(("north", "south")), kind, role, chance.choice(units),
        chance.choice((None, number + 1, 130 + number)), datatype, scale,
        None if datatype is DataType.DOUBLE else whole, power, ct,
    )  # fmt: skip


def _said(chance: Random, model: Model, start: int) -> list[tuple[int, int | float]]:
    """(UTC ms, what the register shows), as time goes by, with what goes wrong."""
    out: list[tuple[int, int | float]] = []
    most = min(TYPES[model.datatype], model.modulus or TYPES[model.datatype])
    t, shown = (
        start,
        chance.choice((0, chance.randrange(1000), most - chance.randrange(1, 50), chance.randrange(most))),
    )
    saved, pace = shown, chance.choice((0, 1, 40, 5_000))
    wait = chance.choice((15_000, MINUTE, 5 * MINUTE, 15 * MINUTE))
    for _ in range(chance.randint(0, 40)):
        t += chance.choice((wait, wait, wait, wait + chance.randrange(500), chance.randrange(1, 3 * HOUR)))
        if chance.random() < 0.01:
            t += chance.choice((1, 31)) * DAY
        shown += chance.randint(0, pace)
        odd = chance.random()
        if odd < 0.03:
            shown = chance.choice((0, chance.randrange(20)))  # begins again
        elif odd < 0.06:
            shown = saved  # comes back with what it had saved
        elif odd < 0.08:
            shown += chance.randrange(10**9)  # whatever
        elif odd < 0.12:
            saved = shown
        shown %= most
        seen = shown
        if odd > 0.95:
            seen = max(0, shown - 1)  # a last digit
        elif odd > 0.92:
            seen = chance.randrange(most)  # a spike or a dip
        elif odd > 0.90 and out:
            out.append((out[-1][0], seen))  # another word for the same moment
        pace = chance.choice((pace, pace, pace, 0, 3, 1_000))
        out.append((t, seen if model.datatype is not DataType.DOUBLE else seen / 16))
    return out


def _declare(chance: Random, model: Model, times: list[int], zone: str) -> None:
    """What the registry knows of exchanges and transformers."""
    for at in sorted(
        chance.sample(range(times[0] // 1000 + 1, times[-1] // 1000 + 2), k=chance.choice((0, 0, 1, 2)))
    ):
        moment = datetime.fromtimestamp(at, ZoneInfo(zone)).isoformat()
        if chance.random() < 0.5 and model.kind.startswith("energy"):
            model.changes["ratio_changes"].append({"at": moment, "ct": chance.choice(("60", "3/7", "120"))})
        else:
            closing, opening = ({model.kind: str(chance.randrange(10**6) / 100)} for _ in range(2))
            model.changes["exchanges"].append({"at": moment, "closing": closing, "opening": opening})


def _birth(model: Model) -> Record:
    said: dict[str, Property] = {frames.PROPERTY_UNIT: model.unit, frames.PROPERTY_SCALE: model.scale}
    if model.datatype is DataType.DOUBLE:
        said[frames.PROPERTY_RESOLUTION] = -3
    if model.modulus is not None:
        said[frames.PROPERTY_MODULUS] = model.modulus
    own = Metric(name=model.kind, alias=model.alias, datatype=model.datatype, is_null=True, properties=said)
    volts = Metric(
        name="voltage_l1",
        alias=900,
        datatype=DataType.FLOAT,
        is_null=True,
        properties={frames.PROPERTY_UNIT: "V"},
    )
    return Record(
        f"spBv1.0/p/DBIRTH/{model.gateway}/{model.name}", encode(Payload((own, volts), timestamp=1)), 1
    )


def _frame(chance: Random, model: Model, t: int, shown: float) -> Record:
    name = model.kind if model.alias is None else None
    at, whole = chance.choice(((t, t + 9), (None, t), (t, None)))
    metrics = [
        Metric(
            name=name,
            alias=model.alias,
            timestamp=at,
            datatype=chance.choice((model.datatype, None)),
            value=shown,
        )
    ]
    if at is not None and chance.random() < 0.3:
        metrics.insert(
            chance.randrange(2),
            Metric(alias=901, timestamp=t, datatype=DataType.FLOAT, value=chance.random()),
        )
    return Record(
        f"spBv1.0/p/DDATA/{model.gateway}/{model.name}",
        encode(Payload(tuple(metrics), timestamp=whole)),
        t + chance.randrange(DAY),
    )
