"""Births and data messages of this gateway: which metrics it declares, under which aliases, and how a frame goes on the wire."""

from collections.abc import Mapping, Sequence

import msgspec

from edge_agent.outbox import Frame, Outbox
from edge_agent.profile import Family, Profile, Register
from metering import frames
from metering.protobuf_wire import varint
from metering.sparkplug import (
    DATATYPE_BY_NAME,
    DataType,
    Metric,
    Payload,
    Property,
    decode,
    encode,
    encode_metrics,
    mark_historical,
)

_U64 = DataType.UINT64
_MOST_INT64 = (1 << 63) - 1
"""Of an integer property. No total lives to see a larger modulus."""


class DeviceAliases(msgspec.Struct, frozen=True):
    """The aliases of one device (or of the node itself, without readings)."""

    epoch: int
    number: int
    readings: Mapping[str, int]
    """Name of a reading's metric → alias."""
    serial: int | None = None
    """Of the meter's serial number, where its profile has one."""
    time_source: int = 0


def register_properties(profile: Profile | Family, register: Register) -> dict[str, Property]:
    """What the birth declares of a register, so that the raw value can be read for ever."""
    properties: dict[str, Property] = {
        frames.PROPERTY_UNIT: register.unit,
        frames.PROPERTY_SCALE: register.scale,
        frames.PROPERTY_PROFILE: f"{profile.name}@{profile.revision}",
    }
    if register.resolution is not None:
        properties[frames.PROPERTY_RESOLUTION] = register.resolution
    if register.rollover is not None and register.rollover <= _MOST_INT64:
        properties[frames.PROPERTY_MODULUS] = register.rollover
    if register.sign != 1:
        properties[frames.PROPERTY_SIGN] = register.sign
    return properties


def device_aliases(
    outbox: Outbox,
    meter: str,
    profile: Profile | Family,
    registers: Sequence[Register],
    *,
    serial: bool = False,
) -> DeviceAliases:
    """The aliases of a meter; a changed data type, unit or scale takes a new one, an old one keeps its meaning."""
    readings = {}
    for register in registers:
        declaration = f"{register.datatype} {sorted(register_properties(profile, register).items())}"
        readings[register.name] = outbox.alias(meter, register.name, declaration)
    epoch, number = (
        outbox.alias(meter, name, "UInt64") for name in (frames.FRAME_EPOCH, frames.FRAME_NUMBER)
    )
    own = outbox.alias(meter, frames.SERIAL, "String") if serial else None
    source = outbox.alias(meter, frames.TIME_SOURCE, "String")
    return DeviceAliases(epoch, number, readings, own, source)


def nbirth(outbox: Outbox, bdseq: int, t_ms: int, start: int | None = None) -> Payload:
    """The gateway's own birth: session number, rebirth and ack commands, and the metrics that declare a lost range."""
    null = {
        frames.ACK_JOURNAL: DataType.STRING,
        frames.ACK_EPOCH: _U64,
        frames.ACK_NUMBER: _U64,
        frames.ACK_TIME: DataType.DATETIME,
        frames.ACK_NONCE: _U64,
        frames.RESEND_EPOCH: _U64,
        frames.RESEND_FROM: _U64,
        frames.RESEND_TO: _U64,
    }
    metrics = [
        Metric(name=frames.BDSEQ, timestamp=t_ms, datatype=DataType.INT64, value=bdseq),
        Metric(name=frames.REBIRTH, timestamp=t_ms, datatype=DataType.BOOLEAN, value=False),
        Metric(name=frames.NEW_EPOCH, timestamp=t_ms, datatype=DataType.BOOLEAN, value=False),
        *(Metric(name=name, timestamp=t_ms, datatype=kind, is_null=True) for name, kind in null.items()),
        Metric(
            name=frames.FRAME_EPOCH,
            alias=_node_alias(outbox, frames.FRAME_EPOCH),
            timestamp=t_ms,
            datatype=_U64,
            value=outbox.epoch,
        ),
        Metric(
            name=frames.FRAME_NUMBER,
            alias=_node_alias(outbox, frames.FRAME_NUMBER),
            timestamp=t_ms,
            datatype=_U64,
            value=outbox.acked
            if start is None
            else start,  # From here on it sends; so the host need not take an old copy's word for what it has.
        ),
        *(
            Metric(name=name, alias=_node_alias(outbox, name), timestamp=t_ms, datatype=_U64, is_null=True)
            for name in (frames.LOST_FROM, frames.TIME_REQUEST)
        ),
        Metric(
            name=frames.FRAME_THINNED,
            alias=_node_alias(outbox, frames.FRAME_THINNED),
            timestamp=t_ms,
            datatype=DataType.BOOLEAN,
            is_null=True,
        ),
    ]
    return Payload(tuple(metrics), timestamp=t_ms)


