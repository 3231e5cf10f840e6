"""Admission: is this message what its sender's birth says it is? Judged with values, never with exceptions, never by content."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeGuard

import msgspec

from metering import frames
from metering.mqtt import MESSAGE_BYTES
from metering.protobuf_wire import DecodeError
from metering.sparkplug import Metric, Payload, Value, body_digest, decode, typed_value

FUTURE_TOLERANCE_MS = 300_000
OLDEST_MS = 10 * 366 * 86_400_000
"""A reading older than this comes from a clock that was never set (1970), not from an outbox. It would open decades of intervals."""


class Reason(StrEnum):
    """Why a message is refused."""

    BAD_TOPIC = "bad_topic"
    UNKNOWN_PARK = "unknown_park"
    UNKNOWN_GATEWAY = "unknown_gateway"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    NO_METRICS = "no_metrics"
    NO_BIRTH = "no_birth"
    UNKNOWN_METRIC = "unknown_metric"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    NO_TIME = "no_time"
    FUTURE_TIME = "future_time"
    PAST_TIME = "past_time"
    BAD_NUMBER = "bad_number"
    BAD_LOST_RANGE = "bad_lost_range"
    NUMBER_CONFLICT = "number_conflict"


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A judgement: what is wrong, in a word and in a sentence."""

    reason: Reason
    detail: str


class Declared(msgspec.Struct, frozen=True, gc=False):
    """What a birth declared about a metric."""

    name: str
    datatype: int


class Declarations(msgspec.Struct):
    """The metrics of one birth, by alias and by name."""

    by_alias: dict[int, Declared]
    by_name: dict[str, Declared]
    epoch: int
    """Outbox epoch of the gateway's frames; 0 for a foreign node."""


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A data message whose metrics are all as declared."""

    t_ms: int
    """Newest time among its metrics."""
    epoch: int
    number: int
    """Frame number; 0 with epoch 0 when the sender numbers nothing."""
    lost_from: int
    """First number of a range that the gateway declares lost; 0 when none."""
    thinned: bool = False
    """Of the lost range only what lies between quarter hours is gone."""
    asked: int | None = None
    """The number of a time request: this is no frame, and says nothing else."""
    digest: bytes = b""
    """Names what it says (`body_digest`)."""
    serial: str = ""
    """The meter's own number, where it says it."""


def read_payload(data: bytes, *, may_be_empty: bool = False) -> Payload | Refused:
    """The decoded payload, or why it is none."""
    if len(data) > MESSAGE_BYTES:
        return Refused(Reason.TOO_LARGE, f"{len(data)} bytes, the limit is {MESSAGE_BYTES}")
    try:
        payload = decode(data)
    except DecodeError as error:
        return Refused(Reason.MALFORMED, str(error))
    return (
        payload
        if payload.metrics or may_be_empty
        else Refused(Reason.NO_METRICS, "the payload carries no metric")
    )


def declarations(birth: Payload) -> Declarations | Refused:
    """What a birth declares; refused when a metric has no name or no data type."""
    by_alias: dict[int, Declared] = {}
    by_name: dict[str, Declared] = {}
    epoch = 0
    for metric in birth.metrics:
        if not metric.name or metric.datatype is None:
            return Refused(Reason.WRONG_TYPE, "a birth metric lacks its name or data type")
        declared = by_name[metric.name] = Declared(metric.name, metric.datatype)
        if metric.alias is not None:
            if metric.alias in by_alias:
                return Refused(Reason.WRONG_TYPE, f"alias {metric.alias} is given twice")
            by_alias[metric.alias] = declared
        if metric.name == frames.FRAME_EPOCH and metric.value is not None:
            if not is_frame_number(metric.value):
                return Refused(Reason.BAD_NUMBER, f"epoch {metric.value!r} names no outbox")
            epoch = metric.value
    return Declarations(by_alias, by_name, epoch)


