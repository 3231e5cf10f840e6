"""Frames of a meter as they stand in the journal: what it said, without ratio and without judgement."""

from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from api.models import Out
from metering.frames import PROPERTY_SCALE, PROPERTY_UNIT
from metering.intervals import Span, iso
from metering.protobuf_wire import DecodeError
from metering.registry import Meter
from metering.sparkplug import Metric, decode, typed_value
from storage.journal import JournalReader, StoredFrame

MAX_FRAMES = 2000
"""Of one answer. Ours."""


class RawReading(Out):
    """One value as the meter said it."""

    name: str
    t: str
    raw: str
    unit: str
    scale: int
    """Value in the unit = raw × 10^scale."""


class FrameOut(Out):
    """One frame, and where in the journal it stands."""

    t: str
    received: str
    epoch: str
    number: int
    segment: int
    index: int
    readings: list[RawReading]


def frames_of(journal: JournalReader, meter: Meter, span: Span, zone: ZoneInfo) -> list[FrameOut]:
    """The frames of a meter in a span, in the order of time; at most MAX_FRAMES."""
    births: dict[int, Sequence[Metric]] = {}
    found: list[FrameOut] = []
    for frame in journal.frames(meter.gateway, meter.id, *span):
        if frame.epoch not in births:
            births[frame.epoch] = _declared(journal, frame)
        found.append(_frame(frame, births[frame.epoch], zone))
        if len(found) == MAX_FRAMES:
            break
    return found


def _declared(journal: JournalReader, frame: StoredFrame) -> Sequence[Metric]:
    """Everything that the births of an epoch declare, the newest first."""
    births = journal.births(frame.gateway, frame.meter, frame.epoch)
    return [metric for birth in births for metric in _metrics(birth)]


def _metrics(frame: StoredFrame) -> Sequence[Metric]:
    """None where the payload is no Sparkplug: admission lets none pass, and a page does not break over one."""
    try:
        return decode(frame.payload).metrics
    except DecodeError:
        return ()


def _frame(frame: StoredFrame, declared: Sequence[Metric], zone: ZoneInfo) -> FrameOut:
    return FrameOut(
        t=iso(frame.t_ms, zone), received=iso(frame.received_ms, zone), epoch=str(frame.epoch), number=frame.number,
        segment=frame.offset.segment, index=frame.offset.index, readings=list(_readings(frame, declared, zone)),
    )  # fmt: skip


def _readings(frame: StoredFrame, declared: Sequence[Metric], zone: ZoneInfo) -> Iterator[RawReading]:
    for metric in _metrics(frame):
        told = next((d for d in declared if _names(d, metric)), None)
        if told is None or told.name is None or told.datatype is None:
            continue
        properties = told.properties or {}
        scale, unit = properties.get(PROPERTY_SCALE), properties.get(PROPERTY_UNIT)
        yield RawReading(
            name=told.name,
            t=iso(frame.t_ms if metric.timestamp is None else metric.timestamp, zone),
            raw=_raw(metric, told.datatype),
            unit=unit if isinstance(unit, str) else "",
            scale=scale if isinstance(scale, int) else 0,
        )


def _names(declared: Metric, metric: Metric) -> bool:
    return declared.name == metric.name if metric.name else declared.alias == metric.alias is not None


def _raw(metric: Metric, datatype: int) -> str:
    """The value in full; empty where there is none."""
    try:
        value = typed_value(None if metric.is_null else metric.value, datatype)
    except DecodeError:
        return ""
    return "" if value is None else value if isinstance(value, str) else repr(value)