def ndeath(bdseq: int) -> Payload:
    """The gateway's will (tck-id-payloads-ndeath-*): only the session number, no seq."""
    return Payload((Metric(name=frames.BDSEQ, datatype=DataType.INT64, value=bdseq),))


def declaration(aliases: DeviceAliases, profile: Profile | Family, registers: Sequence[Register]) -> bytes:
    """A meter's birth without values: what its frames decode with, kept in the outbox beside them."""
    metrics = [
        Metric(name=frames.FRAME_EPOCH, alias=aliases.epoch, datatype=_U64, is_null=True),
        Metric(name=frames.FRAME_NUMBER, alias=aliases.number, datatype=_U64, is_null=True),
        Metric(name=frames.TIME_SOURCE, alias=aliases.time_source, datatype=DataType.STRING, is_null=True),
    ]
    metrics += [
        Metric(
            name=register.name,
            alias=aliases.readings[register.name],
            datatype=DATATYPE_BY_NAME[register.datatype],
            is_null=True,
            properties=register_properties(profile, register),
        )
        for register in registers
    ]
    if aliases.serial is not None:
        metrics.append(
            Metric(name=frames.SERIAL, alias=aliases.serial, datatype=DataType.STRING, is_null=True)
        )
    return encode(Payload(tuple(metrics)))


def dbirth(
    declared: bytes, epoch: int, latest: Mapping[str, tuple[int, int | float | str]], t_ms: int
) -> Payload:
    """A DBIRTH from a declaration: the outbox epoch, and the last known values (null before the first read)."""
    known = {**latest, frames.FRAME_EPOCH: (t_ms, epoch)}
    metrics = []
    for metric in decode(declared).metrics:
        found = known.get(metric.name or "")
        at_ms, value = found or (t_ms, None)
        metrics.append(msgspec.structs.replace(metric, timestamp=at_ms, value=value, is_null=found is None))
    return Payload(tuple(metrics), timestamp=t_ms)


def frame_aliases(declared: bytes) -> tuple[int, int]:
    """The aliases of epoch and number in a declaration."""
    found = {metric.name: metric.alias for metric in decode(declared).metrics}
    return found[frames.FRAME_EPOCH] or 0, found[frames.FRAME_NUMBER] or 0


def frame_metrics(aliases: tuple[int, int], epoch: int, frame: Frame, *, historical: bool) -> bytes:
    """A frame as it goes on the wire, but for time stamp and seq: its name first, then what the meter said."""
    metrics = (
        _uint64_metric(aliases[0], frame.t_ms, epoch)
        + _uint64_metric(aliases[1], frame.t_ms, frame.number)
        + frame.body
    )
    return mark_historical(metrics) if historical else metrics


def _uint64_metric(alias: int, timestamp: int, value: int) -> bytes:
    """An encoded metric of a data message, of type UInt64: as `encode_metrics` writes it, but at once."""
    body = b"\x10%b\x18%b\x58%b" % (varint(alias), varint(timestamp), varint(value))
    return b"\x12%b%b" % (varint(len(body)), body)


def lost_metrics(outbox: Outbox, first: int, last: int, t_ms: int, *, thinned: bool = False) -> bytes:
    """The declaration that frames `first` to `last` are not here any more: an NDATA that bears the last one's number."""
    values = {frames.FRAME_EPOCH: outbox.epoch, frames.FRAME_NUMBER: last, frames.LOST_FROM: first}
    metrics = [
        Metric(alias=_node_alias(outbox, name), timestamp=t_ms, datatype=_U64, value=value)
        for name, value in values.items()
    ]
    if thinned:
        alias = _node_alias(outbox, frames.FRAME_THINNED)
        metrics.append(Metric(alias=alias, timestamp=t_ms, datatype=DataType.BOOLEAN, value=True))
    return encode_metrics(metrics, with_datatype=False)


def time_request(outbox: Outbox, nonce: int, t_ms: int) -> bytes:
    """The question for the server's time."""
    alias = _node_alias(outbox, frames.TIME_REQUEST)
    return encode_metrics(
        [Metric(alias=alias, timestamp=t_ms, datatype=_U64, value=nonce)], with_datatype=False
    )


def _node_alias(outbox: Outbox, name: str) -> int:
    return outbox.alias("", name, "Boolean" if name == frames.FRAME_THINNED else "UInt64")