def is_frame_number(value: Value) -> TypeGuard[int]:
    """An epoch or a frame number: at most 62 bits, so that it fits every store and a signed column."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def admit(payload: Payload, declared: Declarations, now_ms: int) -> Admitted | Refused:
    """Check every metric of a data message against its birth."""
    values: dict[str, Value] = {}
    times: list[int] = []
    for metric in payload.metrics:
        found = declared_as(metric, declared)
        if found is None:
            return Refused(Reason.UNKNOWN_METRIC, f"metric {metric.name or metric.alias!r} is in no birth")
        value = _judge(metric, found)
        if isinstance(value, Refused):
            return value
        values[found.name] = value
        t_ms = metric.timestamp if metric.timestamp is not None else payload.timestamp
        if t_ms is None:
            return Refused(Reason.NO_TIME, f"metric {found.name!r} has no time, nor has the payload")
        times.append(t_ms)
    asked = values.get(frames.TIME_REQUEST)
    if len(values) == 1 and is_frame_number(asked):
        # Whoever asks for the time may not know it: its own is not judged.
        return Admitted(now_ms, 0, 0, 0, asked=asked)
    serial = serial_in(payload, declared)
    return untimely(times, now_ms) or numbered(values, max(times), body_digest(payload), serial)


def untimely(times: list[int], now_ms: int) -> Refused | None:
    """Why these times cannot be those of readings, if so."""
    newest, oldest = max(times), min(times)
    if newest > now_ms + FUTURE_TOLERANCE_MS:
        return Refused(Reason.FUTURE_TIME, f"{newest} is {newest - now_ms} ms in the future")
    if oldest < now_ms - OLDEST_MS:
        return Refused(Reason.PAST_TIME, f"{oldest} is more than ten years ago: a clock that is not set")
    return None


def declared_as(metric: Metric, declared: Declarations) -> Declared | None:
    """What the birth says of a metric, by its name or else its alias; None when it says nothing."""
    if metric.name:
        return declared.by_name.get(metric.name)
    return None if metric.alias is None else declared.by_alias.get(metric.alias)


def serial_in(payload: Payload, declared: Declarations) -> str:
    """The meter's own number that a message carries; empty when it carries none."""
    if frames.SERIAL not in declared.by_name:
        return ""
    for metric in payload.metrics:
        if isinstance(metric.value, str):
            found = declared_as(metric, declared)
            if found is not None and found.name == frames.SERIAL:
                return metric.value.strip()
    return ""


def _judge(metric: Metric, declared: Declared) -> Value | Refused:
    if metric.is_null:
        return None
    try:
        value = typed_value(metric.value, declared.datatype)
    except DecodeError as error:
        return Refused(Reason.WRONG_TYPE, f"{declared.name}: {error}")
    if value is None:
        return Refused(Reason.WRONG_TYPE, f"{declared.name}: no value, and not marked null")
    if isinstance(value, float) and not math.isfinite(value):
        return Refused(Reason.NOT_FINITE, f"{declared.name} is {value}")
    return value


def numbered(values: Mapping[str, Value], t_ms: int, digest: bytes, serial: str) -> Admitted | Refused:
    """A message as the frame that its own metrics name; (0, 0) when they name none."""
    epoch, number = values.get(frames.FRAME_EPOCH, 0), values.get(frames.FRAME_NUMBER, 0)
    lost_from = values.get(frames.LOST_FROM, 0)
    if not (is_frame_number(epoch) and is_frame_number(number) and isinstance(lost_from, int)):
        return Refused(Reason.BAD_NUMBER, f"epoch {epoch!r} and number {number!r} do not name a frame")
    if (epoch == 0) != (number == 0):
        return Refused(Reason.BAD_NUMBER, f"epoch {epoch} and number {number} do not name a frame")
    if lost_from > number or (frames.LOST_FROM in values and lost_from < 1):
        return Refused(Reason.BAD_LOST_RANGE, f"lost from {lost_from} to {number}")
    thinned = values.get(frames.FRAME_THINNED) is True
    return Admitted(t_ms, epoch, number, lost_from, thinned, digest=digest, serial=serial)


def frame_name(payload: Payload, declared: Declarations) -> tuple[int, int]:
    """(epoch, number) of a frame that was refused for something else; (0, 0) when it has none."""
    values: dict[str, int] = {}
    for metric in payload.metrics:
        found = declared_as(metric, declared)
        if found is not None and is_frame_number(metric.value):
            values[found.name] = metric.value
    return values.get(frames.FRAME_EPOCH, 0), values.get(frames.FRAME_NUMBER, 0)
