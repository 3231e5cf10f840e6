"""What a gateway sends, byte for byte, without the gateway: births, numbered frames, deaths."""

from collections.abc import Sequence
from typing import Any

import msgspec

from metering import frames
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from metering.topics import MessageType, Topic
from storage.segment import Record

NOW_MS = 1_790_000_000_000
EPOCH = 7
EPOCH_ALIAS, NUMBER_ALIAS, LOST_ALIAS, TOTAL_ALIAS, POWER_ALIAS = 1, 2, 3, 10, 11
THINNED_ALIAS, REQUEST_ALIAS = 4, 5
U64 = DataType.UINT64


def park_with(*gateways: str) -> Park:
    """A park `p` whose meters need no registry entry: ingest knows gateways only."""
    return parse_registry(
        {
            "id": "p", "name": "园区", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "企业"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "厂区"}],
            "gateways": [{"id": gateway, "site": "s"} for gateway in gateways], "meters": [],
        }
    )  # fmt: skip


PARK = park_with("gw", "other")


def record(
    kind: MessageType,
    metrics: Sequence[Metric] | bytes,
    meter: str = "",
    gateway: str = "gw",
    t_ms: int = NOW_MS,
) -> Record:
    """A message as ingest receives it; `metrics` may be the payload's bytes."""
    payload = metrics if isinstance(metrics, bytes) else encode(Payload(tuple(metrics), timestamp=t_ms))
    return Record(str(Topic("p", kind, gateway, meter)), payload, t_ms)


def nbirth(epoch: int = EPOCH, bdseq: int = 0, gateway: str = "gw", t_ms: int = NOW_MS) -> Record:
    """The gateway's own birth."""
    metrics = [
        Metric(name=frames.BDSEQ, timestamp=t_ms, datatype=DataType.INT64, value=bdseq),
        Metric(name=frames.FRAME_EPOCH, alias=EPOCH_ALIAS, timestamp=t_ms, datatype=U64, value=epoch),
        Metric(name=frames.FRAME_NUMBER, alias=NUMBER_ALIAS, timestamp=t_ms, datatype=U64, is_null=True),
        Metric(name=frames.LOST_FROM, alias=LOST_ALIAS, timestamp=t_ms, datatype=U64, is_null=True),
        Metric(
            name=frames.FRAME_THINNED,
            alias=THINNED_ALIAS,
            timestamp=t_ms,
            datatype=DataType.BOOLEAN,
            is_null=True,
        ),
        Metric(name=frames.TIME_REQUEST, alias=REQUEST_ALIAS, timestamp=t_ms, datatype=U64, is_null=True),
    ]
    return record(MessageType.NBIRTH, metrics, gateway=gateway, t_ms=t_ms)


def dbirth(
    meter: str = "m", epoch: int = EPOCH, gateway: str = "gw", total_alias: int = TOTAL_ALIAS
) -> Record:
    """A meter's birth."""
    metrics = [
        Metric(name=frames.FRAME_EPOCH, alias=EPOCH_ALIAS, timestamp=NOW_MS, datatype=U64, value=epoch),
        Metric(name=frames.FRAME_NUMBER, alias=NUMBER_ALIAS, timestamp=NOW_MS, datatype=U64, is_null=True),
        Metric(
            name="energy_import_total",
            alias=total_alias,
            timestamp=NOW_MS,
            datatype=DataType.UINT32,
            is_null=True,
        ),
        Metric(
            name="power_active", alias=POWER_ALIAS, timestamp=NOW_MS, datatype=DataType.FLOAT, is_null=True
        ),
    ]
    return record(MessageType.DBIRTH, metrics, meter, gateway)


def births(*meters: str, epoch: int = EPOCH, gateway: str = "gw") -> list[Record]:
    """The gateway's birth and those of its meters."""
    return [nbirth(epoch, gateway=gateway), *(dbirth(meter, epoch, gateway) for meter in meters or ("m",))]


def numbered(number: Any, epoch: Any = EPOCH) -> list[Metric]:
    """The metrics that number a frame."""
    return [
        Metric(alias=EPOCH_ALIAS, timestamp=NOW_MS, value=epoch, is_null=epoch is None),
        Metric(alias=NUMBER_ALIAS, timestamp=NOW_MS, value=number, is_null=number is None),
    ]


def total(value: Any = 1000, **changes: Any) -> Metric:
    """A reading of the total."""
    return msgspec.structs.replace(Metric(alias=TOTAL_ALIAS, timestamp=NOW_MS, value=value), **changes)


def frame(
    number: Any,
    meter: str = "m",
    *metrics: Metric,
    epoch: Any = EPOCH,
    gateway: str = "gw",
    t_ms: int = NOW_MS,
) -> Record:
    """A numbered frame; it says its own number unless told otherwise."""
    said = metrics or (total(number),)
    return record(MessageType.DDATA, [*numbered(number, epoch), *said], meter, gateway, t_ms)


def lost(first: Any, last: Any, epoch: int = EPOCH, *, thinned: bool = False) -> Record:
    """The frame that declares a range lost, itself included."""
    said = [*numbered(last, epoch), Metric(alias=LOST_ALIAS, timestamp=NOW_MS, value=first)]
    if thinned:
        said.append(Metric(alias=THINNED_ALIAS, timestamp=NOW_MS, value=True))
    return record(MessageType.NDATA, said)


def time_request(nonce: Any, t_ms: int = NOW_MS) -> Record:
    """What a gateway asks that may not know the time."""
    body = encode(Payload((Metric(alias=REQUEST_ALIAS, timestamp=t_ms, value=nonce),), timestamp=t_ms))
    return Record(str(Topic("p", MessageType.NDATA, "gw")), body, NOW_MS)


def ndeath(bdseq: int = 0, gateway: str = "gw", t_ms: int = NOW_MS) -> Record:
    """The will of a gateway."""
    metrics = (Metric(name=frames.BDSEQ, datatype=DataType.INT64, value=bdseq),)
    return Record(str(Topic("p", MessageType.NDEATH, gateway)), encode(Payload(metrics)), t_ms)
